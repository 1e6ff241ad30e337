//! How long something has been the case in all, over every time that it was.
//!
//! A channel keeps one for "no link takes calls". A call that is parked notes what it says then,
//! and compares when it goes on: so its wait is put down to a missing link or to missing room, and
//! nothing is done for it in between.

use std::time::{Duration, Instant};

/// The time for which something was the case.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spells {
    total: Duration,
    since: Option<Instant>,
}

impl Spells {
    /// It is, or is not, the case from `now` on.
    pub(crate) fn set(&mut self, is_so: bool, now: Instant) {
        match (is_so, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(_)) => (self.total, self.since) = (self.total(now), None),
            _ => {}
        }
    }

    /// How long it was the case until `now`.
    pub(crate) fn total(&self, now: Instant) -> Duration {
        let lasts = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.total.saturating_add(lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_and_what_lasts_are_added_up() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut spells = Spells::default();
        assert_eq!(spells.total(start + second), Duration::ZERO);
        spells.set(true, start);
        spells.set(true, start + second);
        assert_eq!(spells.total(start + 3 * second), 3 * second, "it began at first");
        spells.set(false, start + 4 * second);
        spells.set(false, start + 9 * second);
        assert_eq!(spells.total(start + 10 * second), 4 * second);
        spells.set(true, start + 10 * second);
        assert_eq!(spells.total(start + 11 * second), 5 * second);
    }
}
