//! The throttle alone, and in a model: calls that come, fail and are retried after 1, 2 and 4 s, as
//! the seed says.

use super::*;
use std::{cmp::Reverse, collections::BinaryHeap};

const SHARE: ThrottleRule = ThrottleRule::Share { ratio: 0.2, floor: 10.0 };

/// The waits before retries, in milliseconds.
const WAITS: [u64; 3] = [1_000, 2_000, 4_000];

/// What became of the calls of a model.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    requests: usize,
    succeeded: usize,
    throttled: usize,
}

/// Calls that come at these times, in milliseconds; each is answered after `latency`, and fails so
/// many times.
fn play(arrivals: impl IntoIterator<Item = u64>, latency: u64, fails: usize) -> Outcome {
    let start = Instant::now();
    let mut throttle = Throttle::new(SHARE, start);
    let (mut outcome, mut open) = (Outcome::default(), 0);
    // When, in which order, and which request of its call; a call begins with its first.
    let arrivals = arrivals.into_iter().enumerate();
    let mut requests: BinaryHeap<_> = arrivals.map(|(n, at)| Reverse((at, n, 0))).collect();
    let mut answers = BinaryHeap::new();
    while !(requests.is_empty() && answers.is_empty()) {
        let is_request = match (requests.peek(), answers.peek()) {
            (Some(Reverse(request)), Some(Reverse(answer))) => request <= answer,
            (request, _) => request.is_some(),
        };
        if is_request {
            let Some(Reverse((at, n, nth))) = requests.pop() else { unreachable!() };
            if nth == 0 {
                open += 1;
                throttle.call_started();
            }
            outcome.requests += 1;
            answers.push(Reverse((at + latency, n, nth)));
            continue;
        }
        let Some(Reverse((at, n, nth))) = answers.pop() else { unreachable!() };
        let failed = nth < fails;
        if failed && nth < WAITS.len() {
            if throttle.take(start + Duration::from_millis(at), nth == 0, open) {
                requests.push(Reverse((at + WAITS[nth], n, nth + 1)));
                continue;
            }
            outcome.throttled += 1;
        }
        outcome.succeeded += usize::from(!failed);
        open -= 1;
    }
    outcome
}

/// So many calls a second, for so many seconds.
fn steady(per_second: u64, seconds: u64) -> impl Iterator<Item = u64> {
    (0..per_second * seconds).map(move |n| n * 1_000 / per_second)
}

#[test]
fn calls_at_once_that_each_fail_once_all_succeed() {
    for latency in [0, 20, 5_000] {
        let outcome = play([0; 1_000], latency, 1);
        let all = Outcome { requests: 2_000, succeeded: 1_000, throttled: 0 };
        assert_eq!(outcome, all, "{latency} ms");
    }
}

/// A server that is slow to fail holds more calls open: the bound grows with their number, and with
/// nothing else.
#[test]
fn a_storm_costs_a_fifth_ten_a_second_and_at_most_one_retry_per_open_call() {
    let storms = [(200, 30, 20), (200, 120, 3_000), (1_000, 30, 500), (5_000, 10, 0)];
    for (rate, seconds, latency) in storms {
        let outcome = play(steady(rate, seconds), latency, usize::MAX);
        let calls = rate * seconds;
        // The last retries go up to seven seconds, and four answers, after the last call.
        let repaid = calls / 5 + 10 * (seconds + 7) + latency / 25;
        let at_once = rate * (latency * 2 + WAITS[0]) / 1_000;
        let retries = outcome.requests as u64 - calls;
        assert!(retries <= repaid + at_once.max(50), "{rate}/s, {latency} ms: {retries} retries");
        assert!(retries > calls / 5, "{rate}/s, {latency} ms: {retries} retries");
    }
}

#[test]
fn a_storm_of_two_minutes_stays_below_1_26_requests_per_call() {
    for latency in [0, 1, 20, 100, 500] {
        let outcome = play(steady(200, 120), latency, usize::MAX);
        let per_call = outcome.requests as f64 / 24_000.0;
        assert!((1.24..=1.26).contains(&per_call), "{latency} ms: {per_call}");
    }
}

