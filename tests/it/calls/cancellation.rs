//! Dropping a call's future ends the call everywhere at once, wherever it is: nothing of it stays
//! in the queue, in the window, on the wire or in the counts.

use crate::support::{
    ADDRESS, EventLog, Rig, SAY, assert_time, bounded, config, eventually, ms, post, say, secs,
    start, supervise,
};
use futures::FutureExt as _;
use prost::Message as _;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Fact, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

/// Waits until nothing of any call is left, and says how long that took.
async fn gone(supervisor: &Supervisor) -> Duration {
    let began = Instant::now();
    let nothing = |supervisor: &Supervisor| {
        let now = supervisor.snapshot();
        (now.calls_open, now.calls_waiting, now.streams) == (0, 0, 0)
    };
    eventually("nothing is left", || nothing(supervisor)).await;
    began.elapsed()
}

/// A script that never answers.
fn hang() -> Script {
    Answer::hang().into()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_link_is_forgotten_at_once() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let calls: Vec<_> =
        (0..10).map(|_| start(&supervisor.channel(), "x", CallOptions::new())).collect();
    eventually("they wait", || supervisor.snapshot().calls_waiting == 10).await;
    calls[3..].iter().for_each(tokio::task::JoinHandle::abort);
    eventually("seven are gone", || supervisor.snapshot().calls_waiting == 3).await;
    assert_eq!(supervisor.snapshot().calls_open, 3);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(gone(&supervisor).await <= ms(1));
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    supervisor.wait_ready(secs(30)).await.expect("Ready");
    tokio::time::sleep(secs(1)).await;
    assert_eq!(server.handled(), 0, "nothing of them was sent");
}

