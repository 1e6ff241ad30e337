//! Ten seconds in which the server answers every call with UNAVAILABLE: requests per call of a busy
//! client (200 calls/s), and whether a quiet one (1 call/s) still gets its three retries.
//!
//! `cargo bench --bench outage --features test-util -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{Run, client, client::Echo, row::Row};
use std::{process::ExitCode, time::Duration};
use tokio::time::interval;
use tonic::Code;
use tonic_supervisor::testing::{Script, ScriptedServer};

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let outage = Duration::from_secs(if how.quick { 1 } else { 10 });
    let busy = storm(Duration::from_millis(5), outage).await;
    let quiet = storm(Duration::from_secs(1), outage).await;
    vec![
        Row::new("outage", "requests_per_call.at_200_per_s", "requests", &[busy]),
        Row::new("outage", "requests_per_call.at_1_per_s", "requests", &[quiet]),
    ]
}

/// A call every `every` for `outage`; requests per call, once all have ended.
async fn storm(every: Duration, outage: Duration) -> f64 {
    let server = ScriptedServer::builder()
        .script(Script::always(Code::Unavailable))
        .record_arrivals(false)
        .on_tcp()
        .await;
    let address = server.address().parse().expect("an address");
    let supervisor = client::supervise(address).await;
    let echo = client::over(supervisor.channel());
    let calls = (outage.as_secs_f64() / every.as_secs_f64()).ceil() as usize;
    let mut ticks = interval(every);
    let mut running = Vec::new();
    for _ in 0..calls {
        ticks.tick().await;
        let mut echo = echo.clone();
        running.push(tokio::spawn(async move { echo.echo(vec![7; 64]).await.is_err() }));
    }
    for call in running {
        assert!(call.await.expect("one answer"), "the server answers nobody with OK");
    }
    let requests = server.handled();
    supervisor.shutdown(Duration::ZERO).await;
    requests as f64 / calls as f64
}
