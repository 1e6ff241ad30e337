//! The channel's machine: of one endpoint what it always did, of several how their states add up.

use super::*;
use crate::policy::Backoff;
use std::time::Duration;

fn schedules() -> Schedules {
    let second = Duration::from_secs(1);
    let backoff = Backoff { initial: second, multiplier: 1.0, max: second };
    Schedules::steady(backoff)
}

/// A channel of so many endpoints.
fn channel_of(endpoints: u32) -> Channel {
    let mut channel = Channel::new(schedules(), 1, Incarnation::default());
    let listed = (1..=endpoints).map(EndpointId);
    channel.on_list(listed, [], &"listed".into(), Instant::now(), || 0.5);
    channel
}

fn channel() -> Channel {
    channel_of(1)
}

const ONE: Incarnation = Incarnation(1);
const TWO: Incarnation = Incarnation(2);
const LOST: Input = Input::Lost { link: TWO, goaway: false };

/// Scenario 9.
#[test]
fn a_channel_that_shall_connect_is_stuck_without_a_dial_or_a_redial_due() {
    let (mut channel, now, cause) = (channel(), Instant::now(), "refused".into());
    let stuck = |channel: &Channel| {
        [(false, false), (true, false), (false, true)]
            .map(|(dialling, due)| channel.stuck(|_| dialling, due, |_| true).next().is_some())
    };
    assert_eq!(stuck(&channel), [false; 3], "idle");
    let (dials, waits, rests) = ([true, false, true], [true, true, false], [false; 3]);
    for (input, expected) in [
        (Input::Connect, dials),
        (Input::DialFailed(ONE), waits),
        (Input::ResetBackoff, dials),
        (Input::Established(TWO), rests),
        (LOST, waits),
        (Input::Shutdown, rests),
    ] {
        assert!(channel.on(input, &cause, now, || 0.5).is_some(), "{input:?} is late");
        assert_eq!(stuck(&channel), expected, "{input:?}");
        let ready = (channel.state() == Ready).then_some(Ready);
        let stuck = channel.stuck(|_| true, true, |_| false).next().map(|(_, state)| state);
        assert_eq!(stuck, ready, "{input:?}, no calls taken");
    }
}

#[test]
fn a_fail_fast_call_hears_the_last_error_until_a_link_is_ready_again() {
    let (mut channel, now) = (channel(), Instant::now());
    let refused = Arc::<str>::from("refused");
    channel.on(Input::Connect, &refused, now, || 0.5);
    assert_eq!(channel.last_error(), None);
    channel.on(Input::DialFailed(ONE), &refused, now, || 0.5);
    assert_eq!(channel.last_error(), Some(refused.clone()));
    channel.on(Input::RedialDue, &refused, now + Duration::from_secs(1), || 0.5);
    assert_eq!(channel.state(), ConnectivityState::Connecting);
    assert_eq!(channel.last_error(), Some(refused.clone()), "redialling does not clear it");
    channel.on(Input::Established(TWO), &refused, now, || 0.5);
    assert_eq!(channel.last_error(), None);
}

#[test]
fn why_there_is_no_link_is_the_last_connect_error_or_what_ended_the_last_link() {
    let (mut channel, now) = (channel(), Instant::now());
    let mut on = |input, cause: &str| {
        assert!(channel.on(input, &cause.into(), now, || 0.5).is_some(), "{input:?} is late");
        channel.why_no_link().map(|why| why.to_string())
    };
    assert_eq!(on(Input::Connect, "spawned"), None, "no dial has ended");
    assert_eq!(on(Input::Established(ONE), "up"), None);
    assert_eq!(on(Input::GoAway(ONE), "goaway").as_deref(), Some("goaway"));
    // Another dial explains nothing.
    assert_eq!(on(Input::ResetBackoff, "asked").as_deref(), Some("goaway"));
    assert_eq!(on(Input::DialFailed(TWO), "refused").as_deref(), Some("refused"));
    assert_eq!(on(Input::ResetBackoff, "asked").as_deref(), Some("refused"));
    assert_eq!(on(Input::Established(Incarnation(3)), "up"), None);
}

