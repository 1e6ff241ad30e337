//! The queues in memory; with a journal they outlive the process.

mod queue;
mod read;
mod state;

use super::{
    Board, Changes, Claimed, Entry, JournalError, Millis, Settings, Store,
    journal::{Durable, Journal},
    store::{STEP, Step},
};
use crate::proto::agent_queue::*;
use parking_lot::Mutex;
use prost::Message;
use state::State;
use std::{fmt::Write as _, path::Path};
use tonic::Status;

/// A store in memory: everything is gone with the process, unless it keeps a journal.
///
/// A journal only grows: it is for demonstrations and tests. What is to last belongs in a database.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    journal: Option<Journal>,
    board: Board,
    settings: Settings,
}

/// A request that may change something, and how it stands in the journal.
struct Asked<'a, R> {
    operation: &'static str,
    agent_id: &'a str,
    name: &'a str,
    request: &'a R,
    now: Millis,
}

impl MemoryStore {
    /// Empty queues.
    pub fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State::new(settings)),
            journal: None,
            board: Board::default(),
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
        drop((state.take_mark(), state.take_happened()));
        Ok(Self {
            state: Mutex::new(state),
            journal: Some(journal),
            board: Board::default(),
            settings,
        })
    }

    /// Carries out an operation of one queue and returns its answer once everything it rests on is
    /// on disk.
    ///
    /// The lock covers the append too, so that the journal has the state's order. Dropped in
    /// between, the change stays.
    async fn carry_out<R: Message, T>(
        &self,
        asked: Asked<'_, R>,
        operation: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let (answer, durable, marks, happened) = {
            let mut state = self.state.lock();
            let overdue = self.notice(&mut state, asked.agent_id, asked.now);
            let answer = operation(&mut state);
            let mark = state.take_mark();
            (
                answer,
                self.append(mark.map(|_| asked.entry())),
                [overdue, mark],
                state.take_happened(),
            )
        };
        if let Some(durable) = durable {
            durable.wait().await.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        happened.into_iter().for_each(|happened| self.board.happened(asked.agent_id, happened));
        marks.into_iter().flatten().for_each(|mark| self.board.mark(asked.agent_id, mark));
        answer
    }

    /// Looks at a queue as it is now.
    fn look<T>(
        &self,
        agent_id: &str,
        now: Millis,
        read: impl FnOnce(&State) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut state = self.state.lock();
        let overdue = self.notice(&mut state, agent_id, now);
        let answer = read(&state);
        let happened = state.take_happened();
        drop(state);
        happened.into_iter().for_each(|happened| self.board.happened(agent_id, happened));
        overdue.into_iter().for_each(|mark| self.board.mark(agent_id, mark));
        answer
    }

    /// Gives back what is overdue. The journal need not wait for it: it comes out the same whenever
    /// it is noticed.
    fn notice(&self, state: &mut State, agent_id: &str, now: Millis) -> Option<super::Mark> {
        state.expire(agent_id, now);
        let mark = state.take_mark()?;
        drop(self.append(Some(
            Asked { operation: "expire", agent_id, name: "", request: &(), now }.entry(),
        )));
        Some(mark)
    }

    fn append(&self, entry: Option<Entry>) -> Option<Durable> {
        Some(self.journal.as_ref()?.append(entry))
    }
}

impl Store for MemoryStore {
    type Cursor = u64;

    fn board(&self) -> &Board {
        &self.board
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
        let asked = Asked { operation: "create", agent_id, name: agent_id, request: &request, now };
        self.carry_out(asked, |state| Ok(state.create_queue(&request, now))).await
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
        self.look(agent_id, now, |state| Ok(state.queue(agent_id)?.info(agent_id)))
    }

    async fn queue_names(&self, after: &str, limit: usize) -> Result<Vec<String>, Status> {
        Ok(self.state.lock().queue_names(after, limit))
    }

    async fn summaries(
        &self,
        agent_ids: Vec<String>,
        now: Millis,
    ) -> Result<Vec<QueueSummary>, Status> {
        let summary =
            |id: &String| self.look(id, now, |state| Ok(state.queue(id)?.summary(id, now)));
        Ok(agent_ids.iter().filter_map(|id| summary(id).ok()).collect())
    }

