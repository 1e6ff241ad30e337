//! `MemoryStore`: the queues in memory, and with a journal also their requests on disk, to replay.
//!
//! One lock covers a change and its line in the journal, so that both have one order. Leases that
//! have ended are noticed when their queue is next used: the result is the same whenever that is.

mod journaled;
mod operations;
mod queue;
mod read;
mod state;

use super::{
    Changes, Claimed, Entry, JournalError, Millis, Notifier, Settings, Store,
    journal::{Durable, Journal},
    steps::{ClearStep, STEP},
};
use crate::proto::agent_queue::*;
use journaled::{JournaledRequest, replay, update_word};
use parking_lot::Mutex;
use prost::Message;
use state::State;
use std::path::Path;
use tonic::Status;

/// A store in memory: everything is gone with the process, unless it keeps a journal.
///
/// A journal only grows: it is for demonstrations and tests. What is to last belongs in a database.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    journal: Option<Journal>,
    notifier: Notifier,
    settings: Settings,
}

impl MemoryStore {
    /// Empty queues.
    pub fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State::new(settings)),
            journal: None,
            notifier: Notifier::default(),
            settings,
        }
    }

    /// Opens the journal at `path` and goes on where it ends.
    ///
    /// Blocks while another process holds it.
    pub fn with_journal(path: &Path, settings: Settings) -> Result<Self, JournalError> {
        let (journal, entries) = Journal::open(path)?;
        let mut state = State::new(settings);
        for (index, entry) in entries.iter().enumerate() {
            replay(&mut state, entry).map_err(|error| {
                JournalError::new(path, &format!("is damaged in line {}", index + 1), &error)
            })?;
        }
        // Nobody waits yet, and an earlier process has counted these.
        drop((state.take_change(), state.take_events()));
        Ok(Self {
            state: Mutex::new(state),
            journal: Some(journal),
            notifier: Notifier::default(),
            settings,
        })
    }

    /// Carries out an operation of one queue and returns its answer once everything it rests on is
    /// on disk.
    ///
    /// The lock covers the append too, so that the journal has the state's order. An operation that
    /// changed nothing waits for the disk as well, because its answer may tell of a change whose
    /// own call still waits. Where the disk fails, the state is ahead of the journal from then on:
    /// all these answers are UNAVAILABLE until the store is opened anew.
    ///
    /// Dropped in between, the change stays.
    async fn execute<R: Message, T>(
        &self,
        journaled: JournaledRequest<'_, R>,
        operation: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let (answer, durable, changes, events) = {
            let mut state = self.state.lock();
            let overdue = self.expire_leases(&mut state, journaled.agent_id, journaled.now);
            let answer = operation(&mut state);
            let change = state.take_change();
            (
                answer,
                self.append(change.map(|_| journaled.entry())),
                [overdue, change],
                state.take_events(),
            )
        };
        if let Some(durable) = durable {
            durable.wait().await.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        events.into_iter().for_each(|event| self.notifier.count(journaled.agent_id, event));
        changes
            .into_iter()
            .flatten()
            .for_each(|change| self.notifier.notify(journaled.agent_id, change));
        answer
    }

    /// Looks at a queue as it is now.
    fn read<T>(
        &self,
        agent_id: &str,
        now: Millis,
        read: impl FnOnce(&State) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut state = self.state.lock();
        let overdue = self.expire_leases(&mut state, agent_id, now);
        let answer = read(&state);
        let events = state.take_events();
        drop(state);
        events.into_iter().for_each(|event| self.notifier.count(agent_id, event));
        overdue.into_iter().for_each(|change| self.notifier.notify(agent_id, change));
        answer
    }

    /// Gives back what is overdue. The journal need not wait for it: it comes out the same whenever
    /// it is noticed.
    fn expire_leases(
        &self,
        state: &mut State,
        agent_id: &str,
        now: Millis,
    ) -> Option<super::QueueChange> {
        state.expire(agent_id, now);
        let change = state.take_change()?;
        drop(self.append(Some(
            JournaledRequest { operation: "expire", agent_id, name: "", request: &(), now }.entry(),
        )));
        Some(change)
    }

    fn append(&self, entry: Option<Entry>) -> Option<Durable> {
        Some(self.journal.as_ref()?.append(entry))
    }
}

impl Store for MemoryStore {
    type Cursor = u64;

    fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    async fn health(&self) -> Result<String, Status> {
        if let Some(durable) = self.append(None) {
            durable.wait().await.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        Ok("memory".into())
    }

    async fn create_queue(
        &self,
        request: CreateQueueRequest,
        now: Millis,
    ) -> Result<CreateQueueResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "create",
            agent_id,
            name: agent_id,
            request: &request,
            now,
        };
        self.execute(journaled, |state| Ok(state.create_queue(&request, now))).await
    }

    async fn queue_exists(
        &self,
        request: QueueExistsRequest,
    ) -> Result<QueueExistsResponse, Status> {
        Ok(QueueExistsResponse { exists: self.state.lock().queue_exists(&request.agent_id) })
    }

    async fn queue_info(
        &self,
        request: GetQueueInfoRequest,
        now: Millis,
    ) -> Result<GetQueueInfoResponse, Status> {
        let agent_id = &request.agent_id;
        self.read(agent_id, now, |state| Ok(state.queue(agent_id)?.info(agent_id)))
    }

    async fn queue_names(&self, after: &str, limit: usize) -> Result<Vec<String>, Status> {
        Ok(self.state.lock().queue_names(after, limit))
    }

    async fn summary(&self, agent_id: &str, now: Millis) -> Result<Option<QueueSummary>, Status> {
        let summary =
            self.read(agent_id, now, |state| Ok(state.queue(agent_id)?.summary(agent_id, now)));
        // Its only error is that there is no such queue.
        Ok(summary.ok())
    }

    async fn clear_queue(
        &self,
        request: ClearQueueRequest,
        now: Millis,
    ) -> Result<ClearQueueResponse, Status> {
        let agent_id = &request.agent_id;
        // A journal holds whole operations.
        let most = if self.journal.is_some() { usize::MAX } else { STEP };
        let mut progress = None;
        loop {
            let name = &request.client_request_id;
            let journaled =
                JournaledRequest { operation: "clear", agent_id, name, request: &request, now };
            match self
                .execute(journaled, |state| state.clear_queue(&request, progress, most, now))
                .await?
            {
                ClearStep::Done(answer) => return Ok(answer),
                ClearStep::More(clearing) => progress = Some(clearing),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn delete_queue(
        &self,
        request: DeleteQueueRequest,
        now: Millis,
    ) -> Result<DeleteQueueResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "delete queue",
            agent_id,
            name: agent_id,
            request: &request,
            now,
        };
        let (answer, queue) =
            self.execute(journaled, |state| Ok(state.delete_queue(&request))).await?;
        tokio::task::spawn_blocking(|| drop(queue));
        Ok(answer)
    }

    async fn submit(
        &self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "submit",
            agent_id,
            name: first_name(&request),
            request: &request,
            now,
        };
        self.execute(journaled, |state| state.submit(&request, now)).await
    }

    async fn claim(&self, request: GetTaskRequest, now: Millis) -> Result<Claimed, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "claim",
            agent_id,
            name: &request.claim_id,
            request: &request,
            now,
        };
        self.execute(journaled, |state| state.claim(&request, now)).await
    }

    async fn update(
        &self,
        request: UpdateTaskStatusRequest,
        now: Millis,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: update_word(request.status()),
            agent_id,
            name: &request.task_id,
            request: &request,
            now,
        };
        self.execute(journaled, |state| state.update(&request, now)).await
    }

    async fn query(
        &self,
        request: QueryTaskRequest,
        now: Millis,
    ) -> Result<QueryTaskResponse, Status> {
        self.read(&request.agent_id, now, |state| state.query(&request))
    }

    async fn delete_tasks(
        &self,
        request: BatchDeleteTasksRequest,
        now: Millis,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "delete",
            agent_id,
            name: &request.client_request_id,
            request: &request,
            now,
        };
        self.execute(journaled, |state| state.delete_tasks(&request, now)).await
    }

    async fn cancel(
        &self,
        request: CancelTaskRequest,
        now: Millis,
    ) -> Result<CancelTaskResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "cancel",
            agent_id,
            name: &request.client_request_id,
            request: &request,
            now,
        };
        self.execute(journaled, |state| state.cancel(&request, now)).await
    }

    async fn retry(
        &self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> Result<RetryTaskResponse, Status> {
        let agent_id = &request.agent_id;
        let journaled = JournaledRequest {
            operation: "retry",
            agent_id,
            name: &request.client_request_id,
            request: &request,
            now,
        };
        self.execute(journaled, |state| state.retry(&request, now)).await
    }

    async fn list(
        &self,
        request: ListTasksRequest,
        now: Millis,
    ) -> Result<ListTasksResponse, Status> {
        self.read(&request.agent_id, now, |state| {
            Ok(state.queue(&request.agent_id)?.list(&request))
        })
    }

    async fn stats(
        &self,
        request: GetTaskStatsRequest,
        now: Millis,
    ) -> Result<GetTaskStatsResponse, Status> {
        self.read(&request.agent_id, now, |state| Ok(state.queue(&request.agent_id)?.stats(now)))
    }

    async fn changes(
        &self,
        agent_id: &str,
        cursor: Option<u64>,
        now: Millis,
    ) -> Result<Changes, Status> {
        self.read(agent_id, now, |state| state.changes(agent_id, cursor))
    }

    async fn prune(&self, now: Millis) -> Result<bool, Status> {
        let kept = i64::try_from(self.settings.keep_finished.as_millis()).unwrap_or(i64::MAX);
        let mut state = self.state.lock();
        let cutoff = now.saturating_sub(kept);
        state.prune(cutoff);
        drop(
            self.append(Some(
                JournaledRequest {
                    operation: "prune",
                    agent_id: "",
                    name: "",
                    request: &(),
                    now: cutoff,
                }
                .entry(),
            )),
        );
        Ok(false)
    }
}

fn first_name(request: &BatchSubmitTasksRequest) -> &str {
    request.tasks.first().map_or("", |task| &task.client_request_id)
}
