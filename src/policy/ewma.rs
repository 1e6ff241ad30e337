//! How long an endpoint takes to answer, as one moving figure: up at once, down slowly. `peak_ewma`
//! picks by it.
//!
//! An answer that took longer than the figure replaces it; a shorter one draws it down, and so does
//! time: by `1/e` in 10 s, also while nobody asks. So an endpoint that was slow is asked again when
//! its figure has come down to that of the others, and one such answer is what it costs to find it
//! slow still (tower's and linkerd's `peak_ewma`).
//!
//! The figure and its time are 64 bits together, so that a link's callers share it without a lock.
//! Time is counted in milliseconds from any moment, and may go around.

use std::time::Duration;

/// What an endpoint begins with, in seconds: above most answers, so that one that is new is not
/// flooded before it has answered (linkerd).
const FIRST: f32 = 0.03;

/// What a failed attempt counts for at least, in seconds: one that fails at once is not quick
/// (linkerd).
const PENALTY: f32 = 5.0;

/// The time in which the figure falls by `1/e`, in milliseconds.
const FALLS_IN: f32 = 10_000.0;

/// What may have been noted so much later than one's own time is no time ago, in milliseconds.
const A_LITTLE: u32 = 60_000;

/// The moving figure of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ewma {
    seconds: f32,
    at: u32,
}

impl Ewma {
    /// Of an endpoint that has not answered yet.
    pub fn new(at: u32) -> Self {
        Self { seconds: FIRST, at }
    }

    /// What is left of it, in seconds.
    pub fn seconds(self, at: u32) -> f32 {
        self.seconds * self.kept(at)
    }

    /// After an answer that took so long.
    #[must_use]
    pub fn answered(self, took: Duration, at: u32) -> Self {
        let (took, kept) = (took.as_secs_f32(), self.kept(at));
        let now = self.seconds * kept;
        let seconds = if took > now { took } else { now + took * (1.0 - kept) };
        Self { seconds, at: self.later(at) }
    }

    /// After an attempt that took so long and was not answered: its answer would have taken longer.
    #[must_use]
    pub fn unanswered(self, took: Duration, at: u32) -> Self {
        if took.as_secs_f32() > self.seconds(at) { self.answered(took, at) } else { self }
    }

    /// After an attempt that failed after so long.
    #[must_use]
    pub fn failed(self, took: Duration, at: u32) -> Self {
        self.unanswered(took.max(Duration::from_secs_f32(PENALTY)), at)
    }

    /// Both numbers in one.
    pub fn to_bits(self) -> u64 {
        u64::from(self.seconds.to_bits()) << 32 | u64::from(self.at)
    }

    /// The reverse.
    pub fn from_bits(bits: u64) -> Self {
        Self { seconds: f32::from_bits((bits >> 32) as u32), at: bits as u32 }
    }

    /// The share of the figure that time has left.
    fn kept(self, at: u32) -> f32 {
        match self.since(at) {
            0 => 1.0,
            since => (-(since as f32) / FALLS_IN).exp(),
        }
    }

    /// What another thread noted may be a little later than `at`: that is no time at all.
    fn since(self, at: u32) -> u32 {
        let since = at.wrapping_sub(self.at);
        if since > u32::MAX - A_LITTLE { 0 } else { since }
    }

    fn later(self, at: u32) -> u32 {
        self.at.wrapping_add(self.since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn is_about(seconds: f32, expected: f32) -> bool {
        (seconds / expected - 1.0).abs() < 0.001
    }

    #[test]
    fn it_goes_up_at_once_and_down_by_1_in_e_in_ten_seconds() {
        let new = Ewma::new(0);
        assert_eq!(new.seconds(0), 0.03);
        let slow = new.answered(ms(100), 1);
        assert_eq!(slow.seconds(1), 0.1);
        assert!(is_about(slow.seconds(10_001), 0.1 / std::f32::consts::E), "nobody asked");
        let quick = slow.answered(ms(5), 10_001);
        let left = 1.0 / std::f32::consts::E;
        assert!(is_about(quick.seconds(10_001), 0.1 * left + 0.005 * (1.0 - left)));
        assert_eq!(slow.answered(ms(5), 1), slow, "no time has passed");
    }

    #[test]
    fn a_failure_counts_for_five_seconds_however_soon_it_came() {
        let failed = Ewma::new(0).failed(Duration::from_micros(200), 1);
        assert_eq!(failed.seconds(1), 5.0);
        assert_eq!(failed.failed(ms(9_000), 2).seconds(2), 9.0, "or for what it took");
    }

    #[test]
    fn what_was_not_answered_raises_the_figure_and_never_lowers_it() {
        let slow = Ewma::new(0).answered(ms(100), 1);
        assert_eq!(slow.unanswered(ms(5), 5_000), slow);
        assert_eq!(slow.unanswered(ms(300), 5_000).seconds(5_000), 0.3);
    }

    #[test]
    fn time_may_go_around_and_a_little_backwards() {
        let late = u32::MAX - 4_999;
        let slow = Ewma::new(late).answered(ms(100), late);
        assert!(is_about(slow.seconds(5_000), 0.1 / std::f32::consts::E));
        assert_eq!(slow.seconds(late - 10), 0.1);
        assert_eq!(slow.answered(ms(200), late - 10).at, late);
        assert_eq!(Ewma::from_bits(slow.to_bits()), slow);
    }

    #[test]
    fn the_figure_comes_down_however_long_nobody_asked() {
        let (slow, day) = (Ewma::new(0).answered(ms(100), 1), 86_400_000);
        for days in [1, 24, 25, 30, 49] {
            assert!(slow.seconds(days * day) < 0.001, "after {days} days");
            assert!(is_about(slow.answered(ms(5), days * day).seconds(days * day), 0.005));
        }
    }

    #[test]
    fn no_time_is_too_long() {
        let odd = Ewma::new(0).answered(Duration::MAX, 1);
        assert!(odd.seconds(1).is_finite() && odd.failed(Duration::MAX, 2).seconds(2).is_finite());
    }
}
