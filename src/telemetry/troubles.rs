//! What the facts say has gone wrong with a channel as a whole: what is counted, and what holds
//! until something makes it good.

use crate::model::{Fact, Snapshot};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// After so long without a failure the actors are well again.
const WELL_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    calls_shed: u64,
    retries_throttled: u64,
    child_failures: u64,
    last_child_failure: Option<(Arc<str>, Instant)>,
    intensity_reached: bool,
    lookup_failure: Option<Arc<str>>,
    tls_rejected: Option<Arc<str>>,
    pings_reduced: bool,
    closed_by: Option<Arc<str>>,
}

impl Troubles {
    pub(super) fn fold(&mut self, fact: &Fact, now: Instant) {
        match fact {
            Fact::CallShed { .. } => self.calls_shed += 1,
            Fact::RetryThrottled { .. } => self.retries_throttled += 1,
            Fact::ChildFailed { child, error } => {
                self.child_failures += 1;
                let since = self.last_child_failure.as_ref();
                if since.is_some_and(|(_, at)| now.saturating_duration_since(*at) > WELL_AFTER) {
                    self.intensity_reached = false;
                }
                self.last_child_failure = Some((format!("{child}: {error}").into(), now));
            }
            Fact::IntensityReached { .. } => self.intensity_reached = true,
            Fact::NameResolved { .. } => self.lookup_failure = None,
            Fact::ResolveFailed { cause, .. } => self.lookup_failure = Some(cause.clone()),
            // The files are read anew at each dial.
            Fact::DialStarted { .. } => self.tls_rejected = None,
            Fact::TlsMaterialRejected { cause, .. } => self.tls_rejected = Some(cause.clone()),
            Fact::KeepaliveBackedOff { .. } => self.pings_reduced = true,
            Fact::Closed { cause } => self.closed_by = cause.clone(),
            _ => {}
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let failed = self.last_child_failure.as_ref();
        Snapshot {
            calls_shed: self.calls_shed,
            retries_throttled: self.retries_throttled,
            child_failures: self.child_failures,
            last_child_failure: failed.map(|(what, _)| what.clone()),
            since_child_failure: failed.map(|(_, at)| now.saturating_duration_since(*at)),
            intensity_reached: self.intensity_reached,
            lookup_failure: self.lookup_failure.clone(),
            tls_rejected: self.tls_rejected.clone(),
            pings_reduced: self.pings_reduced,
            closed_by: self.closed_by.clone(),
            ..Snapshot::default()
        }
    }
}
