//! The one place that asks the time: tokio's clock, so that tests may pause it.

use std::time::Instant;

/// Now, by tokio's clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
