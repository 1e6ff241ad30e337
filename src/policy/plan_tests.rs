//! Plans whose times a person can say: those of the seed, and the odd ones at the edges.

use super::{super::backoff::Backoff, super::codes::CodeSet, super::retry::RetryLimit, *};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn seed() -> Terms {
    Terms {
        policy: RetryPolicy {
            limit: RetryLimit::AtMost(3),
            backoff: Backoff { initial: seconds(1.0), multiplier: 2.0, max: seconds(10.0) },
            jitter: 0.3,
            codes: CodeSet::from_iter([Code::Unavailable, Code::DeadlineExceeded]),
        },
        throttle: ThrottleRule::Share { ratio: 0.2, floor: 10.0 },
        kind: CallKind::Unary,
        is_undescribed: false,
        idempotent: true,
        timeout: Some(seconds(60.0)),
        attempt_timeout: None,
        wait_for_ready: true,
    }
}

fn plan(terms: &Terms, server: Server) -> CallPlan {
    plan_call(terms, server, Instant::now())
}

fn begins(plan: &CallPlan) -> Vec<f64> {
    plan.attempts.iter().map(|attempt| attempt.at.as_secs_f64()).collect()
}

fn ends(plan: &CallPlan) -> (f64, Code, Option<NotRetried>) {
    let end = plan.end.expect("it ends");
    (end.at.as_secs_f64(), end.code, end.not_retried)
}

const UNAVAILABLE: Server = Server::Answers(Code::Unavailable);

#[test]
fn the_seeds_call_is_made_at_0_1_3_and_7_seconds_or_once_for_sixty() {
    let busy = plan(&seed(), UNAVAILABLE);
    assert_eq!(begins(&busy), [0.0, 1.0, 3.0, 7.0]);
    assert_eq!(ends(&busy), (7.0, Code::Unavailable, Some(NotRetried::LimitReached(3))));
    let silent = plan(&seed(), Server::Silent);
    assert_eq!((begins(&silent), silent.made), (vec![0.0], 1));
    assert_eq!(ends(&silent), (60.0, Code::DeadlineExceeded, None));
}

#[test]
fn what_ends_a_call_early_is_said() {
    let unlisted = plan(&seed(), Server::Answers(Code::NotFound));
    let reason = Some(NotRetried::CodeNotListed(Code::NotFound));
    assert_eq!(ends(&unlisted), (0.0, Code::NotFound, reason));
    let once = Terms { idempotent: false, ..seed() };
    let reason = Some(NotRetried::MaybeProcessed);
    assert_eq!(ends(&plan(&once, UNAVAILABLE)), (0.0, Code::Unavailable, reason));
    let stream = Terms { kind: CallKind::Streaming, ..seed() };
    let reason = Some(NotRetried::Streaming);
    assert_eq!(ends(&plan(&stream, UNAVAILABLE)), (0.0, Code::Unavailable, reason));
    assert_eq!(plan(&stream, Server::Silent).end, None);
    let short = Terms { timeout: Some(seconds(3.0)), ..seed() };
    let reason = Some(NotRetried::OutlivesDeadline(seconds(2.0)));
    assert_eq!(ends(&plan(&short, UNAVAILABLE)), (1.0, Code::Unavailable, reason));
    let throttle = ThrottleRule::Share { ratio: 0.0, floor: 0.0 };
    let throttled = plan(&Terms { throttle, ..seed() }, UNAVAILABLE);
    assert_eq!(ends(&throttled), (0.0, Code::Unavailable, Some(NotRetried::Throttled)));
}

/// 2 s on the wire, then the waits; the deadline cuts the fourth attempt.
#[test]
fn an_attempt_that_is_given_up_is_followed_by_the_next() {
    let terms =
        Terms { attempt_timeout: Some(seconds(2.0)), timeout: Some(seconds(14.5)), ..seed() };
    let silent = plan(&terms, Server::Silent);
    assert_eq!(begins(&silent), [0.0, 3.0, 7.0, 13.0]);
    assert_eq!(ends(&silent), (14.5, Code::DeadlineExceeded, None));
    // Of kind auto the time on the wire counts for nothing.
    let auto = Terms { kind: CallKind::Auto, ..terms };
    let reason = Some(NotRetried::LimitReached(3));
    assert_eq!(ends(&plan(&auto, Server::Silent)), (15.0, Code::DeadlineExceeded, reason));
}