#[test]
fn a_step_is_about_the_link_there_is_then_or_else_the_one_there_was() {
    let (mut channel, now, cause) = (channel(), Instant::now(), "a cause".into());
    let mut about = |input| {
        let step = channel.on(input, &cause, now, || 0.5)?;
        let outputs = step.outputs.into_iter().map(|(_, output)| output).collect::<Vec<_>>();
        Some((step.about.0, outputs))
    };
    let at = Output::WaitUntil(now);
    assert_eq!(about(Input::Connect), Some((1, vec![Output::Dial(ONE)])));
    assert_eq!(about(Input::Established(ONE)), Some((1, vec![Output::Use(ONE)])));
    assert_eq!(about(Input::Proven(ONE)), Some((1, vec![])));
    assert_eq!(about(Input::GoAway(ONE)), Some((1, vec![Output::Drain(ONE), at])));
    assert_eq!(about(Input::Lost { link: ONE, goaway: true }), None, "late");
    assert_eq!(about(Input::RedialDue), Some((2, vec![Output::Dial(TWO)])));
    assert_eq!(about(Input::Shutdown), Some((2, vec![Output::Drain(TWO)])));
    assert_eq!(about(LOST), None, "late");
}

#[test]
fn incarnations_go_on_after_a_crash() {
    let (now, cause) = (Instant::now(), "a crash".into());
    let of = [EndpointId(1), EndpointId(2)];
    let mut channel = Channel::after_a_crash(schedules(), 1, of, now, Incarnation(7));
    assert_eq!(channel.state(), TransientFailure, "as it was shown");
    let step = channel.on(Input::RedialDue, &cause, now, || 0.5).expect("not late");
    let dial = |endpoint: u32, link| (EndpointId(endpoint), Output::Dial(Incarnation(link)));
    assert_eq!(step.outputs, [dial(1, 8), dial(2, 9)]);
}

/// The states that a channel of two endpoints has, one after another.
#[test]
fn a_channel_is_ready_with_any_endpoint_and_fails_only_with_all() {
    let (mut channel, now) = (channel_of(2), Instant::now());
    let mut on = |input, cause: &str| {
        let step = channel.on(input, &cause.into(), now, || 0.5).expect("not late");
        let changed = step.changed.map(|(_, to)| to);
        (changed, channel.state(), channel.last_error().map(|error| error.to_string()))
    };
    assert_eq!(on(Input::Connect, "spawned"), (Some(Connecting), Connecting, None));
    assert_eq!(on(Input::DialFailed(ONE), "refused"), (None, Connecting, None));
    let all = "2 of 2 endpoints have failed, the last one so: mute".to_owned();
    let failed = (Some(TransientFailure), TransientFailure, Some(all.clone()));
    assert_eq!(on(Input::DialFailed(TWO), "mute"), failed);
    // Redials do not show.
    let fails = (None, TransientFailure, Some(all));
    assert_eq!(on(Input::ResetBackoff, "asked"), fails);
    assert_eq!(on(Input::Established(Incarnation(3)), "up"), (Some(Ready), Ready, None));
    assert_eq!(on(Input::DialFailed(Incarnation(4)), "mute"), (None, Ready, None));
    // One fails still; the other is being looked for after a GOAWAY.
    let goaway = Input::GoAway(Incarnation(3));
    assert_eq!(on(goaway, "goaway"), (Some(Connecting), Connecting, None));
}

