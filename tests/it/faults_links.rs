//! Faults.md, the pains of links: lost, frozen, sent away, misnamed, silent, full.

use crate::link_stage::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tonic::{Code, Request, Streaming};
use tonic_supervisor::{
    CallOptions, Cause, ConnectivityState, Fact, LinkEnd, Origin, Phase, Scope, Supervisor,
    testing::{Answer, FaultProxy, Frame, MemoryNetwork, RawPeer, Script, ScriptedServer},
};

/// CHECK 1: 50 calls in flight and 10 queued on a link whose peer vanished: all are released when
/// keepalive gives it up, at 1 s + 1 s, the queued ones go out on the next link, and so does the
/// next call.
#[tokio::test(start_paused = true)]
async fn pain_01_peer_vanishes_without_fin_and_every_rider_is_released_when_keepalive_says_so() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let keepalive =
        config().keepalive_floor(secs(1)).keepalive_time(secs(1)).keepalive_timeout(secs(1));
    let supervisor = supervise(&network, keepalive.max_in_flight(50));
    let channel = supervisor.channel();
    echo(&channel, CallOptions::new()).await.expect("the link is proven");
    let mut events = Events::of(&supervisor).await;

    server.script(Script::sequence(vec![Answer::hang(); 50], Answer::echo()));
    let riders = echoes(&channel, CallOptions::new().retry(false), 50);
    server.arrived(51).await;
    let queued = echoes(&channel, CallOptions::new().retry(false), 10);
    network.freeze_all();

    for (took, answer) in join(riders).await {
        assert_time(took, secs(2));
        let status = answer.expect_err("its link is gone");
        let failure = &report(&status).outcome;
        assert_eq!((status.code(), failure.phase), (Code::Unavailable, Phase::MaybeProcessed));
        assert!(
            matches!(&failure.cause, Cause::LinkLost(end) if **end == LinkEnd::KeepaliveTimeout),
            "{failure}"
        );
    }
    for (took, answer) in join(queued).await {
        assert!(answer.is_ok() && took <= ms(2_025), "{took:?} {answer:?}");
    }
    let (took, answer) = timed_echo(&channel, CallOptions::new()).await;
    assert!(answer.is_ok() && took <= ms(2), "{took:?} {answer:?}");

    let lost = events.until(|fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
    assert_time(lost.since_spawn, secs(2));
    let failed = events.until_state(ConnectivityState::TransientFailure).await;
    let Fact::StateChanged { from: ConnectivityState::Ready, cause, .. } = failed.fact else {
        panic!("{failed:?}")
    };
    assert!(cause.contains("keepalive"), "{cause}");
    assert_time(failed.since_spawn, secs(2));
}

/// CHECK 1, over TCP: half-open is seen although the kernel still takes every byte.
#[tokio::test]
async fn pain_01_peer_vanishes_behind_a_real_socket() {
    let server = ScriptedServer::on_tcp().await;
    let proxy = FaultProxy::to(server.address().parse().expect("an address")).await;
    let config = config().host("127.0.0.1").port(proxy.addr().port());
    let keepalive =
        config.keepalive_floor(ms(1)).keepalive_time(ms(300)).keepalive_timeout(ms(300));
    let supervisor = supervise_tcp(keepalive);
    let channel = supervisor.channel();
    echo(&channel, CallOptions::new()).await.expect("the path is whole");
    let mut events = Events::of(&supervisor).await;
    proxy.freeze().await;
    let call = echoes(&channel, CallOptions::new().retry(false), 1);
    events.until(|fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
    assert_eq!(
        join(call).await[0].1.as_ref().expect_err("its link is gone").code(),
        Code::Unavailable
    );
    proxy.thaw().await;
    assert!(echo(&channel, CallOptions::new()).await.is_ok());
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
                errors.extend(echo(&channel, CallOptions::new().idempotent(false)).await.err());
            }
            errors
        })
    };
    let errors: Vec<_> = join((0..callers).map(caller).collect()).await.concat();
    assert!(errors.is_empty(), "{} errors, the first: {:?}", errors.len(), errors[0]);
    callers * each
}

