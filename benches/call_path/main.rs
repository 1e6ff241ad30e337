//! The price of a call: one generated-style client over `tonic::transport::Channel` and over a `SupervisedChannel`, against one
//! server in another process, in turns. Every figure is a ratio of neighbours in time.
//!
//! `cargo bench --bench call_path -- [--quick] [--json]`

mod client;
mod measure;
mod server;

use client::{Mailboxed, Path};
use measure::{Cell, Row};
use std::{process::ExitCode, time::Duration};
use tonic_supervisor::{Config, Supervisor};

/// Request and answer sizes, each with the numbers of calls in flight.
const CELLS: [(usize, &[usize]); 2] = [(64, &[1, 16, 128, 1024]), (64 << 10, &[1, 16, 128])];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if has("--serve") {
        runtime.block_on(server::serve());
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs this, too: then one short round shows that it works.
    let quick = has("--quick") || !has("--bench");
    let (rounds, window) = if quick { (2, Duration::from_millis(150)) } else { (9, Duration::from_millis(700)) };
    let rows = runtime.block_on(run(rounds, window, quick));
    for row in rows {
        println!("{}", if has("--json") { row.json() } else { row.text() });
    }
    ExitCode::SUCCESS
}

async fn run(rounds: usize, window: Duration, quick: bool) -> Vec<Row> {
    let server = server::Child::start();
    let plain = client::plain(server.address).await;
    let config =
        Config::builder().host("127.0.0.1").port(server.address.port()).build().expect("a valid configuration");
    let supervisor = Supervisor::spawn(config);
    assert!(supervisor.wait_ready(Duration::from_secs(5)).await, "the server listens");
    let supervised = client::over(supervisor.channel());
    let mailbox = Mailboxed(supervisor.mailbox());
    let mut rows = Vec::new();
    for (payload, in_flights) in CELLS {
        for in_flight in in_flights.iter().copied().filter(|n| !quick || *n < 128) {
            let cell = Cell { payload, in_flight };
            let mut samples: [Vec<measure::Sample>; 3] = Default::default();
            for round in 0..=rounds {
                let one = cell.run(&plain, window).await;
                let two = cell.run(&supervised, window).await;
                let three = cell.run(&mailbox, window).await;
                // The first round warms up.
                if round > 0 {
                    samples[0].push(one);
                    samples[1].push(two);
                    samples[2].push(three);
                }
            }
            rows.extend(measure::rows(cell, &samples));
        }
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    rows
}

/// Anything that echoes a payload.
trait Echo: Clone + Send + 'static {
    fn echo(&mut self, payload: Vec<u8>) -> impl Future<Output = usize> + Send;
}

impl<C: client::Channel> Echo for Path<C> {
    async fn echo(&mut self, payload: Vec<u8>) -> usize {
        self.call(payload).await
    }
}
