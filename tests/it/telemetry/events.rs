//! What a supervisor tells of itself: states, events in order, snapshots.

use crate::support::*;
use ConnectivityState::{Connecting, Ready, Shutdown, TransientFailure};
use tonic::Code;
use tonic_supervisor::{
    CallOptions, ConnectivityState, Event, EventItem, Fact, Incarnation, LinkEnd, UnaryCall,
    testing::{MemoryNetwork, ScriptedServer},
};

fn names(facts: &[Fact]) -> Vec<&'static str> {
    facts.iter().map(Fact::name).collect()
}

/// Scenario 4: the server is killed and restarted while no call is made; every step is told at
/// once, with its cause, attempt and delay.
#[tokio::test(start_paused = true)]
async fn scenario_04_kill_and_restart_while_idle_can_be_seen() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut events = EventReader::of(&supervisor).await;
    assert_eq!(
        (events.snapshot.state, events.snapshot.incarnation),
        (ConnectivityState::Idle, Incarnation(0))
    );
    supervisor.wait_ready(LONG).await.expect("Ready");
    say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("the server echoes");
    settle().await;
    let first = ["StateChanged", "DialStarted", "LinkEstablished", "StateChanged", "BackoffReset"];
    assert_eq!(names(&events.facts().await), first);
    check_history(ConnectivityState::Idle, 0, &events.seen);

    let (mut events, before) = (EventReader::of(&supervisor).await, events.seen.len() as u64);
    assert_eq!((events.snapshot.state, events.snapshot.seq), (Ready, before));
    let killed = tokio::time::Instant::now();
    server.kill().await;
    let lost = events.next().await.expect("an event");
    assert_time(killed.elapsed(), ms(0));
    let Fact::LinkLost { incarnation: Incarnation(1), end: LinkEnd::Closed, current: true, .. } =
        lost.fact
    else {
        panic!("{lost:?}")
    };
    events.until_state(TransientFailure).await;
    events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    events.until(|fact| matches!(fact, Fact::BackoffStarted { .. })).await;
    let late = EventReader::of(&supervisor).await.snapshot;
    assert_eq!(
        (late.state, late.dials, late.links, late.incarnation),
        (TransientFailure, 2, 1, Incarnation(2))
    );
    assert!(
        late.last_error.as_ref().is_some_and(|error| error.contains("connection refused")),
        "{late:?}"
    );
    assert!(late.next_dial.is_some_and(|wait| wait >= ms(799) && wait <= ms(1_200)), "{late:?}");
    server.restart().await;
    events.until_state(Ready).await;
    let snapshot = supervisor.snapshot();
    assert_eq!((snapshot.state, snapshot.last_error, snapshot.links), (Ready, None, 2));

    let told = [
        "LinkLost",
        "StateChanged",
        "BackoffStarted",
        "StateChanged",
        "DialStarted",
        "DialFailed",
        "StateChanged",
        "BackoffStarted",
        "StateChanged",
        "DialStarted",
        "LinkEstablished",
        "StateChanged",
    ];
    let facts = events.facts().await;
    assert_eq!(names(&facts), told);
    assert_eq!(
        events.states().await,
        [TransientFailure, Connecting, TransientFailure, Connecting, Ready]
    );
    check_history(Ready, before, &events.seen);
    let about = |fact: &Fact| match fact {
        Fact::StateChanged { incarnation, .. } | Fact::DialStarted { incarnation, .. } => {
            Some(incarnation.0)
        }
        _ => None,
    };
    assert_eq!(facts.iter().filter_map(about).collect::<Vec<_>>(), [1, 2, 2, 2, 3, 3, 3]);
    let Fact::BackoffStarted { delay, attempt: 0, calls_waiting: false, .. } = facts[2] else {
        panic!("{:?}", facts[2])
    };
    assert!(delay <= ms(20), "{delay:?}");
    let Fact::BackoffStarted { delay, attempt: 0, .. } = facts[7] else { panic!("{:?}", facts[7]) };
    assert!((ms(799)..=ms(1_200)).contains(&delay), "{delay:?}");
}

