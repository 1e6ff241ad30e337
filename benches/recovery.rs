//! How an outage looks from the caller's side: a call every 10 ms while the server is killed and
//! restarted, restarted politely, cut off, or frozen. Failed calls, the first success after the
//! server is back, and dials; bare tonic lives through the same.
//!
//! A proxy cuts and freezes. A server that is killed is dialled without one: what is behind a proxy
//! does not refuse a dial but hangs up.
//!
//! `cargo bench --bench recovery -- [--quick] [--json]`

#[path = "common/mod.rs"]
mod common;

use common::{Run, client, client::Echo, row::Row, server};
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, interval, sleep};
use tonic_supervisor::{Config, Supervisor, testing::FaultProxy};

const EVERY: Duration = Duration::from_millis(10);

/// The outage in which calls with a deadline that is shorter are counted.
const DEADLINES_IN: Fault = Fault::Killed(Duration::from_secs(2));
const DEADLINE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    common::main(run)
}

#[derive(Clone, Copy)]
enum Fault {
    Killed(Duration),
    Restarted,
    Cut(Duration),
    Frozen(Duration),
}

impl Fault {
    fn name(self) -> String {
        match self {
            Self::Killed(down) => format!("killed_for_{}_s", down.as_secs_f64()),
            Self::Restarted => "graceful_restart".into(),
            Self::Cut(down) => format!("partition_of_{}_s", down.as_secs_f64()),
            Self::Frozen(down) => format!("black_hole_of_{}_s", down.as_secs_f64()),
        }
    }

    /// Whether it is done to a server that is behind a proxy.
    fn is_the_proxys(self) -> bool {
        matches!(self, Self::Cut(_) | Self::Frozen(_))
    }

    /// Does it; when the server was back.
    async fn inflict(self, server: &mut server::Child, proxy: &FaultProxy) -> Instant {
        match self {
            Self::Killed(down) => {
                server.kill();
                sleep(down).await;
                server.restart();
            }
            Self::Restarted => {
                server.stop();
                server.restart();
            }
            Self::Cut(down) => {
                proxy.refuse(true).await;
                proxy.cut().await;
                sleep(down).await;
                proxy.refuse(false).await;
            }
            Self::Frozen(down) => {
                proxy.freeze().await;
                sleep(down).await;
                proxy.thaw().await;
            }
        }
        Instant::now()
    }
}

async fn run(how: Run) -> Vec<Row> {
    let seconds = Duration::from_secs_f64;
    let quick = [Fault::Killed(seconds(0.2)), Fault::Restarted];
    let all = [
        Fault::Killed(seconds(0.2)),
        Fault::Killed(seconds(1.0)),
        Fault::Killed(seconds(2.0)),
        Fault::Killed(seconds(10.0)),
        Fault::Restarted,
        Fault::Cut(seconds(2.0)),
        Fault::Frozen(seconds(4.0)),
    ];
    let (faults, rounds) = if how.quick { (&quick[..], 1) } else { (&all[..], 3) };
    let mut rows = Vec::new();
    for fault in faults {
        let mut lives = Vec::new();
        for _ in 0..rounds {
            lives.push(live_through(*fault, None).await);
        }
        rows.extend(report(*fault, &lives));
    }
    if !how.quick {
        let mut lives = Vec::new();
        for _ in 0..rounds {
            lives.push(live_through(DEADLINES_IN, Some(DEADLINE)).await);
        }
        rows.push(lost(&lives));
    }
    rows
}

/// What became of one side's calls.
#[derive(Clone, Copy, Default)]
struct Life {
    calls: f64,
    failed: f64,
    first_success_ms: f64,
    dials: f64,
}

type Log = Arc<Mutex<Vec<(Instant, Option<Instant>, bool)>>>;