#[test]
fn a_first_retry_goes_while_the_debt_stays_within_the_open_calls() {
    let start = Instant::now();
    let mut throttle = Throttle::new(SHARE, start);
    assert_eq!((0..1_000).filter(|_| throttle.take(start, true, 300)).count(), 300);
    assert!(!throttle.take(start, false, 300), "a later retry has the fifty only");
    assert!(throttle.take(start, true, 301), "one more call is open");
    // 300 + 1 are owed. Ten calls repay two, a second ten: room for eleven first retries, and for
    // no other.
    (0..10).for_each(|_| throttle.call_started());
    let later = start + Duration::from_secs(1);
    assert_eq!((0..100).filter(|_| throttle.take(later, true, 300)).count(), 11);
    // 300 are owed: after 25 s fifty, after one tenth more 49.
    assert!(!throttle.take(later + Duration::from_secs(25), false, 300));
    assert!(throttle.take(later + Duration::from_millis(25_100), false, 300));
}

#[test]
fn later_retries_go_while_at_most_fifty_are_owed() {
    let start = Instant::now();
    let mut throttle = Throttle::new(SHARE, start);
    assert_eq!((0..200).filter(|_| throttle.take(start, false, 200)).count(), 50);
    for n in 1..=10 {
        throttle.call_started();
        let granted = throttle.take(start, false, 200);
        assert_eq!(granted, n % 5 == 0, "call {n}: five calls repay one retry");
    }
    let later = start + Duration::from_secs(5);
    assert_eq!((0..200).filter(|_| throttle.take(later, false, 200)).count(), 50, "all is repaid");
}

#[test]
fn a_quiet_client_always_gets_its_three_retries() {
    let start = Instant::now();
    let mut throttle = Throttle::new(SHARE, start);
    for minute in 0..1_000 {
        throttle.call_started();
        let now = start + Duration::from_secs(60 * minute);
        assert!((0..3).all(|n| throttle.take(now, n == 0, 1)));
    }
}

#[test]
fn nothing_is_saved_up_beyond_a_debt_of_none() {
    let start = Instant::now();
    let mut throttle = Throttle::new(SHARE, start);
    (0..1_000).for_each(|_| throttle.call_started());
    let later = start + Duration::from_secs(3_600);
    assert_eq!((0..200).filter(|_| throttle.take(later, false, 200)).count(), 50);
}

#[test]
fn without_a_floor_each_fifth_call_repays_a_retry() {
    let start = Instant::now();
    let mut throttle = Throttle::new(ThrottleRule::Share { ratio: 0.2, floor: 0.0 }, start);
    let mut granted = 0;
    for _ in 0..100 {
        granted += usize::from(throttle.take(start, false, 1));
        throttle.call_started();
    }
    assert_eq!(granted, 20);
}

#[test]
fn where_nothing_repays_a_retry_none_goes() {
    let start = Instant::now();
    let mut throttle = Throttle::new(ThrottleRule::Share { ratio: 0.0, floor: 0.0 }, start);
    assert!(!throttle.take(start + Duration::from_secs(100), true, 1_000));
}

#[test]
fn the_greatest_numbers_do_not_overflow() {
    let start = Instant::now();
    for (ratio, floor) in [(1e6, 1e6), (0.0, 1e6), (f64::MAX, f64::MAX), (1e-9, 1e-9)] {
        let mut throttle = Throttle::new(ThrottleRule::Share { ratio, floor }, start);
        for days in [0, 1, 100_000] {
            throttle.call_started();
            assert!(throttle.take(start + Duration::from_secs(86_400 * days), true, usize::MAX));
        }
    }
}

#[test]
fn the_bucket_stops_at_half_and_not_before() {
    let start = Instant::now();
    let rule = ThrottleRule::Bucket { max_tokens: 10.0, token_ratio: 0.1 };
    let mut throttle = Throttle::new(rule, start);
    for failures in 1..=5 {
        throttle.peer_failed();
        assert_eq!(throttle.take(start, true, 1_000), failures < 5, "exactly half is not allowed");
    }
    (0..10).for_each(|_| throttle.call_succeeded());
    assert!(throttle.take(start, false, 1));
}

#[test]
fn numbers_without_sense_or_end_overflow_nothing() {
    let start = Instant::now();
    for floor in [f64::MAX, f64::INFINITY, f64::NAN, -1.0, 1e-300] {
        let mut throttle = Throttle::new(ThrottleRule::Share { ratio: floor, floor }, start);
        throttle.call_started();
        for seconds in [0, 1, u64::MAX / 4_000_000_000] {
            throttle.take(start + Duration::from_secs(seconds), true, usize::MAX);
        }
    }
}
