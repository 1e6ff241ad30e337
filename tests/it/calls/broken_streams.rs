//! Streams that break after their first message: what they end with, and that it is said once.

use crate::support::*;
use tonic::{Code, Request, Streaming};
use tonic_supervisor::{
    CallOptions, Origin, Phase, Scope, Supervisor,
    testing::{Answer, MemoryNetwork, Script, ScriptedServer},
};

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

/// Scenario 3, for streams: what breaks one after its first message has the same names, and a
/// report.
#[tokio::test(start_paused = true)]
async fn scenario_03_a_stream_that_breaks_is_classified_too() {
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
        assert!(say(&supervisor.channel(), "hello", CallOptions::new()).await.is_ok());
        assert_eq!(supervisor.snapshot().links, links, "{outcome}");
    }
}

/// The peer's own status comes as tonic's channel would bring it, without a report: nothing was
/// retried.
#[tokio::test(start_paused = true)]
async fn scenario_03_a_stream_that_ends_with_a_status_says_it_once() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    server.script(Answer::message("\n\u{5}hello").then_status(Code::Aborted));
    let mut stream = stream_that_began(&supervisor).await;
    assert_eq!(stream.message().await.expect_err("it ends").code(), Code::Aborted);
    assert_eq!(stream.message().await.expect("no second error"), None);
    assert_eq!(supervisor.snapshot().calls_open, 0);
}
