//! The subchannel's machine: every history of seven inputs, over its links too, and the time lines
//! that matter.

use super::{super::backoff::Backoff, *};
use ConnectivityState::{Connecting, Ready};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::time::Duration;

fn schedules() -> Schedules {
    let second = Duration::from_secs(1);
    let idle = Backoff { initial: second, multiplier: 1.6, max: second * 10 };
    let waiting = Backoff { initial: second / 20, multiplier: 2.0, max: second };
    let spread = Duration::from_millis(20);
    Schedules { idle, waiting, refused_max: second / 4, jitter: 0.2, spread }
}

/// A machine with the number of its last dial, as a channel keeps it.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) machine: Subchannel,
    last: u64,
}

impl Numbered {
    fn new() -> Self {
        Self::wanting(1)
    }

    /// It shall have so many links.
    pub(super) fn wanting(links: usize) -> Self {
        Self { machine: Subchannel::new(schedules(), links), last: 0 }
    }

    pub(super) fn on(&mut self, input: Input, now: Instant) -> Option<Vec<Output>> {
        let next = Incarnation(self.last + 1);
        let outputs = self.machine.on(input, now, || 0.5, Some(next))?;
        self.last += u64::from(outputs.contains(&Output::Dial(next)));
        Some(outputs)
    }

    /// The newest link or dial.
    pub(super) fn newest(&self) -> Incarnation {
        Incarnation(self.last)
    }

    /// Takes an input that is not late, and gives no more than one output.
    fn takes(&mut self, input: Input, now: Instant) -> Option<Output> {
        let outputs = self.on(input, now).unwrap_or_else(|| panic!("{input:?} is late"));
        assert!(outputs.len() <= 1, "{input:?}: {outputs:?}");
        outputs.first().copied()
    }

    pub(super) fn waits(&mut self, input: Input, now: Instant) -> Instant {
        match self.takes(input, now) {
            Some(Output::WaitUntil(at)) => at,
            other => panic!("{input:?} must wait: {other:?}"),
        }
    }
}

pub(super) fn lost(link: Incarnation) -> Input {
    Input::Lost { link, goaway: false }
}

/// Inputs about no link, and those about each of the three newest.
fn inputs(last: u64) -> Vec<Input> {
    let mut inputs = vec![
        Input::Connect,
        Input::RedialDue,
        Input::ResetBackoff,
        Input::CallsWaiting(true),
        Input::Moved,
        Input::Shutdown,
    ];
    for number in last.saturating_sub(2).max(1)..=last {
        let link = Incarnation(number);
        inputs.extend([
            Input::Established(link),
            Input::DialFailed(link),
            Input::DialRefused(link),
            Input::Proven(link),
            lost(link),
            Input::Lost { link, goaway: true },
            Input::GoAway(link),
            Input::WornOut(link),
        ]);
    }
    inputs
}

#[test]
fn a_call_that_begins_to_wait_shortens_the_wait_before_a_port_that_refuses_more() {
    let (start, ms) = (Instant::now(), Duration::from_millis);
    let waits = |failed: fn(Incarnation) -> Input| {
        let (mut machine, mut now) = (Numbered::new(), start);
        machine.on(Input::Connect, now);
        for _ in 0..3 {
            now = machine.waits(failed(machine.newest()), now);
            machine.on(Input::RedialDue, now);
        }
        let idle = machine.waits(failed(machine.newest()), now) - now;
        (idle, machine.waits(Input::CallsWaiting(true), now) - now)
    };
    assert_eq!(waits(Input::DialFailed), (ms(4_096), ms(400)));
    assert_eq!(waits(Input::DialRefused), (ms(4_096), ms(250)));
}

/// Walks every sequence of seven inputs, each step 100 ms after the last.
#[test]
fn no_history_breaks_the_rules_or_ends_in_a_dead_end() {
    let (walks, late) = walk(Numbered::new(), 7);
    assert!(walks > 300_000 && late > 300_000, "{walks} walks, {late} late inputs");
}

/// The same for several links, with sequences of five.
#[test]
fn no_history_of_several_links_breaks_the_rules_or_ends_in_a_dead_end() {
    for wanted in [2, 3] {
        let mut up = Numbered::wanting(wanted);
        up.on(Input::Connect, Instant::now());
        up.on(Input::Established(Incarnation(1)), Instant::now());
        let (walks, _) = walk(up, 5);
        assert!(walks > 100_000, "{walks} walks");
    }
}

/// Every sequence of `longest` inputs from there; how many there were, and how many inputs came
/// late.
fn walk(from: Numbered, longest: u32) -> (u32, u32) {
    let start = Instant::now();
    let (mut walks, mut late) = (0_u32, 0_u32);
    let mut todo = vec![(from, 0_u32)];
    while let Some((before, depth)) = todo.pop() {
        if depth == longest {
            walks += 1;
            continue;
        }
        for input in inputs(before.last) {
            let now = start + Duration::from_millis(100) * depth;
            let mut after = before.clone();
            let Some(outputs) = after.on(input, now) else {
                late += 1;
                assert_eq!(format!("{:?}", after.machine), format!("{:?}", before.machine));
                continue;
            };
            check(&before.machine, input, &outputs, &after.machine);
            todo.push((after, depth + 1));
        }
    }
    (walks, late)
}

