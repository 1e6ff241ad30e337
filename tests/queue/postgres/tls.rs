//! Over TLS, and against a database that is frozen.

use super::Database;
use crate::{
    conformance::{self, claim, submission},
    process::Serve,
};
use std::{env, process::Command, time::Duration};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, transport::Endpoint};
use tonic_supervisor::agent_queue::{
    CreateQueueRequest, HealthCheckRequest, QueueExistsRequest,
    agent_queue_client::AgentQueueClient,
    server::{PostgresStore, Store as _},
};

/// The authority of the database's certificate; none where it was built without TLS.
fn authority() -> Option<String> {
    let named = env::var("AGENT_QUEUE_POSTGRES_CA").expect("run this in .ci/postgres");
    Some(named).filter(|named| !named.is_empty())
}

async fn encrypted(database: &Database) -> (i64, i64) {
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM \
               pg_stat_ssl \
        JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND pid <> \
        pg_backend_pid()";
    let row = database.connect().await.query_one(sql, &[]).await.expect("asked");
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn over_tls_everything_works_and_every_connection_is_encrypted() {
    for mode in ["verify-full", "require"] {
        let database = Database::new();
        let Some(authority) = authority() else {
            let dsn = format!("{}?sslmode={mode}", database.dsn);
            let error = PostgresStore::open(&dsn, conformance::settings())
                .await
                .expect_err("no TLS")
                .to_string();
            assert!(error.contains("does not support TLS"), "{error}");
            continue;
        };
        let dsn = format!("{}?sslmode={mode}&sslrootcert={authority}", database.dsn);
        let store = PostgresStore::open(&dsn, conformance::settings()).await.expect("opened");
        // It listens, too.
        store.notifier().subscribe("a").changed().await;
        store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
        store.submit(submission("r"), 1).await.expect("submitted");
        assert!(store.claim(claim("c", 0.0), 2).await.expect("claimed").answer.task.is_some());
        let (yes, no) = encrypted(&database).await;
        assert!(yes >= 2 && no == 0, "{yes} connections are encrypted and {no} are not");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_verified_is_refused_and_nothing_falls_back() {
    let Some(authority) = authority() else { return };
    let database = Database::new();
    let elsewhere = database.dsn.replace("127.0.0.1", "127.0.0.2");
    let folder = tempfile::tempdir().expect("folder");
    let other = crate::certificates::Authority::new("another");
    let path = folder.path().join("other.pem");
    std::fs::write(&path, &other.pem).expect("written");
    for (dsn, words) in [
        (
            format!("{}?sslmode=verify-full&sslrootcert={}", database.dsn, path.display()),
            "certificate",
        ),
        (format!("{}?sslmode=require", database.dsn), "certificate"),
        (format!("{elsewhere}?sslmode=require&sslrootcert={}", authority), ""),
        (format!("{}?sslrootcert={}", database.dsn, authority), "sslmode=verify-full"),
        (format!("{}?sslmode=sometimes", database.dsn), "sslmode must be"),
        (
            format!("{}?sslmode=require&sslrootcert=/nowhere.pem", database.dsn),
            "sslrootcert cannot be read",
        ),
    ] {
        let opened = PostgresStore::open(&dsn, conformance::settings()).await;
        let error = opened.err().unwrap_or_else(|| panic!("{dsn} is refused")).to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(encrypted(&database).await, (0, 0));
}

/// All the server's sessions, by their processes' numbers.
async fn sessions(database: &Database) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> \
               pg_backend_pid()";
    database
        .connect()
        .await
        .query(sql, &[])
        .await
        .expect("asked")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

fn signal(word: &str, processes: &[i32]) {
    let sent = Command::new("kill").arg(word).args(processes.iter().map(i32::to_string)).status();
    assert!(sent.expect("kill").success());
}

/// A frozen process still acknowledges what it is sent, so that TCP finds nothing wrong.
#[tokio::test]
async fn while_the_database_is_frozen_a_call_ends_by_its_own_deadline_and_health_says_so() {
    let database = Database::new();
    let server = Serve::start(&database.dsn, &[]);
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
    let mut client = AgentQueueClient::new(endpoint.connect().await.expect("connected"));
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");
    let frozen = sessions(&database).await;
    signal("-STOP", &frozen);

    let begun = Instant::now();
    let mut request = Request::new(QueueExistsRequest { agent_id: "a".into() });
    request.set_timeout(Duration::from_secs(1));
    let ended = client.queue_exists(request).await.expect_err("it is frozen");
    assert!(matches!(ended.code(), Code::DeadlineExceeded | Code::Cancelled), "{ended}");
    assert!(begun.elapsed() < Duration::from_secs(4), "by its own deadline: {:?}", begun.elapsed());
    let health = timeout(Duration::from_secs(15), client.health_check(HealthCheckRequest {})).await;
    let health = health.expect("it is answered").expect("answered").into_inner();

    signal("-CONT", &frozen);
    assert!(!health.healthy, "{health:?}");
    let again = client.queue_exists(QueueExistsRequest { agent_id: "a".into() });
    assert!(
        timeout(Duration::from_secs(20), again)
            .await
            .expect("in time")
            .expect("answered")
            .into_inner()
            .exists
    );
}

/// The database's clock is the server's, whatever this machine's says.
#[tokio::test]
async fn the_time_is_the_time_of_the_database() {
    let database = Database::new();
    let ahead = "CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz \
                 LANGUAGE sql \
        AS 'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''";
    database.connect().await.batch_execute(ahead).await.expect("made");
    let here =
        PostgresStore::open(&database.dsn, conformance::settings()).await.expect("opened").now();
    let dsn = format!("{}?options=-c%20search_path%3Dahead,pg_catalog", database.dsn);
    let store = PostgresStore::open(&dsn, conformance::settings()).await.expect("opened");
    let ahead = store.now() - here;
    assert!((3_590_000..3_660_000).contains(&ahead), "{ahead} ms");
}