/// Both sides, side by side.
async fn live_through(fault: Fault, deadline: Option<Duration>) -> [Life; 2] {
    let mut server = server::Child::start();
    let proxy = FaultProxy::to(server.address).await;
    let address = if fault.is_the_proxys() { proxy.addr() } else { server.address };
    let supervisor = supervise(address).await;
    let logs: [Log; 2] = Default::default();
    let callers = [
        tokio::spawn(call_on(client::over(supervisor.channel()).within(deadline), logs[0].clone())),
        tokio::spawn(call_on(client::plain_lazy(address).within(deadline), logs[1].clone())),
    ];
    sleep(Duration::from_secs(1)).await;
    let before = supervisor.snapshot().dials;
    let back = fault.inflict(&mut server, &proxy).await;
    sleep(Duration::from_secs(3)).await;
    callers.iter().for_each(|caller| caller.abort());
    let mut lives = logs.map(|log| account(&log.lock().expect("not poisoned"), back));
    lives[0].dials = (supervisor.snapshot().dials - before) as f64;
    supervisor.shutdown(Duration::ZERO).await;
    lives
}

/// Keepalive quick enough for the freeze to be noticed; everything else as it comes.
async fn supervise(address: SocketAddr) -> Supervisor {
    let config = Config::builder()
        .host("127.0.0.1")
        .port(address.port())
        .keepalive_floor(Duration::from_millis(500))
        .keepalive_time(Duration::from_secs(1))
        .keepalive_timeout(Duration::from_secs(1))
        .build()
        .expect("a valid configuration");
    let supervisor = Supervisor::spawn(config);
    supervisor.wait_ready(Duration::from_secs(5)).await.expect("the server listens");
    supervisor
}

/// A call every 10 ms, whatever became of the ones before.
async fn call_on(echo: impl Echo, log: Log) {
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        let (mut echo, log, begun) = (echo.clone(), log.clone(), Instant::now());
        let place = {
            let mut log = log.lock().expect("not poisoned");
            log.push((begun, None, false));
            log.len() - 1
        };
        tokio::spawn(async move {
            let ok = echo.echo(vec![7; 64]).await.is_ok();
            log.lock().expect("not poisoned")[place] = (begun, Some(Instant::now()), ok);
        });
    }
}

/// Calls without an answer three seconds after the fault count as failed.
fn account(log: &[(Instant, Option<Instant>, bool)], back: Instant) -> Life {
    let settled: Vec<_> =
        log.iter().filter(|(begun, ..)| begun.elapsed() > Duration::from_millis(500)).collect();
    let first = settled
        .iter()
        .filter(|(.., ok)| *ok)
        .filter_map(|(_, ended, _)| *ended)
        .filter(|at| *at > back)
        .min();
    Life {
        calls: settled.len() as f64,
        failed: settled.iter().filter(|(.., ok)| !ok).count() as f64,
        first_success_ms: first.map_or(f64::NAN, |at| at.duration_since(back).as_secs_f64() * 1e3),
        dials: f64::NAN,
    }
}

fn report(fault: Fault, lives: &[[Life; 2]]) -> Vec<Row> {
    let read = |side: usize, read: fn(&Life) -> f64| {
        lives.iter().map(|life| read(&life[side])).collect::<Vec<f64>>()
    };
    type Read = fn(&Life) -> f64;
    let measures: [(&str, &'static str, Read); 2] = [
        ("failed_calls", "calls", |life| life.failed),
        ("first_success_after", "ms", |life| life.first_success_ms),
    ];
    let name = fault.name();
    let mut rows: Vec<Row> = measures
        .into_iter()
        .flat_map(|(measure, unit, of)| {
            let (ours, theirs) = (read(0, of), read(1, of));
            [
                Row::new("recovery", format!("{name}.{measure}"), unit, &ours)
                    .against("tonic", &ours, &theirs),
                Row::new("recovery", format!("{name}.{measure}.tonic"), unit, &theirs),
            ]
        })
        .collect();
    rows.push(Row::new("recovery", format!("{name}.calls"), "calls", &read(0, |life| life.calls)));
    rows.push(Row::new("recovery", format!("{name}.dials"), "dials", &read(0, |life| life.dials)));
    rows
}

/// Calls with a deadline that failed in an outage that is longer.
fn lost(lives: &[[Life; 2]]) -> Row {
    let [ours, theirs] = [0, 1]
        .map(|side| lives.iter().map(|life: &[Life; 2]| life[side].failed).collect::<Vec<_>>());
    let measure = format!("{}.lost_with_{}_ms", DEADLINES_IN.name(), DEADLINE.as_millis());
    Row::new("recovery", measure, "calls", &ours).against("tonic", &ours, &theirs)
}