/// What holds for each step.
fn check(before: &Subchannel, input: Input, outputs: &[Output], after: &Subchannel) {
    let (from, to) = (before.state(), after.state());
    assert!(from == to || from.can_become(to), "{from} -> {to} on {input:?}");
    // No dead end: what shall connect has a dial under way, or a wait on.
    let links: Vec<_> = after.links().collect();
    let ways = (links.len(), after.dialling(), after.next_dial());
    match to {
        Ready => {
            let on = ways.1.is_some() || ways.2.is_some();
            let enough = links.len() >= after.wanted;
            assert!(!links.is_empty() && (enough || on), "{input:?}: {after:?}");
            let replaced = matches!(&after.stage, Stage::Ready(in_use) if in_use.must_replace());
            assert!(!enough || ways.2.is_none() || replaced, "waits for one too many: {after:?}");
            assert!(ways.1.is_none() || ways.2.is_none(), "{input:?}: {after:?}");
            assert!(links.len() <= after.wanted, "{input:?}: {after:?}");
        }
        Connecting => {
            let on = ways.1.is_some() != ways.2.is_some();
            assert!(on && links.is_empty(), "{input:?}: {after:?}");
        }
        TransientFailure => assert!(matches!(ways, (0, None, Some(_))), "{input:?}: {after:?}"),
        _ => assert_eq!(ways, (0, None, None), "{input:?}"),
    }
    if from == ConnectivityState::Shutdown {
        assert_eq!(outputs, [], "{input:?}");
    }
    for output in outputs {
        match *output {
            Output::Use(link) => {
                assert_eq!(input, Input::Established(link));
                assert!(
                    after.links().any(|one| one == link) && !before.links().any(|one| one == link)
                );
            }
            // Make before break: a link is given up with another in its place, or because it takes
            // no more calls.
            Output::Drain(link) => {
                assert!(!after.owns(link) && before.owns(link));
                let replaced = matches!(input, Input::Established(_)) && !links.is_empty();
                let ending = [Input::GoAway(link), Input::Shutdown, Input::Moved].contains(&input);
                assert!(replaced || ending, "{input:?} drains {link:?}");
            }
            Output::Dial(dial) => assert_eq!(after.dialling(), Some(dial), "{input:?}"),
            Output::WaitUntil(at) => assert_eq!(after.next_dial(), Some(at), "{input:?}"),
        }
    }
    // One dial at a time: the only one, or one beside the links.
    let dials = outputs.iter().filter(|output| matches!(output, Output::Dial(_))).count();
    let ended = matches!(
        input,
        Input::Established(_)
            | Input::DialFailed(_)
            | Input::DialRefused(_)
            | Input::Lost { .. }
            | Input::Moved
    );
    let free = before.dialling().is_none() || ended;
    assert!(dials <= 1 && (dials == 0 || free), "{input:?}: {outputs:?}");
    // Every link that was there is there, was drained or is gone.
    for link in before.links() {
        let drained = outputs.contains(&Output::Drain(link));
        let gone = matches!(input, Input::Lost { link: lost, .. } if lost == link);
        assert!(after.links().any(|one| one == link) || drained || gone, "{input:?}: {link}");
    }
}

/// Scenario 9: in 100,000 random histories there is never a dead end, and no wait is longer than
/// the longest one.
#[test]
fn scenario_09_no_history_leaves_the_channel_without_a_dial_or_a_timer() {
    let mut rng = StdRng::seed_from_u64(9);
    for _ in 0..100_000 {
        let (mut machine, mut now) = (Numbered::new(), Instant::now());
        for _ in 0..30 {
            let input = *inputs(machine.last).choose(&mut rng).expect("not empty");
            let input = match input {
                Input::CallsWaiting(_) => Input::CallsWaiting(rng.random()),
                // Nothing follows on it.
                Input::Shutdown => continue,
                input => input,
            };
            now += Duration::from_millis(rng.random_range(0..3_000));
            let before = machine.machine.clone();
            if let Some(outputs) = machine.on(input, now) {
                check(&before, input, &outputs, &machine.machine);
            }
            let longest = now + Duration::from_secs(12);
            assert!(machine.machine.next_dial().is_none_or(|at| at <= longest), "{machine:?}");
        }
    }
}

fn ready(now: Instant) -> Numbered {
    let mut machine = Numbered::new();
    machine.on(Input::Connect, now);
    machine.on(Input::Established(Incarnation(1)), now);
    machine.on(Input::Proven(Incarnation(1)), now);
    machine
}

