//! Whether a channel has had no call for so long that its links are closed.
//!
//! Nothing is counted when a call begins or ends, which happens often. It is looked at four times
//! in each timeout instead: whether a call is open, and which call was the last to begin. So the
//! links are closed a quarter late at most, and never early.

use super::deadline::after;
use std::time::{Duration, Instant};

/// The watch over one channel, from when it begins to connect until it is idle.
#[derive(Clone, Debug)]
pub struct IdleWatch {
    timeout: Duration,
    last_call: u64,
    /// Since when it has been seen without a call.
    quiet_since: Option<Instant>,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idleness {
    /// Look again at this time.
    LookAt(Instant),
    /// It is idle.
    Idle,
}

impl IdleWatch {
    /// `last_call` is the number of the last call that began.
    pub fn new(timeout: Duration, last_call: u64, now: Instant) -> Self {
        Self { timeout, last_call, quiet_since: Some(now) }
    }

    /// Looks: whether a call is open now, and which began last.
    pub fn look(&mut self, now: Instant, is_open: bool, last_call: u64) -> Idleness {
        if is_open {
            self.quiet_since = None;
        } else if std::mem::replace(&mut self.last_call, last_call) != last_call {
            // It began and ended since the last look.
            self.quiet_since = Some(now);
        }
        self.last_call = last_call;
        let next = after(now, self.timeout / 4);
        if is_open {
            return Idleness::LookAt(next);
        }
        let due = after(*self.quiet_since.get_or_insert(now), self.timeout);
        if now >= due { Idleness::Idle } else { Idleness::LookAt(due.min(next)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// When it goes idle, given when calls begin and end.
    fn idle_at(calls: &[(u64, u64)]) -> u64 {
        let start = Instant::now();
        let mut watch = IdleWatch::new(MINUTE, 0, start);
        let mut now = start;
        loop {
            let at = (now - start).as_secs();
            let open = calls.iter().any(|(begin, end)| (*begin..*end).contains(&at));
            let last = calls.iter().filter(|(begin, _)| *begin <= at).count() as u64;
            match watch.look(now, open, last) {
                Idleness::LookAt(next) => {
                    assert!(next > now && next - now <= MINUTE / 4);
                    now = next;
                }
                Idleness::Idle => return at,
            }
        }
    }

    #[test]
    fn without_a_call_it_is_idle_after_the_timeout() {
        assert_eq!(idle_at(&[]), 60);
    }

    #[test]
    fn it_is_idle_a_timeout_after_the_last_call_and_a_quarter_late_at_most() {
        for end in 2..200 {
            let at = idle_at(&[(1, end)]);
            assert!((end + 60..=end + 75).contains(&at), "ended at {end}, idle at {at}");
        }
    }

    #[test]
    fn calls_between_two_looks_are_seen_and_those_that_go_on_as_well() {
        assert!(idle_at(&[(1, 2), (31, 32), (62, 63)]) >= 123);
        assert!(idle_at(&[(0, 1_000)]) >= 1_060, "a stream");
    }
}