/// The stream that was opened for it knows the first task's waker only (`docs/decisions/0017`).
#[tokio::test(start_paused = true)]
async fn a_call_whose_future_moves_to_another_task_is_answered_or_timed_out_there() {
    let script = Script::sequence(vec![Answer::echo().after(secs(2))], Answer::hang());
    let Rig { server, supervisor, .. } = Rig::with_script(script, config()).await.ready().await;
    for (handled, outcome, took) in
        [(1, Ok("x".to_owned()), 2), (2, Err(Code::DeadlineExceeded), 5)]
    {
        let channel = supervisor.channel();
        let began = Instant::now();
        let mut call = Box::pin(async move {
            let mut request = Request::new("x".to_owned());
            request.extensions_mut().insert(CallOptions::new().timeout(secs(5)));
            channel.unary::<String, String>(SAY, request).await.map(tonic::Response::into_inner)
        });
        assert!((&mut call).now_or_never().is_none());
        eventually("its request is with the server", || server.handled() == handled).await;
        let answered = tokio::spawn(call).await.expect("no panic");
        assert_eq!(
            (answered.map_err(|status| status.code()), began.elapsed().as_secs()),
            (outcome, took)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_is_forgotten_at_once_and_never_sent() {
    let Rig { server, supervisor, .. } =
        Rig::with_script(hang(), config().max_in_flight(1)).await.ready().await;
    let first = start(&supervisor.channel(), "first", CallOptions::new());
    server.arrived(1).await;
    let second = start(&supervisor.channel(), "second", CallOptions::new());
    eventually("it waits", || supervisor.snapshot().calls_waiting == 1).await;
    second.abort();
    eventually("it is gone", || supervisor.snapshot().calls_waiting == 0).await;
    assert_eq!((supervisor.snapshot().calls_open, supervisor.snapshot().streams), (1, 1));
    first.abort();
    assert!(gone(&supervisor).await <= ms(1));
    tokio::time::sleep(secs(1)).await;
    assert_eq!((server.handled(), server.cancelled()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_retry_is_forgotten_at_once_and_never_sent_again() {
    let Rig { server, supervisor, .. } =
        Rig::with_script(Script::always(Code::Unavailable), config()).await.ready().await;
    let log = EventLog::of(&supervisor);
    let call = start(&supervisor.channel(), "x", CallOptions::new());
    log.until("it failed", 1, |fact| matches!(fact, Fact::RetryScheduled { .. })).await;
    call.abort();
    assert!(gone(&supervisor).await <= ms(1));
    tokio::time::sleep(secs(20)).await;
    assert_eq!(server.handled(), 1);
}

/// The retry's timer and the caller's drop fall into one millisecond, in either order: the call
/// stays over.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_as_its_retry_falls_due_is_not_sent_again() {
    for drop_armed_first in [false, true] {
        let Rig { server, supervisor, .. } =
            Rig::with_script(Script::always(Code::Unavailable), config()).await.ready().await;
        let log = EventLog::of(&supervisor);
        let channel = supervisor.channel();
        let retry = Instant::now() + secs(1);
        let caller = tokio::spawn(async move {
            let mut call = Box::pin(say(&channel, "x", CallOptions::new()));
            let mut time_is_up = Box::pin(tokio::time::sleep_until(retry));
            if drop_armed_first {
                assert!((&mut time_is_up).now_or_never().is_none());
            }
            assert!(tokio::time::timeout(ms(500), &mut call).await.is_err());
            time_is_up.await;
            drop(call);
        });
        caller.await.expect("it waits for its retry to the end");
        tokio::time::sleep(secs(20)).await;
        assert_eq!(log.count(|fact| matches!(fact, Fact::RetryScheduled { .. })), 1);
        assert_eq!(server.handled(), 1, "sent again, although it was dropped");
        assert!(gone(&supervisor).await <= ms(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_headers_is_reset_on_the_wire_and_its_place_is_free() {
    let Rig { server, supervisor, .. } =
        Rig::with_script(hang(), config().max_in_flight(1)).await.ready().await;
    let call = start(&supervisor.channel(), "x", CallOptions::new());
    server.arrived(1).await;
    let dropped = Instant::now();
    call.abort();
    bounded("the server sees it", server.given_up(1)).await;
    assert!(dropped.elapsed() <= ms(1));
    assert!(gone(&supervisor).await <= ms(1));
    server.script(Script::echo());
    assert_eq!(
        say(&supervisor.channel(), "next", CallOptions::new()).await.expect("there is room"),
        "next"
    );
    assert_eq!(server.connections(), 1, "the link is none the worse");
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_is_reset_in_the_middle_of_its_answer_too() {
    let half = Answer::message("half an answer".to_owned().encode_to_vec()).then_hang();
    let Rig { server, supervisor, .. } =
        Rig::with_script(half, config().max_in_flight(1)).await.ready().await;
    let call = start(&supervisor.channel(), "x", CallOptions::new());
    server.arrived(1).await;
    tokio::time::sleep(ms(10)).await;
    call.abort();
    bounded("the server sees it", server.given_up(1)).await;
    assert!(gone(&supervisor).await <= ms(1));
}

#[tokio::test(start_paused = true)]
async fn a_streaming_answer_that_is_dropped_midway_is_reset_and_its_place_is_free() {
    let part = "part".to_owned().encode_to_vec();
    let endless = Answer::stream(vec![part; 3], Code::Ok).then_hang().early(true);
    let Rig { server, supervisor, .. } =
        Rig::with_script(endless, config().max_in_flight(1)).await.ready().await;
    let mut client = Grpc::new(supervisor.channel());
    client.ready().await.expect("always");
    let codec = ProstCodec::<String, String>::default();
    let path = SAY.parse().expect("a path");
    let answer = client
        .server_streaming(Request::new("go".to_owned()), path, codec)
        .await
        .expect("it begins");
    let mut parts = answer.into_inner();
    for _ in 0..3 {
        assert_eq!(parts.message().await.expect("it goes on").as_deref(), Some("part"));
    }
    assert_eq!((supervisor.snapshot().calls_open, supervisor.snapshot().streams), (1, 1));
    let dropped = Instant::now();
    drop(parts);
    bounded("the server sees it", server.given_up(1)).await;
    assert!(dropped.elapsed() <= ms(1));
    assert!(gone(&supervisor).await <= ms(1));
}

/// A reply port's other end makes no sound when it is dropped; a look every 80 ms notices it.
#[tokio::test(start_paused = true)]
async fn a_dropped_reply_port_is_noticed_within_100_ms_wherever_the_call_is() {
    // In flight.
    let Rig { server, supervisor, .. } =
        Rig::with_script(hang(), config().max_in_flight(1)).await.ready().await;
    let in_flight = post(&supervisor.mailbox(), "x", CallOptions::new());
    server.arrived(1).await;
    // Waiting for room.
    let waiting = post(&supervisor.mailbox(), "x", CallOptions::new());
    eventually("it waits", || supervisor.snapshot().calls_waiting == 1).await;
    let dropped = Instant::now();
    drop((in_flight, waiting));
    bounded("the server sees it", server.given_up(1)).await;
    gone(&supervisor).await;
    assert!(dropped.elapsed() <= ms(100), "noticed after {:?}", dropped.elapsed());
    assert_eq!(server.handled(), 1);
    // Waiting for its retry.
    server.script(Script::always(Code::Unavailable));
    let asleep = post(&supervisor.mailbox(), "x", CallOptions::new());
    server.arrived(2).await;
    tokio::time::sleep(ms(10)).await;
    let dropped = Instant::now();
    drop(asleep);
    gone(&supervisor).await;
    assert!(dropped.elapsed() <= ms(100), "noticed after {:?}", dropped.elapsed());
    tokio::time::sleep(secs(20)).await;
    assert_eq!(server.handled(), 2);
}

/// A message whose answer nobody waits for is no call that was given up.
#[tokio::test(start_paused = true)]
async fn a_message_without_a_reply_port_is_carried_out() {
    let Rig { server, supervisor, .. } =
        Rig::with_script(Script::delay(ms(500)), config()).await.ready().await;
    let call = tonic_supervisor::UnaryCall::one_way(SAY, &"x".to_owned());
    supervisor.mailbox().cast(call).expect("taken");
    let began = Instant::now();
    server.arrived(1).await;
    gone(&supervisor).await;
    assert_time(began.elapsed(), ms(500));
    assert_eq!((server.handled(), server.cancelled()), (1, 0));
}

/// Cancels 10,000 calls in flight, wave after wave, with ordinary calls between.
async fn storm(server: &ScriptedServer, supervisor: &Supervisor) {
    let channel = supervisor.channel();
    let link = supervisor.snapshot().incarnation;
    for _ in 0..20 {
        let calls: Vec<_> = (0..500).map(|_| start(&channel, "hang", CallOptions::new())).collect();
        eventually("they are in flight", || supervisor.snapshot().streams == 500).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        gone(supervisor).await;
        let answer = bounded("an ordinary call", say(&channel, "live", CallOptions::new())).await;
        assert_eq!(answer.expect("the link lives"), "live");
    }
    assert_eq!(
        (supervisor.snapshot().incarnation, supervisor.snapshot().links),
        (link, 1),
        "it is the same link"
    );
    assert_eq!(server.connections(), 1);
}

/// Hangs, but for the calls that say "live".
fn hang_mostly() -> Script {
    Script::new(
        |call| if call.message.ends_with(b"live") { Answer::echo() } else { Answer::hang() },
    )
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_ten_thousand_cancelled_calls_does_not_kill_the_link() {
    let Rig { server, supervisor, .. } =
        Rig::with_script(hang_mostly(), config()).await.ready().await;
    storm(&server, &supervisor).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancelled_calls_does_not_kill_the_link_over_tcp_with_two_threads() {
    let server = ScriptedServer::builder().script(hang_mostly()).on_tcp().await;
    let target = server.dial_address();
    let config = config().host(target.host()).port(target.port()).build().expect("valid");
    let supervisor = Supervisor::builder(config).rng_seed(1).spawn();
    supervisor.wait_ready(secs(10)).await.expect("Ready");
    storm(&server, &supervisor).await;
}
