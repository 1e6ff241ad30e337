//! A database that is refused, away, or comes back.

use super::{Database, database, open};
use crate::{
    conformance::{self, submission},
    process::{self, Serve},
};
use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Status};
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    agent_queue::{
        CreateQueueRequest, DESCRIPTORS, GetTaskRequest, SubmitTaskRequest, TaskStatus,
        UpdateTaskStatusRequest,
        agent_queue_client::AgentQueueClient,
        server::{PostgresStore, Store as _},
    },
};

/// No new connection is let in, and the open ones are cut.
async fn go_away(database: &Database) {
    let name = database.dsn.rsplit_once('/').expect("a URL").1;
    let shut = format!(
        "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    database::command(shut).await;
}

async fn come_back(database: &Database) {
    let name = database.dsn.rsplit_once('/').expect("a URL").1;
    database::command(format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")).await;
}

/// Asks until the answer is another; gives up after a while.
async fn until<T>(
    mut ask: impl AsyncFnMut() -> Result<T, Status>,
    wanted: impl Fn(&Result<T, Status>) -> bool,
) -> Result<T, Status> {
    let began = Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) || began.elapsed() > Duration::from_secs(30) {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn while_the_database_is_away_calls_are_unavailable_and_later_all_is_well() {
    let database = Database::new();
    let (store, other) = (open(&database).await, open(&database).await);
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    let mut news = store.notifier().subscribe("a");
    // Both listen; what they said when they began is heard.
    other.submit(submission("first"), 0).await.expect("submitted");
    timeout(Duration::from_secs(20), news.changed()).await.expect("told by the other server");

    go_away(&database).await;
    let health = until(async || store.health().await, |answer| answer.is_err()).await;
    assert_eq!(health.expect_err("it is away").code(), Code::Unavailable);
    let refused = store.submit(submission("second"), 0).await.expect_err("it is away");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    come_back(&database).await;
    let health = until(async || store.health().await, |answer| answer.is_ok()).await.expect("back");
    assert!(health.starts_with("PostgreSQL "), "{health}");
    let claim = GetTaskRequest { agent_id: "a".into(), claim_id: "c".into(), timeout: 0.0 };
    assert!(store.claim(claim, 0).await.expect("answered").answer.task.is_some());
    until(async || other.health().await, |answer| answer.is_ok()).await.expect("back");

    // News come again too, without a word from here: the store listens, and then looks.
    timeout(Duration::from_secs(20), news.changed()).await.expect("looks by itself");
    let again = async || {
        news.catch_up();
        other.submit(submission("third"), 0).await.expect("submitted");
        timeout(Duration::from_secs(2), news.changed())
            .await
            .map_err(|_| Status::unavailable("not told"))
    };
    until(again, |answer| answer.is_ok()).await.expect("told by the other server");
}

/// Crashes the whole PostgreSQL, so that it runs alone: `.ci/postgres` and `-- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes every other test's PostgreSQL away"]
async fn postgres_itself_crashes_under_load_and_no_call_fails_and_nothing_is_lost() {
    let restart = env::var("AGENT_QUEUE_POSTGRES_RESTART").expect("run this in .ci/postgres");
    let database = Database::new();
    let server = Serve::start(&database.dsn, &[]);
    let config = Config::builder()
        .port(server.address.port())
        .max_retry_attempts(10)
        .build()
        .expect("valid");
    let builder = Supervisor::builder(config).descriptor_set(DESCRIPTORS).expect("descriptors");
    let supervisor = builder.spawn();
    let channel = supervisor.channel();
    let mut client = AgentQueueClient::new(channel);
    client.create_queue(CreateQueueRequest { agent_id: "a".into() }).await.expect("made");

    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        workers.spawn(work(worker, client.clone(), stop.clone()));
    }
    for _ in 0..5 {
        sleep(Duration::from_secs(2)).await;
        let restart = restart.clone();
        let crash =
            tokio::task::spawn_blocking(move || Command::new(restart).status().expect("it runs"));
        assert!(crash.await.expect("it ends").success(), "PostgreSQL is up again");
    }
    stop.store(true, Relaxed);
    let done =
        timeout(Duration::from_secs(120), workers.join_all()).await.expect("nothing is stuck");
    let cycles: u64 = done.into_iter().sum();

    let sql = database.connect().await;
    let kept =
        "SELECT count(*), count(*) FILTER (WHERE status = 3 AND claims = 1) FROM agent_queue.task";
    let kept = sql.query_one(kept, &[]).await.expect("asked");
    let (all, completed): (i64, i64) = (kept.get(0), kept.get(1));
    println!("{cycles} tasks through 5 crashes");
    assert_eq!(
        (all.unsigned_abs(), completed.unsigned_abs()),
        (cycles, cycles),
        "each task is there and was done once"
    );
    assert!(cycles > 40, "there was no load to speak of");
    supervisor.shutdown(Duration::ZERO).await;
}

/// Submits, claims and completes until it is told to stop; returns how often.
async fn work(
    worker: usize,
    mut client: AgentQueueClient<SupervisedChannel>,
    stop: Arc<AtomicBool>,
) -> u64 {
    let agent_id = || "a".to_owned();
    for round in 0.. {
        if stop.load(Relaxed) {
            return round;
        }
        let task = submission(&format!("{worker}-{round}")).tasks.pop();
        client
            .submit_task(SubmitTaskRequest { agent_id: agent_id(), task })
            .await
            .expect("submitted");
        let claim_id = format!("claim-{worker}-{round}");
        let claim =
            GetTaskRequest { agent_id: agent_id(), claim_id: claim_id.clone(), timeout: 20.0 };
        let claimed = client.get_task(claim).await.expect("claimed").into_inner();
        let end = UpdateTaskStatusRequest {
            agent_id: agent_id(),
            task_id: claimed.task.expect("as many as were submitted").task_id,
            claim_id,
            status: TaskStatus::Completed as i32,
            ..UpdateTaskStatusRequest::default()
        };
        client.update_task_status(end).await.expect("ended");
    }
    0
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused_with_a_clear_sentence() {
    let database = Database::new();
    drop(open(&database).await);
    database
        .connect()
        .await
        .batch_execute("UPDATE agent_queue.version SET version = 99")
        .await
        .expect("written");
    let error = PostgresStore::open(&database.dsn, conformance::settings())
        .await
        .expect_err("newer")
        .to_string();
    assert!(
        error.contains("agent_queue has version 99") && error.contains("knows versions up to"),
        "{error}"
    );
}

#[tokio::test]
async fn servers_that_start_together_on_an_empty_database_make_the_tables_once() {
    let database = Database::new();
    let opened = futures::future::try_join_all(
        (0..8).map(|_| PostgresStore::open(&database.dsn, conformance::settings())),
    );
    assert_eq!(opened.await.expect("all opened").len(), 8);
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_with_a_clear_sentence() {
    let database = Database::with("ENCODING 'SQL_ASCII' TEMPLATE template0");
    let error = PostgresStore::open(&database.dsn, conformance::settings())
        .await
        .expect_err("refused")
        .to_string();
    assert!(error.ends_with("the database's encoding is SQL_ASCII and must be UTF8"), "{error}");
}

#[tokio::test]
async fn the_password_is_never_printed() {
    let database = Database::new();
    let store = open(&database).await;
    let (before, rest) = database.dsn.split_once("://").expect("a URL");
    let (user, rest) = rest.split_once(':').expect("a user");
    let (password, place) = rest.split_once('@').expect("a password");
    let wrong = "the-wrong-password";
    let mut shown = vec![format!("{store:?}"), store.health().await.expect("well")];
    for dsn in [
        format!("{before}://{user}:{wrong}@{place}"),
        format!("{before}://{user}:{wrong}@127.0.0.1:1/x"),
        format!("{before}://{user}:{wrong}@{place}?what=ever"),
        format!("{before}://{user}:{wrong}@{place}?connect_timeout=soon"),
        format!("{before}://{user}:{wrong}@@:{place}"),
        format!("host=127.0.0.1 password={wrong} port=x"),
        format!("host=127.0.0.1 password='{wrong}"),
        format!("password={wrong} nonsense"),
    ] {
        let error = PostgresStore::open(&dsn, conformance::settings()).await.expect_err("refused");
        shown.extend([error.to_string(), format!("{error:?}")]);
        let serve = process::command(&[
            "serve",
            "--addr",
            "127.0.0.1:0",
            "--store",
            &format!("postgres:{dsn}"),
        ])
        .output();
        let serve = serve.expect("it ends");
        assert!(!serve.status.success());
        shown.extend(
            [serve.stdout, serve.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        );
    }
    for text in shown {
        assert!(!text.contains(wrong) && !text.contains(password), "{text}");
    }
}
