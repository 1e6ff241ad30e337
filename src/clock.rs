//! The one place that asks the time: tokio's clock, so that tests may pause it; and for what outlives a process, the wall clock.

use std::time::Instant;
#[cfg(feature = "agent-queue-server")]
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, by tokio's clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock's time, in milliseconds since 1970. No pause of tokio's clock holds it.
#[cfg(feature = "agent-queue-server")]
pub(crate) fn unix_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
