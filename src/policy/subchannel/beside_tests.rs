//! Several links of one endpoint, and the dials beside them: the time lines that matter.

use super::super::{
    tests::{Numbered, lost},
    *,
};
use ConnectivityState::{Connecting, Ready};
use std::time::{Duration, Instant};

fn dials(outputs: Option<Vec<Output>>) -> Vec<u64> {
    let dial = |output: &Output| match output {
        Output::Dial(dial) => Some(dial.0),
        _ => None,
    };
    outputs.expect("not late").iter().filter_map(dial).collect()
}

fn links(machine: &Numbered) -> Vec<u64> {
    machine.machine.links().map(|link| link.0).collect()
}

#[test]
fn further_links_are_dialled_one_after_another_until_there_are_enough() {
    let (mut machine, now) = (Numbered::wanting(3), Instant::now());
    assert_eq!(dials(machine.on(Input::Connect, now)), [1]);
    assert_eq!(dials(machine.on(Input::Established(Incarnation(1)), now)), [2]);
    assert_eq!(machine.on(Input::RedialDue, now), Some(vec![]), "one dial at a time");
    assert_eq!(dials(machine.on(Input::Established(Incarnation(2)), now)), [3]);
    assert_eq!(dials(machine.on(Input::Established(Incarnation(3)), now)), Vec::<u64>::new());
    assert_eq!((links(&machine), machine.machine.state()), (vec![1, 2, 3], Ready));
}

/// A server that serves one connection and refuses a second is asked ever more rarely, and calls go
/// on over the first.
#[test]
fn a_further_link_that_is_refused_backs_off_and_the_first_serves_on() {
    let (mut machine, mut now) = (Numbered::wanting(2), Instant::now());
    machine.on(Input::Connect, now);
    machine.on(Input::Established(Incarnation(1)), now);
    machine.on(Input::Proven(Incarnation(1)), now);
    for seconds in [1.0, 1.6, 2.56, 4.096, 6.5536, 10.0, 10.0] {
        let at = machine.waits(Input::DialFailed(machine.newest()), now);
        assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
        assert_eq!((links(&machine), machine.machine.state()), (vec![1], Ready));
        now = at;
        assert_eq!(dials(machine.on(Input::RedialDue, now)).len(), 1);
    }
    // The link is lost while the other is dialled: that dial is the dial now.
    assert_eq!(machine.on(lost(Incarnation(1)), now), Some(vec![]));
    assert_eq!(machine.machine.state(), Connecting);
    // Its failure counts as that of a first dial.
    let at = machine.waits(Input::DialFailed(machine.newest()), now);
    assert_eq!(at - now, Duration::from_secs(1));
}

#[test]
fn a_lost_link_of_several_is_dialled_again_within_the_spread_while_the_others_serve() {
    let (mut machine, now) = (Numbered::wanting(2), Instant::now());
    let (first, second) = (Incarnation(1), Incarnation(2));
    machine.on(Input::Connect, now);
    for link in [first, second] {
        machine.on(Input::Established(link), now);
        machine.on(Input::Proven(link), now);
    }
    let soon = now + Duration::from_millis(10);
    for ended in [lost(first), Input::GoAway(first)] {
        let mut machine = machine.clone();
        let outputs = machine.on(ended, now).expect("not late");
        assert_eq!(outputs.last(), Some(&Output::WaitUntil(soon)), "{ended:?}");
        assert_eq!((links(&machine), machine.machine.state()), (vec![2], Ready));
        assert_eq!(dials(machine.on(Input::RedialDue, soon)), [3]);
        // The last one goes while that dial runs.
        assert_eq!(machine.on(lost(second), soon), Some(vec![]));
        assert_eq!(machine.machine.dialling(), Some(Incarnation(3)));
    }
}

#[test]
fn asked_to_connect_anew_it_replaces_one_link_after_another() {
    let (mut machine, now) = (Numbered::wanting(2), Instant::now());
    machine.on(Input::Connect, now);
    machine.on(Input::Established(Incarnation(1)), now);
    machine.on(Input::Established(Incarnation(2)), now);
    assert_eq!(dials(machine.on(Input::ResetBackoff, now)), [3]);
    let outputs = machine.on(Input::Established(Incarnation(3)), now).expect("not late");
    let (third, first) = (Output::Use(Incarnation(3)), Output::Drain(Incarnation(1)));
    assert_eq!(outputs, [third, first, Output::Dial(Incarnation(4))]);
    let outputs = machine.on(Input::Established(Incarnation(4)), now).expect("not late");
    assert_eq!(outputs, [Output::Use(Incarnation(4)), Output::Drain(Incarnation(2))]);
    assert_eq!(links(&machine), [3, 4]);
}

/// A link that has to go is replaced although a dial fails, with waits between.
#[test]
fn a_worn_link_is_dialled_for_until_another_is_up() {
    let (mut machine, mut now) = (Numbered::wanting(1), Instant::now());
    machine.on(Input::Connect, now);
    machine.on(Input::Established(Incarnation(1)), now);
    machine.on(Input::Proven(Incarnation(1)), now);
    assert_eq!(dials(machine.on(Input::WornOut(Incarnation(1)), now)), [2]);
    for seconds in [1.0, 1.6] {
        let at = machine.waits(Input::DialFailed(machine.newest()), now);
        assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
        assert_eq!((links(&machine), machine.machine.state()), (vec![1], Ready));
        now = at;
        assert_eq!(dials(machine.on(Input::RedialDue, now)).len(), 1);
    }
    let up = machine.newest();
    let outputs = machine.on(Input::Established(up), now).expect("not late");
    assert_eq!(outputs, [Output::Use(up), Output::Drain(Incarnation(1))]);
}

#[test]
fn links_that_wait_for_their_replacement_are_counted_with_the_one_that_has_it() {
    let (mut machine, now) = (Numbered::wanting(3), Instant::now());
    machine.on(Input::Connect, now);
    for link in 1..=3 {
        machine.on(Input::Established(Incarnation(link)), now);
    }
    for (link, replaced) in [(1, 1), (2, 2), (2, 2), (3, 3)] {
        machine.on(Input::WornOut(Incarnation(link)), now);
        assert_eq!(machine.machine.replacements(), replaced);
    }
    machine.on(Input::Established(Incarnation(4)), now);
    assert_eq!(machine.machine.replacements(), 2, "one has gone");
}
