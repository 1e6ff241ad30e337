//! What proves a link: a whole answer, however soon its end comes.

use crate::support::{ADDRESS, EventLog, SAY, bounded, config, ms, post, say, supervise};
use http::uri::PathAndQuery;
use tokio::time::Instant;
use tonic::Request;
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, ConnectivityState, Fact,
    testing::{Answer, Frame, MemoryNetwork, RawPeer, ScriptedServer},
};

fn whole_answer(stream: u32) -> Vec<u8> {
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    let frames = [
        Frame::headers(stream, &head, false),
        Frame::data(stream, b"\0\0\0\0\x03\n\x01x".to_vec(), false),
        Frame::headers(stream, &[("grpc-status", "0")], true),
    ];
    frames.iter().flat_map(|frame| frame.to_bytes()).collect()
}

/// Each connection answers one call; answer, GOAWAY and FIN come in one write.
#[tokio::test(start_paused = true)]
async fn an_answer_proves_the_link_although_its_end_comes_with_it() {
    for goaway in [true, false] {
        let network = MemoryNetwork::new();
        let peer = RawPeer::on_memory(&network, ADDRESS).await.play(move |mut link| async move {
            link.send_settings(&[]).await;
            let Some((stream, _)) = link.next_whole_request().await else { return };
            let mut bytes = whole_answer(stream);
            if goaway {
                bytes.extend_from_slice(&Frame::goaway(stream, 0, b"").to_bytes());
            }
            link.send_bytes(&bytes).await;
            link.close().await;
        });
        let supervisor = supervise(&network, config());
        let began = Instant::now();
        for n in 0..50 {
            assert_eq!(
                say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered"),
                "x",
                "call {n}"
            );
        }
        assert!(began.elapsed() < ms(50 * 25), "{:?} for 50 calls", began.elapsed());
        assert!((50..=51).contains(&peer.accepts().len()));
    }
}

/// A head alone is no answer: the waits between dials grow.
#[tokio::test(start_paused = true)]
async fn a_link_that_only_began_an_answer_is_not_proven() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        link.send_settings(&[]).await;
        let Some((stream, _)) = link.next_whole_request().await else { return };
        link.answer_head(stream).await;
        link.send(Frame::data(stream, b"\0\0\0".to_vec(), false)).await;
        link.close().await;
    });
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    let calls: Vec<_> =
        (0..50).map(|_| post(&supervisor.mailbox(), "x", CallOptions::new())).collect();
    for answer in calls {
        bounded("an answer", answer).await.expect("an answer").expect_err("never answered");
    }
    assert_eq!(log.count(|fact| matches!(fact, Fact::BackoffReset { .. })), 0);
    assert!(peer.accepts().len() <= 20, "{:?}", peer.accepts());
    assert_ne!(supervisor.state(), ConnectivityState::Idle);
}

/// A stream's first message is proof, long before the stream ends.
#[tokio::test(start_paused = true)]
async fn a_whole_message_proves_the_link_before_its_stream_ends() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Answer::message("\n\u{5}hello").then_hang());
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    let mut grpc = tonic::client::Grpc::new(supervisor.channel());
    let (path, codec) = (PathAndQuery::from_static(SAY), ProstCodec::<String, String>::default());
    let stream =
        grpc.server_streaming(Request::new("x".to_owned()), path, codec).await.expect("it begins");
    log.until("the proof", 1, |fact| matches!(fact, Fact::BackoffReset { .. })).await;
    drop(stream);
}
