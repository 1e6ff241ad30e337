//! A store that version 1 of the schema made opens today, with everything that was promised for it.
//!
//! The files beside this one were made once, by the program that had version 1:
//! `made_by_this_program` says how, and
//! makes the next ones when the schema has a new version. The old files stay: each is opened by
//! every later program.

use crate::conformance::{claim, settings, submission};
use tonic::Code;
use tonic_supervisor::agent_queue::{
    BatchDeleteTasksRequest, BatchSubmitTasksRequest, CancelTaskRequest, ClearQueueRequest,
    CreateQueueRequest, GetTaskStatsRequest, ListTasksRequest, NewTask, RetryTaskRequest, Task,
    TaskStatus, UpdateTaskStatusRequest, server::Store,
};

fn update(
    task_id: &str,
    claim_id: &str,
    status: TaskStatus,
    words: [&str; 2],
) -> UpdateTaskStatusRequest {
    UpdateTaskStatusRequest {
        agent_id: "a".into(),
        task_id: task_id.into(),
        claim_id: claim_id.into(),
        status: status as i32,
        result: words[0].into(),
        error_message: words[1].into(),
    }
}

fn clear(name: &str) -> ClearQueueRequest {
    let (agent_id, client_request_id) = ("cleared".into(), name.into());
    ClearQueueRequest { agent_id, status: None, confirm: true, client_request_id }
}

fn delete(task_id: &str) -> BatchDeleteTasksRequest {
    let (agent_id, task_ids) = ("a".into(), vec![task_id.into()]);
    BatchDeleteTasksRequest { agent_id, task_ids, client_request_id: "delete".into() }
}

fn cancel() -> CancelTaskRequest {
    let (agent_id, task_id) = ("a".into(), "task-5".into());
    CancelTaskRequest {
        agent_id,
        task_id,
        reason: "nobody wants it".into(),
        client_request_id: "cancel".into(),
    }
}

fn retry() -> RetryTaskRequest {
    RetryTaskRequest {
        agent_id: "a".into(),
        task_id: "task-2".into(),
        client_request_id: "retry".into(),
    }
}

