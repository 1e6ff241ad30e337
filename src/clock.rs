//! The one place that asks the time: tokio's clock, so that tests may pause it; and for what
//! outlives a process, the wall clock.

use std::time::Instant;
#[cfg(feature = "agent-queue-server")]
use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Now, by tokio's clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A wall clock that nobody sets: what the machine's clock said at the first question, and what has
/// passed since.
///
/// Leases are judged by it, so that a clock which is set back or forward neither holds nor ends
/// them. No pause of tokio's clock holds it.
#[cfg(feature = "agent-queue-server")]
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn steady_millis() -> i64 {
    static START: OnceLock<(i64, Instant)> = OnceLock::new();
    let (wall, then) = *START.get_or_init(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
        (wall, Instant::now())
    });
    wall.saturating_add(millis(then.elapsed()))
}

#[cfg(feature = "agent-queue-server")]
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
