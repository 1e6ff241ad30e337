//! Heads and trailers above a limit: the call fails alone, for good, and says which limit it was.
//! The link and its other calls go on.

use crate::support::{
    ADDRESS, cause, config, generated_stream, report, say, secs, start, supervise,
};
use tonic::{Code, Status, Streaming};
use tonic_supervisor::{
    CallOptions, Cause, Phase, SupervisedChannel,
    testing::{Frame, FrameKind, MemoryNetwork, RawLink, RawPeer},
};

const KIB: usize = 1 << 10;
const HEAD: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

/// Where a long field stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Head,
    Trailers,
    TrailersOnly,
}

/// Headers of any size, in frames of `frame` bytes.
async fn send_headers(
    link: &mut RawLink,
    stream: u32,
    fields: &[(&str, &str)],
    frame: usize,
    end: bool,
) {
    let block = Frame::headers(stream, fields, end).payload;
    let pieces = block.chunks(frame);
    let last = pieces.len() - 1;
    for (n, piece) in pieces.enumerate() {
        let kind = if n == 0 { FrameKind::Headers } else { FrameKind::Continuation };
        let end_stream = if n == 0 && end { Frame::END_STREAM } else { 0 };
        let end_headers = if n == last { Frame::END_HEADERS } else { 0 };
        link.send(Frame::new(kind, end_stream | end_headers, stream, piece.to_vec())).await;
    }
}

/// Answers with a field of `size` bytes at that place, and status 5 where it ends.
async fn answer_long(link: &mut RawLink, stream: u32, place: Place, size: usize, frame: usize) {
    let long = "x".repeat(size);
    let long = ("x-long", long.as_str());
    let status = ("grpc-status", "5");
    match place {
        Place::Head => {
            send_headers(link, stream, &[HEAD[0], HEAD[1], long], frame, false).await;
            link.trailers(stream, &[status]).await;
        }
        Place::Trailers => {
            link.answer_head(stream).await;
            send_headers(link, stream, &[status, long], frame, true).await;
        }
        Place::TrailersOnly => {
            send_headers(link, stream, &[HEAD[0], HEAD[1], status, long], frame, true).await
        }
    }
}

#[track_caller]
fn assert_too_large(status: &Status, place: Place, limit: usize) {
    let outcome = &report(status).outcome;
    assert_eq!(
        (status.code(), outcome.phase),
        (Code::ResourceExhausted, Phase::Processed),
        "{place:?}: {status:?}"
    );
    let Cause::TooLarge(words) = cause(status) else { panic!("{place:?}: {status:?}") };
    assert!(
        words.contains("max_response_header_bytes") && words.contains(&limit.to_string()),
        "{words}"
    );
    assert_eq!(words.contains("NOT_FOUND"), place != Place::Head, "{words}");
    assert_eq!(report(status).attempts_made, 1, "the same again would be as large: {place:?}");
}

/// The sizes up to which docs/faults.md says that the link survives: 2.5 MiB in frames of 16 KiB,
/// 15 MiB in the largest.
#[tokio::test(start_paused = true)]
async fn headers_above_the_limit_end_their_call_alone_up_to_the_size_in_the_page() {
    let sizes = [
        (20 * KIB, 16 * KIB),
        (72 * KIB, 16 * KIB),
        (2_560 * KIB, 16 * KIB),
        (15 << 20, 128 * KIB),
    ];
    for place in [Place::Head, Place::Trailers, Place::TrailersOnly] {
        for (size, frame) in sizes {
            let network = MemoryNetwork::new();
            let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
            let supervisor = supervise(&network, config());
            let channel = supervisor.channel();
            let other = start(&channel, "other", CallOptions::new());
            let mut link = peer.accept().await;
            link.send_settings(&[]).await;
            let (first, body) = link.next_whole_request().await.expect("a call");
            let long = start(&channel, "long", CallOptions::new());
            let (second, _) = link.next_whole_request().await.expect("another");
            answer_long(&mut link, second, place, size, frame).await;
            let status = long.await.expect("no panic").1.expect_err("too large");
            assert_too_large(&status, place, 16 * KIB);
            link.answer(first, &body[5..]).await;
            assert_eq!(
                other.await.expect("no panic").1.as_deref().ok(),
                Some("other"),
                "{place:?} of {size} bytes"
            );
            assert_eq!(supervisor.snapshot().links, 1, "{place:?} of {size} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn headers_within_the_configured_limit_pass() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.play(|mut link| async move {
        link.send_settings(&[]).await;
        while let Some((stream, _)) = link.next_whole_request().await {
            answer_long(&mut link, stream, Place::Trailers, 100 * KIB, 16 * KIB).await;
        }
    });
    let supervisor = supervise(&network, config().max_response_header_bytes(128 * KIB));
    let status =
        say(&supervisor.channel(), "hello", CallOptions::new()).await.expect_err("its status is 5");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.metadata().get("x-long").map(|value| value.len()), Some(100 * KIB));
}

/// A server-streaming call, as far as its head.
async fn open(channel: SupervisedChannel) -> Result<Streaming<String>, Status> {
    generated_stream(&channel, CallOptions::new().timeout(secs(60))).await
}

/// 600 streams that stay open, each with a head of 32 KiB: those that together hold more than 16
/// MiB fail alone.
#[tokio::test(start_paused = true)]
async fn the_heads_of_open_streams_count_together_and_the_newest_fail() {
    const STREAMS: usize = 600;
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().max_response_header_bytes(64 * KIB));
    let calls: Vec<_> = (0..STREAMS).map(|_| tokio::spawn(open(supervisor.channel()))).collect();
    let mut link = peer.accept().await;
    link.send_settings(&[]).await;
    let long = "x".repeat(32 * KIB);
    for _ in 0..STREAMS {
        let stream = link.next_request().await.expect("a call").stream;
        send_headers(&mut link, stream, &[HEAD[0], HEAD[1], ("x-long", &long)], 16 * KIB, false)
            .await;
    }
    let (mut held, mut failed) = (Vec::new(), Vec::new());
    for call in calls {
        match call.await.expect("no panic") {
            Ok(stream) => held.push(stream),
            Err(status) => failed.push(status),
        }
    }
    assert!((500..=512).contains(&held.len()), "{} heads of 32 KiB are held", held.len());
    for status in &failed {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        let Cause::TooLarge(why) = cause(status) else { panic!("{status:?}") };
        assert!(why.contains("max_response_header_bytes"), "{why}");
    }
    // What ended makes room.
    held.clear();
    let next = tokio::spawn(open(supervisor.channel()));
    let (stream, _) = link.next_whole_request().await.expect("a call");
    send_headers(&mut link, stream, &[HEAD[0], HEAD[1], ("x-long", &long)], 16 * KIB, false).await;
    assert!(next.await.expect("no panic").is_ok());
    assert_eq!(supervisor.snapshot().links, 1);
}