/// CHECK 2: GOAWAY every 20 ms under 8 callers: no call of 2,400 fails, none is executed twice,
/// none is counted as a retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pain_02_planned_goaways_reach_no_caller_and_execute_no_call_twice() {
    let slow = Script::delay(ms(2));
    let server = ScriptedServer::builder()
        .goaway_every(ms(20))
        .record_arrivals(false)
        .script(slow)
        .on_tcp()
        .await;
    let supervisor = supervise_tcp(config_for(&server.endpoint()));
    let calls = call_often(&supervisor, 8, 300).await;
    let snapshot = supervisor.snapshot();
    assert_eq!((server.handled(), snapshot.retries), (calls, 0));
    assert!(server.connections() > 10, "{} links", server.connections());
}

/// CHECK 2, where bare tonic fails 29 % of calls: a GOAWAY follows each answer.
#[tokio::test(start_paused = true)]
async fn pain_02_a_goaway_after_each_answer_fails_no_call() {
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

/// CHECK 2, the hard way: GOAWAYs that exclude calls already sent. The excluded ones are sent
/// again, uncounted.
#[tokio::test]
async fn pain_02_calls_that_a_goaway_excludes_are_sent_again_for_free() {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let peer = RawPeer::on_tcp().await;
    let config = config_for(&peer.endpoint()).reconnect_spread(ms(1));
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

/// A stream that has brought its first message.
async fn stream_that_began(supervisor: &Supervisor) -> Streaming<String> {
    let mut client = tonic::client::Grpc::new(supervisor.channel());
    client.ready().await.expect("always ready");
    let (path, codec) =
        (http::uri::PathAndQuery::from_static(SAY), tonic_prost::ProstCodec::default());
    let request = Request::new("hello".to_owned());
    let mut stream =
        client.server_streaming(request, path, codec).await.expect("headers come").into_inner();
    assert_eq!(stream.message().await.expect("the first message"), Some("hello".to_owned()));
    stream
}

/// CHECK 3, for streams: what breaks one after its first message has the same names, and a report.
#[tokio::test(start_paused = true)]
async fn pain_03_wrong_codes_a_stream_that_breaks_is_classified_too() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let first = || Answer::message("\n\u{5}hello");
    let endings = [
        (first().then_reset(8), Code::Cancelled, Origin::Peer, Scope::Stream, 1),
        (first().then_reset(11), Code::ResourceExhausted, Origin::Peer, Scope::Stream, 1),
        (first().then_cut(), Code::Unavailable, Origin::Local, Scope::Link, 2),
    ];
    for (answer, code, origin, scope, links) in endings {
        server.script(answer);
        let mut stream = stream_that_began(&supervisor).await;
        let status = stream.message().await.expect_err("it breaks");
        let outcome = &report(&status).outcome;
        assert_eq!(
            (status.code(), outcome.origin, outcome.scope),
            (code, origin, scope),
            "{outcome}"
        );
        assert!(
            outcome.phase >= Phase::MaybeProcessed && report(&status).maybe_processed,
            "{outcome}"
        );
        server.script(Script::echo());
        assert!(echo(&supervisor.channel(), CallOptions::new()).await.is_ok());
        assert_eq!(supervisor.snapshot().links, links, "{outcome}");
    }
}

/// The peer's own status comes as tonic's channel would bring it, without a report: nothing was
/// retried.
#[tokio::test(start_paused = true)]
async fn pain_03_wrong_codes_a_stream_that_ends_with_a_status_says_it_once() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    server.script(Answer::message("\n\u{5}hello").then_status(Code::Aborted));
    let mut stream = stream_that_began(&supervisor).await;
    assert_eq!(stream.message().await.expect_err("it ends").code(), Code::Aborted);
    assert_eq!(stream.message().await.expect("no second error"), None);
    assert_eq!(supervisor.snapshot().calls_open, 0);
}

