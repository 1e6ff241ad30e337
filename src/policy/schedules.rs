//! The schedules of waits between dials, and which of them holds: calls wait or not, the port
//! refuses or not.

use super::{backoff::Backoff, refused::longest_wait};
use std::time::Duration;

/// The two redial schedules and what goes with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Schedules {
    /// While no call waits.
    pub(crate) idle: Backoff,
    /// While calls wait.
    pub(crate) waiting: Backoff,
    /// While calls wait and the port refuses (see `refused`): no wait is longer at first.
    pub(crate) refused_max: Duration,
    /// The share by which a wait may vary.
    pub(crate) jitter: f64,
    /// The first redial after losing a proven link comes within this time.
    pub(crate) spread: Duration,
}

impl Schedules {
    /// The same waits whatever happens, and nothing left to chance.
    #[cfg(test)]
    pub(crate) fn steady(backoff: Backoff) -> Self {
        let (refused_max, jitter, spread) = (backoff.max, 0.0, Duration::ZERO);
        Self { idle: backoff, waiting: backoff, refused_max, jitter, spread }
    }

    /// The wait after failure `n` in a row, counted from 0, before its jitter.
    pub(super) fn delay(&self, n: u32, calls_waiting: bool, refused: bool) -> Duration {
        match (calls_waiting, refused) {
            (false, _) => self.idle.delay(n),
            (true, false) => self.waiting.delay(n),
            (true, true) => self.while_refused(n),
        }
    }

    /// Never shorter than the first wait while calls wait, which is for whoever wants few dials.
    pub(crate) fn while_refused(&self, n: u32) -> Duration {
        let delay = self.waiting.delay(n);
        match longest_wait(n, self.refused_max) {
            Some(longest) => delay.min(longest.max(self.waiting.initial)),
            None => delay,
        }
    }
}
