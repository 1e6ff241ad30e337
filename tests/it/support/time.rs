//! Waiting, and how long something took. Most tests run in tokio's paused time, which knows whole
//! milliseconds and passes at once while everything waits.

use std::{future::Future, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

/// No wait of a test is longer.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Times given in seconds.
pub(crate) fn seconds(times: &[f64]) -> Vec<Duration> {
    times.iter().map(|time| Duration::from_secs_f64(*time)).collect()
}

/// Whole milliseconds: tokio's timers know no finer time.
pub(crate) fn millis(time: Duration) -> Duration {
    ms(time.as_millis() as u64)
}

/// How long `future` takes, in whole milliseconds, and what it yields.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let output = future.await;
    (millis(began.elapsed()), output)
}

/// Whether `time` is `expected`, but for the rounding of timers.
#[track_caller]
pub(crate) fn assert_time(time: Duration, expected: Duration) {
    assert!(time.abs_diff(expected) <= ms(2), "{time:?} instead of {expected:?}");
}

/// Waits for `future`, but not for ever.
pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(1_000), future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until `ready` holds, looking every millisecond.
pub(crate) async fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let waiting = async {
        while !ready() {
            tokio::time::sleep(ms(1)).await;
        }
    };
    bounded(what, waiting).await;
}

/// Lets everything happen that needs no time.
pub(crate) async fn settle() {
    tokio::time::sleep(ms(1)).await;
}

/// A runtime of one thread whose time is paused, for tests that are no `async fn`.
pub(crate) fn paused_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}