/// Scenario 4: a reader that sleeps through 10,000 transitions is told how many events it missed;
/// what follows is complete.
#[tokio::test(start_paused = true)]
async fn scenario_04_a_stalled_reader_is_told_what_it_missed_and_costs_no_memory() {
    let network = MemoryNetwork::new();
    let quick = config().reconnect_initial_backoff(ms(1)).reconnect_max_backoff(ms(1));
    let supervisor = supervise(&network, quick.reconnect_jitter(0.0));
    let mut stream = supervisor.events();
    assert!(matches!(stream.next().await, Some(EventItem::Snapshot(_))));
    // Two transitions and five events a dial.
    eventually("10,000 transitions", || network.dials().len() > 5_000).await;
    let said = supervisor.snapshot().seq;
    let Some(EventItem::Lagged(missed)) = stream.next().await else { panic!("it must be told") };
    assert_eq!(missed, said - 512, "exactly the last 512 are kept");
    for seq in missed + 1..=said {
        let Some(EventItem::Event(event)) = stream.next().await else { panic!("complete again") };
        assert_eq!(event.seq, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_can_be_watched_and_awaited() {
    let network = MemoryNetwork::new();
    network.dial_takes(secs(3));
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut watch = supervisor.watch_state();
    let began = tokio::time::Instant::now();
    let why = supervisor.wait_ready(secs(2)).await.expect_err("the dial takes 3 s");
    assert_eq!((why.now.state, why.waited.as_secs()), (Connecting, 2));
    assert_time(began.elapsed(), secs(2));
    supervisor.wait_ready(secs(2)).await.expect("Ready");
    assert_time(began.elapsed(), secs(3));
    assert_eq!((supervisor.state(), *watch.borrow_and_update()), (Ready, Ready));
    say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("the link is proven");
    network.reset_all();
    watch.changed().await.expect("the supervisor lives");
    assert_eq!(*watch.borrow_and_update(), TransientFailure);
    supervisor.shutdown(secs(0)).await;
    let why = supervisor.wait_ready(LONG).await.expect_err("at once");
    assert_eq!((why.now.state, why.waited), (Shutdown, secs(0)));
    assert_eq!(*watch.borrow_and_update(), Shutdown);
}

/// A program that waits for its server, and says what its person should do.
#[tokio::test(start_paused = true)]
async fn a_wait_for_ready_that_is_given_up_says_why_and_what_to_do() {
    let network = MemoryNetwork::new();
    network.dial_takes(secs(3));
    let supervisor = supervise(&network, config());
    let why = supervisor.wait_ready(secs(1)).await.expect_err("the dial takes 3 s").to_string();
    let expected = "the channel to server:50051 is not ready after 1.0 s, but CONNECTING: no dial \
                    has failed yet, so \
                    the first one is under way: wait for longer";
    assert_eq!(why, expected);

    let supervisor = supervise(&MemoryNetwork::new(), config());
    let why = supervisor.wait_ready(ms(500)).await.expect_err("there is no server").to_string();
    let refused = "the channel to server:50051 is not ready after 500 ms, but TRANSIENT_FAILURE: ";
    assert!(
        why.starts_with(refused) && why.contains("connection refused. 1 dial so far, the next in "),
        "{why}"
    );
    assert!(
        why.ends_with(
            " ms. Check that the server runs there; dialling goes on, and calls wait for it"
        ),
        "{why}"
    );

    supervisor.shutdown(secs(0)).await;
    let error = supervisor.wait_ready(secs(10)).await.expect_err("shut down");
    let expected =
        "the channel to server:50051 is shut down, and will not be ready again: spawn another";
    assert_eq!(
        (error.to_string(), format!("{error:?}")),
        (expected.into(), expected.into()),
        "as main prints it"
    );
}

/// A link is proven by its first answer, or by `stable_after`; only that starts the backoff over.
#[tokio::test(start_paused = true)]
async fn a_proven_link_resets_the_backoff_and_an_unproven_one_does_not() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut events = EventReader::of(&supervisor).await;
    let failures = |event: Event| match event.fact {
        Fact::DialStarted { failures, .. } => failures,
        fact => panic!("{fact:?}"),
    };
    for lost in 0..4 {
        let dial = events.until(|fact| matches!(fact, Fact::DialStarted { .. })).await;
        assert_eq!(failures(dial), lost);
        events.until_state(Ready).await;
        network.cut_all();
    }
    let dial = events.until(|fact| matches!(fact, Fact::DialStarted { .. })).await;
    assert_eq!(failures(dial), 4);
    let up = events.until_state(Ready).await;
    let reset = events.until(|fact| matches!(fact, Fact::BackoffReset { .. })).await;
    assert_time(reset.since_spawn - up.since_spawn, secs(10));
    network.cut_all();
    let dial = events.until(|fact| matches!(fact, Fact::DialStarted { .. })).await;
    assert_eq!(failures(dial), 0);
    let up = events.until_state(Ready).await;
    say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("the server echoes");
    let reset = events.until(|fact| matches!(fact, Fact::BackoffReset { .. })).await;
    assert_time(reset.since_spawn - up.since_spawn, ms(0));
    assert_eq!((server.handled(), server.connections()), (1, 6));
    check_history(ConnectivityState::Idle, 0, &events.seen);
}

#[tokio::test(start_paused = true)]
async fn the_event_stream_ends_after_closed_also_for_who_comes_later() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(LONG).await.expect("Ready");
    let mut events = EventReader::of(&supervisor).await;
    supervisor.shutdown(secs(1)).await;
    while events.next().await.is_some() {}
    let facts: Vec<_> = events.seen.iter().map(|event| event.fact.clone()).collect();
    assert_eq!(names(&facts), ["DrainStarted", "StateChanged", "LinkLost", "Closed"]);
    assert!(matches!(&facts[2], Fact::LinkLost { end: LinkEnd::HungUp, .. }), "{:?}", facts[2]);
    assert!(matches!(&facts[3], Fact::Closed { cause: None, .. }));
    let mut late = EventReader::of(&supervisor).await;
    assert_eq!(late.snapshot.state, Shutdown);
    assert!(late.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn neither_a_mailbox_nor_an_event_stream_keeps_the_supervisor_alive() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(LONG).await.expect("Ready");
    let (mailbox, mut events) = (supervisor.mailbox(), EventReader::of(&supervisor).await);
    let channel = supervisor.channel();
    drop(supervisor);
    assert!(say(&channel, "hello", CallOptions::new()).await.is_ok(), "a channel does");
    drop(channel);
    while events.next().await.is_some() {}
    assert!(matches!(events.seen.last().expect("events").fact, Fact::Closed { cause: None, .. }));
    let hello = "hello".to_owned();
    let answer =
        ractor::call!(mailbox, |port| UnaryCall::new(SAY, &hello, port)).expect("an answer");
    assert_eq!(answer.expect_err("it is closed").code(), Code::Cancelled);
    assert_eq!((network.connections(), server.handled()), (0, 1));
}