#[test]
fn waits_end_with_whole_milliseconds_and_a_deadline_in_the_same_one_comes_first() {
    let mut terms = seed();
    terms.policy.backoff.initial = Duration::from_micros(1_500);
    assert_eq!(begins(&plan(&terms, UNAVAILABLE)), [0.0, 0.002, 0.005, 0.011]);
    terms.timeout = Some(Duration::from_micros(1_700));
    let cut = plan(&terms, UNAVAILABLE);
    assert_eq!((cut.made, ends(&cut)), (1, (0.002, Code::DeadlineExceeded, None)));
}

#[test]
fn retries_without_limit_or_wait_are_followed_for_a_while_only() {
    let mut terms = Terms { throttle: ThrottleRule::Off, ..seed() };
    terms.policy.limit = RetryLimit::Unlimited;
    let long = plan(&terms, UNAVAILABLE);
    assert_eq!((long.made, long.attempts.len()), (9, 9));
    assert_eq!(
        ends(&long),
        (55.0, Code::Unavailable, Some(NotRetried::OutlivesDeadline(seconds(10.0))))
    );
    terms.policy.backoff.initial = Duration::ZERO;
    let endless = plan(&terms, UNAVAILABLE);
    assert_eq!((endless.made, endless.end), (CallPlan::FOLLOWED, None));
    assert_eq!(endless.attempts.len(), CallPlan::LISTED);
}

fn schedules() -> Schedules {
    let backoff = |initial, multiplier, max| Backoff {
        initial: seconds(initial),
        multiplier,
        max: seconds(max),
    };
    let (idle, waiting) = (backoff(1.0, 1.6, 10.0), backoff(0.05, 2.0, 1.0));
    Schedules { idle, waiting, refused_max: seconds(0.25), jitter: 0.2, spread: seconds(0.02) }
}

fn dials(terms: &Terms, way: Way) -> (Vec<f64>, Option<(f64, Code)>) {
    let plan = plan_dials(terms, way, schedules(), Instant::now());
    let at = |at: &Duration| at.as_secs_f64();
    (plan.dials.iter().map(at).collect(), plan.end.map(|end| (end.at.as_secs_f64(), end.code)))
}

#[test]
fn without_a_link_dials_follow_the_quick_schedule_until_the_call_ends() {
    let short = Terms { timeout: Some(seconds(2.0)), ..seed() };
    let late = Code::DeadlineExceeded;
    let quick = vec![0.0, 0.05, 0.15, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75];
    assert_eq!(dials(&short, Way::Refused), (quick, Some((2.0, late))));
    let hangs_up = Way::Dropped(Duration::ZERO);
    let slower = vec![0.0, 0.05, 0.15, 0.35, 0.75, 1.55];
    assert_eq!(dials(&short, hangs_up), (slower, Some((2.0, late))));
    let dropped = Way::Dropped(seconds(20.0));
    assert_eq!(dials(&seed(), dropped), (vec![0.0, 20.0, 40.0], Some((60.0, late))));
    let patient = Terms { timeout: None, ..seed() };
    let (times, end) = dials(&patient, Way::Refused);
    assert_eq!((times.len(), end), (CallPlan::LISTED, None));
}

#[test]
fn a_call_that_does_not_wait_ends_with_the_first_dial_or_its_deadline() {
    let hasty = Terms { wait_for_ready: false, ..seed() };
    let unavailable = Code::Unavailable;
    assert_eq!(dials(&hasty, Way::Refused), (vec![0.0], Some((0.0, unavailable))));
    let dropped = Way::Dropped(seconds(20.0));
    assert_eq!(dials(&hasty, dropped), (vec![0.0], Some((20.0, unavailable))));
    let short = Terms { timeout: Some(seconds(5.0)), ..hasty };
    assert_eq!(dials(&short, dropped), (vec![0.0], Some((5.0, Code::DeadlineExceeded))));
}

#[test]
fn silence_is_noticed_after_keepalive_unless_that_is_endless() {
    let noticed = |time, timeout| silence_noticed(seconds(time), seconds(timeout), Instant::now());
    assert_eq!(noticed(30.0, 5.0), Some(seconds(35.0)));
    assert_eq!(noticed(10.0, 20.0), Some(seconds(30.0)));
    assert_eq!(noticed(0.001, 1e9), None);
}
