//! One call's machine: every cause, the order of the questions, and what each failure costs.

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
        backoff: Backoff {
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            max: Duration::from_secs(10),
        },
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
    by_policy: bool,
    replayable: bool,
    draining: bool,
    deadline: Option<Instant>,
    link_answered: bool,
    open_calls: usize,
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
            by_policy: true,
            replayable: true,
            draining: false,
            deadline: None,
            link_answered: false,
            open_calls: 1,
        }
    }

    fn fail(&mut self, failure: &Failure, pushback: Option<Pushback>) -> Decision {
        let rules = Rules {
            policy: &self.policy,
            by_policy: self.by_policy,
            draining: self.draining,
            idempotent: self.idempotent,
            replayable: self.replayable,
            deadline: self.deadline,
            link_answered: self.link_answered,
            open_calls: self.open_calls,
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
    stream.by_policy = false;
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
        stream.by_policy = false;
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
    assert_eq!(
        Bench::new(9).fail(&unavailable, Some(Pushback::After(Duration::MAX))),
        Decision::Surface
    );
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

#[test]
fn only_a_calls_first_retry_goes_while_the_debt_is_within_the_open_calls() {
    let mut bench = Bench::new(3);
    bench.throttle = Throttle::new(ThrottleRule::Share { ratio: 0.0, floor: 0.1 }, bench.now);
    bench.open_calls = 3;
    let unavailable = Failure::status(Code::Unavailable);
    for owed in 1..=4 {
        bench.machine = CallMachine::default();
        let first = bench.fail(&unavailable, None);
        assert_eq!(matches!(first, Decision::Retry { number: 1, .. }), owed <= 3, "{owed} owed");
    }
    bench.open_calls = 100;
    bench.machine = CallMachine::default();
    assert!(matches!(bench.fail(&unavailable, None), Decision::Retry { number: 1, .. }));
    assert_eq!(bench.fail(&unavailable, None), Decision::Throttled);
}

#[test]
fn what_alone_kept_a_retry_from_being_made_is_remembered() {
    let unavailable = Failure::status(Code::Unavailable);
    let lost = Failure::link_lost(Arc::new(LinkEnd::Closed), Phase::MaybeProcessed);
    let second = Duration::from_secs(1);
    let reason = |retries, set: fn(&mut Bench), failure: &Failure, pushback| {
        let mut bench = Bench::new(retries);
        set(&mut bench);
        bench.fail(failure, pushback);
        bench.machine.not_retried()
    };
    let nothing: fn(&mut Bench) = |_| {};
    let late: fn(&mut Bench) = |bench| bench.deadline = Some(bench.now + Duration::from_secs(1));
    let once: fn(&mut Bench) = |bench| bench.idempotent = false;
    let stream: fn(&mut Bench) = |bench| bench.by_policy = false;
    assert_eq!(reason(3, nothing, &unavailable, None), None, "it is retried");
    let not_found = Failure::status(Code::NotFound);
    let unlisted = Some(NotRetried::CodeNotListed(Code::NotFound));
    assert_eq!(reason(3, nothing, &not_found, None), unlisted);
    assert_eq!(reason(3, stream, &unavailable, None), Some(NotRetried::Streaming));
    let gone: fn(&mut Bench) = |bench| bench.replayable = false;
    assert_eq!(reason(3, gone, &unavailable, None), Some(NotRetried::NotReplayable));
    let draining: fn(&mut Bench) = |bench| bench.draining = true;
    assert_eq!(reason(3, draining, &unavailable, None), Some(NotRetried::ShuttingDown));
    let too_large = Failure::request_too_large(2, 1, "max_request_message_bytes");
    assert_eq!(reason(3, nothing, &too_large, None), Some(NotRetried::Final));
    assert_eq!(reason(0, nothing, &unavailable, None), Some(NotRetried::LimitReached(0)));
    let never = Some(Pushback::Never);
    assert_eq!(reason(3, nothing, &unavailable, never), Some(NotRetried::Forbidden));
    assert_eq!(reason(3, late, &unavailable, None), Some(NotRetried::OutlivesDeadline(second)));
    let endless = Some(Pushback::After(Duration::MAX));
    let outlives = Some(NotRetried::OutlivesDeadline(Duration::MAX));
    assert_eq!(reason(3, nothing, &unavailable, endless), outlives);
    assert_eq!(reason(3, once, &lost, None), Some(NotRetried::MaybeProcessed));
    // A retry that is made after all leaves no reason behind.
    let mut bench = Bench::new(1);
    bench.fail(&unavailable, Some(Pushback::Never));
    bench.fail(&unavailable, None);
    assert_eq!(bench.machine.not_retried(), None);
    bench.fail(&unavailable, None);
    assert_eq!(bench.machine.not_retried(), Some(NotRetried::LimitReached(1)));
}

/// What broke off while it was passed on, and what cannot be used, has no successor either.
#[test]
fn an_attempt_that_nobody_decides_about_has_its_reason_too() {
    let cut_short = |failure: &Failure, passed_on, kind| {
        let mut machine = CallMachine::default();
        machine.cut_short(failure, passed_on, kind);
        (machine.not_retried(), machine.maybe_processed())
    };
    let unavailable = Failure::status(Code::Unavailable);
    for (passed_on, kind, reason) in [
        (true, CallKind::Streaming, NotRetried::Streaming),
        (true, CallKind::Auto, NotRetried::AnswerBegan),
        (true, CallKind::Unary, NotRetried::AnswerBegan),
        (false, CallKind::Unary, NotRetried::Final),
    ] {
        assert_eq!(cut_short(&unavailable, passed_on, kind), (Some(reason), true));
    }
    let too_large = Failure::answer_too_large(1);
    assert_eq!(cut_short(&too_large, true, CallKind::Streaming).0, Some(NotRetried::Final));
    let late = Failure::deadline(Phase::MaybeProcessed, None);
    assert_eq!(cut_short(&late, true, CallKind::Streaming), (None, true));
}
