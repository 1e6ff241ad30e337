//! The figure alone, its laws, and a model of an overload: calls that come five times as fast as
//! the server answers them, and have 1.5 s.

use super::*;
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A figure after these answers, in milliseconds, one after the other; and when the last came.
fn after(answers: &[u64]) -> (WireTime, Instant) {
    let (mut figure, mut now) = (WireTime::default(), Instant::now());
    for took in answers {
        now += ms(*took);
        figure.answered(ms(*took), now);
    }
    (figure, now)
}

#[test]
fn a_method_of_which_nothing_is_known_refuses_nothing() {
    let (mut figure, now) = after(&[]);
    assert_eq!(figure.too_short(ms(1), now), None);
}

#[test]
fn a_call_with_less_time_than_every_answer_took_is_refused_and_one_with_more_is_not() {
    let (mut figure, now) = after(&[50; 40]);
    let needed = figure.too_short(ms(40), now).expect("too short");
    assert!(needed.abs_diff(ms(50)) < ms(1), "{needed:?}");
    assert_eq!(figure.too_short(ms(51), now), None);
}

#[test]
fn one_answer_says_too_little_of_the_spread_to_refuse_anything() {
    let (mut figure, now) = after(&[50]);
    assert_eq!(figure.too_short(ms(1), now), None);
}

#[test]
fn calls_that_wait_and_run_out_of_time_raise_what_is_needed_and_answers_lower_it_again() {
    let (mut figure, mut now) = after(&[40, 50, 60].repeat(20));
    let before = figure.too_short(ms(5), now).expect("too short");
    for _ in 0..8 {
        now += ms(50);
        figure.ran_out(ms(50), now);
    }
    let raised = figure.too_short(ms(5), now).expect("too short");
    assert!(before < ms(40) && raised > ms(60), "{before:?}, then {raised:?}");
    for took in [40, 50, 60].repeat(200) {
        now += ms(took);
        figure.answered(ms(took), now);
    }
    let lowered = figure.too_short(ms(5), now).expect("too short");
    assert!(lowered < ms(40), "{lowered:?}");
}

#[test]
fn what_could_not_be_answered_in_any_case_changes_nothing() {
    let (mut figure, now) = after(&[50; 40]);
    let needed = figure.too_short(ms(1), now);
    (0..100).for_each(|_| figure.ran_out(ms(10), now));
    assert_eq!(figure.too_short(ms(1), now), needed);
}

#[test]
fn a_hundred_calls_on_a_server_that_hangs_raise_the_figure_once() {
    let (mut figure, mut now) = after(&[50; 40]);
    now += ms(30_000);
    (0..100).for_each(|_| figure.ran_out(ms(30_000), now));
    let needed = figure.too_short(ms(1), now).expect("too short");
    assert!(needed < ms(130), "{needed:?}");
}

#[test]
fn after_a_silence_one_call_is_started_and_the_next_is_refused() {
    let (mut figure, now) = after(&[50; 40]);
    assert!(figure.too_short(ms(20), now + ms(700)).is_some());
    assert_eq!(figure.too_short(ms(20), now + ms(900)), None);
    assert!(figure.too_short(ms(20), now + ms(901)).is_some());
}

proptest! {
    /// The law without overload: whatever the answers took, a call that has more time than the last
    /// of them is started.
    #[test]
    fn no_call_is_refused_that_has_the_time_that_the_last_answer_took(
        answers in prop::collection::vec(0_u64..10_000, 1..200),
    ) {
        let (mut figure, now) = after(&answers);
        let left = ms(answers[answers.len() - 1]) + Duration::from_micros(1);
        prop_assert_eq!(figure.too_short(left, now), None);
    }

    /// The law of every moment: a refused call had no more than four deviations above the mean.
    #[test]
    fn no_call_is_refused_that_has_what_an_answer_takes_at_most(
        ends in prop::collection::vec((any::<bool>(), 0_u64..10_000), 1..200),
    ) {
        let (mut figure, mut now) = (WireTime::default(), Instant::now());
        for (answered, time) in ends {
            now += ms(time);
            match answered {
                true => figure.answered(ms(time), now),
                false => figure.ran_out(ms(time), now),
            }
            let most = figure.0.as_ref().map_or(0.0, Figure::most);
            let left = Duration::from_secs_f64(most) + Duration::from_micros(1);
            prop_assert_eq!(figure.too_short(left, now), None);
        }
    }
}

