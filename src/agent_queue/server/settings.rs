//! What a store is told when it is opened: how long leases are, and how long things are kept.

use std::time::Duration;

/// The settings of a store, which it gets when it is opened.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "settings do nothing until a store is opened with them"]
pub struct Settings {
    pub(crate) lease: Duration,
    pub(crate) max_claims: u32,
    pub(crate) keep_finished: Duration,
}

impl Settings {
    /// How long a claim holds before its task is PENDING again. 60 s by default.
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How many times a task may be claimed and lost; once more, and it is FAILED. 5 by default.
    pub fn with_max_claims(self, max_claims: u32) -> Self {
        Self { max_claims, ..self }
    }

    /// How long finished tasks and remembered names are kept; at least 7 days. 30 days by default.
    pub fn with_keep_finished(self, keep_finished: Duration) -> Self {
        Self { keep_finished, ..self }
    }

    /// How long a claim holds.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How many times a task may be claimed and lost.
    pub fn max_claims(&self) -> u32 {
        self.max_claims
    }

    /// How long finished tasks and remembered names are kept.
    pub fn keep_finished(&self) -> Duration {
        self.keep_finished
    }
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            lease: Duration::from_secs(60),
            max_claims: 5,
            keep_finished: Duration::from_secs(30 * DAY),
        }
    }
}
