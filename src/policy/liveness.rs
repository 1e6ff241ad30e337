//! Is the peer still there? Keepalive as gRPC A8 has it: silence is measured from the last byte
//! read, any byte shows that it lives, and a PING goes out only when silence has lasted `time`.
//! Half of the time for its answer makes the peer suspect.

use super::deadline::after;
use std::time::{Duration, Instant};

/// No time is longer: a century.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The keepalive of one link.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    time: Duration,
    timeout: Duration,
    without_calls: bool,
    ping_sent: Option<Instant>,
    suspect: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again at this time.
    SleepUntil(Instant),
    /// Send a PING, then ask again.
    Ping,
    /// The PING was not answered in time: the link is dead.
    Dead,
    /// No call is open and pings without calls are not permitted: ask again when one starts.
    Dormant,
}

impl Liveness {
    /// `time` of silence before a PING, `timeout` for any byte in answer (seed: `keepalive_time`,
    /// `keepalive_timeout`, `keepalive_permit_without_calls`).
    pub fn new(time: Duration, timeout: Duration, without_calls: bool) -> Self {
        // No sum of times overflows.
        let (time, timeout) = (time.min(LONGEST), timeout.min(LONGEST));
        Self { time, timeout, without_calls, ping_sent: None, suspect: false }
    }

    /// The PING that was asked for last could not be sent: nobody has to answer it.
    pub fn ping_not_sent(&mut self) {
        self.ping_sent = None;
    }

    /// Whether the peer has owed the answer to a PING for half of the timeout, as far as is known
    /// from the last question.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// A byte was read: whether it ends a suspicion.
    pub fn clears(&mut self, last_read: Instant) -> bool {
        let clears = self.suspect && self.ping_sent.is_none_or(|sent| last_read >= sent);
        self.suspect &= !clears;
        clears
    }

    /// Decides, given when the last byte was read and how many calls are open. Asking too often
    /// does no harm.
    pub fn next(&mut self, now: Instant, last_read: Instant, calls: usize) -> Next {
        if let Some(sent) = self.ping_sent {
            if last_read >= sent {
                (self.ping_sent, self.suspect) = (None, false);
            } else if now >= after(sent, self.timeout) {
                return Next::Dead;
            } else {
                let half = after(sent, self.timeout / 2);
                self.suspect = now >= half;
                // An answer from now on is due for the next PING `time` later at the soonest; where
                // `timeout` is longer, looking only at its end would ask too late.
                let next = after(sent, self.timeout).min(after(now, self.time));
                return Next::SleepUntil(if self.suspect { next } else { next.min(half) });
            }
        }
        if calls == 0 && !self.without_calls {
            return Next::Dormant;
        }
        let due = after(last_read, self.time);
        if now < due {
            return Next::SleepUntil(due);
        }
        self.ping_sent = Some(now);
        Next::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn a_silent_peer_is_pinged_after_30_seconds_and_dead_after_35() {
        let start = Instant::now();
        let mut link = Liveness::new(TIME, TIMEOUT, true);
        assert_eq!(link.next(start, start, 0), Next::SleepUntil(start + TIME));
        assert_eq!(link.next(start + TIME, start, 0), Next::Ping);
        let (half, dead_at) = (start + TIME + TIMEOUT / 2, start + TIME + TIMEOUT);
        assert_eq!(link.next(start + TIME, start, 0), Next::SleepUntil(half));
        assert_eq!(link.next(half, start, 0), Next::SleepUntil(dead_at));
        assert_eq!(link.next(dead_at, start, 0), Next::Dead);
    }

    #[test]
    fn a_peer_is_suspect_after_half_of_the_timeout_until_any_byte_comes() {
        let (start, milli) = (Instant::now(), Duration::from_millis(1));
        let mut link = Liveness::new(TIME, TIMEOUT, true);
        assert_eq!(link.next(start + TIME, start, 0), Next::Ping);
        let half = start + TIME + TIMEOUT / 2;
        link.next(half - milli, start, 0);
        assert!(!link.is_suspect() && !link.clears(start));
        link.next(half, start, 0);
        assert!(link.is_suspect() && !link.clears(start), "what came before the PING says nothing");
        assert!(link.clears(half + milli) && !link.is_suspect());
        assert!(!link.clears(half + milli), "said once");
        assert_eq!(link.next(half + milli, half + milli, 0), Next::SleepUntil(half + milli + TIME));
    }

    #[test]
    fn any_byte_is_life_and_silence_counts_from_it() {
        let start = Instant::now();
        let mut link = Liveness::new(TIME, TIMEOUT, true);
        let read = start + Duration::from_secs(10);
        assert_eq!(link.next(start + TIME, read, 1), Next::SleepUntil(read + TIME));
        assert_eq!(link.next(read + TIME, read, 1), Next::Ping);
        let answer = read + TIME + Duration::from_secs(1);
        assert_eq!(link.next(answer, answer, 1), Next::SleepUntil(answer + TIME));
    }

    /// Time line: 10 s PING, 10 s answered and frozen, 20 s PING, 40 s dead.
    #[test]
    fn a_timeout_longer_than_the_time_delays_no_ping() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (time, timeout) = (10 * second, 20 * second);
        let mut link = Liveness::new(time, timeout, true);
        let (mut now, mut last_read) = (start + time, start);
        let mut pings = Vec::new();
        loop {
            match link.next(now, last_read, 0) {
                Next::Ping if pings.is_empty() => {
                    pings.push(now - start);
                    // The only answer; the driver does not look again for it.
                    let Next::SleepUntil(at) = link.next(now, last_read, 0) else {
                        panic!("nothing else to do")
                    };
                    (last_read, now) = (now, at);
                }
                Next::Ping => pings.push(now - start),
                Next::SleepUntil(at) => now = at,
                Next::Dead => break,
                Next::Dormant => panic!("pings are permitted"),
            }
        }
        assert_eq!((pings, now - last_read), (vec![time, time * 2], time + timeout));
    }

    #[test]
    fn a_ping_that_was_not_sent_is_answered_by_nobody_and_due_again() {
        let start = Instant::now();
        let mut link = Liveness::new(TIME, TIMEOUT, true);
        assert_eq!(link.next(start + TIME, start, 0), Next::Ping);
        link.ping_not_sent();
        let late = start + TIME + TIMEOUT;
        assert_eq!(link.next(late, start, 0), Next::Ping);
        assert_eq!(link.next(late, start, 0), Next::SleepUntil(late + TIMEOUT / 2));
        assert_eq!(link.next(late + TIMEOUT, start, 0), Next::Dead);
    }

    #[test]
    fn times_beyond_the_clocks_end_are_waited_for_and_overflow_nothing() {
        let start = Instant::now();
        let mut link = Liveness::new(Duration::MAX, Duration::MAX, true);
        assert!(matches!(link.next(start, start, 1), Next::SleepUntil(at) if at > start));
        let mut link = Liveness::new(TIME, Duration::MAX, true);
        assert_eq!(link.next(start + TIME, start, 1), Next::Ping);
        assert!(
            matches!(link.next(start + TIME, start, 1), Next::SleepUntil(at) if at > start + TIME)
        );
    }

    #[test]
    fn without_permission_an_idle_link_rests_and_a_call_after_long_silence_pings_at_once() {
        let start = Instant::now();
        let mut link = Liveness::new(TIME, TIMEOUT, false);
        assert_eq!(link.next(start + TIME * 10, start, 0), Next::Dormant);
        assert_eq!(link.next(start + TIME * 10, start, 1), Next::Ping);
    }
}