    async fn clear_queue(
        &self,
        request: ClearQueueRequest,
        now: Millis,
    ) -> Result<ClearQueueResponse, Status> {
        let agent_id = &request.agent_id;
        // A journal holds whole operations.
        let most = if self.journal.is_some() { usize::MAX } else { STEP };
        let mut going = None;
        loop {
            let name = &request.client_request_id;
            let asked = Asked { operation: "clear", agent_id, name, request: &request, now };
            match self
                .carry_out(asked, |state| state.clear_queue(&request, going, most, now))
                .await?
            {
                Step::Done(answer) => return Ok(answer),
                Step::More(clearing) => going = Some(clearing),
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
        let asked =
            Asked { operation: "delete queue", agent_id, name: agent_id, request: &request, now };
        let (answer, queue) =
            self.carry_out(asked, |state| Ok(state.delete_queue(&request))).await?;
        tokio::task::spawn_blocking(|| drop(queue));
        Ok(answer)
    }

    async fn submit(
        &self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        let agent_id = &request.agent_id;
        let asked = Asked {
            operation: "submit",
            agent_id,
            name: first_name(&request),
            request: &request,
            now,
        };
        self.carry_out(asked, |state| state.submit(&request, now)).await
    }

    async fn claim(&self, request: GetTaskRequest, now: Millis) -> Result<Claimed, Status> {
        let agent_id = &request.agent_id;
        let asked =
            Asked { operation: "claim", agent_id, name: &request.claim_id, request: &request, now };
        self.carry_out(asked, |state| state.claim(&request, now)).await
    }

    async fn update(
        &self,
        request: UpdateTaskStatusRequest,
        now: Millis,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        let agent_id = &request.agent_id;
        let asked = Asked {
            operation: update_word(request.status()),
            agent_id,
            name: &request.task_id,
            request: &request,
            now,
        };
        self.carry_out(asked, |state| state.update(&request, now)).await
    }

    async fn query(
        &self,
        request: QueryTaskRequest,
        now: Millis,
    ) -> Result<QueryTaskResponse, Status> {
        self.look(&request.agent_id, now, |state| state.query(&request))
    }

    async fn delete_tasks(
        &self,
        request: BatchDeleteTasksRequest,
        now: Millis,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        let agent_id = &request.agent_id;
        let asked = Asked {
            operation: "delete",
            agent_id,
            name: &request.client_request_id,
            request: &request,
            now,
        };
        self.carry_out(asked, |state| state.delete_tasks(&request, now)).await
    }

    async fn cancel(
        &self,
        request: CancelTaskRequest,
        now: Millis,
    ) -> Result<CancelTaskResponse, Status> {
        let agent_id = &request.agent_id;
        let asked = Asked {
            operation: "cancel",
            agent_id,
            name: &request.client_request_id,
            request: &request,
            now,
        };
        self.carry_out(asked, |state| state.cancel(&request, now)).await
    }

    async fn retry(
        &self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> Result<RetryTaskResponse, Status> {
        let agent_id = &request.agent_id;
        let asked = Asked {
            operation: "retry",
            agent_id,
            name: &request.client_request_id,
            request: &request,
            now,
        };
        self.carry_out(asked, |state| state.retry(&request, now)).await
    }

    async fn list(
        &self,
        request: ListTasksRequest,
        now: Millis,
    ) -> Result<ListTasksResponse, Status> {
        self.look(&request.agent_id, now, |state| {
            Ok(state.queue(&request.agent_id)?.list(&request))
        })
    }

    async fn stats(
        &self,
        request: GetTaskStatsRequest,
        now: Millis,
    ) -> Result<GetTaskStatsResponse, Status> {
        self.look(&request.agent_id, now, |state| Ok(state.queue(&request.agent_id)?.stats(now)))
    }

    async fn changes(
        &self,
        agent_id: &str,
        cursor: Option<u64>,
        now: Millis,
    ) -> Result<Changes, Status> {
        self.look(agent_id, now, |state| state.changes(agent_id, cursor))
    }

    async fn prune(&self, now: Millis) -> Result<bool, Status> {
        let kept = i64::try_from(self.settings.keep_finished.as_millis()).unwrap_or(i64::MAX);
        let mut state = self.state.lock();
        let cutoff = now.saturating_sub(kept);
        state.prune(cutoff);
        drop(self.append(Some(
            Asked { operation: "prune", agent_id: "", name: "", request: &(), now: cutoff }.entry(),
        )));
        Ok(false)
    }
}

impl<R: Message> Asked<'_, R> {
    fn entry(&self) -> Entry {
        let mut request = String::new();
        for byte in self.request.encode_to_vec() {
            let _ = write!(request, "{byte:02x}");
        }
        let Self { operation, agent_id, name, now, .. } = *self;
        Entry {
            at_ms: now,
            operation: operation.into(),
            agent_id: agent_id.into(),
            name: name.into(),
            request,
        }
    }
}

/// Carries out a recorded request again. What was refused then is refused again.
fn replay(state: &mut State, entry: &Entry) -> Result<(), String> {
    let now = entry.at_ms;
    match &*entry.operation {
        "prune" => state.prune(now),
        "expire" => state.expire(&entry.agent_id, now),
        "create" => drop(state.create_queue(&decode(entry)?, now)),
        "clear" => drop(state.clear_queue(&decode(entry)?, None, usize::MAX, now)),
        "delete queue" => drop(state.delete_queue(&decode(entry)?)),
        "submit" => drop(state.submit(&decode(entry)?, now)),
        "claim" => drop(state.claim(&decode(entry)?, now)),
        "renew" | "release" | "end" => drop(state.update(&decode(entry)?, now)),
        "delete" => drop(state.delete_tasks(&decode(entry)?, now)),
        "cancel" => drop(state.cancel(&decode(entry)?, now)),
        "retry" => drop(state.retry(&decode(entry)?, now)),
        other => return Err(format!("{other:?} is no operation")),
    }
    Ok(())
}

fn decode<R: Message + Default>(entry: &Entry) -> Result<R, String> {
    let digits = entry.request.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    });
    let bytes: Vec<u8> =
        pairs.collect::<Option<_>>().ok_or("the request is not in hexadecimal digits")?;
    R::decode(&*bytes).map_err(|error| error.to_string())
}

