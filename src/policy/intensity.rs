//! Restart intensity, as in OTP: how many failures of children in a period are taken for bad luck.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// At most `restarts` failures in `period` are restarted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Intensity {
    /// How many.
    pub restarts: u32,
    /// In which time.
    pub period: Duration,
}

/// The failures of the last period.
#[derive(Debug)]
pub(crate) struct Restarts {
    rule: Intensity,
    pace: Duration,
    failures: VecDeque<Instant>,
    reached: bool,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartDecision {
    /// Restart at once.
    Restart,
    /// The intensity was reached just now: say so, and restart at the slowest pace.
    Reached,
    /// It was reached before: restart at the slowest pace.
    Slow,
}

impl Restarts {
    /// Nothing has failed yet; a slow restart comes `pace` after its failure.
    pub(crate) fn new(rule: Intensity, pace: Duration) -> Self {
        Self { rule, pace, failures: VecDeque::new(), reached: false }
    }

    /// Counts a failure at `now`. Once reached, the intensity is announced again only after a child
    /// has lived for a whole period: the pause before a slow restart is no sign of health.
    pub(crate) fn failed(&mut self, now: Instant) -> RestartDecision {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        if self
            .failures
            .back()
            .is_none_or(|last| since(last) > self.rule.period.saturating_add(self.pace))
        {
            self.reached = false;
        }
        let forgotten = |at: &Instant| since(at) > self.rule.period;
        while self.failures.front().is_some_and(forgotten) {
            self.failures.pop_front();
        }
        // What lies beyond the rule's count never decides anything: the window stays bounded.
        if self.failures.len() > self.rule.restarts as usize {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        if self.reached {
            return RestartDecision::Slow;
        }
        if self.failures.len() <= self.rule.restarts as usize {
            return RestartDecision::Restart;
        }
        self.reached = true;
        RestartDecision::Reached
    }

    /// How many failures are in the window.
    pub(crate) fn count(&self) -> u32 {
        self.failures.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_ten_seconds_are_luck_the_sixth_is_announced_once() {
        let rule = Intensity { restarts: 5, period: Duration::from_secs(10) };
        let mut restarts = Restarts::new(rule, Duration::from_secs(1));
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for second in 0..5 {
            assert_eq!(restarts.failed(at(second)), RestartDecision::Restart);
        }
        assert_eq!(restarts.failed(at(5)), RestartDecision::Reached);
        for second in 6..300 {
            assert_eq!(restarts.failed(at(second)), RestartDecision::Slow);
            assert!(restarts.count() <= 7);
        }
        assert_eq!(restarts.failed(at(299 + 12)), RestartDecision::Restart);
    }

    #[test]
    fn slow_restarts_a_period_apart_are_no_recovery() {
        let rule = Intensity { restarts: 0, period: Duration::from_secs(10) };
        let mut restarts = Restarts::new(rule, Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(restarts.failed(start), RestartDecision::Reached);
        for n in 1..30 {
            assert_eq!(
                restarts.failed(start + Duration::from_millis(10_100) * n),
                RestartDecision::Slow
            );
        }
    }

    #[test]
    fn slow_drips_are_never_a_storm() {
        let rule = Intensity { restarts: 1, period: Duration::from_secs(1) };
        let mut restarts = Restarts::new(rule, Duration::ZERO);
        let start = Instant::now();
        for n in 0..100 {
            assert_eq!(
                restarts.failed(start + Duration::from_secs(2 * n)),
                RestartDecision::Restart
            );
        }
    }
}