#[test]
fn endpoints_that_come_are_dialled_and_the_links_of_those_that_go_are_drained() {
    let (mut channel, now, cause) = (channel_of(2), Instant::now(), "listed".into());
    channel.on(Input::Connect, &cause, now, || 0.5);
    channel.on(Input::Established(ONE), &cause, now, || 0.5);
    channel.on(Input::Established(TWO), &cause, now, || 0.5);
    let (first, third) = (EndpointId(1), EndpointId(3));
    let step = channel.on_list([third], [first], &cause, now, || 0.5);
    let dial = (third, Output::Dial(Incarnation(3)));
    assert_eq!(step.outputs, [dial, (first, Output::Drain(ONE))]);
    assert_eq!((step.changed, channel.state()), (None, Ready));
    assert_eq!(channel.links().collect::<Vec<_>>(), [(EndpointId(2), TWO)]);
    assert!(channel.is_late(Input::Lost { link: ONE, goaway: false }), "it is nobody's now");
    // All go: calls wait, and fail-fast ones are told why.
    let step = channel.on_list([], [EndpointId(2), third], &cause, now, || 0.5);
    assert_eq!(step.changed, Some((Ready, TransientFailure)));
    assert_eq!(channel.last_error().as_deref(), Some(NO_ENDPOINTS));
    assert_eq!(channel.why_no_link().as_deref(), Some(NO_ENDPOINTS));
    assert_eq!(channel.stuck(|_| true, false, |_| true).next(), None);
}

#[test]
fn each_of_several_that_are_listed_where_there_was_none_says_how_its_state_changed() {
    let (mut channel, now, cause) = (channel_of(0), Instant::now(), "listed".into());
    channel.on(Input::Connect, &cause, now, || 0.5);
    let listed = [EndpointId(1), EndpointId(2)];
    let step = channel.on_list(listed, [], &cause, now, || 0.5);
    assert_eq!(step.changed, Some((TransientFailure, Connecting)));
    let dialled = listed.map(|id| (id, ConnectivityState::Idle, Connecting));
    assert_eq!(step.endpoints, dialled);
}

#[test]
fn a_redial_is_that_of_the_endpoint_whose_wait_is_over() {
    let (mut channel, now, cause) = (channel_of(2), Instant::now(), "refused".into());
    let later = now + Duration::from_millis(500);
    channel.on(Input::Connect, &cause, now, || 0.5);
    channel.on(Input::DialFailed(ONE), &cause, now, || 0.5);
    channel.on(Input::DialFailed(TWO), &cause, now, || 0.5);
    assert_eq!(channel.next_dial(), Some(now + Duration::from_secs(1)));
    let step = channel.on(Input::RedialDue, &cause, later, || 0.5).expect("not late");
    assert_eq!(step, Step::default(), "nobody is due");
    let due = now + Duration::from_secs(1);
    let step = channel.on(Input::RedialDue, &cause, due, || 0.5).expect("not late");
    assert_eq!(step.outputs.len(), 2, "{step:?}");
    assert_eq!(step.endpoints.len(), 2, "each of several says how its state changed");
}

/// E10: a thousand endpoints are not dialled all at once, and all of them are in the end.
#[test]
fn at_most_64_dials_are_under_way_and_every_endpoint_has_its_turn() {
    let (mut channel, now, cause) = (channel_of(1_000), Instant::now(), "a cause".into());
    let mut under_way: Vec<Incarnation> = Vec::new();
    let begun = |step: Step| -> Vec<Incarnation> {
        let dial = |(_, output)| match output {
            Output::Dial(dial) => Some(dial),
            _ => None,
        };
        step.outputs.into_iter().filter_map(dial).collect()
    };
    under_way.extend(begun(channel.on(Input::Connect, &cause, now, || 0.5).expect("not late")));
    assert_eq!((under_way.len(), channel.next_dial()), (64, None));
    let (mut up, mut failed) = (0, Vec::new());
    while let Some(dial) = under_way.pop() {
        // Every tenth fails.
        let input = match dial.0 % 10 {
            0 => Input::DialFailed(dial),
            _ => Input::Established(dial),
        };
        under_way.extend(begun(channel.on(input, &cause, now, || 0.5).expect("not late")));
        assert!(under_way.len() <= 64);
        match input {
            Input::DialFailed(_) => failed.push(dial),
            _ => up += 1,
        }
    }
    assert_eq!((up, failed.len(), channel.links().count()), (900, 100, 900));
    // The hundred that failed are due at once, and go through the same door.
    let later = now + Duration::from_secs(1);
    let dials = begun(channel.on(Input::RedialDue, &cause, later, || 0.5).expect("not late"));
    assert_eq!((dials.len(), channel.next_dial()), (64, None));
    let stuck = channel.stuck(|_| true, false, |_| true).next();
    assert_eq!(stuck, None, "36 wait for an end of one");
    let step = channel.on(Input::Established(dials[0]), &cause, later, || 0.5).expect("not late");
    assert_eq!(begun(step).len(), 1);
}

