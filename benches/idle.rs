//! What doing nothing costs: resident memory and CPU of idle channels with keepalive on, supervised and bare, and the time to
//! spawn and to shut down.
//!
//! `cargo bench --bench idle --features test-util -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{
    Run, client,
    row::{Row, cpu_us, resident},
    server,
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let server = server::Child::start();
    let counts: &[usize] = if how.quick { &[1, 20] } else { &[1, 100, 1_000] };
    let mut rows = Vec::new();
    // What the first of each kind costs once is not counted.
    drop((client::supervise(server.address).await, plain(server.address).await));
    for count in counts.iter().copied() {
        let ours = idle(how, count, server.address, client::supervise).await;
        let theirs = idle(how, count, server.address, plain).await;
        let row = |measure: &str, unit, read: fn(&Cost) -> f64| {
            let (ours, theirs) = ([read(&ours)], [read(&theirs)]);
            Row::new("idle", format!("{measure}.at_{count}"), unit, &ours).against("tonic", &ours, &theirs)
        };
        rows.push(row("resident_per_channel", "B", |cost| cost.resident));
        rows.push(row("cpu_per_channel_and_second", "us", |cost| cost.cpu_us));
        rows.push(row("connect", "us", |cost| cost.connect_us));
        rows.push(row("drop", "us", |cost| cost.drop_us));
    }
    rows
}

/// Per channel.
struct Cost {
    resident: f64,
    cpu_us: f64,
    connect_us: f64,
    drop_us: f64,
}

async fn idle<C, F: Future<Output = C>>(
    how: Run,
    count: usize,
    address: SocketAddr,
    open: fn(SocketAddr) -> F,
) -> Cost {
    let each = count as f64;
    let (before, start) = (resident(), Instant::now());
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(open(address).await);
    }
    let connect_us = start.elapsed().as_secs_f64() * 1e6 / each;
    let window = Duration::from_secs(if how.quick { 1 } else { 5 });
    let cpu = cpu_us();
    sleep(window).await;
    let cpu_us = (cpu_us() - cpu) / window.as_secs_f64() / each;
    let resident = (resident() - before) / each;
    let start = Instant::now();
    drop(channels);
    let drop_us = start.elapsed().as_secs_f64() * 1e6 / each;
    sleep(Duration::from_millis(200)).await;
    Cost { resident, cpu_us, connect_us, drop_us }
}

/// Bare tonic with the same keepalive.
async fn plain(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect()
        .await
        .expect("the server listens")
}
