//! One call's life over its attempts: after each failure, resend it free, retry it by policy, or
//! let the failure surface.
//!
//! In this order (gRPC A6, with this project's decisions):
//! 1. what no repetition can help surfaces: deadline, cancellation, shutdown, shed, fail fast, a
//!    message above a limit, a request that cannot be sent or whose shape is refused;
//! 2. what the server certainly did not process is resent, uncounted: what never left this process
//!    (but for want of call credentials) until the deadline; what a server in good order excluded
//!    by GOAWAY (NO_ERROR, on a link that has finished an answer) without limit; anything else that
//!    a peer excluded (another GOAWAY, REFUSED_STREAM) once: it may be this very call that the peer
//!    cannot bear, and each time costs other calls their link;
//! 3. known streams, unlisted codes, and maybe-processed calls that are not idempotent surface. A
//!    call that nobody described fails here only before its answer begins (A6's commit point):
//!    afterwards the answer is the caller's;
//! 4. the limit, pushback, the deadline and the throttle are asked, in that order.
//!
//! Where no retry follows, the machine remembers which of these it was.

use super::{retry::RetryPolicy, throttle::Throttle};
use crate::model::{CallKind, Cause, Failure, NotRetried, Phase, Scope};
use std::time::{Duration, Instant};

/// HTTP/2's code of a GOAWAY that is no complaint (RFC 9113, section 7).
const NO_ERROR: u32 = 0;

/// What the server said about when to retry: in `grpc-retry-pushback-ms`, or else in
/// `google.rpc.RetryInfo` or HTTP's `retry-after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// After exactly this long.
    After(Duration),
    /// Not at all.
    Never,
}

/// What holds for the call, and for the link of its last attempt.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The retry policy.
    pub policy: &'a RetryPolicy,
    /// Whether it is retried by policy: everything but known streams (seed).
    pub by_policy: bool,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// Whether the request can still be sent again whole.
    pub replayable: bool,
    /// Whether the supervisor is shutting down.
    pub draining: bool,
    /// Until when it may wait.
    pub deadline: Option<Instant>,
    /// Whether the peer had finished an answer on the link of the attempt that failed.
    pub link_answered: bool,
    /// How many calls are open, this one among them.
    pub open_calls: usize,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Send it again as soon as a link has room: the server never saw it.
    Resend {
        /// Which place it has among the calls that wait for a link.
        place: Place,
    },
    /// Send it again at this time.
    Retry {
        /// When.
        at: Instant,
        /// How long that is from now.
        delay: Duration,
        /// Which retry it will be, from 1.
        number: u32,
    },
    /// The failure is the call's outcome.
    Surface,
    /// The same, but a retry was due and the throttle forbade it.
    Throttled,
}

/// Where a call that is sent again stands among those that wait for a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the order of arrival: an old call goes first.
    #[default]
    Own,
    /// Behind those that wait now: the call may be what ends links, and shall not be the first on
    /// the next one.
    Behind,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct CallMachine {
    retries: u32,
    transparent: u32,
    exponent: u32,
    excluded_before: bool,
    maybe_processed: bool,
    not_retried: Option<NotRetried>,
}

impl Pushback {
    /// Reads the trailer's value; what is not a number in range forbids retries (gRPC A6).
    pub fn parse(value: &[u8]) -> Self {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match text.trim().parse::<i32>() {
            Ok(millis) if millis >= 0 => Self::After(Duration::from_millis(millis as u64)),
            _ => Self::Never,
        }
    }
}

