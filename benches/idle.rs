//! What doing nothing costs: resident memory and CPU of idle channels with keepalive on, supervised
//! and bare, and the time to spawn and to shut down.
//!
//! `cargo bench --bench idle --features test-util -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{
    Run, cell, client,
    row::{Row, cpu_us, resident},
    server,
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

fn main() -> ExitCode {
    cell::main(run, measure)
}

async fn run(how: Run) -> Vec<Row> {
    let server = server::Child::start();
    let counts: &[usize] = if how.quick { &[1, 20] } else { &[1, 100, 1_000] };
    let mut rows = Vec::new();
    for count in counts {
        let [size, address, quick] =
            [count.to_string(), server.address.to_string(), how.quick.to_string()];
        let [ours, theirs] = ["supervised", "tonic"]
            .map(|kind| cell::in_a_process(&[kind, &size, &address, &quick]));
        for (n, (measure, unit)) in MEASURES.into_iter().enumerate() {
            let (ours, theirs) = ([ours[n]], [theirs[n]]);
            let row = Row::new("idle", format!("{measure}.at_{count}"), unit, &ours);
            rows.push(row.against("tonic", &ours, &theirs));
        }
    }
    rows
}

const MEASURES: [(&str, &str); 4] = [
    ("resident_per_channel", "B"),
    ("cpu_per_channel_and_second", "us"),
    ("connect", "us"),
    ("drop", "us"),
];

/// The figures of one kind: `MEASURES`.
async fn measure(arguments: Vec<String>) -> Vec<f64> {
    let [kind, count, address, quick] = &arguments[..] else {
        panic!("four arguments: {arguments:?}")
    };
    let (count, address) = (count.parse().expect("a count"), address.parse().expect("an address"));
    let quick = quick == "true";
    match kind.as_str() {
        // What the first costs once is not counted.
        "supervised" => {
            let _first = client::supervise(address).await;
            idle(quick, count, address, client::supervise).await
        }
        _ => {
            let _first = plain(address).await;
            idle(quick, count, address, plain).await
        }
    }
}

/// All per channel.
async fn idle<C, F: Future<Output = C>>(
    quick: bool,
    count: usize,
    address: SocketAddr,
    open: fn(SocketAddr) -> F,
) -> Vec<f64> {
    let each = count as f64;
    let (before, start) = (resident(), Instant::now());
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        channels.push(open(address).await);
    }
    let connect_us = start.elapsed().as_secs_f64() * 1e6 / each;
    let window = Duration::from_secs(if quick { 1 } else { 5 });
    let cpu = cpu_us();
    sleep(window).await;
    let cpu_us = (cpu_us() - cpu) / window.as_secs_f64() / each;
    let resident = (resident() - before) / each;
    let start = Instant::now();
    drop(channels);
    let drop_us = start.elapsed().as_secs_f64() * 1e6 / each;
    sleep(Duration::from_millis(200)).await;
    vec![resident, cpu_us, connect_us, drop_us]
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
