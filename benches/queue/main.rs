//! The agent queue: how much of its store's rate the whole path delivers, and what a claim costs in
//! a long queue.
//!
//! *Path*: 32 submitters and 16 agents, each on a supervised channel of its own, `serve` in another
//! process; beside it the bare store, called in this process by as many writers, in turns. Every
//! answer is durable on both sides. *Claim*: the bare store, 100 and 100,000 tasks pending in one
//! queue, in turns; SQLite's file in memory, so that the disk does not hide the difference.
//! *Waiting*: 400 submissions beside 3,000 claims that wait for them, against 400 that do; and
//! beside 3,000 that wait for another queue, against none. 400 silent connections are there all the
//! time.
//!
//! `.ci/postgres cargo bench --features serve --bench queue -- [--quick] [--json]`; without the
//! first word, SQLite alone. Its files are below `target/`: temporary folders may not be on a disk.

#[path = "../common/mod.rs"]
mod common;

mod claims;
mod load;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/queue/process.rs"]
mod process;
mod waiting;

use common::{Run, row::Row};
use load::{Bare, Remote, Sample};
use process::Serve;
use std::{env, path::Path, process::ExitCode, sync::Arc, time::Duration};
use tonic_supervisor::agent_queue::server::{PostgresStore, Settings, SqliteStore, Store};
use waiting::Crowd;

/// Tasks pending in the short queue and in the long one.
const PENDING: [usize; 2] = [100, 100_000];

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = |name| folder.path().join(name);
    let bare = SqliteStore::open(&file("bare.db"), Settings::default()).expect("a store");
    let spec = format!("sqlite:{}", file("served.db").display());
    let mut rows = path(how, "sqlite", bare, &spec).await;

    rows.extend(waiting(how, "sqlite", &format!("sqlite:{}", file("waiting.db").display())).await);

    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() { memory.into() } else { env::temp_dir() };
    let memory = tempfile::tempdir_in(memory).expect("a folder");
    let store =
        SqliteStore::open(&memory.path().join("claims.db"), Settings::default()).expect("a store");
    rows.extend(claims(how, "sqlite", store).await);

    if let Ok(dsn) = env::var("AGENT_QUEUE_POSTGRES") {
        let open = async || PostgresStore::open(&dsn, Settings::default()).await.expect("a store");
        rows.extend(path(how, "postgres", open().await, &dsn).await);
        rows.extend(claims(how, "postgres", open().await).await);
        rows.extend(waiting(how, "postgres", &dsn).await);
    }
    rows
}

/// The whole path beside the bare store.
async fn path<S: Store>(how: Run, kind: &str, bare: S, spec: &str) -> Vec<Row> {
    let (rounds, window) =
        if how.quick { (2, Duration::from_millis(200)) } else { (9, Duration::from_millis(1500)) };
    let server = Serve::start(spec, &[]);
    let bare = Bare(Arc::new(bare));
    let bare = vec![bare; load::WRITERS];
    let mut remote = Vec::new();
    for _ in 0..load::WRITERS {
        remote.push(Remote::connect(server.address).await);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let neighbours = (
            load::run(&remote, "path", round, window).await,
            load::run(&bare, "bare", round, window).await,
        );
        // The first round warms up.
        if round > 0 {
            ours.push(neighbours.0);
            theirs.push(neighbours.1);
        }
    }
    let row = |measure: &str, unit, figure: fn(&Sample) -> f64| {
        let [ours, theirs] =
            [&ours, &theirs].map(|samples| samples.iter().map(figure).collect::<Vec<_>>());
        let row = Row::new("queue", format!("{kind}.{measure}"), unit, &ours);
        row.at(load::PAYLOAD, load::WRITERS).against("bare store", &ours, &theirs)
    };
    vec![
        row("tasks_per_s", "1/s", |sample| sample.tasks_per_s),
        row("operations_per_s", "1/s", |sample| sample.operations_per_s),
        row("submit.p50", "ms", |sample| sample.submit[0]),
        row("submit.p99", "ms", |sample| sample.submit[1]),
        row("claim.p50", "ms", |sample| sample.claim[0]),
        row("claim.p99", "ms", |sample| sample.claim[1]),
        row("complete.p50", "ms", |sample| sample.complete[0]),
        row("complete.p99", "ms", |sample| sample.complete[1]),
    ]
}

/// A claim in a long queue beside one in a short queue.
async fn claims<S: Store>(how: Run, kind: &str, store: S) -> Vec<Row> {
    let (rounds, long) = if how.quick { (3, 2_000) } else { (30, PENDING[1]) };
    let short = claims::Queue::fill(&store, "short", PENDING[0]).await;
    let long = claims::Queue::fill(&store, "long", long).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let neighbours = (long.claim_some(round).await, short.claim_some(round).await);
        if round > 0 {
            ours.push(neighbours.0);
            theirs.push(neighbours.1);
        }
    }
    let measure = format!("{kind}.claim_of_{}_pending", long.pending());
    vec![Row::new("queue", measure, "us", &ours).against("100 pending", &ours, &theirs)]
}

/// Submissions beside claims that wait.
async fn waiting(how: Run, kind: &str, spec: &str) -> Vec<Row> {
    let (rounds, submissions, many, few) =
        if how.quick { (1, 20, 200, 20) } else { (3, 400, 3000, 400) };
    let server = Serve::start(spec, &[]);
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(tokio::net::TcpStream::connect(server.address).await.expect("connected"));
    }
    let (mut same, mut fewer, mut beside, mut alone) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let name = |what: &str| format!("waiting-{}-{round}-{what}", std::process::id());
        let mut quiet = Crowd::gather(&server, name("none"), 0).await;
        alone.push(quiet.submit(0, submissions).await);
        let mut crowd = Crowd::gather(&server, name("few"), few).await;
        fewer.push(crowd.submit(0, submissions).await);
        crowd.leave().await;
        let mut crowd = Crowd::gather(&server, name("many"), many).await;
        beside.push(quiet.submit(1, submissions).await);
        same.push(crowd.submit(0, submissions).await);
        crowd.leave().await;
        quiet.leave().await;
    }
    let row =
        |measure: String, ours: &[f64]| Row::new("queue", format!("{kind}.{measure}"), "ms", ours);
    vec![
        row(format!("submits_beside_{many}_waiting"), &same).against(
            "a few waiting",
            &same,
            &fewer,
        ),
        row(format!("submits_beside_{many}_elsewhere"), &beside).against(
            "none waiting",
            &beside,
            &alone,
        ),
    ]
}
