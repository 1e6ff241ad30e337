//! Facts as log lines. An outage is one line at its start, thinned repeats (the 1st, 2nd, 4th,
//! 8th ... failed dial), and one line at its end with its length; until the first link it begins
//! with the first dial that fails, and the first link is a line of its own. What a peer can cause
//! at will, GOAWAY and throttled retries, is thinned in the same way, until it has been quiet for
//! a minute. Every retry is a line, as the seed promises. Events are not thinned.

use crate::model::{ConnectivityState, Fact, RUNTIME_ENDED, code_name};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, error, info, warn};

/// After so long without a line of a kind, its lines are counted anew.
const QUIET: Duration = Duration::from_secs(60);

/// What the log remembers between lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The outage under way.
    outage: Option<Outage>,
    /// Whether there was a link.
    connected: bool,
    goaways: Repeats,
    fewer_pings: Repeats,
    throttled: Repeats,
}

/// How often something was to be said lately.
#[derive(Debug, Default)]
struct Repeats {
    times: u64,
    last: Option<Instant>,
}

impl Repeats {
    /// A line for the 1st, 2nd, 4th, 8th ... time.
    fn line(&mut self, now: Instant) -> Option<Line> {
        if self.last.replace(now).is_some_and(|last| now.saturating_duration_since(last) >= QUIET) {
            self.times = 0;
        }
        self.times += 1;
        self.times.is_power_of_two().then_some(Line::Repeated { times: self.times })
    }
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    failed_dials: u64,
}

/// The lines that are not written for every fact of their kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    NotYet,
    Connected { failed_dials: u64 },
    Began,
    Goes { failed_dials: u64, lasting: Duration },
    Ended { failed_dials: u64, lasted: Duration },
    Repeated { times: u64 },
}

impl Lines {
    /// The line that `fact` gives rise to, if it is one of those that are thinned, and one is due.
    pub(super) fn line(&mut self, fact: &Fact, now: Instant) -> Option<Line> {
        match (fact, &mut self.outage) {
            (Fact::GoAwayReceived { .. }, _) => self.goaways.line(now),
            (Fact::KeepaliveBackedOff { .. }, _) => self.fewer_pings.line(now),
            (Fact::RetryThrottled { .. }, _) => self.throttled.line(now),
            (Fact::StateChanged { to: ConnectivityState::TransientFailure, .. }, outage @ None) => {
                // The first dial's failure is what begins it, and has come before its consequence.
                let failed_dials = if self.connected { 0 } else { 1 };
                *outage = Some(Outage { since: now, failed_dials });
                Some(if self.connected { Line::Began } else { Line::NotYet })
            }
            (Fact::DialFailed { .. }, Some(outage)) => {
                outage.failed_dials += 1;
                outage.failed_dials.is_power_of_two().then(|| Line::Goes {
                    failed_dials: outage.failed_dials,
                    lasting: now.saturating_duration_since(outage.since),
                })
            }
            (Fact::StateChanged { to: ConnectivityState::Ready, .. }, outage)
                if !std::mem::replace(&mut self.connected, true) =>
            {
                let failed_dials = outage.take().map_or(0, |outage| outage.failed_dials);
                Some(Line::Connected { failed_dials })
            }
            (Fact::StateChanged { to: ConnectivityState::Ready, .. }, outage) => outage.take().map(|outage| {
                Line::Ended { failed_dials: outage.failed_dials, lasted: now.saturating_duration_since(outage.since) }
            }),
            _ => None,
        }
    }
}

