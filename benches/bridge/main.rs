//! The price of a bridge: the command `proxy` in a process of its own beside Envoy and bare tonic,
//! and tonic's own channel over a pipe in memory beside the supervised channel. All sides in turns,
//! against one server; every ratio is between neighbours in time.
//!
//! `cargo bench --features cli --bench bridge -- [--quick] [--json]`; Envoy takes part where
//! `BRIDGE_ENVOY` names its program (`benches/bridge/envoy` installs it and does all this).

#[path = "../common/mod.rs"]
mod common;
mod sidecar;

use common::{Run, client, client::Echo, row::Row, server};
use sidecar::Sidecar;
use std::{process::ExitCode, time::Duration};
use tokio::time::Instant;

/// Bytes of a message each way.
const PAYLOAD: usize = 64;
const IN_FLIGHT: [usize; 3] = [1, 16, 128];

fn main() -> ExitCode {
    common::main(run)
}

async fn run(how: Run) -> Vec<Row> {
    let (rounds, window) =
        if how.quick { (2, Duration::from_millis(150)) } else { (25, Duration::from_millis(300)) };
    let server = server::Child::start();
    let proxy = Sidecar::proxy(server.address);
    let envoy = Sidecar::envoy(server.address);
    let plain = client::plain(server.address).await;
    let through = client::plain(proxy.address).await;
    let enveloped = match &envoy {
        Some(envoy) => Some(client::plain(envoy.address).await),
        None => None,
    };
    let supervisor = client::supervise(server.address).await;
    let (supervised, piped) =
        (client::over(supervisor.channel()), client::over(supervisor.tonic_channel()));
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT.into_iter().filter(|n| !how.quick || *n < 128) {
        let mut rates: [Vec<f64>; 5] = Default::default();
        for round in 0..=rounds {
            let sample = [
                rate(&plain, in_flight, window).await,
                rate(&through, in_flight, window).await,
                match &enveloped {
                    Some(envoy) => rate(envoy, in_flight, window).await,
                    None => 0.0,
                },
                rate(&supervised, in_flight, window).await,
                rate(&piped, in_flight, window).await,
            ];
            // The first round warms up.
            if round > 0 {
                rates.iter_mut().zip(sample).for_each(|(rates, rate)| rates.push(rate));
            }
        }
        let [plain, through, envoy, supervised, piped] = &rates;
        let row = |measure: &str, values: &[f64]| {
            Row::new("bridge", measure, "calls/s", values).at(PAYLOAD, in_flight)
        };
        rows.push(row("bare tonic", plain));
        rows.push(row("proxy", through).against("bare tonic", through, plain));
        if enveloped.is_some() {
            rows.push(row("Envoy", envoy).against("bare tonic", envoy, plain));
            rows.push(row("proxy, beside Envoy", through).against("Envoy", through, envoy));
        }
        rows.push(row("supervised", supervised).against("bare tonic", supervised, plain));
        rows.push(row("tonic_channel", piped).against("supervised", piped, supervised));
    }
    rows
}

/// Calls a second, with so many in flight.
async fn rate(client: &impl Echo, in_flight: usize, window: Duration) -> f64 {
    let began = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while began.elapsed() < window {
                    let length = client.echo(vec![7; PAYLOAD]).await.expect("answered");
                    assert_eq!(length, PAYLOAD);
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.expect("no panic");
    }
    f64::from(calls) / began.elapsed().as_secs_f64()
}
