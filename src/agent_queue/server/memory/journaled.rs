//! How a request stands in the journal, and how it is carried out again from there.
//!
//! The journal holds requests, not their effects: the state takes its time from the request, so
//! that the same requests give the same state again. What was refused then is refused again.

use super::{
    super::{Entry, Millis},
    state::State,
};
use crate::proto::agent_queue::TaskStatus;
use prost::Message;
use std::fmt::Write as _;

/// A request that may change something, and how it stands in the journal.
pub(super) struct JournaledRequest<'a, R> {
    pub(super) operation: &'static str,
    pub(super) agent_id: &'a str,
    pub(super) name: &'a str,
    pub(super) request: &'a R,
    pub(super) now: Millis,
}

impl<R: Message> JournaledRequest<'_, R> {
    pub(super) fn entry(&self) -> Entry {
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
pub(super) fn replay(state: &mut State, entry: &Entry) -> Result<(), String> {
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

pub(super) fn update_word(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Processing => "renew",
        TaskStatus::Pending => "release",
        _ => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        super::{Settings, Store as _},
        MemoryStore,
    };
    use crate::proto::agent_queue::*;

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