/// Scenario 8: the count starts over only when a link is proven.
#[test]
fn a_server_that_greets_and_hangs_up_is_waited_for_longer_each_time() {
    let (mut machine, mut now) = (Numbered::new(), Instant::now());
    machine.on(Input::Connect, now);
    for seconds in [1.0, 1.6, 2.56, 4.096, 6.5536, 10.0, 10.0] {
        let link = machine.newest();
        machine.on(Input::Established(link), now);
        let at = machine.waits(lost(link), now);
        assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
        now = at;
        machine.on(Input::RedialDue, now);
        assert_eq!(machine.machine.dialling(), Some(machine.newest()));
    }
}

#[test]
fn the_first_call_to_wait_cuts_a_longer_wait_short() {
    let (mut machine, mut now) = (Numbered::new(), Instant::now());
    machine.on(Input::Connect, now);
    for _ in 0..6 {
        now = machine.waits(Input::DialFailed(machine.newest()), now);
        machine.on(Input::RedialDue, now);
    }
    let at = machine.waits(Input::DialFailed(machine.newest()), now);
    assert_eq!(at - now, Duration::from_secs(10));
    let mut late = machine.clone();
    let at = machine.waits(Input::CallsWaiting(true), now);
    assert_eq!(at - now, Duration::from_secs(1));
    // What has passed already of the quick schedule's wait is over.
    let later = now + Duration::from_secs(5);
    assert_eq!(late.waits(Input::CallsWaiting(true), later), later);
}

#[test]
fn a_ready_link_stays_until_its_successor_is_up_and_stays_if_that_fails() {
    let now = Instant::now();
    let (first, second) = (Incarnation(1), Incarnation(2));
    let mut beside = ready(now);
    assert_eq!(beside.takes(Input::ResetBackoff, now), Some(Output::Dial(second)));
    let mut up = beside.clone();
    let swapped = vec![Output::Use(second), Output::Drain(first)];
    assert_eq!(up.on(Input::Established(second), now), Some(swapped.clone()));
    assert_eq!((up.machine.state(), up.machine.is_proven(second)), (Ready, false));
    for ended in [Input::DialFailed(second), lost(second)] {
        let mut failed = beside.clone();
        assert_eq!(failed.takes(ended, now), None);
        let Subchannel { failures, .. } = failed.machine;
        assert_eq!(
            (failed.machine.subject(), failed.machine.is_proven(first), failures),
            (Some(first), true, 0)
        );
    }
    // Asked again meanwhile: another follows, whichever way the first ends.
    let mut again = beside.clone();
    assert_eq!(again.takes(Input::ResetBackoff, now), None);
    let third = Output::Dial(Incarnation(3));
    let mut failed = again.clone();
    assert_eq!(failed.takes(Input::DialFailed(second), now), Some(third));
    let outputs = again.on(Input::Established(second), now);
    assert_eq!(outputs, Some([swapped, vec![third]].concat()));
    // The old link goes meanwhile: the dial under way is the one to wait for.
    assert_eq!(beside.takes(lost(first), now), None);
    assert_eq!(beside.machine.dialling(), Some(second));
    assert_eq!(beside.takes(Input::Established(second), now), Some(Output::Use(second)));
}

#[test]
fn a_proven_link_is_redialled_within_the_spread_and_a_goaway_shows_connecting() {
    let (now, link) = (Instant::now(), Incarnation(1));
    let soon = now + Duration::from_millis(10);
    let mut gone = ready(now);
    assert_eq!(gone.waits(lost(link), now), soon);
    assert_eq!(gone.machine.state(), TransientFailure);
    let mut drained = ready(now);
    let outputs = vec![Output::Drain(link), Output::WaitUntil(soon)];
    assert_eq!(drained.on(Input::GoAway(link), now), Some(outputs));
    assert_eq!(drained.machine.state(), Connecting);
}

/// A server that greets and says GOAWAY is neither hammered nor called failing.
#[test]
fn a_goaway_on_trial_shows_connecting_and_is_backed_off_from() {
    let (mut machine, mut now) = (Numbered::new(), Instant::now());
    machine.on(Input::Connect, now);
    for seconds in [1.0, 1.6, 2.56] {
        let link = machine.newest();
        machine.on(Input::Established(link), now);
        let at = machine.waits(Input::Lost { link, goaway: true }, now);
        assert_eq!(machine.machine.state(), Connecting);
        assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
        now = at;
        machine.on(Input::RedialDue, now);
    }
}

#[test]
fn news_of_a_link_that_was_given_up_come_late() {
    let (now, first) = (Instant::now(), Incarnation(1));
    let mut machine = ready(now);
    machine.on(Input::GoAway(first), now);
    for input in [lost(first), Input::Proven(first), Input::GoAway(first), Input::WornOut(first)] {
        assert_eq!(machine.on(input, now), None, "{input:?}");
    }
    machine.on(Input::RedialDue, now + Duration::from_secs(1));
    assert_eq!(machine.on(Input::Established(first), now), None);
    assert_eq!(machine.machine.dialling(), Some(Incarnation(2)));
}
