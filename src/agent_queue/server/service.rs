//! The operations over gRPC: decide under the lock, wait for the disk, answer.

use super::{Effect, Ledger, LedgerError, Store, store::Decided};
use crate::{
    clock,
    proto::agent_queue::{
        CreateQueueRequest, CreateQueueResponse, GetTaskRequest, GetTaskResponse, SubmitTaskRequest,
        SubmitTaskResponse, UpdateTaskStatusRequest, UpdateTaskStatusResponse, agent_queue_server::AgentQueue,
    },
};
use parking_lot::Mutex;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time};
use tonic::{Request, Response, Status};

/// The service. Clones share one store and one ledger.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Mutex<Store>,
    ledger: Ledger,
    /// Whether the service drains; marked changed whenever a task is added.
    news: watch::Sender<bool>,
}

impl Service {
    /// Opens the ledger at `path` and goes on where it ends; claims hold for `lease`.
    ///
    /// Blocks while another process holds the ledger.
    pub fn open(path: &Path, lease: Duration) -> Result<Self, LedgerError> {
        let (ledger, effects) = Ledger::open(path)?;
        let mut store = Store::new(lease);
        let now = clock::now();
        effects.iter().for_each(|effect| store.apply(effect, now));
        Ok(Self(Arc::new(Inner { store: Mutex::new(store), ledger, news: watch::Sender::new(false) })))
    }

    /// Waiting claims are answered empty from now on.
    pub fn drain(&self) {
        self.0.news.send_replace(true);
    }

    /// Decides, and returns the answer once everything it rests on is on disk.
    ///
    /// The lock covers the append too, so that the ledger has the store's order. Dropped in between, the effect stays.
    async fn decide<T>(&self, decision: impl FnOnce(&mut Store, Instant) -> Decided<T>) -> Result<T, Status> {
        let (answer, durable) = {
            let mut store = self.0.store.lock();
            let (answer, effect) = decision(&mut store, clock::now())?;
            if matches!(effect, Some(Effect::TaskSubmitted { .. })) {
                self.0.news.send_modify(|_| {});
            }
            (answer, self.0.ledger.append(effect))
        };
        durable.wait().await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(answer)
    }
}

#[tonic::async_trait]
impl AgentQueue for Service {
    async fn create_queue(
        &self,
        request: Request<CreateQueueRequest>,
    ) -> Result<Response<CreateQueueResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.decide(|store, now| store.create_queue(request, now)).await?))
    }

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Result<Response<SubmitTaskResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.decide(|store, now| store.submit_task(request, now)).await?))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let request = request.into_inner();
        let mut news = self.0.news.subscribe();
        let started = clock::now();
        loop {
            let draining = *news.borrow_and_update();
            let answer = self.decide(|store, now| store.get_task(&request, now)).await?;
            let end = started + Duration::from_secs_f64(request.wait);
            if answer.task.is_some() || draining || clock::now() >= end {
                return Ok(Response::new(answer));
            }
            let lease_end = self.0.store.lock().next_lease_end(&request.agent_id);
            let wake = lease_end.map_or(end, |lease_end| lease_end.min(end));
            // A task, the drain, or the time: the loop looks for itself which.
            let _ = time::timeout_at(wake.into(), news.changed()).await;
        }
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.decide(|store, now| store.update_task_status(request, now)).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::agent_queue::TaskType;

    fn submission(request: &str) -> Request<SubmitTaskRequest> {
        Request::new(SubmitTaskRequest {
            agent_id: "a".into(),
            r#type: TaskType::ApiCall as i32,
            payload: "{}".into(),
            client_request_id: request.into(),
            ..Default::default()
        })
    }

    fn claim(id: &str) -> Request<GetTaskRequest> {
        Request::new(GetTaskRequest { agent_id: "a".into(), claim_id: id.into(), wait: 60.0 })
    }

    async fn service(path: &Path) -> Service {
        let service = Service::open(path, Duration::from_secs(30)).expect("opened");
        let queue = CreateQueueRequest { agent_id: "a".into() };
        service.create_queue(Request::new(queue)).await.expect("queue");
        service
    }

    #[tokio::test]
    async fn a_waiting_claim_gets_the_task_that_comes() {
        let folder = tempfile::tempdir().expect("folder");
        let service = service(&folder.path().join("ledger")).await;
        let (got, submitted) = tokio::join!(service.get_task(claim("c")), service.submit_task(submission("r")));
        let task = got.expect("answer").into_inner().task.expect("task");
        assert_eq!(task.task_id, submitted.expect("submitted").into_inner().task_id);
    }

    #[tokio::test]
    async fn a_waiting_claim_is_answered_empty_when_the_service_drains() {
        let folder = tempfile::tempdir().expect("folder");
        let service = service(&folder.path().join("ledger")).await;
        let (got, ()) = tokio::join!(service.get_task(claim("c")), async { service.drain() });
        assert_eq!(got.expect("answer").into_inner().task, None);
    }

    #[tokio::test]
    async fn a_service_started_anew_knows_what_it_answered() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger");
        let before = service(&path).await;
        let first = before.submit_task(submission("r")).await.expect("submitted").into_inner();
        drop(before);
        let after = service(&path).await;
        let again = after.submit_task(submission("r")).await.expect("submitted").into_inner();
        assert_eq!((again.task_id, again.already_submitted), (first.task_id, true));
    }
}
