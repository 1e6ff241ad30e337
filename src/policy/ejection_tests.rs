//! One test for each row of the table, and a walk over random histories.

use super::*;
use crate::policy::codes::CodeSet;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);
const A: EndpointId = EndpointId(1);
const B: EndpointId = EndpointId(2);
/// Gives every time as it is.
const EXACT: f64 = 0.5;

fn rule() -> EjectionRule {
    EjectionRule {
        consecutive_failures: 7,
        codes: CodeSet::from_iter([Code::Unavailable]),
        base: SECOND,
        max: 60 * SECOND,
        max_share: 0.5,
    }
}

#[allow(clippy::disallowed_methods, reason = "any moment will do")]
fn now() -> Instant {
    Instant::now()
}

/// Ejects A at `now` and lets its time pass; the moment of its probation.
fn until_probation(ejections: &mut Ejections, now: Instant) -> Instant {
    assert!(matches!(ejections.failed(A, (5, true), now, EXACT), Verdict::Ejected(_)));
    let due = ejections.next_due().expect("it is ejected");
    assert_eq!((ejections.due(now), ejections.due(due)), (vec![], vec![A]));
    due
}

#[test]
fn an_endpoint_on_probation_returns_with_an_answer_and_is_out_twice_as_long_without() {
    let (mut ejections, mut now) = (Ejections::new(rule()), now());
    now = until_probation(&mut ejections, now);
    assert!(ejections.is_on_probation(A) && ejections.next_due().is_none());
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        let again = ejections.probed(A, false, now, EXACT);
        assert_eq!(again, Some(Probation::Ejected(seconds * SECOND)));
        assert!(!ejections.is_on_probation(A));
        assert_eq!(ejections.probed(A, true, now, EXACT), None, "late news");
        now += seconds * SECOND;
        assert_eq!(ejections.due(now), [A]);
    }
    assert_eq!(ejections.probed(A, true, now, EXACT), Some(Probation::Returned));
    assert_eq!((ejections.is_on_probation(A), ejections.next_due()), (false, None));
}

#[test]
fn the_times_start_over_after_the_longest_of_them_without_an_ejection() {
    for (quiet, expected) in [(59 * SECOND, 2 * SECOND), (60 * SECOND, SECOND)] {
        let mut ejections = Ejections::new(rule());
        let back = until_probation(&mut ejections, now());
        ejections.probed(A, true, back, EXACT);
        let verdict = ejections.failed(A, (5, true), back + quiet, EXACT);
        assert_eq!(verdict, Verdict::Ejected(expected), "{quiet:?}");
    }
}

#[test]
fn times_vary_by_half_and_are_never_above_the_longest() {
    let long = EjectionRule { base: 50 * SECOND, ..rule() };
    for (unit, seconds) in [(0.0, 25), (EXACT, 50), (0.9999, 60)] {
        let verdict = Ejections::new(long).failed(A, (5, true), now(), unit);
        assert_eq!(verdict, Verdict::Ejected(seconds * SECOND), "{unit}");
    }
}

#[test]
fn the_only_ready_endpoint_and_those_above_the_share_stay() {
    let mut ejections = Ejections::new(rule());
    let now = now();
    assert_eq!(ejections.failed(A, (5, false), now, EXACT), Verdict::Unenforced);
    assert_eq!(ejections.failed(A, (1, true), now, EXACT), Verdict::Unenforced);
    for (listed, most) in [(2, 1), (3, 1), (4, 2), (5, 2), (1_000, 500)] {
        let mut ejections = Ejections::new(rule());
        let verdicts = (1..=listed as u32)
            .map(|id| ejections.failed(EndpointId(id), (listed, true), now, EXACT));
        let ejected = verdicts.filter(|verdict| *verdict != Verdict::Unenforced).count();
        assert_eq!(ejected, most, "of {listed}");
    }
    let all = EjectionRule { max_share: 1.0, ..rule() };
    let mut ejections = Ejections::new(all);
    assert_eq!(ejections.failed(A, (2, true), now, EXACT), Verdict::Ejected(SECOND));
    assert_eq!(ejections.failed(B, (2, true), now, EXACT), Verdict::Unenforced, "never all");
    assert_eq!(ejections.failed(A, (2, true), now, EXACT), Verdict::Known);
}

