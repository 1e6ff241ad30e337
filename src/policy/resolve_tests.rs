//! The time lines of lookups, and what answers change.

use super::*;
use crate::{model::Address, policy::Backoff};

const SECOND: Duration = Duration::from_secs(1);

fn machine(period: Option<Duration>) -> Resolve {
    let idle = Backoff { initial: SECOND, multiplier: 1.6, max: SECOND * 10 };
    let waiting = Backoff { initial: SECOND / 20, multiplier: 2.0, max: SECOND };
    let schedules =
        Schedules { idle, waiting, refused_max: waiting.max, jitter: 0.0, spread: Duration::ZERO };
    Resolve::new(ResolveRule { period, min_interval: SECOND, absent: 2 }, schedules)
}

fn list(names: &str) -> Vec<Endpoint> {
    names.chars().map(|name| Address::new(name.to_string(), 1).into()).collect()
}

fn names(list: Option<Vec<Endpoint>>) -> Option<String> {
    list.map(|list| list.iter().map(|one| one.addresses()[0].host().to_owned()).collect())
}

/// Gives an answer; what is listed from then on, if that is another list. All but `down` are in
/// use.
fn answer(machine: &mut Resolve, answer: &str, down: &str, now: Instant) -> Option<String> {
    let in_use = |one: &Endpoint| !down.contains(one.addresses()[0].host());
    names(machine.answered(&list(answer), None, in_use, now, 0.5))
}

#[test]
fn a_name_is_asked_for_at_the_start_and_then_once_in_a_period() {
    let (mut machine, now) = (machine(Some(SECOND * 30)), Instant::now());
    assert!(machine.ask_now() && !machine.ask_now(), "one at a time");
    machine.wanted = false;
    assert_eq!(answer(&mut machine, "ab", "", now).as_deref(), Some("ab"));
    let due = now + SECOND * 30;
    assert_eq!(machine.next(), Some(due));
    assert!(!machine.is_due(due - SECOND) && machine.is_due(due));
    assert_eq!(answer(&mut machine, "ba", "", due), None, "the same, in another order");
    // A fifth more or less.
    let in_use = |_: &Endpoint| true;
    machine.answered(&list("ab"), None, in_use, now, 0.0);
    assert_eq!(machine.next(), Some(now + SECOND * 24));
    machine.answered(&list("ab"), Some(SECOND * 5), in_use, now, 0.5);
    assert_eq!(machine.next(), Some(now + SECOND * 5), "the answer says for how long it holds");
}

#[test]
fn a_reason_to_ask_is_followed_within_a_second_of_the_last_answer_and_not_sooner() {
    let (mut machine, now) = (machine(None), Instant::now());
    assert!(machine.ask(now), "nothing is known yet");
    assert!(!machine.ask(now), "one is under way");
    answer(&mut machine, "a", "", now);
    assert_eq!(machine.next(), Some(now + SECOND), "it was asked for meanwhile");
    assert!(machine.is_due(now + SECOND));
    answer(&mut machine, "a", "", now + SECOND);
    assert_eq!(machine.next(), None);
    assert!(!machine.ask(now + SECOND * 3 / 2));
    assert_eq!(machine.next(), Some(now + SECOND * 2));
    assert!(machine.ask(now + SECOND * 2));
}

/// E8: whatever goes wrong with names, the list stays.
#[test]
fn failures_wait_longer_each_time_and_keep_the_list() {
    let (mut machine, mut now) = (machine(Some(SECOND * 30)), Instant::now());
    machine.ask_now();
    answer(&mut machine, "a", "", now);
    for (n, wait) in [1.0, 1.6, 2.56, 4.096, 6.5536, 10.0, 10.0].into_iter().enumerate() {
        assert!(machine.ask_now());
        assert_eq!(machine.failed(false, now, 0.5), n as u32 + 1);
        let at = machine.next().expect("it is asked again");
        assert!((at - now).abs_diff(Duration::from_secs_f64(wait)) < SECOND / 1_000, "{n}");
        now = at;
    }
    assert!(machine.ask_now());
    assert_eq!(answer(&mut machine, "a", "", now), None, "nothing was forgotten");
    machine.ask_now();
    machine.failed(true, now, 0.5);
    assert_eq!(machine.next(), Some(now + SECOND), "calls wait, but not a lookup each moment");
    // Nor is there one for each dial that fails meanwhile.
    assert!(!machine.ask(now) && !machine.ask(now + SECOND / 2) && machine.ask(now + SECOND));
    for _ in 0..5 {
        machine.failed(false, now, 0.5);
    }
    assert!(!machine.hurry(now + SECOND / 2), "calls began to wait");
    assert_eq!(machine.next(), Some(now + SECOND));
}

/// E9: answers that flap close no link.
#[test]
fn an_endpoint_in_use_goes_when_two_answers_running_lack_it() {
    let (mut machine, now) = (machine(None), Instant::now());
    assert_eq!(answer(&mut machine, "ab", "", now).as_deref(), Some("ab"));
    assert_eq!(answer(&mut machine, "ac", "", now).as_deref(), Some("acb"));
    for _ in 0..20 {
        assert_eq!(answer(&mut machine, "ab", "", now), None);
        assert_eq!(answer(&mut machine, "ac", "", now), None);
    }
    assert_eq!(answer(&mut machine, "ac", "", now).as_deref(), Some("ac"));
}

/// E2: what cannot be reached and is not listed has moved.
#[test]
fn an_endpoint_that_is_down_goes_with_the_first_answer_that_lacks_it() {
    let (mut machine, now) = (machine(None), Instant::now());
    answer(&mut machine, "ab", "", now);
    assert_eq!(answer(&mut machine, "ac", "b", now).as_deref(), Some("ac"));
}
