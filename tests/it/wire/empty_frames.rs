//! DATA frames without a byte: h2 takes a hundred of them in a connection's life. The link is
//! replaced before that.

use crate::support::{ADDRESS, EventLog, config, say, secs, supervise};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tonic_supervisor::{
    CallOptions, Fact, Supervisor,
    testing::{Frame, FrameKind, MemoryNetwork, PlayingPeer, RawPeer},
};

/// Answers each call well, but for one frame that says nothing.
async fn peer(network: &MemoryNetwork, frame: fn(u32) -> Frame) -> PlayingPeer {
    let peer = RawPeer::on_memory(network, ADDRESS).await;
    peer.play(move |mut link| async move {
        link.send_settings(&[]).await;
        while let Some((stream, body)) = link.next_whole_request().await {
            link.answer_head(stream).await;
            link.send(frame(stream)).await;
            link.message(stream, &body[5..]).await;
            link.trailers(stream, &[("grpc-status", "0")]).await;
        }
    })
}

/// 500 calls, none of which may be sent twice; how many links they took.
async fn links_of_500_calls(supervisor: &Supervisor) -> u64 {
    for _ in 0..500 {
        let answer =
            say(&supervisor.channel(), "hello", CallOptions::new().idempotent(false)).await;
        assert_eq!(answer.as_deref().ok(), Some("hello"), "{answer:?}");
        // As long as a dial takes.
        tokio::time::sleep(secs(1)).await;
    }
    supervisor.snapshot().links
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_an_empty_frame_with_each_answer_costs_no_call() {
    let padding_only =
        |stream| Frame::new(FrameKind::Data, 0x8, stream, vec![9, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for frame in [(|stream| Frame::data(stream, "", false)) as fn(u32) -> Frame, padding_only] {
        let network = MemoryNetwork::new();
        let _peer = peer(&network, frame).await;
        let supervisor = supervise(&network, config());
        let log = EventLog::of(&supervisor);
        assert_eq!(links_of_500_calls(&supervisor).await, 1 + 500 / 80);
        let states = log.all(|fact| match fact {
            Fact::StateChanged { to, .. } => Some(to.to_string()),
            _ => None,
        });
        assert!(states.len() <= 2, "beside, as when asked to reconnect: {states:?}");
    }
}

/// The first three dials of each successor fail.
#[tokio::test(start_paused = true)]
async fn a_link_near_its_limit_of_empty_frames_is_replaced_after_a_failed_dial_too() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let dials = Arc::new(AtomicUsize::new(0));
    let _peer = peer.play(move |mut link| {
        let dial = dials.fetch_add(1, SeqCst);
        async move {
            if !dial.is_multiple_of(4) {
                return link.close().await;
            }
            link.send_settings(&[]).await;
            while let Some((stream, body)) = link.next_whole_request().await {
                link.answer_head(stream).await;
                link.send(Frame::data(stream, "", false)).await;
                link.message(stream, &body[5..]).await;
                link.trailers(stream, &[("grpc-status", "0")]).await;
            }
        }
    });
    let supervisor = supervise(&network, config());
    assert_eq!(links_of_500_calls(&supervisor).await, 1 + 500 / 92);
}

#[tokio::test(start_paused = true)]
async fn frames_with_data_or_an_end_replace_no_link() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.play(move |mut link| async move {
        link.send_settings(&[]).await;
        while let Some((stream, body)) = link.next_whole_request().await {
            link.answer_head(stream).await;
            let padded = [&[4], &body[..], &[0; 4]].concat();
            link.send(Frame::new(FrameKind::Data, 0x8, stream, padded)).await;
            link.trailers(stream, &[("grpc-status", "0")]).await;
        }
    });
    let supervisor = supervise(&network, config());
    assert_eq!(links_of_500_calls(&supervisor).await, 1);
}
