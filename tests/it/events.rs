//! What a supervisor tells of itself: states, events in order, snapshots; and what GOAWAY and
//! changing limits look like.

use crate::link_stage::*;
use ConnectivityState::{Connecting, Ready, Shutdown, TransientFailure};
use tonic::Code;
use tonic_supervisor::{
    CallOptions, ConnectivityState, Event, EventItem, Fact, Incarnation, LinkEnd, UnaryCall,
    testing::{FrameKind, MemoryNetwork, RawLink, RawPeer, Script, ScriptedServer},
};

fn names(facts: &[Fact]) -> Vec<&'static str> {
    facts.iter().map(Fact::name).collect()
}

/// The laws of every history: no number is left out, states follow from one another along legal
/// edges.
fn check_history(mut state: ConnectivityState, mut seq: u64, events: &[Event]) {
    for event in events {
        assert_eq!(event.seq, seq + 1, "{events:#?}");
        seq = event.seq;
        if let Fact::StateChanged { from, to, cause, .. } = &event.fact {
            assert!(*from == state && from.can_become(*to), "{from} -> {to} after {state}");
            assert!(!cause.is_empty());
            state = *to;
        }
    }
}

/// CHECK 4: the server is killed and restarted while no call is made; every step is told at once,
/// with its cause, attempt and delay.
#[tokio::test(start_paused = true)]
async fn pain_04_state_can_be_seen_kill_and_restart_while_idle() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut events = Events::of(&supervisor).await;
    assert_eq!(
        (events.snapshot.state, events.snapshot.incarnation),
        (ConnectivityState::Idle, Incarnation(0))
    );
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    echo(&supervisor.channel(), CallOptions::new()).await.expect("the server echoes");
    settle().await;
    let first = ["StateChanged", "DialStarted", "LinkEstablished", "StateChanged", "BackoffReset"];
    assert_eq!(names(&events.facts().await), first);
    check_history(ConnectivityState::Idle, 0, &events.seen);

    let (mut events, before) = (Events::of(&supervisor).await, events.seen.len() as u64);
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
    let late = Events::of(&supervisor).await.snapshot;
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

/// CHECK 4: a reader that sleeps through 10,000 transitions is told how many events it missed; what
/// follows is complete.
#[tokio::test(start_paused = true)]
async fn pain_04_a_stalled_reader_is_told_what_it_missed_and_costs_no_memory() {
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
    echo(&supervisor.channel(), CallOptions::new()).await.expect("the link is proven");
    network.reset_all();
    watch.changed().await.expect("the supervisor lives");
    assert_eq!(*watch.borrow_and_update(), TransientFailure);
    supervisor.shutdown(secs(0)).await;
    let why = supervisor.wait_ready(PATIENCE).await.expect_err("at once");
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

/// Decisions 2 and 3: while a GOAWAY'd link drains, the channel is Connecting, then Ready again;
/// its call finishes there.
#[tokio::test(start_paused = true)]
async fn a_goaway_shows_connecting_and_the_old_link_finishes_its_calls() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    echo(&channel, CallOptions::new()).await.expect("the link is proven");
    let mut events = Events::of(&supervisor).await;
    server.script(Script::delay(ms(500)));
    let rider = echoes(&channel, CallOptions::new(), 1);
    server.arrived(2).await;
    assert_eq!(server.goaway().await, 1);
    events.until_state(Connecting).await;
    events.until_state(Ready).await;
    server.script(Script::echo());
    assert!(echo(&channel, CallOptions::new()).await.is_ok());
    assert_eq!(
        server.arrivals()[2].connection,
        2,
        "new calls go out on the successor while the old link drains"
    );
    let answered = join(rider).await;
    assert_time(answered[0].0, ms(500));
    assert!(answered[0].1.is_ok());
    let lost = events.until(|fact| matches!(fact, Fact::LinkLost { .. })).await;
    let Fact::LinkLost {
        incarnation: Incarnation(1),
        current: false,
        end: LinkEnd::GoAway(goaway),
        ..
    } = lost.fact
    else {
        panic!("{lost:?}")
    };
    assert_eq!((goaway.code, server.handled()), (0, 3));
    assert_eq!(events.states().await, [Connecting, Ready]);
    let heard = events.seen.iter().find(|event| matches!(event.fact, Fact::GoAwayReceived { .. }));
    assert!(matches!(
        heard.expect("it was told").fact,
        Fact::GoAwayReceived { incarnation: Incarnation(1), .. }
    ));
    assert_eq!(supervisor.snapshot().transparent_retries, 0);
    check_history(Ready, events.snapshot.seq, &events.seen);
}

#[tokio::test(start_paused = true)]
async fn a_goaway_is_seen_at_once_while_idle() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    echo(&supervisor.channel(), CallOptions::new()).await.expect("the link is proven");
    let mut events = Events::of(&supervisor).await;
    let sent = tokio::time::Instant::now();
    server.goaway().await;
    events.until(|fact| matches!(fact, Fact::GoAwayReceived { .. })).await;
    assert_time(sent.elapsed(), ms(0));
    events.until_state(Connecting).await;
    events.until_state(Ready).await;
    assert!(sent.elapsed() <= ms(22), "{:?}", sent.elapsed());
    assert_eq!(events.states().await, [Connecting, Ready]);
}

/// A peer whose frames the test sends itself, and its Ready supervisor.
async fn raw(settings: &[(u16, u32)]) -> (RawPeer, RawLink, tonic_supervisor::Supervisor) {
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut link = peer.accept().await;
    link.send_settings(settings).await;
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    (peer, link, supervisor)
}

