//! What the pure decisions cost, in nanoseconds: no clock, no network, no lock.
//!
//! `cargo bench --bench policy -- [--quick] [--json]`; without `--json`, criterion measures and
//! takes criterion's options.

#[path = "common/mod.rs"]
mod common;

// The two pure chapters, compiled as part of this bench: what they have is not public.
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../src/model/mod.rs"]
mod model;
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports, clippy::disallowed_methods)]
#[path = "../src/policy/mod.rs"]
mod policy;

use common::row::Row;
use criterion::Criterion;
use model::{CallId, Failure};
use policy::{
    Backoff, CallMachine, Pending, RetryLimit, RetryPolicy, Rules, Throttle, ThrottleRule,
    format_timeout, parse_timeout,
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tonic::Code;

type Decision = (&'static str, Box<dyn FnMut()>);

#[allow(clippy::disallowed_methods, reason = "there is no runtime whose clock a test could pause")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--json") {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        return decisions()
            .into_iter()
            .for_each(|decision| println!("{}", row(decision, quick).json()));
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, mut decide) in decisions() {
        criterion.bench_function(name, |bencher| bencher.iter(&mut decide));
    }
    criterion.final_summary();
}

/// The median of some batches.
fn row((name, mut decide): Decision, quick: bool) -> Row {
    let (batches, size) = if quick { (3, 1_000) } else { (31, 100_000) };
    let batch = |_| {
        let start = now();
        (0..size).for_each(|_| decide());
        start.elapsed().as_nanos() as f64 / f64::from(size)
    };
    let times: Vec<f64> = (0..batches).map(batch).collect();
    Row::new("policy", name, "ns", &times)
}

fn decisions() -> Vec<Decision> {
    let (start, unavailable) = (now(), Failure::status(Code::Unavailable));
    let backoff =
        Backoff { initial: Duration::from_secs(1), multiplier: 2.0, max: Duration::from_secs(10) };
    let codes = [Code::Unavailable, Code::DeadlineExceeded].into_iter().collect();
    let policy = RetryPolicy { limit: RetryLimit::AtMost(3), backoff, jitter: 0.2, codes };
    let share = ThrottleRule::Share { ratio: 0.2, floor: 10.0 };
    let mut throttle = Throttle::new(share, start);
    let mut admitted = Throttle::new(share, start);
    let mut parked = Pending::default();
    let mut asleep = Pending::default();
    // The waiting room is not empty.
    for n in 1..=10_000 {
        parked.park(CallId(n), n, Some(start + Duration::from_secs(60)));
        asleep.sleep(CallId(n), n, start + Duration::from_millis(n), None);
    }
    let (mut next, mut later) = (10_000, 10_000);
    vec![
        (
            "call_failed",
            Box::new(move || {
                let rules = Rules {
                    policy: &policy,
                    by_policy: true,
                    draining: false,
                    idempotent: true,
                    replayable: true,
                    deadline: Some(start),
                    link_answered: true,
                    open_calls: 1_000,
                };
                let mut machine = CallMachine::default();
                black_box(machine.failed(
                    &unavailable,
                    None,
                    rules,
                    &mut throttle,
                    start,
                    black_box(0.5),
                ));
            }),
        ),
        ("throttle_call_started", Box::new(move || black_box(&mut admitted).call_started())),
        (
            "park_and_pop_among_10000",
            Box::new(move || {
                next += 1;
                parked.park(CallId(next), next, Some(start + Duration::from_secs(60)));
                black_box(parked.pop());
            }),
        ),
        (
            "sleep_and_wake_among_10000",
            Box::new(move || {
                later += 1;
                asleep.sleep(CallId(later), later, start + Duration::from_millis(later), None);
                black_box(asleep.due(start + Duration::from_millis(later)));
            }),
        ),
        (
            "format_timeout",
            Box::new(|| {
                _ = black_box(format_timeout(black_box(Duration::from_micros(59_999_990))))
            }),
        ),
        ("parse_timeout", Box::new(|| _ = black_box(parse_timeout(black_box("59999m"))))),
    ]
}
