//! One picture of all supervisors, from which every page, JSON and probe is made.

use super::{
    samples::{Curves, Samples},
    session::Sessions,
};
use crate::{
    client::{Observer, supervisors},
    clock,
    model::{MethodCounts, Recent, Snapshot, Verdict, VerdictKind, endpoint_verdicts, verdict},
    telemetry::KeepHistory,
};
use std::time::{Instant, SystemTime};

/// What all answers share.
pub(super) struct Admin {
    pub(super) rules: super::guard::Rules,
    pub(super) sessions: Sessions,
    pub(super) samples: Samples,
    pub(super) began: Instant,
    /// Whether what answers here is reached over TLS.
    pub(super) secure: bool,
    pub(super) readers: tokio::sync::Semaphore,
    pub(super) _keeping: KeepHistory,
}

/// All supervisors at one moment.
pub(super) struct Picture {
    pub(super) at: SystemTime,
    pub(super) process: Process,
    /// What is worse comes first.
    pub(super) channels: Vec<Channel>,
}

/// This process.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) up: std::time::Duration,
}

/// One supervisor at one moment.
pub(super) struct Channel {
    pub(super) observer: Observer,
    pub(super) now: Snapshot,
    pub(super) methods: Vec<MethodCounts>,
    pub(super) recent: Recent,
    pub(super) curves: Curves,
    pub(super) verdict: Verdict,
    /// In the order of the endpoints.
    pub(super) endpoints: Vec<Verdict>,
}

impl Admin {
    /// Looks at everything.
    pub(super) fn look(&self) -> Picture {
        let mut channels: Vec<_> = supervisors().into_iter().map(|one| self.channel(one)).collect();
        let place = |kind| VerdictKind::ALL.iter().position(|known| *known == kind);
        channels.sort_by_key(|one| place(one.verdict.kind));
        Picture { at: SystemTime::now(), process: self.process(), channels }
    }

    /// Looks at one supervisor.
    pub(super) fn look_at(&self, id: u64) -> Option<Channel> {
        Some(self.channel(find(id)?))
    }

    fn channel(&self, observer: Observer) -> Channel {
        let (now, methods) = (observer.snapshot(), observer.methods());
        let recent = self.samples.recent(observer.id(), &now, &methods, clock::now());
        Channel {
            curves: self.samples.curves(observer.id()),
            verdict: verdict(&now, &recent),
            endpoints: endpoint_verdicts(&now),
            observer,
            now,
            methods,
            recent,
        }
    }

    pub(super) fn process(&self) -> Process {
        let program = std::env::args_os().next().unwrap_or_default();
        let name = std::path::Path::new(&program).file_name().unwrap_or_default();
        Process {
            name: crate::model::printable(&name.to_string_lossy()).into_owned(),
            pid: std::process::id(),
            up: clock::now().saturating_duration_since(self.began),
        }
    }
}

/// The supervisor with this number, if it still lives.
pub(super) fn find(id: u64) -> Option<Observer> {
    supervisors().into_iter().find(|one| one.id() == id)
}

impl Channel {
    pub(super) fn is_sick(&self) -> bool {
        !self.verdict.kind.is_well()
    }

    /// The age of the oldest open call.
    pub(super) fn oldest(&self) -> Option<std::time::Duration> {
        self.observer.open_calls(1).first().map(|call| call.age)
    }
}
