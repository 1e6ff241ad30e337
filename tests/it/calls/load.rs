//! More calls than a server takes, or than there is room for: bounded, refused at once, carried out
//! in order, and the actors stay at hand.

use crate::support::{
    ADDRESS, EventLog, assert_time, bounded, cause, config, eventually, ms, post, said, say, secs,
    start, supervise, timed,
};
use prost::Message as _;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};
use tonic::{Code, Request, Response};
use tonic_supervisor::{
    CallOptions, Cause, Config, ConnectivityState, Fact, ShedReason, Supervisor,
    testing::{Answer, MemoryNetwork, ScriptedServer},
};

/// 36 MB, where the peer may send 5 MiB before it is given room for more.
#[tokio::test(start_paused = true)]
async fn answers_that_are_larger_together_than_flow_control_allows_at_once_all_come() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let text = "x".repeat(900_000);
    for unary in [CallOptions::new().unary(), CallOptions::new()] {
        let calls = (0..40).map(|_| start(&supervisor.channel(), &text, unary));
        for call in calls.collect::<Vec<_>>() {
            let answer = bounded("an answer", call).await.expect("no panic").1;
            assert_eq!(answer.expect("answered").len(), text.len());
        }
    }
}

/// The smallest window of a link, 64 KiB: streams that are over hold little of it.
#[tokio::test(start_paused = true)]
async fn answers_that_ended_do_not_use_up_the_smallest_window() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let config = config().timeout(secs(5)).build().expect("valid");
    let builder = Supervisor::builder(config).connector(network.connector());
    let supervisor = builder.unread_answers(1 << 16).spawn();
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let began = Instant::now();
    for size in [900, 1_100, 10_230, 40_000] {
        let text = "x".repeat(size);
        let unary = CallOptions::new().unary();
        let calls = (0..40).map(|_| start(&supervisor.channel(), &text, unary));
        for call in calls.collect::<Vec<_>>() {
            let answer = bounded("an answer", call).await.expect("no panic").1;
            assert_eq!(answer.expect("answered").len(), size);
        }
    }
    assert!(began.elapsed() < secs(1), "nothing waited: {:?}", began.elapsed());
}

/// Scenario 17: no server, room for 1,000 calls, 200,000 calls of 1 KiB as messages.
#[tokio::test(start_paused = true)]
async fn scenario_17_a_full_queue_refuses_at_once_and_queued_calls_end_at_their_deadline() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config().queue_max_calls(1_000).timeout(secs(30)));
    let mailbox = supervisor.mailbox();
    let text = "x".repeat(1_024);
    let began = Instant::now();
    let mut queued = Vec::new();
    let mut refused = 0;
    for n in 0..200_000 {
        let mut answer = post(&mailbox, &text, CallOptions::new());
        match answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => queued.push(answer),
            Ok(answer) => {
                let status = answer.expect_err("refused");
                assert_eq!(status.code(), Code::ResourceExhausted);
                assert_eq!(cause(&status), &Cause::Shed(ShedReason::TooManyCalls));
                refused += 1;
            }
            Err(oneshot::error::TryRecvError::Closed) => {
                panic!("call {n} was dropped without an answer")
            }
        }
    }
    assert_eq!(
        (queued.len(), refused),
        (1_000, 199_000),
        "refused within the sender's own context"
    );
    assert_eq!(supervisor.snapshot().calls_open, 1_000);
    for answer in queued {
        let status =
            bounded("its deadline", answer).await.expect("answered").expect_err("nobody serves it");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_time(began.elapsed(), secs(30));
    }
    assert_eq!((supervisor.snapshot().calls_open, supervisor.snapshot().calls_waiting), (0, 0));
    // The places are free again.
    let next = post(&mailbox, &text, CallOptions::new());
    eventually("it is queued", || supervisor.snapshot().calls_waiting == 1).await;
    drop(next);
}

/// The bound on bytes holds in the same way.
#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_by_bytes_refuses_what_does_not_fit_and_takes_what_does() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config().queue_max_bytes(10_000));
    let log = EventLog::of(&supervisor);
    let channel = supervisor.channel();
    let call = |len: usize| start(&channel, &"x".repeat(len), CallOptions::new());
    let kept = [call(4_000), call(4_000)];
    eventually("both wait", || supervisor.snapshot().calls_waiting == 2).await;
    let (took, refused) = call(4_000).await.expect("no panic");
    let status = refused.expect_err("it does not fit");
    assert_eq!(
        (status.code(), cause(&status)),
        (Code::ResourceExhausted, &Cause::Shed(ShedReason::TooManyBytes))
    );
    assert_eq!(took, ms(0));
    let fits = call(1_900);
    eventually("it waits", || supervisor.snapshot().calls_waiting == 3).await;
    assert_eq!(
        log.count(|fact| matches!(fact, Fact::CallShed { reason: ShedReason::TooManyBytes, .. })),
        1
    );
    kept.iter().chain([&fits]).for_each(tokio::task::JoinHandle::abort);
    eventually("nothing is left", || supervisor.snapshot().calls_open == 0).await;
    assert_eq!(supervisor.snapshot().calls_waiting, 0);
}