/// CHECK 30, first part: 500 calls of 200 ms share one link of 100 streams: five rounds, no error.
#[tokio::test(start_paused = true)]
async fn pain_30_one_connection_saturates_and_calls_wait_their_turn() {
    let network = MemoryNetwork::new();
    let slow = Script::delay(ms(200));
    let server = ScriptedServer::builder()
        .max_concurrent_streams(100)
        .script(slow)
        .on_memory(&network, ADDRESS)
        .await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    let calls = echoes(&supervisor.channel(), CallOptions::new(), 500);
    settle().await;
    let snapshot = supervisor.snapshot();
    assert_eq!((snapshot.streams, snapshot.calls_waiting, snapshot.calls_open), (100, 400, 500));
    for (n, (took, answer)) in join(calls).await.into_iter().enumerate() {
        assert!(answer.is_ok(), "{answer:?}");
        let round = n as u64 / 100 + 1;
        assert!(took.abs_diff(ms(200 * round)) <= ms(10), "call {n} took {took:?}");
    }
    assert_eq!((server.connections(), server.handled()), (1, 500));
}

/// CHECK 30: a peer that allows no stream is READY, and each call ends at its deadline.
#[tokio::test(start_paused = true)]
async fn pain_30_a_peer_that_allows_no_stream_is_ready_and_calls_end_at_their_deadlines() {
    let network = MemoryNetwork::new();
    let server =
        ScriptedServer::builder().max_concurrent_streams(0).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    let mut calls = Vec::new();
    for time in [100, 700, 5_000] {
        calls.extend(echoes(&supervisor.channel(), CallOptions::new().timeout(ms(time)), 20));
    }
    for (n, (took, answer)) in join(calls).await.into_iter().enumerate() {
        assert_time(took, ms([100, 700, 5_000][n / 20]));
        let status = answer.expect_err("no stream is allowed");
        assert_eq!(
            (status.code(), report(&status).outcome.phase),
            (Code::DeadlineExceeded, Phase::Unsent)
        );
    }
    assert_eq!((server.connections(), server.handled()), (1, 0));
    assert_eq!(supervisor.state(), ConnectivityState::Ready);
}

/// CHECK 30: a peer that allows a few streams and makes no progress on them: who holds one and who
/// waits for one end alike.
#[tokio::test(start_paused = true)]
async fn pain_30_a_peer_without_progress_hangs_no_call_past_its_deadline() {
    let network = MemoryNetwork::new();
    let few = ScriptedServer::builder().max_concurrent_streams(3).script(Script::hang());
    let server = few.on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().max_retry_attempts(0));
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    let calls = echoes(&supervisor.channel(), CallOptions::new().timeout(secs(2)), 50);
    for (n, (took, answer)) in join(calls).await.into_iter().enumerate() {
        assert_time(took, secs(2));
        let status = answer.expect_err("no answer comes");
        let phase = if n < 3 { Phase::MaybeProcessed } else { Phase::Unsent };
        assert_eq!(
            (status.code(), report(&status).outcome.phase),
            (Code::DeadlineExceeded, phase),
            "call {n}"
        );
    }
    assert_eq!((server.connections(), supervisor.snapshot().calls_open), (1, 0));
}

fn pinging(
    config: tonic_supervisor::ConfigBuilder,
    time: Duration,
) -> tonic_supervisor::ConfigBuilder {
    config.keepalive_floor(ms(1)).keepalive_time(time).keepalive_timeout(time)
}

/// A call whose request never ends: its stream stays open for as long as the future lives.
async fn open_call(supervisor: &tonic_supervisor::Supervisor) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(supervisor.channel());
    client.ready().await.expect("always ready");
    let endless = Request::new(futures::stream::pending::<String>());
    let path = http::uri::PathAndQuery::from_static(SAY);
    let codec = tonic_prost::ProstCodec::<String, String>::default();
    client.client_streaming(endless, path, codec).await.expect_err("nobody answers before the end")
}