#[test]
fn a_shorter_list_takes_back_whom_it_may_not_eject_and_forgets_who_is_gone() {
    let (mut ejections, now) = (Ejections::new(rule()), now());
    ejections.failed(B, (4, true), now, EXACT);
    ejections.failed(A, (4, true), now + SECOND / 2, EXACT);
    assert_eq!(ejections.list(4, |_| true, now), []);
    assert_eq!(ejections.list(2, |id| id == A || id == B, now), [B], "its time is over first");
    assert_eq!(ejections.list(1, |id| id == A, now), [A], "the only one is never ejected");
    assert_eq!(ejections.next_due(), None);
    ejections.failed(A, (4, true), now, EXACT);
    assert_eq!(ejections.list(3, |id| id == B, now), [], "it is not there any more");
    assert_eq!(ejections.probed(A, true, now, EXACT), None);
}

#[test]
fn an_endpoint_whose_last_link_is_lost_takes_no_share_and_its_times_go_on() {
    let (mut ejections, now) = (Ejections::new(rule()), now());
    assert!(!ejections.lost(A, now), "it was never ejected");
    ejections.failed(A, (3, true), now, EXACT);
    assert_eq!(ejections.failed(B, (3, true), now, EXACT), Verdict::Unenforced);
    assert!(ejections.lost(A, now) && !ejections.lost(A, now), "once");
    assert_eq!((ejections.next_due(), ejections.is_on_probation(A)), (None, false));
    assert_eq!(ejections.failed(B, (3, true), now, EXACT), Verdict::Ejected(SECOND));
    // The same for one on probation.
    let mut ejections = Ejections::new(rule());
    let due = until_probation(&mut ejections, now);
    assert!(ejections.lost(A, due) && !ejections.is_on_probation(A));
    assert_eq!(ejections.probed(A, true, due, EXACT), None, "late news");
    assert_eq!(ejections.failed(A, (5, true), due, EXACT), Verdict::Ejected(2 * SECOND));
}

#[test]
fn whatever_happens_few_are_out_and_each_of_them_returns() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut ejections, mut now) = (Ejections::new(rule()), now());
        let mut listed = 5;
        for _ in 0..200 {
            now += Duration::from_millis(rng.random_range(0..3_000));
            let id = EndpointId(rng.random_range(1..=5));
            match rng.random_range(0..11) {
                0..=4 => drop(ejections.failed(id, (listed, true), now, rng.random())),
                5 => {
                    listed = rng.random_range(0..=5);
                    let last = listed as u32;
                    ejections.list(listed, |id| id.0 <= last, now);
                }
                6..=7 => drop(ejections.due(now)),
                8 => drop(ejections.lost(id, now)),
                _ => drop(ejections.probed(id, rng.random(), now, rng.random())),
            }
            assert!(ejections.out() <= listed / 2, "seed {seed}: {ejections:?}");
            let waits = |record: &Record| matches!(record.stage, Stage::Ejected { .. });
            let waiting = ejections.records.values().any(waits);
            assert_eq!(waiting, ejections.next_due().is_some(), "seed {seed}");
        }
        while let Some(due) = ejections.next_due() {
            for id in ejections.due(due) {
                assert_eq!(ejections.probed(id, true, due, 0.5), Some(Probation::Returned));
            }
        }
        let on_probation: Vec<_> =
            (1..=5).map(EndpointId).filter(|id| ejections.is_on_probation(*id)).collect();
        for id in on_probation {
            ejections.probed(id, true, now, 0.5);
        }
        assert_eq!(ejections.out(), 0, "seed {seed}");
    }
}