/// Scenario 18: 500 calls without an answer keep no actor from its work.
#[tokio::test(start_paused = true)]
async fn scenario_18_a_peer_that_never_answers_blocks_no_actor() {
    let network = MemoryNetwork::new();
    let server =
        ScriptedServer::builder().script(Answer::hang()).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let calls: Vec<_> =
        (0..500).map(|_| start(&supervisor.channel(), "x", CallOptions::new())).collect();
    server.arrived(500).await;
    let asked = Instant::now();
    let now = supervisor.snapshot();
    assert_eq!(
        (now.calls_open, now.streams, supervisor.state()),
        (500, 500, ConnectivityState::Ready)
    );
    // A new call gets through the request actor, a GOAWAY and a redial through the other two.
    server.on("/test.Echo/Live", Answer::echo());
    let live = supervisor
        .channel()
        .unary::<String, String>("/test.Echo/Live", Request::new("live".to_owned()))
        .await;
    assert_eq!(live.map(Response::into_inner).expect("answered"), "live");
    let log = EventLog::of(&supervisor);
    network.only(ADDRESS).black_hole(true);
    server.goaway().await;
    eventually("it dials again", || supervisor.state() == ConnectivityState::Connecting).await;
    log.until("the dial", 1, |fact| matches!(fact, Fact::DialStarted { .. })).await;
    network.black_hole(false);
    tokio::time::sleep(secs(21)).await;
    supervisor.reconnect_now();
    bounded("Ready", supervisor.wait_ready(secs(5))).await.expect("Ready");
    assert!(asked.elapsed() <= secs(23));
    let (took, ()) = timed(supervisor.shutdown(secs(1))).await;
    assert!(took <= secs(1) + ms(102), "the shutdown took {took:?}");
    for call in calls {
        assert_eq!(call.await.expect("no panic").1.expect_err("ended").code(), Code::Cancelled);
    }
}

/// 100,000 calls wait for the server; when it comes, all are answered, and they start in the order
/// in which they were made.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_parked_calls_are_all_answered_in_the_order_of_their_arrival() {
    const CALLS: usize = 100_000;
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let mailbox = supervisor.mailbox();
    let answers: Vec<_> =
        (0..CALLS).map(|n| post(&mailbox, &format!("{n:058}"), CallOptions::new())).collect();
    eventually("all wait", || supervisor.snapshot().calls_waiting == CALLS).await;
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    for (n, answer) in answers.into_iter().enumerate() {
        let answer = said(bounded("an answer", answer).await.expect("answered")).expect("OK");
        assert_eq!(answer.parse(), Ok(n));
    }
    let arrivals = server.arrivals();
    assert_eq!(arrivals.len(), CALLS);
    for (n, arrival) in arrivals.into_iter().enumerate() {
        let text = String::decode(arrival.message).expect("a string");
        assert_eq!(text.parse(), Ok(n), "call {text} came as number {n}");
    }
    let now = supervisor.snapshot();
    assert_eq!((now.calls_open, now.retries, now.transparent_retries, now.links), (0, 0, 0, 1));
}

/// Bare tonic answers 4 to 15 % of these: the burst kills its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_at_once_on_a_ready_channel_over_tcp_are_all_answered() {
    const CALLS: usize = 100_000;
    let server = ScriptedServer::builder().record_arrivals(false).on_tcp().await;
    let target = server.dial_address();
    let config = Config::builder()
        .host(target.host())
        .port(target.port())
        .timeout(secs(600))
        .build()
        .expect("valid");
    let supervisor = Supervisor::builder(config).spawn();
    supervisor.wait_ready(secs(30)).await.expect("Ready");
    let channel = supervisor.channel();
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let channel = channel.clone();
        calls.spawn(async move { say(&channel, "hello", CallOptions::new()).await.map(drop) });
    }
    let mut answered = 0;
    while let Some(call) = calls.join_next().await {
        call.expect("no panic").expect("OK");
        answered += 1;
    }
    assert_eq!((answered, server.handled(), server.connections()), (CALLS, CALLS, 1));
}

/// Calls that come in while others wait do not overtake them, whichever way they come.
#[tokio::test(start_paused = true)]
async fn calls_of_channels_and_mailboxes_share_one_queue() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config().max_in_flight(1));
    let mut tasks = Vec::new();
    let mut answers = Vec::new();
    for n in 0..100 {
        if n % 2 == 0 {
            tasks.push(start(&supervisor.channel(), &n.to_string(), CallOptions::new()));
        } else {
            answers.push(post(&supervisor.mailbox(), &n.to_string(), CallOptions::new()));
        }
        tokio::task::yield_now().await;
    }
    let server = ScriptedServer::builder()
        .script(Answer::echo().after(ms(1)))
        .on_memory(&network, ADDRESS)
        .await;
    server.arrived(100).await;
    let order: Vec<u32> = server
        .arrivals()
        .into_iter()
        .map(|arrival| {
            String::decode(arrival.message).expect("a string").parse().expect("a number")
        })
        .collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    for task in tasks {
        task.await.expect("no panic").1.expect("OK");
    }
    for answer in answers {
        said(answer.await.expect("answered")).expect("OK");
    }
}
