//! How servers are asked whether they serve.

use std::time::Duration;

/// How servers are asked whether they serve: the keys below `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    pub(crate) service: Option<String>,
    pub(crate) probe_period: Option<Duration>,
    pub(crate) probe_timeout: Duration,
    pub(crate) probe_failures: u32,
}

impl HealthChecks {
    /// Whether servers are asked at all.
    pub(crate) fn are_on(&self) -> bool {
        self.service.is_some() || self.probe_period.is_some()
    }
}
