//! Facts as log lines. An outage is one line at its start, thinned repeats (the 1st, 2nd, 4th, 8th ... failed dial), and one
//! line at its end with its length; every retry is a line, as the seed promises.

use crate::model::{ConnectivityState, Fact, RUNTIME_ENDED, code_name};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, error, info, warn};

/// What the log remembers between lines: the outage under way.
#[derive(Debug, Default)]
pub(super) struct Outages(Option<Outage>);

#[derive(Debug)]
struct Outage {
    since: Instant,
    failed_dials: u64,
}

/// The lines that an outage gives rise to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Began,
    Goes { failed_dials: u64, lasting: Duration },
    Ended { failed_dials: u64, lasted: Duration },
}

impl Outages {
    /// The line about an outage that `fact` gives rise to, if it does.
    pub(super) fn line(&mut self, fact: &Fact, now: Instant) -> Option<Line> {
        match (fact, &mut self.0) {
            (Fact::StateChanged { to: ConnectivityState::TransientFailure, .. }, outage @ None) => {
                *outage = Some(Outage { since: now, failed_dials: 0 });
                Some(Line::Began)
            }
            (Fact::DialFailed { .. }, Some(outage)) => {
                outage.failed_dials += 1;
                outage.failed_dials.is_power_of_two().then(|| Line::Goes {
                    failed_dials: outage.failed_dials,
                    lasting: now.saturating_duration_since(outage.since),
                })
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
        (Fact::StateChanged { cause, .. }, Some(Line::Began)) => warn!(%target, %cause, "connection lost"),
        (Fact::DialFailed { failure, .. }, Some(Line::Goes { failed_dials, lasting })) => {
            warn!(%target, %failure, failed_dials, lasting = ?lasting, "still not connected");
        }
        (Fact::StateChanged { incarnation, .. }, Some(Line::Ended { failed_dials, lasted })) => {
            info!(%target, link = %incarnation, failed_dials, lasted = ?lasted, "connected again");
        }
        (Fact::StateChanged { from, to, cause, .. }, _) => debug!(%target, %from, %to, %cause, "state changed"),
        (Fact::GoAwayReceived { incarnation, goaway }, _) if goaway.code == 0 => {
            info!(%target, link = %incarnation, "{goaway}");
        }
        (Fact::GoAwayReceived { incarnation, goaway }, _) => warn!(%target, link = %incarnation, "{goaway}"),
        (Fact::KeepaliveBackedOff { keepalive_time, while_idle }, _) => warn!(
            %target, keepalive_time = ?keepalive_time, while_idle,
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
        (Fact::RetryThrottled { method, code }, _) => {
            warn!(%target, %method, code = code_name(*code), "retry throttled: retries are at their share of calls");
        }
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
    use crate::model::{DialFailure, DialStep, Incarnation};

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
        let mut log = Outages::default();
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
}
