//! What an error means for a loop that goes on: ask again later, stop asking, or end.

use crate::{
    model::{CallReport, Cause},
    policy::{Backoff, jittered},
};
use std::time::Duration;
use tonic::{Code, Status};

/// Whether it is worth asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// It may be different later.
    Transient,
    /// Asking again gives the same answer.
    Permanent,
    /// The client is closed: nothing can be asked any more.
    ClientClosed,
}

/// How far a request came that was not answered well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It was not sent: there was no link, or no room on it.
    NotSent,
    /// The link ended under it: nobody knows whether it arrived.
    Unknown,
    /// It was answered, or could have been.
    Reached,
}

/// No lease is taken to be shorter than this: it must be possible to renew it.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
/// No lease is taken to be longer than this, which is the longest that `serve` gives.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// The waits between asking and asking again; within each call the channel has waited and retried
/// already.
const PAUSES: Backoff =
    Backoff { initial: Duration::from_millis(500), multiplier: 2.0, max: Duration::from_secs(10) };

pub(super) fn classify(status: &Status) -> ErrorClass {
    match cause(status) {
        Some(Cause::Shutdown) => return ErrorClass::ClientClosed,
        Some(Cause::TooLarge(_)) => return ErrorClass::Permanent,
        _ => {}
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::PermissionDenied
        | Code::Unauthenticated => ErrorClass::Permanent,
        _ => ErrorClass::Transient,
    }
}

/// Whether the content of the request was refused, so that a request with less in it may be
/// accepted.
pub(super) fn refuses_the_content(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange)
        || matches!(cause(status), Some(Cause::TooLarge(_)))
}

/// How far the request came that ended so.
pub(super) fn delivery_of(status: &Status) -> Delivery {
    match cause(status) {
        Some(
            Cause::NotConnected(_)
            | Cause::Deadline(Some(_))
            | Cause::WouldNotFinish { .. }
            | Cause::Shed(_),
        ) => Delivery::NotSent,
        Some(Cause::LinkLost(_) | Cause::GoAway(_)) => Delivery::Unknown,
        _ => Delivery::Reached,
    }
}

fn cause(status: &Status) -> Option<&Cause> {
    CallReport::of(status).map(|report| &report.outcome.cause)
}

/// The wait after so many failures in a row, counted from 0; `unit` is a random number in
/// `0.0..1.0`.
pub(super) fn pause(failures: u32, unit: f64) -> Duration {
    jittered(PAUSES.delay(failures), 0.2, unit)
}

/// A lease's length, from the seconds that the server wrote: 1 s to 24 h, whatever it wrote.
pub(super) fn lease_of(seconds: f64) -> Duration {
    let endless = if seconds > 0.0 { LONGEST_LEASE } else { SHORTEST_LEASE };
    Duration::try_from_secs_f64(seconds).unwrap_or(endless).clamp(SHORTEST_LEASE, LONGEST_LEASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_passes_and_a_wrong_request_does_not() {
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::Cancelled,
            Code::Aborted,
        ] {
            assert_eq!(classify(&Status::new(code, "")), ErrorClass::Transient, "{code:?}");
        }
        for code in
            [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition, Code::Unauthenticated]
        {
            assert_eq!(classify(&Status::new(code, "")), ErrorClass::Permanent, "{code:?}");
        }
    }

    #[test]
    fn pauses_grow_from_half_a_second_to_ten() {
        assert_eq!(pause(0, 0.5), Duration::from_millis(500));
        assert_eq!(pause(u32::MAX, 0.5), Duration::from_secs(10));
    }

    #[test]
    fn a_lease_is_a_second_to_a_day_whatever_the_server_says() {
        for none in [f64::NAN, f64::NEG_INFINITY, -1.0, -0.0, 0.0, f64::MIN_POSITIVE, 0.999] {
            assert_eq!(lease_of(none), SHORTEST_LEASE, "{none}");
        }
        for endless in [86_400.1, 1e19, 1e300, f64::MAX, f64::INFINITY] {
            assert_eq!(lease_of(endless), LONGEST_LEASE, "{endless}");
        }
        assert_eq!(lease_of(1.5), Duration::from_millis(1500));
    }
}
