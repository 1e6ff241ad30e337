//! The SQLite file on the disk: whole after a stop, for its owner alone, and seen to be damaged.

use crate::{
    conformance::{self, claim, submission},
    process::{Serve, command},
};
use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_supervisor::agent_queue::{
    CreateQueueRequest, HealthCheckRequest as AskQueue, ListTasksRequest, WatchQueueRequest,
    agent_queue_client::AgentQueueClient,
    server::{SqliteStore, Store as _},
};

const LONG: Duration = Duration::from_secs(30);

async fn connect(server: &Serve) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
    endpoint.connect().await.expect("connected")
}

/// How many tasks of agent "a" a copy of this file holds, without anything that stands beside it.
async fn tasks_in_a_copy(path: &Path) -> u64 {
    let folder = tempfile::tempdir().expect("folder");
    let copy = folder.path().join("copy.db");
    fs::copy(path, &copy).expect("copied");
    let store = SqliteStore::open(&copy, conformance::settings()).expect("opened");
    let list =
        ListTasksRequest { agent_id: "a".into(), limit: Some(1), ..ListTasksRequest::default() };
    store.list(list, 0).await.expect("listed").total
}

#[tokio::test]
async fn after_a_sigterm_the_file_alone_holds_everything() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("queue.db");
    let server = Serve::start(&format!("sqlite:{}", path.display()), &[]);
    let mut client = AgentQueueClient::new(connect(&server).await);
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    for number in 0..1000 {
        let task = submission(&format!("r{number}")).tasks.pop();
        let request =
            tonic_supervisor::agent_queue::SubmitTaskRequest { agent_id: "a".into(), task };
        client.submit_task(request).await.expect("submitted");
    }
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let mode =
            fs::metadata(folder.path().join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name} is for its owner alone");
    }
    // What is open when the signal comes does not hold it up.
    let request = WatchQueueRequest { agent_id: "a".into(), cursor: Some(0) };
    let watch = client.watch_queue(request).await.expect("watched");
    server.terminate();
    assert_eq!(timeout(LONG, server.ended()).await.expect("ended").code(), Some(0));
    drop(watch);
    assert_eq!(tasks_in_a_copy(&path).await, 1000);
    assert!(!folder.path().join("queue.db-wal").exists(), "nothing is left beside it");
}

#[tokio::test]
async fn a_store_that_is_closed_leaves_its_file_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("queue.db");
    for round in 1..4 {
        let store = SqliteStore::open(&path, conformance::settings()).expect("opened");
        store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
        store.submit(submission(&format!("r{round}")), 1).await.expect("submitted");
        store.health().await.expect("well");
        drop(store);
        assert_eq!(tasks_in_a_copy(&path).await, round);
    }
}

