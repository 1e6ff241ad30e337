//! Adds up what a call waits for. Only a call that parks, sleeps or asks for credentials is
//! stamped: one that goes out at once pays nothing.

use super::state::{CallState, Stage};
use std::time::{Duration, Instant};

impl CallState {
    /// It is parked from `now` on; the channel has been without a link for so long in all.
    pub(crate) fn park(&mut self, now: Instant, without_link: Duration) {
        self.parked = true;
        self.parked_since.get_or_insert((now, without_link));
    }

    /// It goes on, or ends. `without_link`: for how long the channel has been without a link in
    /// all; asked for only if the call was parked. Whether it was.
    pub(crate) fn unpark(&mut self, now: Instant, without_link: impl FnOnce() -> Duration) -> bool {
        let Some((since, before)) = self.parked_since.take() else { return false };
        let parked = now.saturating_duration_since(since);
        self.waits.add_parked(parked, without_link().saturating_sub(before));
        true
    }

    /// Its credentials are there, or will not be: they had been asked for since then.
    pub(crate) fn fetched(&mut self, since: Instant, now: Instant) {
        let took = now.saturating_duration_since(since);
        self.waits.credentials = self.waits.credentials.saturating_add(took);
    }

    /// The call ends, whatever it is doing; how long its attempts were on the wire.
    pub(super) fn end_waits(
        &mut self,
        now: Instant,
        without_link: impl FnOnce() -> Duration,
    ) -> Duration {
        self.unpark(now, without_link);
        match self.stage {
            // The wait for a retry was added when the retry was scheduled.
            Stage::Waiting { until: Some(at) } => {
                let left = at.saturating_duration_since(now);
                self.waits.retry = self.waits.retry.saturating_sub(left);
            }
            Stage::Fetching { since, .. } => self.fetched(since, now),
            Stage::Running if self.measured < self.attempts => {
                let lasts = now.saturating_duration_since(self.attempt_started);
                return self.on_wire.saturating_add(lasts);
            }
            _ => {}
        }
        self.on_wire
    }
}