/// Everything that a store can hold, in an empty one: tasks of each status, names, claims that are
/// over.
pub(crate) async fn fill(store: &impl Store) {
    for agent_id in ["a", "cleared"] {
        store
            .create_queue(CreateQueueRequest { agent_id: agent_id.into() }, 500)
            .await
            .expect("made");
    }
    for number in 1..=8 {
        let mut request = submission(&format!("name-{number}"));
        request.tasks[0].payload = format!(r#"{{"text":"Größe {number}"}}"#);
        store.submit(request, 1000 + number).await.expect("submitted");
    }
    // Tasks 1 to 4 are claimed in turn; the last claim's lease of 10 s ends at 12,004.
    for number in 1..=4 {
        store.claim(claim(&format!("claim-{number}"), 0.0), 2000 + number).await.expect("claimed");
    }
    for request in [
        update("task-1", "claim-1", TaskStatus::Completed, [r#"{"ok":true}"#, ""]),
        update("task-2", "claim-2", TaskStatus::Failed, ["", "it did not work"]),
        update("task-3", "claim-3", TaskStatus::Pending, ["", ""]),
    ] {
        store.update(request, 3000).await.expect("updated");
    }
    store.cancel(cancel(), 3001).await.expect("cancelled");
    store.delete_tasks(delete("task-6"), 3002).await.expect("deleted");
    store.retry(retry(), 3003).await.expect("retried");
    let task = NewTask {
        r#type: 10,
        custom_type: "mine".into(),
        priority: Some(9),
        payload: "[]".into(),
        client_request_id: "cleared-name".into(),
    };
    let tasks = vec![task];
    store
        .submit(BatchSubmitTasksRequest { agent_id: "cleared".into(), tasks }, 3004)
        .await
        .expect("submitted");
    store.clear_queue(clear("clear"), 3005).await.expect("cleared");
}

async fn all(store: &impl Store, now: i64) -> Vec<Task> {
    let request =
        ListTasksRequest { agent_id: "a".into(), limit: Some(1000), ..ListTasksRequest::default() };
    store.list(request, now).await.expect("listed").tasks
}

/// What was promised for a store that [`fill`] filled still holds.
pub(crate) async fn keeps_its_promises(store: &impl Store) {
    use TaskStatus::{Cancelled, Completed, Failed, Pending, Processing};
    let shown = all(store, 4000).await;
    let kept: Vec<_> =
        shown.iter().map(|task| (&*task.task_id, task.status(), task.claims)).collect();
    let expected = [
        ("task-1", Completed, 1),
        ("task-2", Failed, 1),
        ("task-3", Pending, 1),
        ("task-4", Processing, 1),
        ("task-5", Cancelled, 0),
        ("task-7", Pending, 0),
        ("task-8", Pending, 0),
        ("task-9", Pending, 0),
    ];
    assert_eq!(kept, expected);
    assert_eq!(shown[0].result, r#"{"ok":true}"#);
    assert_eq!(shown[1].error_message, "it did not work");
    assert_eq!(shown[2].payload, r#"{"text":"Größe 3"}"#);
    assert_eq!(shown[7].retry_of, "task-2");
    let stats = GetTaskStatsRequest { agent_id: "a".into() };
    assert_eq!(store.stats(stats, 4000).await.expect("counted").tasks.expect("counts").pending, 4);

    // Names give their first answers again.
    for (name, task_id) in [("name-1", "task-1"), ("name-6", "task-6"), ("name-8", "task-8")] {
        let again = store.submit(submission(name), 4001).await.expect("known").tasks.remove(0);
        assert_eq!((&*again.task_id, again.already_submitted), (task_id, true));
    }
    assert_eq!(
        store.cancel(cancel(), 4002).await.expect("known").task.expect("a task").status(),
        Cancelled
    );
    assert_eq!(store.delete_tasks(delete("task-6"), 4002).await.expect("known").deleted, 1);
    assert_eq!(store.retry(retry(), 4002).await.expect("known").task_id, "task-9");
    assert_eq!(store.clear_queue(clear("clear"), 4002).await.expect("known").deleted, 1);

    // Claims hold, or are over.
    store.update(update("task-4", "claim-4", Processing, ["", ""]), 4003).await.expect("it holds");
    for (claim_id, code) in [("claim-3", Code::FailedPrecondition), ("claim-1", Code::Ok)] {
        let again =
            store.claim(claim(claim_id, 0.0), 4003).await.map(|claimed| claimed.answer.task);
        assert_eq!(
            again.as_ref().map_or_else(|status| status.code(), |_| Code::Ok),
            code,
            "{claim_id}: {again:?}"
        );
    }
    let next =
        store.claim(claim("new", 0.0), 4004).await.expect("claimed").answer.task.expect("a task");
    assert_eq!(next.task_id, "task-3", "the oldest");
    let late = all(store, 100_000).await;
    assert_eq!(late.iter().filter(|task| task.status() == Pending).count(), 5, "the leases ended");

    // A watch goes on from its first moment, and numbers go on too.
    let told = store.changes("a", Some(0.into()), 100_001).await.expect("told").changes;
    let deleted: Vec<_> =
        told.iter().filter(|change| change.task.is_none()).map(|change| &*change.task_id).collect();
    assert_eq!(deleted, ["task-6"]);
    let new = store.submit(submission("new"), 100_002).await.expect("submitted").tasks.remove(0);
    let number: i64 = new.task_id.strip_prefix("task-").expect("an id").parse().expect("a number");
    assert!(number > 10 && !new.already_submitted, "no number is given twice: {new:?}");
}

mod files {
    use super::{fill, keeps_its_promises, settings};
    use std::{fs, path::Path};
    use tonic_supervisor::agent_queue::server::SqliteStore;

    const SQLITE_1: &[u8] = include_bytes!("sqlite_1.db");

    #[tokio::test]
    async fn a_sqlite_file_of_version_1_opens_with_all_that_was_promised_for_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("queue.db");
        fs::write(&path, SQLITE_1).expect("written");
        keeps_its_promises(&SqliteStore::open(&path, settings()).expect("opened")).await;
        let store = SqliteStore::open(&path, settings()).expect("opened again");
        drop(store);
    }

    /// `cargo test --features serve --test queue -- --ignored made_by_this_program`
    #[tokio::test]
    #[ignore = "makes the file of a new version"]
    async fn a_sqlite_file_made_by_this_program() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sqlite_new.db");
        let _ = fs::remove_file(&path);
        let store = SqliteStore::open(&path, settings()).expect("opened");
        fill(&store).await;
        drop(store);
        // All of it is to be in the one file.
        let file = rusqlite::Connection::open(&path).expect("opened");
        file.pragma_update(None, "journal_mode", "delete").expect("written");
        println!("made {}", path.display());
    }
}
