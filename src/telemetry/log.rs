//! Facts as log lines, under one target, those that repeat themselves thinned. Events are not
//! thinned.

use super::lines::Line;
use crate::model::{Fact, RUNTIME_ENDED, code_name};
use std::sync::Arc;

/// A line in no span: those of the actor that happens to write it say nothing to whoever reads.
macro_rules! line {
    ($level:ident, $($rest:tt)+) => {
        log_line!($level, parent: None, $($rest)+)
    };
}
pub(super) use line;

/// Writes the line for `fact`.
pub(super) fn write(fact: &Fact, line: Option<Line>, target: &Arc<str>) {
    match (fact, line) {
        (Fact::StateChanged { cause, .. }, Some(Line::NotYet)) => {
            line!(warn, %target, "not connected yet: {cause}");
        }
        (Fact::StateChanged { incarnation, .. }, Some(Line::Connected { failed_dials })) => {
            line!(info, %target, link = %incarnation, failed_dials, "connected");
        }
        (Fact::StateChanged { cause, .. }, Some(Line::Began)) => {
            line!(warn, %target, %cause, "connection lost");
        }
        (Fact::DialFailed { failure, .. }, Some(Line::Goes { failed_dials, lasting })) => {
            let lasting = format_args!("{lasting:.1?}");
            line!(warn, %target, %failure, failed_dials, %lasting, "still not connected");
        }
        (Fact::StateChanged { incarnation, .. }, Some(Line::Ended { failed_dials, lasted })) => {
            let lasted = format_args!("{lasted:.1?}");
            line!(info, %target, link = %incarnation, failed_dials, %lasted, "connected again");
        }
        (Fact::StateChanged { from, to, cause, .. }, _) => {
            line!(debug, %target, %from, %to, %cause, "state changed");
        }
        (Fact::GoAwayReceived { incarnation, goaway }, Some(Line::Repeated { times })) => {
            let link = incarnation;
            match goaway.code {
                0 => line!(info, %target, %link, times, "{goaway}"),
                _ => line!(warn, %target, %link, times, "{goaway}"),
            }
        }
        (
            Fact::KeepaliveBackedOff { keepalive_time, while_idle },
            Some(Line::Repeated { times }),
        ) => {
            line!(
                warn, %target, ?keepalive_time, while_idle, times,
                "the peer wants fewer keepalive pings (gRPC A8): keepalive_time raised for this \
                 target"
            );
        }
        (Fact::TlsMaterialRejected { cause, .. }, _) => {
            line!(warn, %target, %cause, "TLS files rejected, the former ones stay in use");
        }
        (Fact::ChildFailed { child, error }, _) => {
            line!(error, %target, child, %error, "an actor failed and is restarted");
        }
        (Fact::IntensityReached { failures, period }, _) => line!(
            error, %target, failures, ?period,
            "actors keep failing: restarts go on at the slowest pace"
        ),
        (Fact::RetryScheduled { method, code, cause, retry, of, delay }, _) => {
            let of = of.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
            line!(
                info, %target, %method, code = code_name(*code), %cause, retry, %of, ?delay,
                "retry scheduled"
            );
        }
        (Fact::RetryThrottled { method, code }, Some(Line::Repeated { times })) => line!(
            warn, %target, %method, code = code_name(*code), times,
            "retry throttled: retries are at their share of calls"
        ),
        (Fact::CallShed { method, reason }, Some(Line::Repeated { times })) => {
            line!(warn, %target, %method, times, "call refused: {reason}");
        }
        (Fact::DrainStarted { grace }, _) => line!(info, %target, ?grace, "draining"),
        // A program that returns from `main` drops its runtime: no failure.
        (Fact::Closed { cause: Some(cause) }, _) if &**cause == RUNTIME_ENDED => {
            line!(info, %target, %cause, "closed");
        }
        (Fact::Closed { cause: Some(cause) }, _) => line!(error, %target, %cause, "closed"),
        (Fact::Closed { cause: None }, _) => line!(info, %target, "closed"),
        (fact, _) => line!(debug, %target, ?fact, "{}", fact.name()),
    }
}
