//! What the supervisors of one target are at a moment, as gauges: read when somebody is about to
//! look, since it changes with every call.

use crate::unwind::caught;
use metrics::{SharedString, gauge};
use std::sync::Arc;

/// Of one supervisor, or of all that have one target.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Levels {
    /// Open calls.
    pub(crate) open: usize,
    /// What the throttle has left, and has at most; none where it is off.
    pub(crate) allowance: Option<(f64, f64)>,
}

impl Levels {
    /// Adds those of another supervisor.
    pub(crate) fn add(&mut self, other: Self) {
        self.open += other.open;
        if let Some((left, of)) = other.allowance {
            let (before, limit) = self.allowance.unwrap_or_default();
            self.allowance = Some((before + left, limit + of));
        }
    }

    /// What the same gauges show when nobody is left.
    pub(crate) fn nothing(self) -> Self {
        Self { open: 0, allowance: self.allowance.map(|_| (0.0, 0.0)) }
    }
}

/// Records them.
pub(crate) fn record(target: &Arc<str>, levels: Levels) {
    let target = || SharedString::from(target.clone());
    // A recorder is other people's code.
    let _ = caught(|| {
        gauge!("tonic_supervisor.calls.open", "grpc.target" => target()).set(levels.open as f64);
        if let Some((left, of)) = levels.allowance {
            gauge!("tonic_supervisor.retries.allowance", "grpc.target" => target()).set(left);
            gauge!("tonic_supervisor.retries.allowance_limit", "grpc.target" => target()).set(of);
        }
    });
}