/// Writes the line for `fact`.
pub(super) fn write(fact: &Fact, line: Option<Line>, target: &Arc<str>) {
    match (fact, line) {
        (Fact::StateChanged { cause, .. }, Some(Line::NotYet)) => {
            warn!(%target, "not connected yet: {cause}");
        }
        (Fact::StateChanged { incarnation, .. }, Some(Line::Connected { failed_dials })) => {
            info!(%target, link = %incarnation, failed_dials, "connected");
        }
        (Fact::StateChanged { cause, .. }, Some(Line::Began)) => warn!(%target, %cause, "connection lost"),
        (Fact::DialFailed { failure, .. }, Some(Line::Goes { failed_dials, lasting })) => {
            warn!(%target, %failure, failed_dials, lasting = ?lasting, "still not connected");
        }
        (Fact::StateChanged { incarnation, .. }, Some(Line::Ended { failed_dials, lasted })) => {
            info!(%target, link = %incarnation, failed_dials, lasted = ?lasted, "connected again");
        }
        (Fact::StateChanged { from, to, cause, .. }, _) => debug!(%target, %from, %to, %cause, "state changed"),
        (Fact::GoAwayReceived { incarnation, goaway }, Some(Line::Repeated { times })) if goaway.code == 0 => {
            info!(%target, link = %incarnation, times, "{goaway}");
        }
        (Fact::GoAwayReceived { incarnation, goaway }, Some(Line::Repeated { times })) => {
            warn!(%target, link = %incarnation, times, "{goaway}");
        }
        (Fact::KeepaliveBackedOff { keepalive_time, while_idle }, Some(Line::Repeated { times })) => warn!(
            %target, keepalive_time = ?keepalive_time, while_idle, times,
            "the peer wants fewer keepalive pings (gRPC A8): keepalive_time raised for this target"
        ),
        (Fact::TlsMaterialRejected { cause, .. }, _) => {
            warn!(%target, %cause, "TLS files rejected, the former ones stay in use");
        }
        (Fact::ChildFailed { child, error }, _) => {
            error!(%target, child, %error, "an actor failed and is restarted")
        }
        (Fact::IntensityReached { failures, period }, _) => error!(
            %target, failures, period = ?period,
            "actors keep failing: restarts go on at the slowest pace"
        ),
        (Fact::RetryScheduled { method, code, cause, retry, of, delay }, _) => info!(
            %target, %method, code = code_name(*code), %cause, retry,
            of = %of.map_or_else(|| "unlimited".to_owned(), |n| n.to_string()),
            delay = ?delay, "retry scheduled"
        ),
        (Fact::RetryThrottled { method, code }, Some(Line::Repeated { times })) => warn!(
            %target, %method, code = code_name(*code), times,
            "retry throttled: retries are at their share of calls"
        ),
        (Fact::CallShed { method, reason }, _) => debug!(%target, %method, "{reason}"),
        (Fact::DrainStarted { grace }, _) => info!(%target, grace = ?grace, "draining"),
        // A program that returns from `main` drops its runtime: no failure.
        (Fact::Closed { cause: Some(cause) }, _) if &**cause == RUNTIME_ENDED => info!(%target, %cause, "closed"),
        (Fact::Closed { cause: Some(cause) }, _) => error!(%target, %cause, "closed"),
        (Fact::Closed { cause: None }, _) => info!(%target, "closed"),
        (fact, _) => debug!(%target, ?fact, "{}", fact.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DialFailure, DialStep, GoAway, Incarnation};

    fn state(to: ConnectivityState) -> Fact {
        Fact::StateChanged {
            from: ConnectivityState::Connecting,
            to,
            cause: "refused".into(),
            incarnation: Incarnation(1),
        }
    }

    fn dial_failed() -> Fact {
        let failure = DialFailure { step: DialStep::Connect, reason: "refused".into(), timed_out: false };
        Fact::DialFailed { incarnation: Incarnation(1), failure }
    }

    /// faults.md 29: ten minutes of outage at a dial every ten seconds.
    #[test]
    fn an_outage_of_ten_minutes_is_at_most_ten_lines_and_one_at_its_end() {
        let start = Instant::now();
        let mut log = Lines { connected: true, ..Lines::default() };
        assert_eq!(log.line(&state(ConnectivityState::TransientFailure), start), Some(Line::Began));
        let lines = (1..=60).filter_map(|n| {
            let now = start + Duration::from_secs(10 * n);
            assert_eq!(log.line(&state(ConnectivityState::TransientFailure), now), None);
            log.line(&dial_failed(), now)
        });
        assert_eq!(lines.count(), 6);
        let lasted = Duration::from_secs(600);
        let end = log.line(&state(ConnectivityState::Ready), start + lasted);
        assert_eq!(end, Some(Line::Ended { failed_dials: 60, lasted }));
        assert_eq!(log.line(&state(ConnectivityState::Ready), start + lasted), None);
    }

    #[test]
    fn until_the_first_link_the_first_failure_is_a_line_and_so_is_the_link() {
        let start = Instant::now();
        let failing = state(ConnectivityState::TransientFailure);
        let ready = state(ConnectivityState::Ready);
        let mut log = Lines::default();
        let failed = dial_failed();
        let facts = [&failed, &failing, &failed, &failing, &failed, &failing, &ready];
        let lines: Vec<_> = facts.into_iter().filter_map(|fact| log.line(fact, start)).collect();
        let goes = Line::Goes { failed_dials: 2, lasting: Duration::ZERO };
        assert_eq!(lines, [Line::NotYet, goes, Line::Connected { failed_dials: 3 }]);
        assert_eq!(log.line(&failing, start), Some(Line::Began), "from then on an outage is one");
        let mut log = Lines::default();
        assert_eq!(log.line(&ready, start), Some(Line::Connected { failed_dials: 0 }));
    }

    /// Counted by kind: a flood of one does not hide the first of another, and a quiet minute ends
    /// it.
    #[test]
    fn what_a_peer_can_cause_at_will_is_said_at_the_first_second_and_fourth_time() {
        let start = Instant::now();
        let goaway = GoAway { last_stream_id: 0, code: 0, debug: String::new() };
        let goaway = Fact::GoAwayReceived { incarnation: Incarnation(1), goaway };
        let throttled = Fact::RetryThrottled { method: "pkg.Svc/Do".into(), code: tonic::Code::Unavailable };
        let mut log = Lines::default();
        let times: Vec<_> = (1..=1_000).filter_map(|n| log.line(&goaway, start + n * QUIET / 2)).collect();
        let doubled = |n| Line::Repeated { times: 1u64 << n };
        assert_eq!(times, (0..10).map(doubled).collect::<Vec<_>>());
        let last = start + 1_000 * QUIET / 2;
        assert_eq!(log.line(&throttled, last), Some(doubled(0)));
        assert_eq!(log.line(&goaway, last + QUIET), Some(doubled(0)), "it had been quiet");
    }
}
