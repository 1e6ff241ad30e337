//! One call's life over its attempts: after each failure, resend it free, retry it by policy, or let the failure surface.
//!
//! In this order (gRPC A6, with this project's decisions):
//! 1. what no repetition can help surfaces: deadline, cancellation, shutdown, shed, fail fast, a message above a limit;
//! 2. what the server certainly did not process is resent, uncounted: unsent (but for want of call credentials) and GOAWAY
//!    always, REFUSED_STREAM once;
//! 3. streams, unlisted codes, and maybe-processed calls that are not idempotent surface;
//! 4. the limit, pushback, the deadline and the throttle are asked, in that order.

use super::{retry::RetryPolicy, throttle::Throttle};
use crate::model::{Cause, Failure, Phase};
use std::time::{Duration, Instant};

/// What the server said about when to retry: in `grpc-retry-pushback-ms`, or else in `google.rpc.RetryInfo` or HTTP's `retry-after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// After exactly this long.
    After(Duration),
    /// Not at all.
    Never,
}

/// What holds for the call as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The retry policy.
    pub policy: &'a RetryPolicy,
    /// Whether it is known to be unary: nothing else is retried by policy (seed).
    pub unary: bool,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// Whether the request can still be sent again whole.
    pub replayable: bool,
    /// When it must have ended.
    pub deadline: Option<Instant>,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Send it again as soon as a link has room: the server never saw it.
    Resend,
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

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct CallMachine {
    retries: u32,
    transparent: u32,
    exponent: u32,
    refused_before: bool,
    maybe_processed: bool,
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
    /// Decides what follows a failed attempt; `unit` is a die in `0.0..1.0`.
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
        if is_final(&failure.cause) || !rules.replayable {
            return Decision::Surface;
        }
        if self.is_free(failure) {
            self.transparent += 1;
            return Decision::Resend;
        }
        let listed = rules.unary && rules.policy.codes.contains(failure.code);
        if !listed || (failure.maybe_processed() && !rules.idempotent) {
            return Decision::Surface;
        }
        let from_peer = matches!(failure.cause, Cause::Status | Cause::Http(_));
        if from_peer {
            throttle.peer_failed();
        }
        if !rules.policy.limit.allows(self.retries) || pushback == Some(Pushback::Never) {
            return Decision::Surface;
        }
        let (delay, exponent) = match pushback {
            Some(Pushback::After(delay)) => (delay, 0),
            _ => (rules.policy.delay(self.exponent, unit), self.exponent.saturating_add(1)),
        };
        // A time beyond the clock's end never comes.
        let due = now.checked_add(delay).filter(|at| rules.deadline.is_none_or(|deadline| *at < deadline));
        let Some(at) = due else { return Decision::Surface };
        if from_peer && !throttle.take(now) {
            return Decision::Throttled;
        }
        self.exponent = exponent;
        self.retries += 1;
        Decision::Retry { at, delay, number: self.retries }
    }

    /// Counts a retry that never was. For tests that want to see it noticed.
    pub(crate) fn count_retry(&mut self) {
        self.retries += 1;
    }

    /// Whether the failed attempt costs nothing: the server certainly did not process it.
    fn is_free(&mut self, failure: &Failure) -> bool {
        match (failure.phase, &failure.cause) {
            // They would be asked for again at once, and fail again.
            (_, Cause::Credentials(_)) => false,
            (Phase::Unsent, _) | (Phase::Unprocessed, Cause::GoAway(_)) => true,
            (Phase::Unprocessed, _) => !std::mem::replace(&mut self.refused_before, true),
            _ => false,
        }
    }

    /// How many policy retries there were, the scheduled one included: the value of `grpc-previous-rpc-attempts`.
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

