//! The price of a call: one generated-style client over `tonic::transport::Channel` and over a
//! `SupervisedChannel`, against one server in another process, in turns. Every ratio is between
//! neighbours in time.
//!
//! `cargo bench --bench call_path -- [--quick] [--json] [--in-flight N]`; with
//! `--features cli,test-util` over TLS, too (`tls_calls_per_s` and so on), because that builds
//! tonic's own; `--tcp` leaves that out.

#[path = "../common/mod.rs"]
mod common;

use common::{Run, client, client::Echo, row::Row, server};
use std::{process::ExitCode, time::Duration};
use tokio::time::Instant;
use tonic_supervisor::Supervisor;

/// Request and answer sizes, each with the numbers of calls in flight.
const CELLS: [(usize, &[usize]); 2] = [(64, &[1, 16, 128, 1024]), (64 << 10, &[1, 16, 128])];

/// The same over TLS.
#[cfg(feature = "cli")]
const TLS_CELLS: [(usize, &[usize]); 2] = [(64, &[1, 16, 128]), (64 << 10, &[16])];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--profile") {
        return profile(&arguments[at + 1..]);
    }
    common::main(run)
}

/// One side alone, for a profiler: `--profile tonic|supervised|mailbox PAYLOAD IN_FLIGHT CALLS`.
fn profile(arguments: &[String]) -> ExitCode {
    let [side, numbers @ ..] = arguments else { return ExitCode::FAILURE };
    let [payload, in_flight, calls] = [0, 1, 2].map(|n| numbers[n].parse().expect("a number"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = server::Child::start();
        let cell = Cell { payload, in_flight };
        if side == "tonic" {
            return cell.make(&client::plain(server.address).await, calls).await;
        }
        let supervisor = client::supervise(server.address).await;
        match side.as_str() {
            "mailbox" => cell.make(&client::Mailboxed(supervisor.mailbox()), calls).await,
            _ => cell.make(&client::over(supervisor.channel()), calls).await,
        }
    });
    ExitCode::SUCCESS
}

async fn run(how: Run) -> Vec<Row> {
    let server = server::Child::start();
    let plain = client::plain(server.address).await;
    let mut rows = compare("", &plain, client::supervise(server.address).await, &CELLS, how).await;
    if !std::env::args().any(|argument| argument == "--tcp") {
        rows.extend(secured(how).await);
    }
    rows
}

#[cfg(not(feature = "cli"))]
async fn secured(_: Run) -> Vec<Row> {
    Vec::new()
}

/// A certificate made for the occasion.
#[cfg(feature = "cli")]
async fn secured(how: Run) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a place for the certificate");
    let certificate = folder.path().join("server.pem").to_str().expect("text").to_owned();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(format!("{certificate}.key"), made.signing_key.serialize_pem())
        .expect("written");
    let server = server::Child::start_secured(&certificate);
    let plain = client::plain_secured(server.address, &certificate).await;
    let supervisor = client::supervise_secured(server.address, &certificate).await;
    compare("tls_", &plain, supervisor, &TLS_CELLS, how).await
}

/// Every cell, one side after the other.
async fn compare(
    prefix: &str,
    plain: &impl Echo,
    supervisor: Supervisor,
    cells: &[(usize, &[usize])],
    how: Run,
) -> Vec<Row> {
    let (rounds, window) =
        if how.quick { (2, Duration::from_millis(150)) } else { (45, Duration::from_millis(140)) };
    let supervised = client::over(supervisor.channel());
    let mailbox = client::Mailboxed(supervisor.mailbox());
    let mut rows = Vec::new();
    let only = only_in_flight();
    for (payload, in_flights) in cells.iter().copied() {
        for in_flight in in_flights
            .iter()
            .copied()
            .filter(|n| only.map_or(!how.quick || *n < 128, |only| only == *n))
        {
            let cell = Cell { payload, in_flight };
            let mut samples: [Vec<Sample>; 3] = Default::default();
            for round in 0..=rounds {
                let neighbours = [
                    cell.run(plain, window).await,
                    cell.run(&supervised, window).await,
                    cell.run(&mailbox, window).await,
                ];
                // The first round warms up.
                if round > 0 {
                    samples
                        .iter_mut()
                        .zip(neighbours)
                        .for_each(|(samples, sample)| samples.push(sample));
                }
            }
            rows.extend(cell.rows(prefix, &samples));
        }
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    rows
}

/// `--in-flight N`: these cells alone.
fn only_in_flight() -> Option<usize> {
    let number = std::env::args().skip_while(|argument| argument != "--in-flight").nth(1)?;
    Some(number.parse().expect("a number"))
}

/// One point of the grid.
#[derive(Clone, Copy)]
struct Cell {
    payload: usize,
    in_flight: usize,
}

/// What one window gave.
struct Sample {
    calls_per_s: f64,
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

impl Cell {
    /// Keeps `in_flight` calls going for `window`.
    async fn run(self, echo: &impl Echo, window: Duration) -> Sample {
        let (cpu, start) = (common::row::cpu_us(), Instant::now());
        let workers: Vec<_> = (0..self.in_flight)
            .map(|_| {
                let mut echo = echo.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while start.elapsed() < window {
                        let begun = Instant::now();
                        assert_eq!(
                            echo.echo(vec![7; self.payload]).await.expect("OK"),
                            self.payload
                        );
                        times.push(begun.elapsed().as_nanos() as u32);
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for worker in workers {
            times.extend(worker.await.expect("every call is answered"));
        }
        let took = start.elapsed();
        times.sort_unstable();
        let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1e3;
        Sample {
            calls_per_s: times.len() as f64 / took.as_secs_f64(),
            cpu_us: (common::row::cpu_us() - cpu) / times.len() as f64,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
        }
    }

    /// Makes so many calls.
    async fn make(self, echo: &impl Echo, calls: usize) {
        let workers: Vec<_> = (0..self.in_flight)
            .map(|_| {
                let mut echo = echo.clone();
                tokio::spawn(async move {
                    for _ in 0..calls / self.in_flight {
                        assert_eq!(
                            echo.echo(vec![7; self.payload]).await.expect("OK"),
                            self.payload
                        );
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("every call is answered");
        }
    }

    /// The supervised channel, and the mailbox, against tonic.
    fn rows(self, prefix: &str, samples: &[Vec<Sample>; 3]) -> Vec<Row> {
        type Read = fn(&Sample) -> f64;
        let measures: [(&str, &'static str, Read, usize); 6] = [
            ("calls_per_s", "1/s", |s| s.calls_per_s, 1),
            ("cpu_per_call", "us", |s| s.cpu_us, 1),
            ("p50", "us", |s| s.p50_us, 1),
            ("p99", "us", |s| s.p99_us, 1),
            ("p999", "us", |s| s.p999_us, 1),
            ("mailbox_calls_per_s", "1/s", |s| s.calls_per_s, 2),
        ];
        let rows = measures.map(|(measure, unit, read, side)| {
            let ours: Vec<f64> = samples[side].iter().map(read).collect();
            let theirs: Vec<f64> = samples[0].iter().map(read).collect();
            let row = Row::new("call_path", format!("{prefix}{measure}"), unit, &ours)
                .against("tonic", &ours, &theirs);
            row.at(self.payload, self.in_flight)
        });
        rows.into()
    }
}