/// What a server takes for an answer, of a random number in `0.0..1.0` and the second of the run.
type Server = fn(f64, u64) -> f64;

/// A minute of calls with 1.5 s each, for so many places and `load` times what they can take. How
/// many were answered with OK from second `from` on, as a part of what takes 50 ms each.
fn answered(server: Server, places: usize, load: f64, from: u64, refuses: bool) -> f64 {
    const MINUTE: u64 = 60_000_000;
    let mut random = StdRng::seed_from_u64(1);
    let (start, mut figure) = (Instant::now(), WireTime::default());
    let gap = (50_000.0 / load / places as f64) as u64;
    let mut comes = (0..MINUTE / gap).map(|n| n * gap).peekable();
    // When each ends, whether with OK, since when it is on the wire, and whether it waited.
    let mut running: BinaryHeap<Reverse<(u64, bool, u64, bool)>> = BinaryHeap::new();
    let (mut waiting, mut ok) = (VecDeque::new(), 0);
    loop {
        let ends = running.peek().map(|Reverse((at, ..))| *at);
        let Some(now) = comes.peek().copied().into_iter().chain(ends).min() else { break };
        let instant = start + Duration::from_micros(now);
        let is_new = Some(now) != ends;
        if is_new {
            comes.next();
            waiting.push_back((now + 1_500_000, !waiting.is_empty() || running.len() == places));
        } else if let Some(Reverse((_, fine, since, waited))) = running.pop() {
            let took = Duration::from_micros(now - since);
            match fine {
                true => figure.answered(took, instant),
                false if waited => figure.ran_out(took, instant),
                false => {}
            }
            ok += u64::from(fine && now >= from * 1_000_000);
        }
        while running.len() < places {
            let Some((deadline, waited)) = waiting.pop_front() else { break };
            let Some(left) = deadline.checked_sub(now).filter(|left| *left > 0) else { continue };
            let has = Duration::from_micros(left);
            if refuses && waited && figure.too_short(has, instant).is_some() {
                continue;
            }
            let takes = (server(random.random(), now / 1_000_000) * 1_000.0) as u64;
            running.push(Reverse((now + takes.min(left), takes < left, now, waited)));
        }
    }
    ok as f64 * 0.05 / ((60 - from) as f64 * places as f64)
}

/// Near 50 ms, up to a fifth more or less.
fn even(unit: f64, _: u64) -> f64 {
    40.0 + unit * 20.0
}

/// 10 to 90 ms.
fn uneven(unit: f64, _: u64) -> f64 {
    10.0 + unit * 80.0
}

#[test]
fn in_an_overload_the_server_is_kept_busy_with_calls_that_finish() {
    let exact: Server = |_, _| 50.0;
    for (name, server) in [("exact", exact), ("even", even), ("uneven", uneven)] {
        for (places, load) in [(1, 5.0), (10, 5.0), (1, 1.2)] {
            let share = answered(server, places, load, 5, true);
            assert!(share > 0.9, "{name}, {places} places, load {load}: {share}");
        }
        let share = answered(server, 1, 5.0, 5, false);
        assert!(share < 0.01, "{name}, without refusals: {share}");
    }
}

#[test]
fn a_server_that_slows_down_or_hangs_and_recovers_is_noticed() {
    let slow: Server = |unit, second| match second {
        20..40 => 4.0 * even(unit, second),
        _ => even(unit, second),
    };
    assert!(answered(slow, 1, 5.0, 42, true) > 0.9, "fast again");
    let slow_to_the_end: Server = |unit, second| match second {
        20.. => 4.0 * even(unit, second),
        _ => even(unit, second),
    };
    assert!(answered(slow_to_the_end, 1, 5.0, 23, true) > 0.9 / 4.0, "a quarter is all there is");
    let hung: Server = |unit, second| match second {
        20..25 => 30_000.0,
        _ => even(unit, second),
    };
    assert!(answered(hung, 1, 5.0, 30, true) > 0.9, "no longer hung");
    let hung_at_first: Server = |unit, second| match second {
        0..5 => 30_000.0,
        _ => even(unit, second),
    };
    for places in [1, 10] {
        let share = answered(hung_at_first, places, 5.0, 10, true);
        assert!(share > 0.9, "never answered before, {places} places: {share}");
    }
}
