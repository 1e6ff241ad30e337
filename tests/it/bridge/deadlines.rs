//! Deadlines cross the bridge; a call without one ends by the configured timeout.

use super::{Client, bridge, say};
use crate::support::{Rig, SAY, codec, config, ms, request, secs, timed};
use http::uri::PathAndQuery;
use tonic::{Code, client::Grpc};
use tonic_supervisor::{
    CallOptions,
    testing::{Answer, Script},
};

#[tokio::test(start_paused = true)]
async fn each_attempt_is_sent_with_what_remains_of_the_clients_deadline() {
    let rig = Rig::with_script(Script::fail_times(2, Code::Unavailable), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let answer = client.call(SAY, &[("grpc-timeout", "10S")]).await;
    assert_eq!(answer.code(), 0);
    let left = |timeout: Option<String>| {
        let text = timeout.expect("a timeout");
        text.trim_end_matches('m').parse::<u64>().expect("milliseconds")
    };
    let left: Vec<u64> =
        rig.server.arrivals().into_iter().map(|it| left(it.grpc_timeout)).collect();
    // Retries after 1 s, and 2 s later.
    for (left, expected) in left.iter().zip([10_000, 9_000, 7_000]) {
        assert!(left.abs_diff(expected) <= 20, "{left} instead of {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_tonics_channel_ends_a_call_that_waits_for_its_answer() {
    let rig = Rig::with_script(Answer::hang(), config()).await;
    let mut grpc = Grpc::new(rig.supervisor.tonic_channel());
    grpc.ready().await.expect("ready");
    let mut request = request("hello", CallOptions::new());
    request.set_timeout(secs(3));
    let call = grpc.unary(request, PathAndQuery::from_static(SAY), codec());
    let (took, answer) = timed(call).await;
    let status = answer.expect_err("late");
    // tonic's own timer says CANCELLED where it comes first.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(took.abs_diff(secs(3)) <= ms(20), "{took:?}");
    rig.server.given_up(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_ends_by_timeout_with_the_reason_while_the_server_is_down() {
    let rig = Rig::new(config().timeout(secs(7))).await;
    rig.server.kill().await;
    let channel = rig.supervisor.tonic_channel();
    let (took, answer) = timed(say(&channel, SAY)).await;
    let status = answer.expect_err("late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("while it waited for a link"), "{}", status.message());
    assert!(took.abs_diff(secs(7)) <= ms(50), "{took:?}");
}