async fn until_not_serving(server: &Serve) -> String {
    let channel = connect(server).await;
    let mut health = HealthClient::new(channel.clone());
    let mut queue = AgentQueueClient::new(channel);
    let noticed = async {
        loop {
            let asked = HealthCheckRequest { service: String::new() };
            let status = health.check(asked).await.expect("answered").into_inner().status();
            let said = queue.health_check(AskQueue {}).await.expect("answered").into_inner();
            if status == ServingStatus::NotServing && !said.healthy {
                return said.message;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, noticed).await.expect("health sees it")
}

async fn a_served_file(folder: &tempfile::TempDir) -> Serve {
    let path = folder.path().join("queue.db");
    let store = SqliteStore::open(&path, conformance::settings()).expect("opened");
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    for number in 0..200 {
        store.submit(submission(&format!("r{number}")), 1).await.expect("submitted");
    }
    store.claim(claim("c", 0.0), 2).await.expect("claimed");
    drop(store);
    Serve::start(&format!("sqlite:{}", path.display()), &[])
}

#[tokio::test]
async fn a_file_that_is_replaced_under_the_server_is_seen_by_health_which_tells_no_path() {
    let folder = tempfile::tempdir().expect("folder");
    let server = a_served_file(&folder).await;
    let mut queue = AgentQueueClient::new(connect(&server).await);
    let well = queue.health_check(AskQueue {}).await.expect("answered").into_inner();
    assert!(well.healthy && !well.message.contains('/'), "{well:?}");
    fs::write(folder.path().join("other"), "a song").expect("written");
    fs::rename(folder.path().join("other"), folder.path().join("queue.db")).expect("replaced");
    let said = until_not_serving(&server).await;
    assert!(
        said.contains("replaced") && !said.contains('/') && !said.contains("queue.db"),
        "{said}"
    );
}

#[tokio::test]
async fn a_file_that_was_damaged_is_seen_by_health_before_any_call_comes_upon_it() {
    let folder = tempfile::tempdir().expect("folder");
    drop(a_served_file(&folder).await);
    let path = folder.path().join("queue.db");
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened");
    let size = file.metadata().expect("there").len();
    // The last pages hold tasks and their indexes; what is read at the start is left alone.
    file.write_all_at(&[0xab; 8192], size - 3 * 4096).expect("written");
    drop(file);
    let server = Serve::start(&format!("sqlite:{}", path.display()), &[]);
    let said = until_not_serving(&server).await;
    assert!(said.contains("damaged") && !said.contains("queue.db"), "{said}");
}

#[test]
fn names_that_are_no_files_are_refused() {
    for (store, code) in
        [("sqlite::memory:", 2), ("sqlite:file:x?mode=memory", 2), ("sqlite:/dev/null", 1)]
    {
        let output = command(&["serve", "--store", store, "--addr", "127.0.0.1:0"])
            .output()
            .expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{store}: {said}");
    }
}

#[test]
fn the_database_of_something_else_is_refused_whatever_version_it_counts() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("songs.db");
    let file = rusqlite::Connection::open(&path).expect("opened");
    file.execute_batch("CREATE TABLE meta (key TEXT); PRAGMA user_version = 1").expect("made");
    drop(file);
    let error = SqliteStore::open(&path, conformance::settings()).expect_err("foreign").to_string();
    assert!(error.contains("songs.db") && error.contains("something else"), "{error}");
    fs::write(&path, "no database at all, but long enough to be looked at as one".repeat(100))
        .expect("written");
    let error =
        SqliteStore::open(&path, conformance::settings()).expect_err("no database").to_string();
    assert!(error.contains("not a database"), "{error}");
}

/// The command's SQL is read out of the page, and done to the file of a server at work.
#[tokio::test]
async fn the_backup_of_the_docs_copies_the_queues_of_a_server_that_works() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agent-queue.md"))
        .expect("the page");
    let line = page.lines().find(|line| line.starts_with("$ sqlite3 ")).expect("the command");
    let sql = line.split('"').nth(1).expect("its SQL");
    let copy_of_the_docs = sql.split('\'').nth(1).expect("its file");
    let folder = tempfile::tempdir().expect("folder");
    let (path, copy) = (folder.path().join("queue.db"), folder.path().join("copy.db"));
    let server = Serve::start(&format!("sqlite:{}", path.display()), &[]);
    let mut client = AgentQueueClient::new(connect(&server).await);
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let submit = async |client: &mut AgentQueueClient<Channel>, number: usize| {
        let task = submission(&format!("r{number}")).tasks.pop();
        let request =
            tonic_supervisor::agent_queue::SubmitTaskRequest { agent_id: "a".into(), task };
        client.submit_task(request).await.expect("submitted");
    };
    for number in 0..100 {
        submit(&mut client, number).await;
    }
    let sql = sql.replace(copy_of_the_docs, copy.to_str().expect("text"));
    let original = path.clone();
    let mut copied = tokio::task::spawn_blocking(move || {
        rusqlite::Connection::open(&original)
            .and_then(|file| file.execute_batch(&sql))
            .expect("copied");
    });
    let mut submitted = 100;
    while !copied.is_finished() {
        submit(&mut client, submitted).await;
        submitted += 1;
    }
    (&mut copied).await.expect("joined");
    let tasks = tasks_in_a_copy(&copy).await;
    assert!((100..=submitted as u64).contains(&tasks), "{tasks} of {submitted}");
    drop(server);
    // The copy is served as it is.
    let restored = Serve::start(&format!("sqlite:{}", copy.display()), &[]);
    let mut client = AgentQueueClient::new(connect(&restored).await);
    let list =
        ListTasksRequest { agent_id: "a".into(), limit: Some(1), ..ListTasksRequest::default() };
    assert_eq!(client.list_tasks(list).await.expect("listed").into_inner().total, tasks);
}
