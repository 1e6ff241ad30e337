//! A new call begins on its caller's thread where nothing waits before it, and nowhere else.

use crate::support::{
    ADDRESS, SAY, bounded, config, eventually, framed, hide_injected_panics, ms, post, said, say,
    secs, start, supervise,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic::{body::Body, codegen::Service as _};
use tonic_supervisor::{
    CallOptions, Child,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

#[tokio::test(start_paused = true)]
async fn on_a_ready_channel_calls_need_no_request_actor() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    supervisor.panics().arm(Child::Request, "Submit", u32::MAX);
    for _ in 0..10 {
        let calls = (0..20).map(|_| start(&supervisor.channel(), "x", CallOptions::new()));
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.expect("no panic").1.expect("answered"), "x");
        }
    }
    assert_eq!(supervisor.panics().injected(), [], "no actor was asked");
}

/// A service's `call` begins it, and not the first poll of its future.
#[tokio::test(start_paused = true)]
async fn a_call_whose_future_is_never_polled_is_made_and_ends_with_its_future() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Answer::hang());
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let message = "x".to_owned().encode_to_vec();
    let body = Full::new(Bytes::from(framed(0, message.len(), &message)));
    let body = Body::new(body.map_err(|never| match never {}));
    let made = supervisor.channel().call(http::Request::post(SAY).body(body).expect("a request"));
    // Larger blocks the C library's allocator does not keep at hand (decision 97).
    assert!(size_of_val(made.as_ref().get_ref()) <= 1_032);
    eventually("it is on the wire", || server.handled() == 1).await;
    assert_eq!(supervisor.snapshot().calls_open, 1);
    drop(made);
    let nothing = || (supervisor.snapshot().calls_open, supervisor.snapshot().streams) == (0, 0);
    eventually("it ends everywhere", nothing).await;
}

/// Three calls at once may run. Some begin at once, some wait, messages among them.
#[tokio::test(start_paused = true)]
async fn no_call_overtakes_one_that_waits() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::new(|arrival| {
        let takes = StdRng::seed_from_u64(arrival.stream.into()).random_range(1..=9);
        Answer::echo().after(ms(takes))
    }));
    let supervisor = supervise(&network, config().max_in_flight(3));
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let (mut calls, mut messages) = (Vec::new(), Vec::new());
    let mut rng = StdRng::seed_from_u64(1);
    for n in 0..2_000 {
        match rng.random_range(0..10) {
            0 => messages.push(post(&supervisor.mailbox(), &n.to_string(), CallOptions::new())),
            _ => calls.push(start(&supervisor.channel(), &n.to_string(), CallOptions::new())),
        }
        // At times there is room for all, at times for few. Calls of one moment have an order, too.
        let pause = [0, 1, 1, 2, 3, 4][rng.random_range(0..6)];
        match pause {
            0 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(ms(pause)).await,
        }
    }
    for call in calls {
        bounded("a call", call).await.expect("no panic").1.expect("answered");
    }
    for message in messages {
        said(bounded("a message", message).await.expect("answered")).expect("answered");
    }
    // Streams are numbered in the order they were opened in.
    let mut arrivals = server.arrivals();
    arrivals.sort_by_key(|arrival| arrival.stream);
    let number = |message: &[u8]| String::decode(message).expect("a text").parse::<u64>();
    let began = arrivals.iter().map(|arrival| number(&arrival.message).expect("a number"));
    assert!(began.eq(0..2_000), "begun out of order");
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_call_begins_harms_not_even_that_call() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().max_retry_attempts(0));
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    supervisor.panics().arm(Child::Task, "Begin", 3);
    for _ in 0..5 {
        let answer = say(&supervisor.channel(), "x", CallOptions::new()).await;
        assert_eq!(answer.expect("it was queued"), "x");
    }
    assert_eq!(supervisor.panics().injected().len(), 3);
    assert_eq!((server.handled(), supervisor.snapshot().calls_open), (5, 0));
}
