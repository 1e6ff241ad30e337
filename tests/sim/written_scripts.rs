//! Scripts written by hand: how one is made, and that the simulation does what they say.

use crate::{
    fleet::List,
    panic_hook::hide_injected_panics,
    run::{Outcome, run},
    script::{Call, Fate, Fault, Kind, Script, ServerFault, ms, secs},
};
use tonic::Code;
use tonic_supervisor::Child;

/// Runs a script, which breaks no law.
fn told(script: Script) -> Outcome {
    hide_injected_panics();
    let outcome = run(script);
    assert_eq!(outcome.broken, None, "{:#?}", outcome.trace);
    outcome
}

/// How many lines of the trace speak of all these words.
fn lines(outcome: &Outcome, words: &[&str]) -> usize {
    outcome.trace.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[test]
fn a_call_waits_out_a_black_hole_that_keepalive_finds() {
    let story = Script::quiet(1)
        .call(Call::unary(ms(100)))
        .at(ms(200), Fault::BlackHole)
        .call(Call::unary(ms(300)))
        .at(secs(6), Fault::Mend);
    let outcome = told(story);
    assert_eq!(
        lines(&outcome, &["client: call 0 ended after 0.0", "OK"]),
        1,
        "{:#?}",
        outcome.trace
    );
    assert_eq!(lines(&outcome, &["KeepaliveLost"]), 1);
    assert_eq!(lines(&outcome, &["client: call 1 ended after", "OK"]), 1, "{:#?}", outcome.trace);
}

#[test]
fn a_rolling_goaway_costs_no_call_and_executes_none_twice() {
    let calls = (0..50).map(|n| Call::unary(ms(20 * n)).once().answered([Fate::echo(ms(30))]));
    let story = calls.fold(Script::quiet(2), Script::call);
    let story =
        (1..=10).fold(story, |story, n| story.at(ms(100 * n), Fault::Server(ServerFault::GoAway)));
    let outcome = told(story);
    assert_eq!(lines(&outcome, &["client: call", "OK"]), 50);
    assert_eq!(lines(&outcome, &["server: /sim.Calls/n", "retry 0"]), 50);
}

#[test]
fn a_crash_a_burst_and_a_panic_in_one_life() {
    let story = Script::quiet(3)
        .call(Call::unary(ms(100)).answered([Fate::Cut, Fate::status(Code::Unavailable)]))
        .call(Call::of(Kind::Message, ms(2_100)))
        .at(secs(2), Fault::Crash)
        .at(ms(2_500), Fault::Boot)
        .at(ms(2_200), Fault::Panic(Child::Supervisor, "LinkUp", 1))
        .at(secs(4), Fault::Server(ServerFault::Burst(Code::Unavailable)))
        .call(Call::unary(ms(4_100)).once())
        .at(secs(5), Fault::Server(ServerFault::Well));
    let outcome = told(story);
    assert_eq!(lines(&outcome, &["client: call 0", "OK"]), 1, "two retries later");
    assert_eq!(lines(&outcome, &["client: call 1", "OK"]), 1, "it waited for the next boot");
    assert_eq!(
        lines(&outcome, &["client: call 2", "Unavailable"]),
        1,
        "to try again might do harm"
    );
    assert_eq!(lines(&outcome, &["ChildFailed", "LinkUp"]), 1);
}

/// A call every 20 ms, 200 of them, which take 30 ms and may be repeated.
fn traffic(story: Script) -> Script {
    let calls = (0..200).map(|n| Call::unary(ms(20 * n)).answered([Fate::echo(ms(30))]));
    calls.fold(story, Script::call)
}

#[test]
fn one_of_three_servers_crashes_and_one_is_cut_off_and_no_call_fails() {
    let story = traffic(Script::quiet(4).with_servers(3, 2))
        .at_server(1, secs(1), Fault::Crash)
        .at_server(2, secs(2), Fault::BlackHole)
        .at_server(1, secs(5), Fault::Boot)
        .at_server(2, secs(7), Fault::Mend);
    let outcome = told(story);
    assert_eq!(lines(&outcome, &["client: call", "OK"]), 200);
    assert!(lines(&outcome, &["server-2: /sim.Calls/n"]) > 10, "until it crashed");
    assert!(lines(&outcome, &["KeepaliveLost", "endpoint: EndpointId(3)"]) >= 1);
}

#[test]
fn lists_come_and_go_and_calls_follow_them() {
    let story = traffic(Script::quiet(5).with_servers(3, 1))
        .at(secs(1), Fault::List(List::of([1])))
        .at(ms(1_500), Fault::List(List::EMPTY))
        .at(secs(2), Fault::List(List::of([0, 2])));
    let outcome = told(story);
    assert_eq!(lines(&outcome, &["client: call", "OK"]), 200);
    assert_eq!(lines(&outcome, &["EndpointAdded"]), 3 + 2 + 1, "the last when all is healed");
    assert_eq!(lines(&outcome, &["EndpointRemoved"]), 2 + 1);
}

/// What servers say of their health changes where calls go, and never when is dialled: the laws
/// look at each dial.
#[test]
fn a_server_that_does_not_serve_gets_no_call_and_no_dial_follows() {
    let rests = |serves| Fault::Server(ServerFault::HealthSays(serves));
    let story = traffic(Script::quiet(6).watched(3))
        .at_server(1, secs(1), rests(false))
        .at_server(1, secs(2), rests(true))
        .at(ms(2_500), rests(false))
        .at(ms(3_500), rests(true));
    let outcome = told(story);
    assert_eq!(lines(&outcome, &["client: call", "OK"]), 200);
    assert_eq!(lines(&outcome, &["DialStarted"]), 3, "one for each server");
    assert_eq!(lines(&outcome, &["HealthChanged", "NotServing"]), 1 + 3);
    let lost = [&["LinkLost"][..], &["LinkLost", "HungUp"]].map(|words| lines(&outcome, words));
    assert_eq!(lost, [3, 3], "all of them only at the end, by this side");
}

/// The same while links are lost and servers crash.
#[test]
fn health_crashes_and_black_holes_in_one_life_break_no_law() {
    let rests = |serves| Fault::Server(ServerFault::HealthSays(serves));
    for seed in 0..30 {
        let story = traffic(Script::quiet(seed).watched(3))
            .at_server(0, ms(300 + 17 * seed), rests(false))
            .at_server(1, ms(500 + 23 * seed), Fault::Crash)
            .at_server(2, ms(900 + 31 * seed), Fault::Server(ServerFault::GoAway))
            .at_server(2, ms(1_200), Fault::BlackHole)
            .at_server(1, ms(1_700 + 13 * seed), Fault::Boot)
            .at_server(1, ms(2_000), rests(false))
            .at_server(0, ms(2_500 + 11 * seed), rests(true))
            .at_server(2, secs(4), Fault::Mend)
            .at_server(1, ms(4_500), rests(true));
        let outcome = told(story);
        assert_eq!(lines(&outcome, &["client: call", "OK"]), 200, "seed {seed}");
    }
}
