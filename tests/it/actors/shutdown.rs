//! However a supervisor ends, and whatever it was doing: every call is answered, the server sees a
//! clean end, nothing stays behind.

use crate::support::{
    ADDRESS, EventLog, SAY, assert_shut_down, assert_time, bounded, cause, config, eventually,
    join, linked, ms, post, said, secs, start, supervise, timed,
};
use prost::Message as _;
use tokio::{runtime::Handle, time::Instant};
use tonic::{Code, Request, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Cause, ConnectivityState, Fact, SupervisedChannel,
    testing::{Answer, FrameKind, MemoryNetwork, RawPeer, Script, ScriptedServer},
};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A server whose calls take as long as their text says, in milliseconds; "busy" is answered with
/// UNAVAILABLE.
async fn server(network: &MemoryNetwork) -> ScriptedServer {
    let script = Script::new(|call| {
        // The message is a protobuf string: a tag, a length, the text.
        let text = std::str::from_utf8(&call.message[2..]).expect("text");
        match text.parse() {
            Ok(millis) => Answer::echo().after(ms(millis)),
            Err(_) => Answer::status(Code::Unavailable),
        }
    });
    ScriptedServer::builder().script(script).on_memory(network, ADDRESS).await
}

/// Scenario 23: 10 in flight for 1 s, 50 queued behind a full window, 20 asleep before their retry,
/// grace 2 s.
#[tokio::test(start_paused = true)]
async fn scenario_23_shutdown_loses_no_call_in_flight_and_waits_for_no_retry() {
    let network = MemoryNetwork::new();
    let server = server(&network).await;
    let before = tasks();
    let supervisor = supervise(&network, config().max_in_flight(10));
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let channel = supervisor.channel();
    let calls = |count: usize, text: &str| {
        (0..count).map(|_| start(&channel, text, CallOptions::new())).collect()
    };
    let asleep: Vec<_> = calls(20, "busy");
    log.until("all wait for their retry", 20, |fact| matches!(fact, Fact::RetryScheduled { .. }))
        .await;
    let in_flight: Vec<_> = calls(10, "1000");
    server.arrived(30).await;
    let queued: Vec<_> = calls(50, "0");
    eventually("they are queued", || supervisor.snapshot().calls_waiting == 50).await;
    let asked = Instant::now();
    let (took, waited_for) = tokio::join!(timed(supervisor.shutdown(secs(2))), async {
        let ended = join(queued.into_iter().chain(asleep).collect()).await;
        (asked.elapsed(), ended)
    });
    let (at, ended) = waited_for;
    assert!(at <= ms(1), "those that wait end at once, not after {at:?}");
    assert_eq!(ended.len(), 70);
    ended.iter().for_each(|(_, answer)| assert_shut_down(answer));
    for (took, answer) in join(in_flight).await {
        assert_eq!(answer.expect("it had the grace"), "1000");
        assert_time(took, secs(1));
    }
    assert!(took.0 <= secs(1) + ms(2), "the shutdown took {:?}", took.0);
    assert_eq!((server.handled(), server.open_connections(), network.connections()), (30, 0, 0));
    drop((channel, supervisor));
    eventually("its tasks end", || tasks() == before).await;
    assert!(asked.elapsed() <= secs(1) + ms(5), "they ended after {:?}", asked.elapsed());
}

/// Scenario 23: the server is told, rather than cut off.
#[tokio::test(start_paused = true)]
async fn the_server_reads_a_goaway_before_the_end() {
    for by_drop in [false, true] {
        let network = MemoryNetwork::new();
        let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config());
        let mut link = peer.accept().await;
        link.send_settings(&[]).await;
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        let ending = tokio::spawn(async move {
            if by_drop { drop(supervisor) } else { supervisor.shutdown(secs(1)).await }
        });
        let mut last = None;
        while let Some(frame) =
            bounded("the end", link.next_frame()).await.expect("no reset, no half frame")
        {
            last = Some(frame);
        }
        let last = last.expect("frames came");
        assert_eq!((last.kind, last.error_code()), (FrameKind::GoAway, Some(0)));
        ending.await.expect("ended");
    }
}

