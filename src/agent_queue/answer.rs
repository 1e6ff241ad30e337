//! What an error means for a loop that goes on: ask again later, stop asking, or it is over.

use crate::{
    model::{CallReport, Cause},
    policy::{Backoff, jittered},
};
use std::time::Duration;
use tonic::{Code, Status};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be different later.
    Later,
    /// Asking again gives the same answer.
    Final,
    /// The client is closed: nothing can be asked any more.
    Closed,
}

/// The waits between asking and asking again; within each call the channel has waited and retried already.
const PAUSES: Backoff = Backoff { initial: Duration::from_millis(500), multiplier: 2.0, max: Duration::from_secs(10) };

pub(super) fn verdict(status: &Status) -> Verdict {
    if CallReport::of(status).is_some_and(|report| report.outcome.cause == Cause::Shutdown) {
        return Verdict::Closed;
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::PermissionDenied
        | Code::Unauthenticated => Verdict::Final,
        _ => Verdict::Later,
    }
}

/// The wait after so many failures in a row, counted from 0; `unit` is a die in `0.0..1.0`.
pub(super) fn pause(failures: u32, unit: f64) -> Duration {
    jittered(PAUSES.delay(failures), 0.2, unit)
}

/// Seconds as the server writes them; nonsense counts as none.
pub(super) fn from_seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_passes_and_a_wrong_request_does_not() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Cancelled, Code::Aborted] {
            assert_eq!(verdict(&Status::new(code, "")), Verdict::Later, "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition, Code::Unauthenticated] {
            assert_eq!(verdict(&Status::new(code, "")), Verdict::Final, "{code:?}");
        }
    }

    #[test]
    fn pauses_grow_from_half_a_second_to_ten() {
        assert_eq!(pause(0, 0.5), Duration::from_millis(500));
        assert_eq!(pause(u32::MAX, 0.5), Duration::from_secs(10));
    }

    #[test]
    fn a_lease_that_makes_no_sense_is_none() {
        for seconds in [f64::NAN, -1.0, f64::INFINITY] {
            assert_eq!(from_seconds(seconds), Duration::ZERO);
        }
    }
}
