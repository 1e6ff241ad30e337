//! GOAWAY: calls that it excludes are sent again for free, the others finish, and a successor is
//! dialled.

use crate::support::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tonic_supervisor::{
    CallOptions,
    ConnectivityState::{Connecting, Ready},
    Fact, Incarnation, LinkEnd,
    testing::{Frame, MemoryNetwork, RawPeer, Script, ScriptedServer},
};

/// While a GOAWAY'd link drains, the channel is Connecting, then Ready again;
/// its call finishes there.
#[tokio::test(start_paused = true)]
async fn a_goaway_shows_connecting_and_the_old_link_finishes_its_calls() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    say(&channel, "hello", CallOptions::new()).await.expect("the link is proven");
    let mut events = EventReader::of(&supervisor).await;
    server.script(Script::delay(ms(500)));
    let rider = start_many(&channel, CallOptions::new(), 1);
    server.arrived(2).await;
    assert_eq!(server.goaway().await, 1);
    events.until_state(Connecting).await;
    events.until_state(Ready).await;
    server.script(Script::echo());
    assert!(say(&channel, "hello", CallOptions::new()).await.is_ok());
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
    say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("the link is proven");
    let mut events = EventReader::of(&supervisor).await;
    let sent = tokio::time::Instant::now();
    server.goaway().await;
    events.until(|fact| matches!(fact, Fact::GoAwayReceived { .. })).await;
    assert_time(sent.elapsed(), ms(0));
    events.until_state(Connecting).await;
    events.until_state(Ready).await;
    assert!(sent.elapsed() <= ms(22), "{:?}", sent.elapsed());
    assert_eq!(events.states().await, [Connecting, Ready]);
}

/// gRPC's graceful pair: the first GOAWAY promises all streams, the second takes the promise back
/// for those above its last id.
#[tokio::test(start_paused = true)]
async fn a_goaway_in_two_steps_lets_the_promised_calls_finish_and_moves_the_others() {
    let (supervisor, mut peer, mut old) = raw_link(config(), &[]).await;
    let proof = start_many(&supervisor.channel(), CallOptions::new(), 1);
    let stream = next_request(&mut old).await;
    old.answer(stream, HELLO).await;
    assert!(join(proof).await[0].1.is_ok(), "the link is proven");
    let mut events = EventReader::of(&supervisor).await;
    let calls = start_many(&supervisor.channel(), CallOptions::new().idempotent(false), 2);
    assert_eq!((next_request(&mut old).await, next_request(&mut old).await), (3, 5));
    old.goaway(0x7fff_ffff, 0, "").await;
    let mut new = peer.accept().await;
    new.send_settings(&[]).await;
    events.until_state(Ready).await;
    old.goaway(3, 0, "max_age").await;
    let moved = next_request(&mut new).await;
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

async fn call_often(
    supervisor: &tonic_supervisor::Supervisor,
    callers: usize,
    each: usize,
) -> usize {
    let caller = |_| {
        let channel = supervisor.channel();
        tokio::spawn(async move {
            let mut errors = Vec::new();
            for _ in 0..each {
                errors.extend(
                    say(&channel, "hello", CallOptions::new().idempotent(false)).await.err(),
                );
            }
            errors
        })
    };
    let errors: Vec<_> = join((0..callers).map(caller).collect()).await.concat();
    assert!(errors.is_empty(), "{} errors, the first: {:?}", errors.len(), errors[0]);
    callers * each
}

/// Scenario 2: GOAWAY every 20 ms under 8 callers: no call of 2,400 fails, none is executed twice,
/// none is counted as a retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenario_02_planned_goaways_reach_no_caller_and_execute_no_call_twice() {
    let slow = Script::delay(ms(2));
    let server = ScriptedServer::builder()
        .goaway_every(ms(20))
        .record_arrivals(false)
        .script(slow)
        .on_tcp()
        .await;
    let supervisor = supervise_tcp(config_for(&server.dial_address()));
    let calls = call_often(&supervisor, 8, 300).await;
    let snapshot = supervisor.snapshot();
    assert_eq!((server.handled(), snapshot.retries), (calls, 0));
    assert!(server.connections() > 10, "{} links", server.connections());
}

/// Scenario 2, where bare tonic fails 29 % of calls: a GOAWAY follows each answer.
#[tokio::test(start_paused = true)]
async fn scenario_02_a_goaway_after_each_answer_fails_no_call() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().goaway_after_calls(1).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let calls = call_often(&supervisor, 1, 300).await;
    assert_eq!(
        (server.handled(), server.connections(), supervisor.snapshot().retries),
        (calls, calls, 0)
    );
    let calls = calls + call_often(&supervisor, 8, 100).await;
    assert_eq!((server.handled(), supervisor.snapshot().retries), (calls, 0));
}

/// Scenario 2, the hard way: GOAWAYs that exclude calls already sent. The excluded ones are sent
/// again, uncounted.
#[tokio::test]
async fn scenario_02_calls_that_a_goaway_excludes_are_sent_again_for_free() {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let peer = RawPeer::on_tcp().await;
    let config = config_for(&peer.dial_address()).reconnect_spread(ms(1));
    // Answers four calls, excludes the fifth and whatever follows.
    let peer = peer.play(move |mut link| {
        let count = count.clone();
        async move {
            link.send_settings(&[]).await;
            let (mut answered, mut last) = (0, 0);
            while let Some(Frame { stream, .. }) = link.skip_to(Frame::is_end_stream).await {
                if answered < 4 || stream < last {
                    (answered, last) = (answered + 1, last.max(stream));
                    count.fetch_add(1, SeqCst);
                    link.answer(stream, b"\n\x05hello").await;
                } else if answered == 4 {
                    answered += 1;
                    link.goaway(last, 0, "max_age").await;
                }
            }
        }
    });
    let supervisor = supervise_tcp(config);
    let calls = call_often(&supervisor, 8, 300).await;
    let snapshot = supervisor.snapshot();
    assert_eq!((handled.load(SeqCst), snapshot.retries), (calls, 0));
    assert!(snapshot.transparent_retries >= 500 && peer.accepts().len() >= 500, "{snapshot:?}");
}