/// CHECK 13, the part about links: a peer that polices PINGs while no call is open is asked no more
/// after one GOAWAY.
#[tokio::test(start_paused = true)]
async fn pain_13_keepalive_too_eager_an_idle_client_settles_after_one_goaway() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.enforce_ping_interval(ms(400), 2);
    let supervisor = supervise(&network, pinging(config(), ms(100)));
    let mut events = Events::of(&supervisor).await;
    let backed_off = events.until(|fact| matches!(fact, Fact::KeepaliveBackedOff { .. })).await;
    let Fact::KeepaliveBackedOff { keepalive_time, while_idle } = backed_off.fact else {
        panic!("{backed_off:?}")
    };
    assert_eq!((keepalive_time, while_idle), (ms(200), false));
    let sent = peer.pings().len();
    tokio::time::sleep(secs(60)).await;
    assert_eq!((peer.goaways().len(), peer.pings().len()), (1, sent));
    assert_eq!(supervisor.snapshot().keepalive_time, Some(ms(200)));
    assert!(echo(&supervisor.channel(), CallOptions::new()).await.is_ok());
}

/// CHECK 13: with a call open, pings go on, each time half as often, until the peer is content;
/// other calls notice nothing.
#[tokio::test(start_paused = true)]
async fn pain_13_keepalive_too_eager_with_a_call_open_the_interval_doubles_until_the_peer_is_content()
 {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.enforce_ping_interval(ms(400), 2);
    let supervisor = supervise(&network, pinging(config(), ms(100)));
    let mut events = Events::of(&supervisor).await;
    let opener = supervisor.clone();
    let open = tokio::spawn(async move {
        loop {
            open_call(&opener).await;
        }
    });
    let mut times = Vec::new();
    for _ in 0..2 {
        let event = events.until(|fact| matches!(fact, Fact::KeepaliveBackedOff { .. })).await;
        let Fact::KeepaliveBackedOff { keepalive_time, while_idle } = event.fact else {
            panic!("{event:?}")
        };
        times.push((keepalive_time, while_idle));
        assert!(echo(&supervisor.channel(), CallOptions::new()).await.is_ok());
    }
    assert_eq!(times, [(ms(200), true), (ms(400), true)]);
    events.until_state(ConnectivityState::Ready).await;
    let (goaways, pings) = (peer.goaways().len(), peer.pings().len());
    assert_eq!(goaways, 2);
    tokio::time::sleep(ms(400) * 60 + ms(10)).await;
    let more = peer.pings().len() - pings;
    assert!((59..=60).contains(&more), "{more} pings in 60 intervals");
    assert_eq!(peer.goaways().len(), goaways);
    open.abort();
}

/// CHECK 25: with permission an idle link sends one PING per interval; without, none while idle,
/// and some while a call is open.
#[tokio::test(start_paused = true)]
async fn pain_25_keepalive_silently_off_pings_are_counted() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.echo();
    let supervisor = supervise(&network, pinging(config(), secs(1)));
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    tokio::time::sleep(ms(20_500)).await;
    let pings = peer.pings();
    assert_eq!(pings.len(), 20);
    for (n, at) in pings.iter().enumerate() {
        assert!(at.abs_diff(secs(n as u64 + 1)) <= ms(50), "{pings:?}");
    }
    drop(supervisor);
    peer.stop().await;

    let peer = RawPeer::on_memory(&network, ADDRESS).await.echo();
    let silent = pinging(config(), secs(1)).keepalive_permit_without_calls(false);
    let supervisor = supervise(&network, silent);
    supervisor.wait_ready(PATIENCE).await.expect("Ready");
    assert!(echo(&supervisor.channel(), CallOptions::new()).await.is_ok());
    tokio::time::sleep(secs(20)).await;
    assert!(peer.pings().is_empty());
    let opener = supervisor.clone();
    let open = tokio::spawn(async move { open_call(&opener).await });
    tokio::time::sleep(ms(5_500)).await;
    assert!((5..=6).contains(&peer.pings().len()), "{:?}", peer.pings());
    open.abort();
    tokio::time::sleep(ms(1_500)).await;
    let sent = peer.pings().len();
    tokio::time::sleep(secs(20)).await;
    assert_eq!(peer.pings().len(), sent, "idle again");
}
