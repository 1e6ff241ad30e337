//! The clients that are compared: ours and grpcio, each with both policies, and ours once more with
//! patience for absent records. Each has a name and a port of its own.

use super::process::Process;
use crate::{load::Load, server::SAY};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tonic::Request;
use tonic_supervisor::{Config, Supervisor, config::Balancing};

/// How many callers each client has. A caller calls, and rests for 20 ms.
const CALLERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(20);
/// From one of our lookups to the next.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// A client, and what is said about it.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) title: &'static str,
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// Whether it is this crate, and its `resolve.absent`.
    pub(super) ours: Option<u32>,
    pub(super) round_robin: bool,
}

pub(super) const KINDS: [Kind; 5] = [
    kind("ours, round_robin", "ours-rr.test", 50_051, Some(2), true),
    kind("ours, round_robin, `absent: 5`", "ours-rr5.test", 50_052, Some(5), true),
    kind("grpcio, round_robin", "grpcio-rr.test", 50_053, None, true),
    kind("ours, pick_first", "ours-pf.test", 50_054, Some(2), false),
    kind("grpcio, pick_first", "grpcio-pf.test", 50_055, None, false),
];

const fn kind(
    title: &'static str,
    name: &'static str,
    port: u16,
    ours: Option<u32>,
    round_robin: bool,
) -> Kind {
    Kind { title, name, port, ours, round_robin }
}

/// What a client's callers met.
#[derive(Clone, Debug)]
pub(super) struct Met {
    pub(super) ok: u64,
    /// How many failed, and how.
    pub(super) failed: Vec<String>,
    pub(super) slowest: Duration,
}

/// A running client.
pub(super) enum Client {
    Ours { supervisor: Supervisor, load: Load, before: u64, slowest: Arc<AtomicU64> },
    Grpcio(Process),
}

impl Client {
    /// Starts it; [`ready`](Self::ready) is to follow.
    pub(super) fn start(kind: &Kind) -> Self {
        let target = format!("{}:{}", kind.name, kind.port);
        let policy = if kind.round_robin { Balancing::RoundRobin } else { Balancing::PickFirst };
        let Some(absent) = kind.ours else {
            let arguments = [&*target, policy.as_str(), &CALLERS.to_string()];
            return Self::Grpcio(Process::start("grpcio_client.py", &arguments));
        };
        let config = Config::builder().target(target).timeout(Duration::from_secs(10));
        let config = config.balancing_policy(policy).resolve_period(PERIOD).resolve_absent(absent);
        let supervisor = Supervisor::spawn(config.build().expect("valid"));
        let slowest = Arc::new(AtomicU64::new(0));
        let (caller, measured) = (supervisor.clone(), slowest.clone());
        let load = Load::start(CALLERS, move || {
            let (supervisor, slowest) = (caller.clone(), measured.clone());
            async move {
                let began = Instant::now();
                let request = Request::new("hello".to_owned());
                let answer = supervisor.channel().unary::<String, String>(SAY, request).await;
                slowest.fetch_max(began.elapsed().as_millis() as u64, Relaxed);
                tokio::time::sleep(PAUSE).await;
                answer.map(drop)
            }
        });
        Self::Ours { supervisor, load, before: 0, slowest }
    }

    /// Waits until it makes calls.
    pub(super) async fn ready(&mut self) {
        match self {
            Self::Ours { load, .. } => load.worked(1).await,
            Self::Grpcio(process) => process.ready(),
        }
    }

    /// Begins to count anew.
    pub(super) fn begin(&mut self) {
        match self {
            Self::Ours { load, before, slowest, .. } => {
                *before = load.ok();
                slowest.store(0, Relaxed);
            }
            Self::Grpcio(process) => assert_eq!(process.ask("begin"), "ok"),
        }
    }

    /// Ends it.
    pub(super) async fn end(self) -> Met {
        match self {
            Self::Ours { supervisor, load, before, slowest } => {
                let (ok, failed) = load.stop().await;
                supervisor.shutdown(Duration::from_secs(1)).await;
                let failed = failed.iter().map(|status| format!("{:?}", status.code()));
                let slowest = Duration::from_millis(slowest.load(Relaxed));
                Met { ok: ok - before, failed: failed.collect(), slowest }
            }
            Self::Grpcio(mut process) => {
                process.end();
                let told: serde_json::Value =
                    serde_json::from_str(&process.answer()).expect("an object");
                let codes = told["failed"].as_object().expect("codes").iter();
                let failed = codes.flat_map(|(code, times)| {
                    (0..times.as_u64().unwrap_or_default()).map(|_| code.clone())
                });
                let slowest = told["slowest_ms"].as_u64().expect("a number");
                let ok = told["ok"].as_u64().expect("a number");
                Met { ok, failed: failed.collect(), slowest: Duration::from_millis(slowest) }
            }
        }
    }
}
