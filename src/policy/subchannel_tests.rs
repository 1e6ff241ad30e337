//! The subchannel's machine: every history of six inputs, and the time lines that matter.

use super::*;

fn schedules() -> Schedules {
    let (idle, waiting) = (
        Backoff { initial: Duration::from_secs(1), multiplier: 1.6, max: Duration::from_secs(10) },
        Backoff {
            initial: Duration::from_millis(50),
            multiplier: 2.0,
            max: Duration::from_secs(1),
        },
    );
    Schedules { idle, waiting, jitter: 0.2, spread: Duration::from_millis(20) }
}

const INPUTS: [Input; 12] = [
    Input::Connect,
    Input::Established,
    Input::DialFailed,
    Input::Proven,
    Input::Lost,
    Input::GoAway,
    Input::RedialDue,
    Input::ResetBackoff,
    Input::SuccessorUp,
    Input::SuccessorFailed,
    Input::CallsWaiting(true),
    Input::Shutdown,
];

/// Walks every input sequence of length 6, each step 100 ms after the last.
#[test]
fn no_history_breaks_the_rules_or_ends_in_a_dead_end() {
    let start = Instant::now();
    let mut walks = 0u32;
    let mut todo = vec![(Subchannel::new(schedules()), 0u32)];
    while let Some((before, depth)) = todo.pop() {
        if depth == 6 {
            walks += 1;
            continue;
        }
        for input in INPUTS {
            let now = start + Duration::from_millis(100) * depth;
            let mut after = before.clone();
            let output = after.on(input, now, 0.5);
            let (from, to) = (before.state, after.state);
            assert!(from == to || from.can_become(to), "{from} -> {to} on {input:?}");
            assert!(after.has_a_way_on(), "{after:?} after {input:?}");
            assert_eq!(
                output == Output::Dial,
                to == Connecting
                    && after.dial_started == Some(now)
                    && after.wait.is_none()
                    && (from != to || before.wait.is_some())
            );
            assert!(to != Ready || from == Ready || input == Input::Established);
            assert!(from != Shutdown || output == Output::Nothing);
            // Make before break: a successor is dialled only beside a link, and one at a time.
            assert_eq!(
                output == Output::DialSuccessor,
                to == Ready && after.successor == Some(now),
                "{input:?}"
            );
            assert!(output != Output::DialSuccessor || (from == Ready && before.wait.is_none()));
            todo.push((after, depth + 1));
        }
    }
    assert_eq!(walks, 12u32.pow(6));
}

/// faults.md 8: the count starts over only when a link is proven.
#[test]
fn a_server_that_greets_and_hangs_up_is_waited_for_longer_each_time() {
    let mut sub = Subchannel::new(schedules());
    let mut now = Instant::now();
    sub.on(Input::Connect, now, 0.5);
    for seconds in [1.0, 1.6, 2.56, 4.096, 6.5536, 10.0, 10.0] {
        sub.on(Input::Established, now, 0.5);
        let Output::WaitUntil(at) = sub.on(Input::Lost, now, 0.5) else { panic!("must wait") };
        assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
        now = at;
        assert_eq!(sub.on(Input::RedialDue, now, 0.5), Output::Dial);
    }
}

#[test]
fn the_first_call_to_wait_cuts_a_longer_wait_short() {
    let mut sub = Subchannel::new(schedules());
    let mut now = Instant::now();
    sub.on(Input::Connect, now, 0.5);
    for _ in 0..6 {
        let Output::WaitUntil(at) = sub.on(Input::DialFailed, now, 0.5) else {
            panic!("must wait")
        };
        now = at;
        sub.on(Input::RedialDue, now, 0.5);
    }
    let Output::WaitUntil(at) = sub.on(Input::DialFailed, now, 0.5) else { panic!("must wait") };
    assert_eq!(at - now, Duration::from_secs(10));
    assert_eq!(
        sub.on(Input::CallsWaiting(true), now, 0.5),
        Output::WaitUntil(now + Duration::from_secs(1))
    );
    let later = now + Duration::from_secs(5);
    let mut late = sub.clone();
    late.wait = Some(Wait { at, backoff: Some((6, 0.5)) });
    assert_eq!(late.on(Input::CallsWaiting(true), later, 0.5), Output::WaitUntil(later));
}

#[test]
fn a_ready_link_stays_until_its_successor_is_up_and_stays_if_that_fails() {
    let now = Instant::now();
    let mut ready = Subchannel::new(schedules());
    for input in [Input::Connect, Input::Established, Input::Proven] {
        ready.on(input, now, 0.5);
    }
    assert_eq!(ready.on(Input::ResetBackoff, now, 0.5), Output::DialSuccessor);
    let mut up = ready.clone();
    assert_eq!(up.on(Input::SuccessorUp, now, 0.5), Output::Nothing);
    assert_eq!((up.state(), up.is_proven()), (Ready, false));
    let mut failed = ready.clone();
    assert_eq!(failed.on(Input::SuccessorFailed, now, 0.5), Output::Nothing);
    assert_eq!((failed.state(), failed.is_proven(), failed.failures()), (Ready, true, 0));
    // Asked again meanwhile: another follows, whichever way the first ends.
    let mut again = ready.clone();
    assert_eq!(again.on(Input::ResetBackoff, now, 0.5), Output::Nothing);
    assert_eq!(again.on(Input::SuccessorUp, now, 0.5), Output::DialSuccessor);
    assert_eq!(again.on(Input::SuccessorUp, now, 0.5), Output::Nothing);
    // The old link goes meanwhile: the dial under way is the one to wait for.
    assert_eq!(ready.on(Input::Lost, now, 0.5), Output::Nothing);
    assert_eq!(ready.state(), Connecting);
    assert_eq!(ready.on(Input::Established, now, 0.5), Output::Nothing);
    assert_eq!(ready.state(), Ready);
}

#[test]
fn a_proven_link_is_redialled_within_the_spread_and_a_goaway_shows_connecting() {
    let mut sub = Subchannel::new(schedules());
    let now = Instant::now();
    for (input, state) in [(Input::Lost, TransientFailure), (Input::GoAway, Connecting)] {
        sub.on(Input::Connect, now, 0.5);
        sub.on(Input::RedialDue, now + Duration::from_secs(1), 0.5);
        sub.on(Input::Established, now, 0.5);
        sub.on(Input::Proven, now, 0.5);
        assert_eq!(sub.on(input, now, 0.5), Output::WaitUntil(now + Duration::from_millis(10)));
        assert_eq!(sub.state(), state);
    }
}

/// A server that greets and says GOAWAY is neither hammered nor called failing.
#[test]
fn a_goaway_on_trial_shows_connecting_and_is_backed_off_from() {
    let mut sub = Subchannel::new(schedules());
    let mut now = Instant::now();
    sub.on(Input::Connect, now, 0.5);
    for seconds in [1.0, 1.6, 2.56] {
        sub.on(Input::Established, now, 0.5);
        let Output::WaitUntil(at) = sub.on(Input::GoAway, now, 0.5) else { panic!("must wait") };
        assert_eq!(sub.state(), Connecting);
        assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
        now = at;
        assert_eq!(sub.on(Input::RedialDue, now, 0.5), Output::Dial);
    }
}