fn first_name(request: &BatchSubmitTasksRequest) -> &str {
    request.tasks.first().map_or("", |task| &task.client_request_id)
}

fn update_word(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Processing => "renew",
        TaskStatus::Pending => "release",
        _ => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(name: &str) -> BatchSubmitTasksRequest {
        let task = NewTask {
            r#type: TaskType::ApiCall as i32,
            payload: "{}".into(),
            client_request_id: name.into(),
            ..NewTask::default()
        };
        BatchSubmitTasksRequest { agent_id: "a".into(), tasks: vec![task] }
    }

    fn claim(id: &str) -> GetTaskRequest {
        GetTaskRequest { agent_id: "a".into(), claim_id: id.into(), timeout: 0.0 }
    }

    #[tokio::test]
    async fn a_store_read_back_from_its_journal_goes_on_where_it_was() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("journal");
        let settings = Settings::default();
        let store = MemoryStore::with_journal(&path, settings).expect("opened");
        store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
        for name in ["r1", "r2", "r3"] {
            store.submit(submission(name), 1).await.expect("submitted");
        }
        let first = store.claim(claim("c1"), 2).await.expect("claimed").answer.task.expect("task");
        store.claim(claim("c2"), 60_001).await.expect("claimed");
        // The first lease ends unnoticed by any change of its own.
        let list = ListTasksRequest { agent_id: "a".into(), ..ListTasksRequest::default() };
        let before = store.list(list.clone(), 60_002).await.expect("listed");
        drop(store);

        let store = MemoryStore::with_journal(&path, settings).expect("opened again");
        assert_eq!(store.list(list, 60_002).await.expect("listed"), before);
        let again = store.submit(submission("r1"), 60_003).await.expect("known").tasks;
        assert_eq!((&again[0].task_id, again[0].already_submitted), (&first.task_id, true));
        let late = store.claim(claim("c1"), 60_003).await.expect_err("its lease ended");
        assert_eq!(late.code(), tonic::Code::FailedPrecondition);
        let next = store.submit(submission("r4"), 60_003).await.expect("submitted").tasks;
        assert_eq!(next[0].task_id, "task-4", "numbers go on");
    }
}
