//! The throttle of retries: a storm of failures adds a fifth to the calls and no more.

use crate::support::{EventLog, Rig, SAY, SECOND, config, echo, report, timed};
use std::time::Duration;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::Code;
use tonic_supervisor::{
    Fact, UnaryCall,
    testing::{Answer, Arrival, Script},
};

fn retried(fact: &Fact) -> Option<()> {
    matches!(fact, Fact::RetryScheduled { .. }).then_some(())
}

fn throttled(fact: &Fact) -> Option<()> {
    matches!(fact, Fact::RetryThrottled { .. }).then_some(())
}

const STORM: Duration = Duration::from_secs(30);

const CALLS: usize = 6_000;

/// Scenario 11: 200 calls a second for 30 s, all answered UNAVAILABLE: wire attempts <= 1.2 x calls
/// + the floor (ten a second, and the fifty saved up); ten seconds later the budget is full again.
#[tokio::test(start_paused = true)]
async fn scenario_11_retries_add_a_fifth_in_a_storm_and_are_all_there_10_s_later() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::always(Code::Unavailable));
    let events = EventLog::of(&rig.supervisor);
    let mut tick = interval(STORM / CALLS as u32);
    for _ in 0..CALLS {
        tick.tick().await;
        spawn_call(&rig);
    }
    let attempts = rig.server.arrivals().len();
    let allowed = CALLS * 12 / 10 + 10 * STORM.as_secs() as usize + 50;
    assert!(attempts <= allowed, "{attempts} attempts");
    assert!(attempts > CALLS + 1_000, "retries go on within their budget: {attempts} attempts");
    let (granted, refused) =
        (events.facts(retried).await.len(), events.facts(throttled).await.len());
    assert!(
        granted >= attempts - CALLS && refused > granted,
        "{granted} granted, {refused} refused"
    );
    let snapshot = rig.supervisor.snapshot();
    assert_eq!((snapshot.retries, snapshot.transparent_retries), (granted as u64, 0));

    rig.server.script(Script::echo());
    sleep(10 * SECOND).await;
    rig.server.script(Script::always(Code::Unavailable));
    let (before, refused) =
        (events.facts(retried).await.len(), events.facts(throttled).await.len());
    let burst = 150;
    (0..burst).for_each(|_| spawn_call(&rig));
    events.nth(refused + 1, |fact| throttled(fact).is_some()).await;
    let granted = events.facts(retried).await.len() - before;
    // Nothing is owed any more: each call of the burst has its first retry, and then they owe more
    // than fifty.
    assert_eq!(granted, burst);
}

fn spawn_call(rig: &Rig) {
    let channel = rig.supervisor.channel();
    tokio::spawn(async move { echo(&channel, "x").await });
}

/// One failure of the server that befalls all open calls costs none of them: each has its first
/// retry. A second one is a storm.
#[tokio::test(start_paused = true)]
async fn scenario_11_a_thousand_calls_at_once_that_each_fail_once_all_succeed() {
    let calls = 1_000;
    for (actors, fails, expected) in [(1, 1, calls), (4, 1, calls), (1, 2, 0)] {
        let rig = Rig::new(config().request_actors(actors)).await;
        rig.server.script(move |arrival: &Arrival| {
            let before = arrival.previous_attempts.as_deref().unwrap_or("0");
            let before: usize = before.parse().expect("a number");
            if before < fails { Answer::status(Code::Unavailable) } else { Answer::echo() }
        });
        let (channel, mailbox) = (rig.supervisor.channel(), rig.supervisor.mailbox());
        let mut running = JoinSet::new();
        for n in 0..calls {
            let (channel, mailbox) = (channel.clone(), mailbox.clone());
            running.spawn(async move {
                if n % 2 == 0 {
                    return echo(&channel, "x").await.is_ok();
                }
                let text = "x".to_string();
                let answer = ractor::call!(mailbox, UnaryCall::new, SAY, &text);
                answer.expect("an answer").is_ok()
            });
        }
        let succeeded = running.join_all().await.into_iter().filter(|succeeded| *succeeded).count();
        let requests = rig.server.handled();
        assert_eq!(
            (succeeded, requests),
            (expected, 2 * calls),
            "{actors} actors, {fails} failures"
        );
    }
}

/// Scenario 11: a client of one call a minute always gets its three retries.
#[tokio::test(start_paused = true)]
async fn scenario_11_a_quiet_client_always_gets_its_three_retries() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::always(Code::Unavailable));
    let mut minute = interval(60 * SECOND);
    for minutes in 1..=10 {
        minute.tick().await;
        let status =
            echo(&rig.supervisor.channel(), "x").await.expect_err("the server fails every call");
        assert_eq!((report(&status).retries, rig.server.handled()), (3, 4 * minutes));
    }
}

/// Scenario 11: the throttle sees statuses only; lost links are paced by dials.
#[tokio::test(start_paused = true)]
async fn scenario_11_lost_links_neither_use_the_throttle_nor_are_stopped_by_it() {
    let one = config().retry_throttle_ratio(0.0).retry_throttle_floor(0.1).max_retry_attempts(6);
    let rig = Rig::new(one).await;
    let channel = rig.supervisor.channel();
    rig.server.script(Script::sequence(vec![Answer::cut_after_processing(); 5], Answer::echo()));
    echo(&channel, "x").await.expect("the sixth attempt");
    rig.server.script(Script::sequence(vec![Answer::status(Code::Unavailable)], Answer::echo()));
    echo(&channel, "x").await.expect("the one retry of the budget is still there");
    let events = EventLog::of(&rig.supervisor);
    rig.server.script(Script::always(Code::Unavailable));
    let (took, outcome) = timed(echo(&channel, "x")).await;
    assert_eq!(
        (took, outcome.expect_err("now it is spent").code()),
        (Duration::ZERO, Code::Unavailable)
    );
    assert_eq!((events.facts(retried).await.len(), events.facts(throttled).await.len()), (0, 1));
}
