//! A store whose operations are timed: another store, with a clock beside it.

use super::{Changes, Claimed, Millis, Notifier, Store};
use crate::{clock, proto::agent_queue::*};
use metrics::histogram;
use std::{future::Future, time::Instant};
use tonic::{Code, Status};

/// A store that records how long each operation of `S` takes, as
/// `tonic_supervisor.queue.store.duration`.
#[derive(Debug)]
pub struct Metered<S>(S);

impl<S> Metered<S> {
    /// Times the operations of `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }
}

/// Carries out an operation, and records how long that took and how it went.
async fn timed<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    Timer::begin(operation, None).time(work).await
}

/// An operation under way. Its outcome is recorded when this is dropped.
struct Timer {
    operation: &'static str,
    began: Instant,
    outcome: Option<&'static str>,
}

impl Timer {
    /// `unfinished` is the outcome of an operation whose end nobody waits for; none: it is not
    /// recorded.
    fn begin(operation: &'static str, unfinished: Option<&'static str>) -> Self {
        Self { operation, began: clock::now(), outcome: unfinished }
    }

    async fn time<T>(mut self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let answer = work.await;
        self.outcome = Some(match answer.as_ref().map_err(Status::code) {
            Ok(_) => "ok",
            Err(Code::Unavailable) => "unavailable",
            Err(_) => "refused",
        });
        answer
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome else { return };
        let took = clock::now().saturating_duration_since(self.began).as_secs_f64();
        let name = "tonic_supervisor.queue.store.duration";
        histogram!(name, "operation" => self.operation, "outcome" => outcome).record(took);
    }
}

impl<S: Store> Store for Metered<S> {
    type Cursor = S::Cursor;

    fn notifier(&self) -> &Notifier {
        self.0.notifier()
    }

    fn now(&self) -> Millis {
        self.0.now()
    }

    async fn health(&self) -> Result<String, Status> {
        // Who asks waits only so long, and a store that has not said it by then cannot work.
        Timer::begin("health", Some("unavailable")).time(self.0.health()).await
    }

    async fn queue_exists(
        &self,
        request: QueueExistsRequest,
    ) -> Result<QueueExistsResponse, Status> {
        timed("queue_exists", self.0.queue_exists(request)).await
    }

    async fn queue_names(&self, after: &str, limit: usize) -> Result<Vec<String>, Status> {
        timed("queue_names", self.0.queue_names(after, limit)).await
    }

    async fn summary(&self, agent_id: &str, now: Millis) -> Result<Option<QueueSummary>, Status> {
        timed("summaries", self.0.summary(agent_id, now)).await
    }

    async fn claim(&self, request: GetTaskRequest, now: Millis) -> Result<Claimed, Status> {
        timed("claim", self.0.claim(request, now)).await
    }

    async fn changes(
        &self,
        agent_id: &str,
        cursor: Option<Self::Cursor>,
        now: Millis,
    ) -> Result<Changes<Self::Cursor>, Status> {
        timed("changes", self.0.changes(agent_id, cursor, now)).await
    }

    async fn prune(&self, now: Millis) -> Result<bool, Status> {
        timed("prune", self.0.prune(now)).await
    }

    async fn create_queue(
        &self,
        request: CreateQueueRequest,
        now: Millis,
    ) -> Result<CreateQueueResponse, Status> {
        timed("create_queue", self.0.create_queue(request, now)).await
    }

    async fn queue_info(
        &self,
        request: GetQueueInfoRequest,
        now: Millis,
    ) -> Result<GetQueueInfoResponse, Status> {
        timed("queue_info", self.0.queue_info(request, now)).await
    }

    async fn clear_queue(
        &self,
        request: ClearQueueRequest,
        now: Millis,
    ) -> Result<ClearQueueResponse, Status> {
        timed("clear_queue", self.0.clear_queue(request, now)).await
    }

    async fn delete_queue(
        &self,
        request: DeleteQueueRequest,
        now: Millis,
    ) -> Result<DeleteQueueResponse, Status> {
        timed("delete_queue", self.0.delete_queue(request, now)).await
    }

    async fn submit(
        &self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        timed("submit", self.0.submit(request, now)).await
    }

    async fn update(
        &self,
        request: UpdateTaskStatusRequest,
        now: Millis,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        timed("update", self.0.update(request, now)).await
    }

    async fn query(
        &self,
        request: QueryTaskRequest,
        now: Millis,
    ) -> Result<QueryTaskResponse, Status> {
        timed("query", self.0.query(request, now)).await
    }

    async fn delete_tasks(
        &self,
        request: BatchDeleteTasksRequest,
        now: Millis,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        timed("delete_tasks", self.0.delete_tasks(request, now)).await
    }

    async fn cancel(
        &self,
        request: CancelTaskRequest,
        now: Millis,
    ) -> Result<CancelTaskResponse, Status> {
        timed("cancel", self.0.cancel(request, now)).await
    }

    async fn retry(
        &self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> Result<RetryTaskResponse, Status> {
        timed("retry", self.0.retry(request, now)).await
    }

    async fn list(
        &self,
        request: ListTasksRequest,
        now: Millis,
    ) -> Result<ListTasksResponse, Status> {
        timed("list", self.0.list(request, now)).await
    }

    async fn stats(
        &self,
        request: GetTaskStatsRequest,
        now: Millis,
    ) -> Result<GetTaskStatsResponse, Status> {
        timed("stats", self.0.stats(request, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use std::{future::pending, time::Duration};

    /// What an operation that hangs is recorded as, when nobody waits for it after 5 s.
    async fn hung(unfinished: Option<&'static str>) -> Vec<(String, f64)> {
        let recorder = DebuggingRecorder::new();
        let _installed = metrics::set_default_local_recorder(&recorder);
        let work = Timer::begin("health", unfinished).time(pending::<Result<(), Status>>());
        let five = Duration::from_secs(5);
        tokio::time::timeout(five, work).await.expect_err("it hangs");
        let recorded = recorder.snapshotter().snapshot().into_vec().into_iter();
        let recorded = recorded.filter_map(|(key, _, _, value)| match value {
            DebugValue::Histogram(times) => {
                let outcome = key.key().labels().find(|label| label.key() == "outcome")?;
                Some((outcome.value().to_owned(), times.first()?.into_inner()))
            }
            _ => None,
        });
        recorded.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_say_how_it_is_is_recorded_as_unavailable() {
        assert_eq!(hung(Some("unavailable")).await, [("unavailable".to_owned(), 5.0)]);
        assert_eq!(hung(None).await, [], "who went away says nothing of the store");
    }
}
