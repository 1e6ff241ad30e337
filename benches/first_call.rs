//! What a channel's first call and its end cost: one channel at a time, supervised and bare, in
//! turns. tonic's `connect` is over when the socket is; Ready waits for the server's SETTINGS too,
//! which tonic's first call waits for. So the time to the first answer is what can be compared.
//!
//! `cargo bench --features test-util --bench first_call -- [--quick] [--json]`; for a profiler, one
//! side alone: `--profile tonic|supervised CHANNELS`.

#[path = "common/mod.rs"]
mod common;

use common::{
    Run,
    client::{self, Echo},
    row::{Row, cpu_us},
    server,
};
use std::{future::Future, process::ExitCode, time::Duration};
use tokio::time::Instant;
use tonic::transport::Endpoint;
use tonic_supervisor::{Config, Supervisor};

/// What one channel takes, in microseconds; the CPU is this process's for all of it.
const MEASURES: [&str; 4] = ["connect", "first_ok", "drop", "cpu"];

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let server = server::Child::start();
    let target = format!("http://{}", server.address);
    let config = Config::builder().target(&target).build().expect("a valid configuration");
    let endpoint = Endpoint::from_shared(target).expect("an address");
    if let Some((side, channels)) = alone() {
        for _ in 0..channels {
            match side.as_str() {
                "tonic" => timed(endpoint.clone(), plain).await,
                _ => timed(config.clone(), ready).await,
            };
        }
        return Vec::new();
    }
    let rounds = if how.quick { 20 } else { 400 };
    let mut rows = Vec::new();
    for in_a_task in [false, true] {
        let mut samples: [[Vec<f64>; 4]; 3] = Default::default();
        for round in 0..=rounds {
            let neighbours = [
                placed(in_a_task, timed(endpoint.clone(), plain)).await,
                placed(in_a_task, timed(config.clone(), ready)).await,
                placed(in_a_task, timed(config.clone(), spawned)).await,
            ];
            // The first round warms up.
            if round > 0 {
                for (side, times) in samples.iter_mut().zip(neighbours) {
                    side.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
                }
            }
        }
        let [theirs, ready, at_once] = samples;
        let place = if in_a_task { "in_a_task." } else { "" };
        for (n, measure) in MEASURES.into_iter().enumerate() {
            let row = Row::new("first_call", format!("{place}{measure}"), "us", &ready[n]);
            rows.push(row.against("tonic", &ready[n], &theirs[n]));
        }
        let row = Row::new("first_call", format!("{place}first_ok.at_once"), "us", &at_once[1]);
        rows.push(row.against("tonic", &at_once[1], &theirs[1]));
    }
    rows
}

fn alone() -> Option<(String, u32)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--profile").skip(1);
    Some((arguments.next()?, arguments.next()?.parse().expect("a number")))
}

/// On the thread of `main`, which no worker can take a task from; or on a worker, as in a server.
async fn placed(
    in_a_task: bool,
    work: impl Future<Output = [f64; 4]> + Send + 'static,
) -> [f64; 4] {
    match in_a_task {
        true => tokio::spawn(work).await.expect("every call is answered"),
        false => work.await,
    }
}

/// Opens a channel, makes a call, and drops the channel: `MEASURES`.
/// What is to be opened was described before, as a program does once.
async fn timed<D, C: Echo, K: Send, F>(described: D, open: fn(D) -> F) -> [f64; 4]
where
    F: Future<Output = (C, K)>,
{
    let (cpu, start) = (cpu_us(), Instant::now());
    let (mut client, keeper) = open(described).await;
    let connect = start.elapsed();
    client.echo(vec![7; 64]).await.expect("OK");
    let first_ok = start.elapsed();
    let start = Instant::now();
    drop((client, keeper));
    let drop = start.elapsed();
    // What the end takes in other threads shall not be the next one's.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let [connect, first_ok, drop] = [connect, first_ok, drop].map(|time| time.as_secs_f64() * 1e6);
    [connect, first_ok, drop, cpu_us() - cpu]
}

async fn plain(endpoint: Endpoint) -> (impl Echo, ()) {
    (client::over(endpoint.connect().await.expect("the server listens")), ())
}

/// Waits until the channel is Ready.
async fn ready(config: Config) -> (impl Echo, Supervisor) {
    let supervisor = Supervisor::spawn(config);
    supervisor.wait_ready(Duration::from_secs(5)).await.expect("the server listens");
    (client::over(supervisor.channel()), supervisor)
}

/// Calls at once: the call waits for the link.
async fn spawned(config: Config) -> (impl Echo, Supervisor) {
    let supervisor = Supervisor::spawn(config);
    (client::over(supervisor.channel()), supervisor)
}
