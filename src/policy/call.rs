//! One call's life over its attempts: after each failure, resend it free, retry it by policy, or let the failure surface.
//!
//! In this order (gRPC A6, with this project's decisions):
//! 1. what no repetition can help surfaces: deadline, cancellation, shutdown, shed, fail fast, a message above a limit, a request
//!    that cannot be sent or whose shape is refused;
//! 2. what the server certainly did not process is resent, uncounted: what never left this process (but for want of call
//!    credentials) until the deadline; what a server in good order excluded by GOAWAY (NO_ERROR, on a link that has finished an
//!    answer) without limit; anything else that a peer excluded (another GOAWAY, REFUSED_STREAM) once: it may be this very call
//!    that the peer cannot bear, and each time costs other calls their link;
//! 3. streams, unlisted codes, and maybe-processed calls that are not idempotent surface;
//! 4. the limit, pushback, the deadline and the throttle are asked, in that order.

use super::{retry::RetryPolicy, throttle::Throttle};
use crate::model::{Cause, Failure, Phase, Scope};
use std::time::{Duration, Instant};

/// HTTP/2's code of a GOAWAY that is no complaint (RFC 9113, section 7).
const NO_ERROR: u32 = 0;

/// What the server said about when to retry: in `grpc-retry-pushback-ms`, or else in `google.rpc.RetryInfo` or HTTP's `retry-after`.
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
    /// Whether it is known to be unary: nothing else is retried by policy (seed).
    pub unary: bool,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// Whether the request can still be sent again whole.
    pub replayable: bool,
    /// When it must have ended.
    pub deadline: Option<Instant>,
    /// Whether the peer had finished an answer on the link of the attempt that failed.
    pub link_answered: bool,
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
    /// Behind those that wait now: the call may be what ends links, and shall not be the first on the next one.
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
        if let Some(place) = self.free(failure, rules.link_answered) {
            self.transparent += 1;
            return Decision::Resend { place };
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

    /// The call's place in the next attempt, where the failed one costs nothing: the server certainly did not process it.
    fn free(&mut self, failure: &Failure, link_answered: bool) -> Option<Place> {
        match (failure.phase, &failure.cause) {
            // They would be asked for again at once, and fail again.
            (_, Cause::Credentials(_)) => None,
            (Phase::Unsent, _) => Some(Place::Own),
            (Phase::Unprocessed, Cause::GoAway(goaway)) if goaway.code == NO_ERROR && link_answered => Some(Place::Own),
            (Phase::Unprocessed, _) => (!std::mem::replace(&mut self.excluded_before, true)).then_some(Place::Behind),
            _ => None,
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

/// Where a call stands that waits for a link after this failure and its retry's wait.
pub fn place_after(failure: &Failure) -> Place {
    let may_have_left = failure.phase > Phase::Unsent;
    if failure.scope == Scope::Link && may_have_left { Place::Behind } else { Place::Own }
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
            | Cause::BadRequest(_)
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
        link_answered: bool,
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
                link_answered: false,
            }
        }

        fn fail(&mut self, failure: &Failure, pushback: Option<Pushback>) -> Decision {
            let rules = Rules {
                policy: &self.policy,
                unary: self.unary,
                idempotent: self.idempotent,
                replayable: true,
                deadline: self.deadline,
                link_answered: self.link_answered,
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

    const AGAIN: Decision = Decision::Resend { place: Place::Own };
    const AGAIN_BEHIND: Decision = Decision::Resend { place: Place::Behind };

    fn goaway(code: u32) -> Failure {
        Failure::goaway(Arc::new(GoAway { last_stream_id: 1, code, debug: String::new() }))
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
        stream.link_answered = true;
        assert_eq!(stream.fail(&goaway(0), None), AGAIN);
    }

    #[test]
    fn a_goaway_in_good_order_is_free_without_end_and_keeps_the_calls_place() {
        let mut bench = Bench::new(0);
        (bench.idempotent, bench.link_answered) = (false, true);
        assert!((0..1_000).all(|_| bench.fail(&goaway(0), None) == AGAIN));
        assert_eq!((bench.machine.retries(), bench.machine.transparent()), (0, 1_000));
    }

    #[test]
    fn any_other_exclusion_is_free_once_then_by_policy_behind_what_waits() {
        for (excluded, link_answered) in
            [(goaway(0), false), (goaway(11), true), (goaway(2), false), (Failure::reset(7), true)]
        {
            let mut bench = Bench::new(3);
            (bench.idempotent, bench.link_answered) = (false, link_answered);
            assert_eq!(bench.fail(&excluded, None), AGAIN_BEHIND, "{excluded:?}");
            assert_eq!(bench.waits(&excluded), [1, 2, 4], "{excluded:?}");
            assert_eq!((bench.machine.retries(), bench.machine.transparent()), (3, 1));
            let mut stream = Bench::new(3);
            stream.unary = false;
            assert_eq!(stream.fail(&excluded, None), AGAIN_BEHIND);
            assert_eq!(stream.fail(&excluded, None), Decision::Surface, "a stream is not retried");
        }
        let mut mixed = Bench::new(0);
        assert_eq!(mixed.fail(&Failure::reset(7), None), AGAIN_BEHIND);
        assert_eq!(mixed.fail(&goaway(11), None), Decision::Surface, "once in all");
    }

    #[test]
    fn a_call_whose_link_went_down_with_it_waits_behind_the_others() {
        let lost = |phase| Failure::link_lost(Arc::new(LinkEnd::Closed), phase);
        assert_eq!(place_after(&lost(Phase::MaybeProcessed)), Place::Behind);
        assert_eq!(place_after(&lost(Phase::Unsent)), Place::Own);
        assert_eq!(place_after(&Failure::status(Code::Unavailable)), Place::Own);
        assert_eq!(place_after(&goaway(11)), Place::Behind);
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
        assert!((0..1_000).all(|_| once.fail(&unsent, None) == AGAIN), "until the deadline");
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
        for failure in [peer, Failure::request_too_large(2, 1, "a key"), Failure::answer_too_large(1)] {
            assert_eq!(bench.fail(&failure, None), Decision::Surface, "{failure}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_request_is_never_repeated_whatever_the_list_says() {
        let mut bench = Bench::new(9);
        bench.policy.codes = (0..17).map(Code::from_i32).collect();
        for failure in [
            Failure::bad_request("malformed".into()),
            Failure::head_too_large(20_000, 16_384),
            Failure::http(400, String::new()),
            Failure::http(413, String::new()),
            Failure::http(414, String::new()),
            Failure::http(431, String::new()),
        ] {
            assert_eq!(bench.fail(&failure, None), Decision::Surface, "{failure:?}");
        }
        assert!(matches!(bench.fail(&Failure::http(503, String::new()), None), Decision::Retry { .. }));
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