/// Reads until a request has arrived whole, whatever else is under way; its stream.
async fn request(link: &mut RawLink) -> u32 {
    let end = bounded(
        "a request",
        link.skip_to(|frame| frame.kind == FrameKind::Data && frame.is_end_stream()),
    )
    .await;
    end.expect("the client is there").stream
}

const HELLO: &[u8] = b"\n\x05hello";

/// gRPC's graceful pair: the first GOAWAY promises all streams, the second takes the promise back
/// for those above its last id.
#[tokio::test(start_paused = true)]
async fn a_goaway_in_two_steps_lets_the_promised_calls_finish_and_moves_the_others() {
    let (mut peer, mut old, supervisor) = raw(&[]).await;
    let proof = echoes(&supervisor.channel(), CallOptions::new(), 1);
    let stream = request(&mut old).await;
    old.answer(stream, HELLO).await;
    assert!(join(proof).await[0].1.is_ok(), "the link is proven");
    let mut events = Events::of(&supervisor).await;
    let calls = echoes(&supervisor.channel(), CallOptions::new().idempotent(false), 2);
    assert_eq!((request(&mut old).await, request(&mut old).await), (3, 5));
    old.goaway(0x7fff_ffff, 0, "").await;
    let mut new = peer.accept().await;
    new.send_settings(&[]).await;
    events.until_state(Ready).await;
    old.goaway(3, 0, "max_age").await;
    let moved = request(&mut new).await;
    new.answer(moved, HELLO).await;
    old.answer(3, HELLO).await;
    for (_, answer) in join(calls).await {
        assert_eq!(answer.expect("no call is lost"), "hello");
    }
    let snapshot = supervisor.snapshot();
    assert_eq!((snapshot.retries, snapshot.transparent_retries, snapshot.links), (0, 1, 2));
    assert!(old.next_frame().await.is_ok(), "the client says goodbye on a drained link");
    assert_eq!(events.states().await, [Connecting, Ready]);
}

/// The peer's MAX_CONCURRENT_STREAMS is obeyed as it changes, up and down.
#[tokio::test(start_paused = true)]
async fn a_changed_limit_of_streams_changes_how_many_calls_start() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let (_peer, mut link, supervisor) = raw(&[(MAX_CONCURRENT_STREAMS, 2)]).await;
    let calls = echoes(&supervisor.channel(), CallOptions::new(), 8);
    let state = |supervisor: &tonic_supervisor::Supervisor| {
        let snapshot = supervisor.snapshot();
        (snapshot.streams, snapshot.calls_waiting)
    };
    assert_eq!((request(&mut link).await, request(&mut link).await), (1, 3));
    settle().await;
    assert_eq!(state(&supervisor), (2, 6));

    link.send_settings(&[(MAX_CONCURRENT_STREAMS, 4)]).await;
    assert_eq!((request(&mut link).await, request(&mut link).await), (5, 7));
    settle().await;
    assert_eq!(state(&supervisor), (4, 4));

    link.send_settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
    settle().await;
    for stream in [1, 3, 5] {
        link.answer(stream, HELLO).await;
        settle().await;
    }
    assert_eq!(
        state(&supervisor),
        (1, 4),
        "none starts while the one that is left fills the limit"
    );
    for (answered, started) in [(7, 9), (9, 11), (11, 13), (13, 15)] {
        link.answer(answered, HELLO).await;
        assert_eq!(request(&mut link).await, started);
    }
    link.answer(15, HELLO).await;
    assert!(join(calls).await.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(supervisor.snapshot().links, 1);
}

/// A link is proven by its first answer, or by `stable_after`; only that starts the backoff over.
#[tokio::test(start_paused = true)]
async fn a_proven_link_resets_the_backoff_and_an_unproven_one_does_not() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut events = Events::of(&supervisor).await;
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
    echo(&supervisor.channel(), CallOptions::new()).await.expect("the server echoes");
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
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    let mut events = Events::of(&supervisor).await;
    supervisor.shutdown(secs(1)).await;
    while events.next().await.is_some() {}
    let facts: Vec<_> = events.seen.iter().map(|event| event.fact.clone()).collect();
    assert_eq!(names(&facts), ["DrainStarted", "StateChanged", "LinkLost", "Closed"]);
    assert!(matches!(&facts[2], Fact::LinkLost { end: LinkEnd::HungUp, .. }), "{:?}", facts[2]);
    assert!(matches!(&facts[3], Fact::Closed { cause: None, .. }));
    let mut late = Events::of(&supervisor).await;
    assert_eq!(late.snapshot.state, Shutdown);
    assert!(late.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn neither_a_mailbox_nor_an_event_stream_keeps_the_supervisor_alive() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    let (mailbox, mut events) = (supervisor.mailbox(), Events::of(&supervisor).await);
    let channel = supervisor.channel();
    drop(supervisor);
    assert!(echo(&channel, CallOptions::new()).await.is_ok(), "a channel does");
    drop(channel);
    while events.next().await.is_some() {}
    assert!(matches!(events.seen.last().expect("events").fact, Fact::Closed { cause: None, .. }));
    let hello = "hello".to_owned();
    let answer =
        ractor::call!(mailbox, |port| UnaryCall::new(SAY, &hello, port)).expect("an answer");
    assert_eq!(answer.expect_err("it is closed").code(), Code::Cancelled);
    assert_eq!((network.connections(), server.handled()), (0, 1));
}