fn begun(step: Option<Step>) -> Vec<Incarnation> {
    let dial = |(_, output)| match output {
        Output::Dial(dial) => Some(dial),
        _ => None,
    };
    step.expect("not late").outputs.into_iter().filter_map(dial).collect()
}

/// Endpoints whose dials last for long and are due again at once keep nobody from their turn.
#[test]
fn endpoints_that_do_not_answer_keep_no_other_from_being_dialled() {
    let (mut channel, mut now, cause) = (channel_of(100), Instant::now(), "silent".into());
    let mut under_way = begun(channel.on(Input::Connect, &cause, now, || 0.5));
    // The first 64 time out, again and again.
    now += Duration::from_secs(20);
    let mut more = Vec::new();
    for dial in under_way.drain(..) {
        more.extend(begun(channel.on(Input::DialFailed(dial), &cause, now, || 0.5)));
    }
    let endpoint = |dial: &Incarnation| {
        let of = channel.subchannels.iter().find(|(_, one)| one.subchannel.owns(*dial));
        of.map(|(id, _)| id.0)
    };
    let turns: Vec<_> = more.iter().filter_map(endpoint).collect();
    assert!((65..=100).all(|id| turns.contains(&id)), "{turns:?}");
    assert_eq!(channel.dials, 64);
}

#[test]
fn endpoints_whose_turn_had_not_come_are_dialled_when_the_list_gets_short() {
    let (mut channel, now, cause) = (channel_of(100), Instant::now(), "listed".into());
    channel.on(Input::Connect, &cause, now, || 0.5);
    let step = channel.on_list([], (1..=64).map(EndpointId), &cause, now, || 0.5);
    assert_eq!(begun(Some(step)).len(), 36);
    assert_eq!((channel.dials, channel.state()), (36, Connecting));
}

#[test]
fn asked_to_connect_anew_no_more_links_are_dialled_at_once_than_otherwise() {
    let (mut channel, now, cause) = (channel_of(100), Instant::now(), "asked".into());
    let mut under_way = begun(channel.on(Input::Connect, &cause, now, || 0.5));
    while let Some(dial) = under_way.pop() {
        under_way.extend(begun(channel.on(Input::Established(dial), &cause, now, || 0.5)));
    }
    let mut under_way = begun(channel.on(Input::ResetBackoff, &cause, now, || 0.5));
    let mut replaced = 0;
    while let Some(dial) = under_way.pop() {
        replaced += 1;
        under_way.extend(begun(channel.on(Input::Established(dial), &cause, now, || 0.5)));
        assert!(under_way.len() <= 64 && channel.dials <= 64);
    }
    assert_eq!((replaced, channel.links().count()), (100, 100));
}

#[test]
fn an_endpoint_that_comes_while_calls_wait_is_redialled_as_quickly_as_the_others() {
    let (mut channel, now, cause) = (channel_of(1), Instant::now(), "refused".into());
    Arc::make_mut(&mut channel.schedules).waiting.initial = Duration::from_millis(50);
    channel.on(Input::Connect, &cause, now, || 0.5);
    channel.on(Input::CallsWaiting(true), &cause, now, || 0.5);
    channel.on_list([EndpointId(2)], [], &cause, now, || 0.5);
    channel.on(Input::DialFailed(TWO), &cause, now, || 0.5);
    assert_eq!(channel.next_dial(), Some(now + Duration::from_millis(50)));
}
