//! How cost grows: each figure at some size and at ten times that. A ratio near 1 is linear growth:
//! ten times as much costs ten times as much, no more.
//!
//! `cargo bench --bench scaling --features test-util -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{
    Run, cell, client,
    client::{Echo, Mailboxed},
    row::{Row, cpu_us, resident},
    server,
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::time::sleep;
use tonic_supervisor::{Config, Supervisor};

/// Sizes: some, and ten times that.
const CALLS_IN_FLIGHT: [usize; 2] = [100, 1_000];
const CHANNELS: [usize; 2] = [100, 1_000];
const PARKED: [usize; 2] = [10_000, 100_000];

fn main() -> ExitCode {
    cell::main(run, measure)
}

async fn run(how: Run) -> Vec<Row> {
    let mut rows = Vec::new();
    let divide = if how.quick { 20 } else { 1 };
    for (kind, sizes, measures) in [
        ("calls", CALLS_IN_FLIGHT, ["cpu_per_call", "resident_per_call_in_flight"]),
        ("channels", CHANNELS, ["cpu_per_channel", "resident_per_channel"]),
        ("parked", PARKED, ["cpu_per_parked_call", "resident_per_parked_call"]),
    ] {
        let rounds = if how.quick { 1 } else { 3 };
        let mut samples: [[Vec<f64>; 2]; 2] = Default::default();
        for _ in 0..rounds {
            for (at, size) in sizes.into_iter().enumerate() {
                let cost = cell::in_a_process(&[kind, &(size / divide).to_string()]);
                cost.into_iter().enumerate().for_each(|(n, cost)| samples[n][at].push(cost));
            }
        }
        for ((measure, unit), [some, ten_times]) in
            measures.into_iter().zip(["us", "B"]).zip(samples)
        {
            let name = format!("{measure}.at_{}", sizes[1] / divide);
            rows.push(
                Row::new("scaling", name, unit, &ten_times).against("a_tenth", &ten_times, &some),
            );
        }
    }
    rows
}

/// CPU and resident memory for each, at one size.
async fn measure(arguments: Vec<String>) -> Vec<f64> {
    let [kind, size] = &arguments[..] else { panic!("two arguments: {arguments:?}") };
    let size = size.parse().expect("a number");
    let cost = match kind.as_str() {
        "calls" => calls(size).await,
        "channels" => channels(size).await,
        _ => parked(size).await,
    };
    cost.into()
}

/// So many in flight, 400 rounds: the CPU of each call, the memory of each that is in flight.
async fn calls(in_flight: usize) -> [f64; 2] {
    const ROUNDS: usize = 400;
    let server = server::Child::start();
    let supervisor = client::supervise(server.address).await;
    let echo = client::over(supervisor.channel());
    one(echo.clone()).await;
    let (memory, cpu) = (resident(), cpu_us());
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let echo = echo.clone();
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    one(echo.clone()).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("every call is answered");
    }
    [(cpu_us() - cpu) / (in_flight * ROUNDS) as f64, (resident() - memory) / in_flight as f64]
}

/// So many connected channels: what connecting each cost, and the memory of each.
async fn channels(count: usize) -> [f64; 2] {
    let server = server::Child::start();
    let _first = client::supervise(server.address).await;
    let (memory, cpu) = (resident(), cpu_us());
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(client::supervise(server.address).await);
    }
    [(cpu_us() - cpu) / count as f64, (resident() - memory) / count as f64]
}

/// So many calls that wait for a server, which then comes: the CPU of each from its submission to
/// its answer, and the memory of each while it waits.
async fn parked(calls: usize) -> [f64; 2] {
    let mut server = server::Child::start();
    server.kill();
    let supervisor = lazily(server.address);
    let mailbox = Mailboxed(supervisor.mailbox());
    let (memory, cpu) = (resident(), cpu_us());
    let waiting: Vec<_> = (0..calls).map(|_| tokio::spawn(one(mailbox.clone()))).collect();
    while supervisor.snapshot().calls_waiting < calls {
        sleep(Duration::from_millis(5)).await;
    }
    let memory = (resident() - memory) / calls as f64;
    server.restart();
    for call in waiting {
        call.await.expect("every call is answered");
    }
    [(cpu_us() - cpu) / calls as f64, memory]
}

fn lazily(address: SocketAddr) -> Supervisor {
    let config = Config::builder()
        .host("127.0.0.1")
        .port(address.port())
        .build()
        .expect("a valid configuration");
    Supervisor::spawn(config)
}

async fn one(mut echo: impl Echo) {
    echo.echo(vec![7; 64]).await.expect("OK");
}
