//! Several servers on one database: what one is told the others know, and nothing is given twice.

use super::{Cursor, Database, open};
use crate::{
    conformance::{self, claim, submission},
    process::Serve,
};
use std::{collections::HashSet, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Endpoint;
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, ClearQueueRequest, CreateQueueRequest, NewTask, SubmitTaskRequest,
    agent_queue_client::AgentQueueClient,
    server::{PostgresStore, Store as _},
};

async fn client(server: &Serve) -> AgentQueueClient<tonic::transport::Channel> {
    let channel = Endpoint::from_shared(format!("http://{}", server.address))
        .expect("an address")
        .connect()
        .await;
    AgentQueueClient::new(channel.expect("connected"))
}

/// A task that no server was told of is not seen by a claim that waits; the next word of another
/// server wakes it.
#[tokio::test]
async fn a_waiting_claim_is_woken_by_another_server_and_does_not_poll() {
    let database = Database::new();
    let (here, there) = (Serve::start(&database.dsn, &[]), Serve::start(&database.dsn, &[]));
    let began = Instant::now();
    client(&there)
        .await
        .create_queue(CreateQueueRequest { agent_id: "a".into() })
        .await
        .expect("made");
    let mut waiter = client(&here).await;
    let waiting = tokio::spawn(async move {
        waiter.get_task(claim("c", 50.0)).await.expect("answered").into_inner()
    });
    let sql = database.connect().await;
    // A claim that waits has looked twice; it waits when no server of this database is doing
    // anything.
    let quiet = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'tonic-supervisor' AND now() - state_change < interval '300 ms'";
    while !sql.query_one(quiet, &[]).await.expect("asked").get::<_, bool>(0) {
        sleep(Duration::from_millis(50)).await;
    }
    let silent = "INSERT INTO agent_queue.task (queue, request_id, type, custom_type, payload, \
                  priority, status, created_at, retry_of) \
        SELECT id, 'silent', 1, '', '{}', 9, 1, 0, '' FROM agent_queue.queue";
    assert_eq!(sql.execute(silent, &[]).await.expect("written"), 1);
    sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished(), "it looked though nobody told it");

    let told = Instant::now();
    let task = NewTask {
        r#type: 1,
        payload: "{}".into(),
        client_request_id: "r".into(),
        ..NewTask::default()
    };
    let request = SubmitTaskRequest { agent_id: "a".into(), task: Some(task) };
    client(&there).await.submit_task(request).await.expect("submitted");
    let woken = timeout(Duration::from_secs(10), waiting).await.expect("woken").expect("answered");
    assert_eq!(woken.task.expect("a task").priority, 9, "it took the best of what was there");
    // The look without a word comes every 30 s; before it, only a word can have woken the claim.
    println!(
        "woken {:?} after the submission, {:?} after the start",
        told.elapsed(),
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_ask_of_two_servers_at_once_is_done_once() {
    let database = Database::new();
    conformance::what_many_ask_of_two_stores_at_once_is_done_once([
        open(&database).await,
        open(&database).await,
    ])
    .await;
}

/// Follows the queue from `cursor` to the end of what there is to tell; returns the tasks it was
/// told, and the new cursor.
async fn told(store: &PostgresStore, mut cursor: Cursor) -> (Vec<String>, Cursor) {
    let mut told = Vec::new();
    loop {
        let news = store.changes("a", Some(cursor), 0).await.expect("a queue");
        cursor = news.cursor;
        if news.changes.is_empty() {
            return (told, cursor);
        }
        assert!(news.changes.len() <= 1000);
        told.extend(news.changes.into_iter().map(|change| change.task_id));
    }
}

/// Transactions commit in another order than they began, and a cursor is good across both.
#[tokio::test]
async fn a_watch_misses_nothing_that_commits_late_and_hears_nothing_twice() {
    let database = Database::new();
    let store = open(&database).await;
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    let start = store.changes("a", None, 0).await.expect("a queue").cursor;
    let submit = async |name: &str| {
        store.submit(submission(name), 0).await.expect("submitted").tasks[0].task_id.clone()
    };
    let first = submit("first").await;

    let mut sql = database.connect().await;
    let late = sql.transaction().await.expect("begun");
    let touch = "UPDATE agent_queue.task SET priority = 9, changed = pg_current_xact_id() WHERE \
                 request_id = 'first'";
    late.execute(touch, &[]).await.expect("touched");
    let second = submit("second").await;

    let (heard, cursor) = told(&store, start.clone()).await;
    assert_eq!(heard, [first.clone(), second.clone()], "as it is committed now");
    assert_eq!(
        told(&store, cursor.clone()).await.0,
        [""; 0],
        "and only once, though an older transaction is open"
    );
    let number: u64 = cursor.clone().into();
    late.commit().await.expect("committed");
    let (late, _) = told(&store, cursor).await;
    assert_eq!(late.iter().collect::<Vec<_>>(), [&first], "what committed late");
    let (again, _) = told(&store, number.into()).await;
    assert!(again.contains(&first), "the number alone misses nothing either: {again:?}");
}

#[tokio::test]
async fn a_clearing_of_thousands_is_told_in_pages_and_whole() {
    let database = Database::new();
    let store = open(&database).await;
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    for batch in 0..5 {
        let tasks = (0..500).flat_map(|number| submission(&format!("{batch}-{number}")).tasks);
        let request = BatchSubmitTasksRequest { agent_id: "a".into(), tasks: tasks.collect() };
        store.submit(request, 0).await.expect("submitted");
    }
    let start = store.changes("a", None, 0).await.expect("a queue").cursor;
    let request = ClearQueueRequest {
        agent_id: "a".into(),
        status: None,
        confirm: true,
        client_request_id: "clear".into(),
    };
    assert_eq!(store.clear_queue(request, 1).await.expect("cleared").deleted, 2500);
    let (heard, _) = told(&store, start).await;
    assert_eq!(
        (heard.len(), heard.iter().collect::<HashSet<_>>().len()),
        (2500, 2500),
        "each once"
    );
}

/// What is read for a claim does not grow with what waits.
#[tokio::test]
async fn a_claim_among_100_000_pending_tasks_is_an_index_look_up() {
    let database = Database::new();
    let store = open(&database).await;
    conformance::fill(&store).await;
    let sql = database.connect().await;
    let read = async || {
        let statement = "SELECT seq_scan, idx_tup_fetch, idx_scan FROM pg_stat_user_tables WHERE \
                         relname = 'task'";
        let row = sql.query_one(statement, &[]).await.expect("asked");
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2))
    };
    // What a session did is in the statistics when it has been idle for a while, or is over.
    let settled = async |store: PostgresStore| {
        drop(store);
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                        AND pid <> pg_backend_pid()";
        while sql.query_one(sessions, &[]).await.expect("asked").get::<_, i64>(0) > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        read().await
    };
    let before = settled(store).await;
    let store = PostgresStore::open(&database.dsn, conformance::settings()).await.expect("opened");
    for number in 0..100 {
        let task = store
            .claim(claim(&format!("claim-{number}"), 0.0), 1)
            .await
            .expect("claimed")
            .answer
            .task;
        assert_eq!(task.expect("a task").priority, 9, "the first of the highest priority");
    }
    let after = settled(store).await;
    assert_eq!(after.0, before.0, "no claim read the whole table");
    let (rows, scans) = (after.1 - before.1, after.2 - before.2);
    assert!(scans >= 100 && rows < 100 * 10, "{rows} rows in {scans} look-ups for 100 claims");
}
