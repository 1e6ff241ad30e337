//! The agent queue: durable submit + claim + ack through the whole gRPC path, beside the bare store driven by as many writers, in
//! turns; and what a claim costs among 100 and among 100,000 pending tasks.
//!
//! `cargo bench --features serve --bench queue -- [--quick] [--json] [--store sqlite:FOLDER]`; without `--store`, a folder for the
//! database is made below the working directory, because temporary folders may not be on a disk.

#[path = "../common/mod.rs"]
mod common;
mod load;
mod serve;

use common::{Run, row::Row};
use load::{Bare, Load, Sample, over_grpc};
use serve::Serve;
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tonic_supervisor::agent_queue::server::{Settings, SqliteStore, Store};

const AGENTS: usize = 16;
const CLIENTS: usize = 32;

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let folder = Folder::new();
    let settings = Settings::default();
    let file = |name: &str| folder.0.join(name);
    let open = |name: &str| Arc::new(SqliteStore::open(&file(name), settings).expect("opened"));
    let served = format!("sqlite:{}", file("served.db").display());
    let mut rows = path(how, "sqlite", &served, open("bare.db")).await;
    rows.extend(depth(how, "sqlite", open("few.db"), open("many.db")).await);
    rows
}

/// The whole path beside the bare store.
async fn path(how: Run, kind: &str, served: &str, bare: Arc<impl Store>) -> Vec<Row> {
    let (rounds, window) = if how.quick { (1, Duration::from_millis(300)) } else { (7, Duration::from_secs(2)) };
    let server = Serve::start(served);
    let clients = over_grpc(server.address, AGENTS, CLIENTS).await;
    let writers: Vec<Bare<_>> = (0..CLIENTS).map(|number| Bare::new(bare.clone(), number)).collect();
    for writer in writers.iter().take(AGENTS) {
        writer.prepare().await;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let neighbours = [Sample::take(&clients, window).await, Sample::take(&writers, window).await];
        // The first round warms up.
        if round > 0 {
            let [over_grpc, over_nothing] = neighbours;
            ours.push(over_grpc);
            theirs.push(over_nothing);
        }
    }
    let row = |measure: String, unit, samples: &[Sample], value: fn(&Sample) -> f64| {
        Row::new("queue", measure, unit, &samples.iter().map(value).collect::<Vec<_>>()).at(PAYLOAD.len(), CLIENTS)
    };
    let rate = |samples: &[Sample]| samples.iter().map(|sample| sample.cycles_per_s).collect::<Vec<_>>();
    let mut rows = vec![
        row(format!("{kind}: bare store, submit + claim + ack"), "cycles/s", &theirs, |s| s.cycles_per_s),
        row(format!("{kind}: over gRPC, submit + claim + ack"), "cycles/s", &ours, |s| s.cycles_per_s).against(
            "bare store",
            &rate(&ours),
            &rate(&theirs),
        ),
    ];
    for (who, samples) in [("bare store", &theirs), ("over gRPC", &ours)] {
        rows.push(row(format!("{kind}: {who}, one operation, p50"), "us", samples, |s| s.p50_us));
        rows.push(row(format!("{kind}: {who}, one operation, p99"), "us", samples, |s| s.p99_us));
    }
    rows
}

/// What every task of the benches carries.
const PAYLOAD: &str = r#"{"document": "a report of some length", "pages": [1, 2, 3, 4]}"#;

/// A claim among few and among many pending tasks: claimed and given back, so that the number stays.
async fn depth<S: Store>(how: Run, kind: &str, few: Arc<S>, many: Arc<S>) -> Vec<Row> {
    let (rounds, window) = if how.quick { (1, Duration::from_millis(300)) } else { (7, Duration::from_secs(1)) };
    let [few, many] = [(few, 100), (many, if how.quick { 10_000 } else { 100_000 })].map(async |(store, tasks)| {
        let claimer = load::Claimer::new(store);
        claimer.fill(tasks).await;
        claimer
    });
    let (few, many) = (few.await, many.await);
    let (mut at_few, mut at_many) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let pair = [few.claim_for(window, CLIENTS).await, many.claim_for(window, CLIENTS).await];
        if round > 0 {
            at_few.push(pair[0]);
            at_many.push(pair[1]);
        }
    }
    vec![
        Row::new("queue", format!("{kind}: claim + release among 100 pending"), "us", &at_few).at(0, CLIENTS),
        Row::new("queue", format!("{kind}: claim + release among 100,000 pending"), "us", &at_many)
            .at(0, CLIENTS)
            .against("among 100", &at_many, &at_few),
    ]
}

/// A folder on the disk that this runs on; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::current_dir().expect("a working directory").join("target/bench-queue");
        let path = path.join(std::process::id().to_string());
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