impl CallMachine {
    /// Decides what follows a failed attempt; `unit` is a random number in `0.0..1.0`.
    pub fn failed(
        &mut self,
        failure: &Failure,
        pushback: Option<Pushback>,
        rules: Rules<'_>,
        throttle: &mut Throttle,
        now: Instant,
        unit: f64,
    ) -> Decision {
        self.maybe_processed |= failure.maybe_processed();
        self.not_retried = None;
        if is_final(&failure.cause) {
            // The end of a call's time, or its caller's word, is no failure of an attempt.
            self.not_retried = (!ends_the_call(&failure.cause)).then_some(NotRetried::Final);
            return Decision::Surface;
        }
        if rules.draining {
            return self.surface(NotRetried::ShuttingDown);
        }
        if !rules.replayable {
            return self.surface(NotRetried::NotReplayable);
        }
        if let Some(place) = self.free(failure, rules.link_answered) {
            self.transparent += 1;
            return Decision::Resend { place };
        }
        if !rules.by_policy {
            return self.surface(NotRetried::Streaming);
        }
        if !rules.policy.codes.contains(failure.code) {
            return self.surface(NotRetried::CodeNotListed(failure.code));
        }
        if failure.maybe_processed() && !rules.idempotent {
            return self.surface(NotRetried::MaybeProcessed);
        }
        let from_peer = matches!(failure.cause, Cause::Status | Cause::Http(_));
        if from_peer {
            throttle.peer_failed();
        }
        if !rules.policy.limit.allows(self.retries) {
            return self.surface(NotRetried::LimitReached(self.retries));
        }
        if pushback == Some(Pushback::Never) {
            return self.surface(NotRetried::Forbidden);
        }
        let (delay, exponent) = match pushback {
            Some(Pushback::After(delay)) => (delay, 0),
            _ => (rules.policy.delay(self.exponent, unit), self.exponent.saturating_add(1)),
        };
        // A time beyond the clock's end never comes.
        let due = now
            .checked_add(delay)
            .filter(|at| rules.deadline.is_none_or(|deadline| *at < deadline));
        let Some(at) = due else { return self.surface(NotRetried::OutlivesDeadline(delay)) };
        if from_peer && !throttle.take(now, self.retries == 0, rules.open_calls) {
            self.not_retried = Some(NotRetried::Throttled);
            return Decision::Throttled;
        }
        self.exponent = exponent;
        self.retries += 1;
        Decision::Retry { at, delay, number: self.retries }
    }

    /// An attempt failed of which nothing can follow: its answer cannot be used, or was being
    /// passed on.
    pub fn cut_short(&mut self, failure: &Failure, passed_on: bool, kind: CallKind) {
        self.maybe_processed |= failure.maybe_processed();
        let reason = match kind {
            _ if is_final(&failure.cause) || !passed_on => NotRetried::Final,
            CallKind::Streaming => NotRetried::Streaming,
            _ => NotRetried::AnswerBegan,
        };
        self.not_retried = (!ends_the_call(&failure.cause)).then_some(reason);
    }

    fn surface(&mut self, reason: NotRetried) -> Decision {
        self.not_retried = Some(reason);
        Decision::Surface
    }

    /// Why no retry followed the last failure.
    pub fn not_retried(&self) -> Option<NotRetried> {
        self.not_retried
    }

    /// The call's place in the next attempt, where the failed one costs nothing: the server
    /// certainly did not process it.
    fn free(&mut self, failure: &Failure, link_answered: bool) -> Option<Place> {
        match (failure.phase, &failure.cause) {
            // They would be asked for again at once, and fail again.
            (_, Cause::Credentials(_)) => None,
            (Phase::Unsent, _) => Some(Place::Own),
            (Phase::Unprocessed, Cause::GoAway(goaway))
                if goaway.code == NO_ERROR && link_answered =>
            {
                Some(Place::Own)
            }
            (Phase::Unprocessed, _) => {
                (!std::mem::replace(&mut self.excluded_before, true)).then_some(Place::Behind)
            }
            _ => None,
        }
    }

    /// How many policy retries there were, the scheduled one included: the value of
    /// `grpc-previous-rpc-attempts`.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// How many transparent retries there were.
    pub fn transparent(&self) -> u32 {
        self.transparent
    }

    /// Whether the server may have acted on any attempt.
    pub fn maybe_processed(&self) -> bool {
        self.maybe_processed
    }
}

/// Where a call stands that waits for a link after this failure and its retry's wait.
pub fn place_after(failure: &Failure) -> Place {
    let may_have_left = failure.phase > Phase::Unsent;
    if failure.scope == Scope::Link && may_have_left { Place::Behind } else { Place::Own }
}

fn ends_the_call(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Deadline(_)
            | Cause::WouldNotFinish { .. }
            | Cause::Cancelled
            | Cause::Shutdown
            | Cause::Shed(_)
            | Cause::Supervision(_)
    )
}

fn is_final(cause: &Cause) -> bool {
    let fails_the_same = matches!(
        cause,
        Cause::NotConnected(_) | Cause::TooLarge(_) | Cause::BadRequest(_) | Cause::RequestBody(_)
    );
    fails_the_same || ends_the_call(cause)
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