/// Where a supervisor is when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Shutdown(u64),
    LastHandle,
    LastHandleWhileACallRuns,
    Parent,
}

/// Every way to end, in every state: what was asked is answered, the end is announced, and nothing
/// runs any more.
#[tokio::test(start_paused = true)]
async fn every_end_in_every_state_answers_all_calls_and_leaves_nothing() {
    use ConnectivityState::{Connecting, Idle, Ready, TransientFailure};
    for during in [Idle, Connecting, Ready, TransientFailure] {
        for by in [
            By::Shutdown(0),
            By::Shutdown(500),
            By::LastHandle,
            By::LastHandleWhileACallRuns,
            By::Parent,
        ] {
            end(during, by).await;
            // The last server's task ends.
            tokio::time::sleep(ms(1)).await;
        }
    }
}

async fn end(during: ConnectivityState, by: By) {
    let story = format!("{during:?} ended by {by:?}");
    let network = MemoryNetwork::new();
    let ready = during == ConnectivityState::Ready;
    let server = if ready { Some(server(&network).await) } else { None };
    network.black_hole(during == ConnectivityState::Connecting);
    let before = tasks();
    let (parent, supervisor) = match by {
        By::Parent => {
            let (parent, _, supervisor) = linked(&network, config()).await;
            (Some(parent), supervisor)
        }
        _ => (None, supervise(&network, config())),
    };
    let log = EventLog::of(&supervisor);
    if during != ConnectivityState::Idle {
        eventually(&story, || supervisor.state() == during).await;
    }
    assert_eq!(supervisor.state(), during);
    let mailbox = supervisor.mailbox();
    let posted = post(&mailbox, "100", CallOptions::new());
    let called = match by {
        By::LastHandle => None,
        // Its task would make it only after the end.
        By::Parent if during == ConnectivityState::Idle => None,
        _ => Some(start(&supervisor.channel(), "100", CallOptions::new())),
    };
    if during != ConnectivityState::Idle {
        tokio::time::sleep(ms(10)).await;
    }
    let asked = Instant::now();
    match by {
        By::Shutdown(grace) => supervisor.shutdown(ms(grace)).await,
        By::Parent => parent.as_ref().expect("it has one").kill(),
        By::LastHandle => drop(supervisor),
        By::LastHandleWhileACallRuns => {
            drop(supervisor);
            tokio::time::sleep(ms(10)).await;
            assert_eq!(
                log.count(|fact| matches!(fact, Fact::DrainStarted { .. })),
                0,
                "{story}: the call holds it"
            );
            if !ready {
                called.as_ref().expect("made").abort();
            }
        }
    }
    let finishes = ready && !matches!(by, By::Shutdown(0) | By::Parent);
    let called = match called {
        Some(called) => called.await.ok().map(|(_, answer)| answer),
        None => None,
    };
    let posted = said(bounded(&story, posted).await.expect("a port gets an answer"));
    for answer in called.into_iter().chain([posted]) {
        match (finishes, by) {
            (true, _) => assert_eq!(answer.expect("it finishes"), "100", "{story}"),
            (false, By::Parent) => {
                let status = answer.expect_err("supervision ended");
                assert_eq!(status.code(), Code::Unavailable, "{story}");
                assert!(matches!(cause(&status), Cause::Supervision(_)), "{story}: {status:?}");
            }
            (false, _) => assert_shut_down(&answer),
        }
    }
    log.until("the end is announced", 1, |fact| matches!(fact, Fact::Closed { .. })).await;
    let expected = if finishes { ms(90) } else { ms(10) };
    assert!(asked.elapsed() <= expected + ms(3), "{story}: it took {:?}", asked.elapsed());
    assert_shut_down(
        &post(&mailbox, "0", CallOptions::new()).await.expect("a port gets an answer"),
    );
    drop(parent);
    eventually(&format!("{story}: its tasks end"), || tasks() == before).await;
    assert!(
        asked.elapsed() <= expected + ms(10),
        "{story}: its tasks lived on for {:?}",
        asked.elapsed()
    );
    assert_eq!(network.connections(), 0, "{story}");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_adds_nothing_and_of_several_the_shortest_grace_holds() {
    for graces in [[300, 5_000], [5_000, 300], [300, 300]] {
        let network = MemoryNetwork::new();
        let server = server(&network).await;
        let supervisor = supervise(&network, config());
        let log = EventLog::of(&supervisor);
        let call = start(&supervisor.channel(), "60000", CallOptions::new());
        server.arrived(1).await;
        let [first, second] = graces.map(ms);
        let (took, _) = timed(async {
            tokio::join!(supervisor.shutdown(first), supervisor.shutdown(second));
        })
        .await;
        let (ended, answer) = call.await.expect("no panic");
        assert_shut_down(&answer);
        assert_time(ended, ms(300));
        assert!(took <= ms(302), "{graces:?}: it took {took:?}");
        let again = timed(supervisor.shutdown(secs(9))).await;
        assert_eq!(again.0, ms(0), "it is closed already");
        tokio::time::sleep(ms(5)).await;
        let facts = |wanted: fn(&Fact) -> bool| log.count(wanted);
        assert_eq!(facts(|fact| matches!(fact, Fact::DrainStarted { .. })), 1);
        assert_eq!(facts(|fact| matches!(fact, Fact::Closed { .. })), 1);
        assert_eq!(
            facts(|fact| matches!(
                fact,
                Fact::StateChanged { to: ConnectivityState::Shutdown, .. }
            )),
            1
        );
        assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_on_without_its_future() {
    let network = MemoryNetwork::new();
    let server = server(&network).await;
    let supervisor = supervise(&network, config());
    let call = start(&supervisor.channel(), "60000", CallOptions::new());
    server.arrived(1).await;
    assert!(tokio::time::timeout(ms(1), supervisor.shutdown(ms(200))).await.is_err());
    let (took, answer) = call.await.expect("no panic");
    assert_shut_down(&answer);
    assert_time(took, ms(200));
    bounded("closed", supervisor.closed()).await;
}

/// Nobody can be told goodbye there: the calls end with the grace, the link 100 ms later.
#[tokio::test(start_paused = true)]
async fn a_frozen_peer_holds_a_shutdown_up_for_100_ms_at_most() {
    for grace in [ms(0), secs(2)] {
        let network = MemoryNetwork::new();
        let server = server(&network).await;
        let supervisor = supervise(&network, config());
        supervisor.wait_ready(secs(1)).await.expect("Ready");
        network.freeze_all();
        // More than the wire holds.
        let text = "x".repeat(400_000);
        let call = start(&supervisor.channel(), &text, CallOptions::new());
        tokio::time::sleep(ms(10)).await;
        let (took, ()) = timed(supervisor.shutdown(grace)).await;
        assert!(grace <= took && took <= grace + ms(102), "grace {grace:?}: it took {took:?}");
        let (ended, answer) = call.await.expect("no panic");
        assert_shut_down(&answer);
        assert_time(ended, grace + ms(10));
        drop(server);
    }
}

async fn open_stream(channel: SupervisedChannel) -> Streaming<String> {
    let mut client = Grpc::new(channel);
    client.ready().await.expect("always");
    let path = SAY.parse().expect("a path");
    let codec = ProstCodec::<String, String>::default();
    let opened = client.server_streaming(Request::new("go".to_owned()), path, codec).await;
    opened.expect("the server answers").into_inner()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_runs_ends_with_cancelled_when_the_grace_is_over() {
    let network = MemoryNetwork::new();
    let part = "part".to_owned().encode_to_vec();
    let script = Answer::stream(vec![part; 100], Code::Ok).every(ms(100)).early();
    let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let mut stream = open_stream(supervisor.channel()).await;
    let reading = tokio::spawn(async move {
        let mut parts = 0;
        loop {
            match stream.message().await {
                Ok(Some(_)) => parts += 1,
                Ok(None) => panic!("the stream ended well after {parts} parts"),
                Err(status) => return (parts, status),
            }
        }
    });
    let (took, ()) = timed(supervisor.shutdown(ms(1_050))).await;
    assert_time(took, ms(1_050));
    let (parts, status) = reading.await.expect("ended by CANCELLED");
    assert_eq!((parts, status.code(), cause(&status)), (10, Code::Cancelled, &Cause::Shutdown));
    bounded("the server is told", server.given_up(1)).await;
}

/// The last handle is gone: what runs finishes, however long it takes, what waits ends; then the
/// link closes.
#[tokio::test(start_paused = true)]
async fn the_last_handles_drop_finishes_calls_in_flight_and_cancels_waiting_ones() {
    let network = MemoryNetwork::new();
    let server = server(&network).await;
    let supervisor = supervise(&network, config().max_in_flight(2));
    let mailbox = supervisor.mailbox();
    let [short, long] = ["1000", "3000"].map(|text| post(&mailbox, text, CallOptions::new()));
    server.arrived(2).await;
    let queued = post(&mailbox, "0", CallOptions::new());
    eventually("it is queued", || supervisor.snapshot().calls_waiting == 1).await;
    let log = EventLog::of(&supervisor);
    let dropped = Instant::now();
    drop(supervisor);
    assert_shut_down(&queued.await.expect("a port gets an answer"));
    assert!(dropped.elapsed() <= ms(1));
    assert_eq!(said(short.await.expect("answered")).expect("it finishes"), "1000");
    assert_eq!(server.open_connections(), 1, "the link lives for the other one");
    assert_eq!(said(long.await.expect("answered")).expect("it finishes"), "3000");
    eventually("the link is closed", || network.connections() == 0).await;
    assert_time(dropped.elapsed(), secs(3));
    log.until("closed", 1, |fact| matches!(fact, Fact::Closed { cause: None, .. })).await;
}

/// A stream does not keep the supervisor alive, but a drain without grace waits for it.
#[tokio::test(start_paused = true)]
async fn a_stream_outlives_the_last_handle() {
    let network = MemoryNetwork::new();
    let part = "part".to_owned().encode_to_vec();
    let script = Answer::stream(vec![part; 5], Code::Ok).every(secs(100)).early();
    let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    let mut stream = open_stream(supervisor.channel()).await;
    drop(supervisor);
    for _ in 0..5 {
        assert_eq!(stream.message().await.expect("it goes on").as_deref(), Some("part"));
    }
    assert_eq!(stream.message().await.expect("it ends well"), None);
    log.until("closed", 1, |fact| matches!(fact, Fact::Closed { cause: None, .. })).await;
    assert_eq!((server.handled(), server.cancelled(), network.connections()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_every_new_call_is_cancelled_at_once() {
    let network = MemoryNetwork::new();
    let _server = server(&network).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    supervisor.shutdown(secs(1)).await;
    let (took, answer) = start(&channel, "0", CallOptions::new()).await.expect("no panic");
    assert_shut_down(&answer);
    assert_eq!(took, ms(0));
    assert_shut_down(
        &post(&supervisor.mailbox(), "0", CallOptions::new()).await.expect("answered"),
    );
    let mut client = Grpc::new(channel);
    let codec = ProstCodec::<String, String>::default();
    let streamed = client
        .server_streaming(Request::new("go".to_owned()), SAY.parse().expect("a path"), codec)
        .await;
    assert_shut_down(&streamed);
    assert!(
        supervisor.wait_ready(secs(100)).await.is_err(),
        "and nobody waits for it to come back"
    );
}