fn is_final(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Deadline(_)
            | Cause::Cancelled
            | Cause::Shutdown
            | Cause::Shed(_)
            | Cause::NotConnected(_)
            | Cause::TooLarge(_)
            | Cause::RequestBody(_)
            | Cause::Supervision(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{GoAway, LinkEnd},
        policy::{Backoff, RetryLimit, ThrottleRule},
    };
    use std::sync::Arc;
    use tonic::Code;

    fn policy(retries: u32) -> RetryPolicy {
        RetryPolicy {
            limit: RetryLimit::AtMost(retries),
            backoff: Backoff { initial: Duration::from_secs(1), multiplier: 2.0, max: Duration::from_secs(10) },
            jitter: 0.0,
            codes: [Code::Unavailable, Code::DeadlineExceeded].into_iter().collect(),
        }
    }

    struct Bench {
        machine: CallMachine,
        throttle: Throttle,
        now: Instant,
        policy: RetryPolicy,
        idempotent: bool,
        unary: bool,
        deadline: Option<Instant>,
    }

    impl Bench {
        fn new(retries: u32) -> Self {
            let now = Instant::now();
            Self {
                machine: CallMachine::default(),
                throttle: Throttle::new(ThrottleRule::Off, now),
                now,
                policy: policy(retries),
                idempotent: true,
                unary: true,
                deadline: None,
            }
        }

        fn fail(&mut self, failure: &Failure, pushback: Option<Pushback>) -> Decision {
            let rules = Rules {
                policy: &self.policy,
                unary: self.unary,
                idempotent: self.idempotent,
                replayable: true,
                deadline: self.deadline,
            };
            self.machine.failed(failure, pushback, rules, &mut self.throttle, self.now, 0.5)
        }

        fn waits(&mut self, failure: &Failure) -> Vec<u64> {
            std::iter::from_fn(|| match self.fail(failure, None) {
                Decision::Retry { delay, .. } => Some(delay.as_secs()),
                _ => None,
            })
            .collect()
        }
    }

    fn goaway() -> Failure {
        Failure::goaway(Arc::new(GoAway { last_stream_id: 1, code: 0, debug: String::new() }))
    }

    #[test]
    fn three_retries_wait_1_2_4_and_six_wait_1_2_4_8_10_10() {
        let unavailable = Failure::status(Code::Unavailable);
        assert_eq!(Bench::new(3).waits(&unavailable), [1, 2, 4]);
        assert_eq!(Bench::new(6).waits(&unavailable), [1, 2, 4, 8, 10, 10]);
        assert!(Bench::new(0).waits(&unavailable).is_empty());
    }

    #[test]
    fn unlisted_codes_and_streams_surface() {
        assert_eq!(Bench::new(3).fail(&Failure::status(Code::NotFound), None), Decision::Surface);
        let mut stream = Bench::new(3);
        stream.unary = false;
        assert_eq!(stream.fail(&Failure::status(Code::Unavailable), None), Decision::Surface);
        assert_eq!(stream.fail(&goaway(), None), Decision::Resend);
    }

    #[test]
    fn goaway_is_free_without_end_and_refused_stream_once() {
        let mut bench = Bench::new(0);
        bench.idempotent = false;
        assert!((0..1_000).all(|_| bench.fail(&goaway(), None) == Decision::Resend));
        assert_eq!(bench.fail(&Failure::reset(7), None), Decision::Resend);
        assert_eq!(bench.fail(&Failure::reset(7), None), Decision::Surface);
        assert_eq!((bench.machine.retries(), bench.machine.transparent()), (0, 1_001));
        let mut refused = Bench::new(3);
        refused.idempotent = false;
        assert_eq!(refused.fail(&Failure::reset(7), None), Decision::Resend);
        assert_eq!(refused.waits(&Failure::reset(7)), [1, 2, 4]);
    }

    #[test]
    fn what_may_have_been_processed_is_repeated_only_if_idempotent() {
        let lost = Failure::link_lost(Arc::new(LinkEnd::Closed), Phase::MaybeProcessed);
        assert!(matches!(Bench::new(1).fail(&lost, None), Decision::Retry { .. }));
        let mut once = Bench::new(1);
        once.idempotent = false;
        assert_eq!(once.fail(&lost, None), Decision::Surface);
        assert!(once.machine.maybe_processed());
        let unsent = Failure::link_lost(Arc::new(LinkEnd::Closed), Phase::Unsent);
        assert_eq!(once.fail(&unsent, None), Decision::Resend);
    }

    #[test]
    fn credentials_that_cannot_be_had_are_retried_by_policy_and_never_for_free() {
        let unavailable = Failure::credentials(Code::Unavailable, "the issuer is away");
        let mut bench = Bench::new(3);
        bench.idempotent = false;
        assert_eq!(bench.waits(&unavailable), [1, 2, 4]);
        assert_eq!(bench.machine.transparent(), 0);
        let refused = Failure::credentials(Code::Unauthenticated, "no such user");
        assert_eq!(Bench::new(3).fail(&refused, None), Decision::Surface);
    }

    #[test]
    fn pushback_is_obeyed_and_restarts_the_exponent() {
        let unavailable = Failure::status(Code::Unavailable);
        let mut bench = Bench::new(9);
        let mut wait = |pushback| match bench.fail(&unavailable, pushback) {
            Decision::Retry { delay, .. } => delay.as_millis(),
            _ => 0,
        };
        assert_eq!(wait(None), 1_000);
        assert_eq!(wait(None), 2_000);
        assert_eq!(wait(Some(Pushback::parse(b"700"))), 700);
        assert_eq!(wait(None), 1_000);
        assert_eq!(wait(Some(Pushback::parse(b"-1"))), 0);
        assert_eq!(Pushback::parse(b"soon"), Pushback::Never);
        assert_eq!(Pushback::parse(b"99999999999"), Pushback::Never);
    }

    #[test]
    fn a_wait_without_end_surfaces_and_a_message_that_is_too_large_is_never_repeated() {
        let unavailable = Failure::status(Code::Unavailable);
        assert_eq!(Bench::new(9).fail(&unavailable, Some(Pushback::After(Duration::MAX))), Decision::Surface);
        let mut bench = Bench::new(9);
        bench.policy.codes = [Code::ResourceExhausted, Code::OutOfRange].into_iter().collect();
        let peer = Failure::too_large_for_peer(Code::ResourceExhausted, "larger than max");
        for failure in [peer, Failure::request_too_large(2, 1), Failure::answer_too_large(1)] {
            assert_eq!(bench.fail(&failure, None), Decision::Surface, "{failure}");
        }
    }

    #[test]
    fn a_wait_that_would_outlive_the_deadline_surfaces_the_last_real_status() {
        let mut bench = Bench::new(3);
        bench.deadline = Some(bench.now + Duration::from_millis(2_500));
        let unavailable = Failure::status(Code::Unavailable);
        assert!(matches!(bench.fail(&unavailable, None), Decision::Retry { .. }));
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.fail(&unavailable, None), Decision::Surface);
    }

    #[test]
    fn the_throttle_stops_peer_statuses_and_never_lost_links() {
        let mut bench = Bench::new(100);
        bench.throttle = Throttle::new(ThrottleRule::Share { ratio: 0.0, floor: 0.1 }, bench.now);
        let unavailable = Failure::status(Code::Unavailable);
        assert!(matches!(bench.fail(&unavailable, None), Decision::Retry { .. }));
        assert_eq!(bench.fail(&unavailable, None), Decision::Throttled);
        let lost = Failure::link_lost(Arc::new(LinkEnd::Closed), Phase::MaybeProcessed);
        assert!(matches!(bench.fail(&lost, None), Decision::Retry { .. }));
    }
}
