//! Answers as no server should give them: each ends its own call, and costs no other call and no
//! link.

use crate::support::{ADDRESS, SAY, bounded, config, report, say, secs, start, supervise};
use tonic::{Code, Request};
use tonic_supervisor::{
    CallOptions, Supervisor,
    testing::{Frame, FrameKind, MemoryNetwork, PlayingPeer, RawPeer},
};

/// "x", as a message with its prefix.
pub(super) const MESSAGE: &[u8] = b"\0\0\0\0\x03\n\x01x";

/// A call as it should be is answered, on the first link, and nothing is left of those before it.
pub(super) async fn all_is_well(supervisor: &Supervisor, after: &str) {
    let channel = supervisor.channel();
    let call = channel.unary::<String, String>(SAY, Request::new("good".to_owned()));
    let answer = bounded("a good call", call)
        .await
        .unwrap_or_else(|status| panic!("after {after}: {status}"));
    assert_eq!(answer.into_inner(), "good");
    let now = supervisor.snapshot();
    assert_eq!((now.links, now.transparent_retries, now.calls_open), (1, 0, 0), "after {after}");
}

// --- answers ---

fn head(stream: u32) -> Frame {
    Frame::headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], false)
}

fn message(stream: u32) -> Frame {
    Frame::data(stream, MESSAGE.to_vec(), false)
}

fn ok(stream: u32) -> Frame {
    Frame::headers(stream, &[("grpc-status", "0")], true)
}

/// What a peer does on a stream, and what a unary call makes of it.
type Odd = (&'static str, fn(u32) -> Vec<Frame>, Code);

fn headers(stream: u32, fields: &[(&str, &str)], last: bool) -> Frame {
    Frame::headers(stream, fields, last)
}

fn after(mut first: Vec<Frame>, stream: u32) -> Vec<Frame> {
    first.extend([head(stream), message(stream), ok(stream)]);
    first
}

fn before(stream: u32, last: Frame) -> Vec<Frame> {
    vec![head(stream), message(stream), ok(stream), last]
}

/// A good answer with frames between its own.
fn between(stream: u32, first: Frame, second: Frame) -> Vec<Frame> {
    vec![first, head(stream), second, message(stream), ok(stream)]
}

/// A message and OK behind an odd head.
fn behind(stream: u32, odd: &[(&str, &str)]) -> Vec<Frame> {
    vec![headers(stream, odd, false), message(stream), ok(stream)]
}

const EARLY: &[(&str, &str)] = &[(":status", "103"), ("grpc-status", "5")];

const ODD: &[Odd] = &[
    ("data ends it", |s| vec![head(s), Frame::data(s, MESSAGE, true)], Code::Unknown),
    ("a reset after the end", |s| before(s, Frame::reset(s, 8)), Code::Ok),
    ("data after the end", |s| before(s, message(s)), Code::Ok),
    ("trailers after the end", |s| before(s, ok(s)), Code::Ok),
    ("early heads", |s| after(vec![headers(s, EARLY, false); 50], s), Code::Ok),
    ("an early head that ends it", |s| vec![headers(s, EARLY, true)], Code::Internal),
    ("two heads", |s| after(vec![head(s)], s), Code::Internal),
    ("trailers alone", |s| vec![ok(s)], Code::Internal),
    ("a head without its status", |s| behind(s, &[("grpc-status", "0")]), Code::Internal),
    ("no content-type", |s| behind(s, &[(":status", "200")]), Code::Ok),
    (
        "a wrong length",
        |s| behind(s, &[(":status", "200"), ("content-length", "3")]),
        Code::Internal,
    ),
    ("no length", |s| behind(s, &[(":status", "200"), ("content-length", "x")]), Code::Internal),
    ("HTTP 204", |s| vec![headers(s, &[(":status", "204")], true)], Code::Unknown),
    ("HTTP 999", |s| vec![headers(s, &[(":status", "999")], true)], Code::Unknown),
    ("no error", |s| vec![head(s), Frame::reset(s, 0)], Code::Internal),
    ("an unknown error", |s| vec![Frame::reset(s, u32::MAX)], Code::Internal),
    ("refused in the midst", |s| vec![head(s), message(s), Frame::reset(s, 7)], Code::Unavailable),
    (
        "frames of no meaning",
        |s| {
            between(
                s,
                Frame::new(FrameKind::Other(77), 255, s, "zz"),
                Frame::new(FrameKind::Priority, 0, 99, "\0\0\0\0\0"),
            )
        },
        Code::Ok,
    ),
    (
        "SETTINGS that change",
        |s| {
            between(
                s,
                Frame::settings(&[(4, 0), (1, 0), (5, 16_777_215)]),
                Frame::settings(&[(4, 65_535), (1, 4_096)]),
            )
        },
        Code::Ok,
    ),
    (
        "limits that come and go",
        |s| {
            between(
                s,
                Frame::settings(&[(3, 0), (6, 0)]),
                Frame::settings(&[(3, 100), (6, 1 << 20)]),
            )
        },
        Code::Ok,
    ),
    (
        "SETTINGS of no meaning",
        |s| between(s, Frame::settings(&[(99, 1), (8, 1)]), Frame::settings(&[(0, 0)])),
        Code::Ok,
    ),
];

async fn odd_peer(network: &MemoryNetwork, odd: fn(u32) -> Vec<Frame>) -> PlayingPeer {
    RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| async move {
        link.send_settings(&[]).await;
        while let Some((stream, body)) = link.next_whole_request().await {
            if body.ends_with(b"odd") {
                let bytes: Vec<u8> =
                    odd(stream).iter().flat_map(|frame| frame.to_bytes()).collect();
                link.send_bytes(&bytes).await;
            } else {
                link.answer(stream, &body[5..]).await;
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn odd_answers_end_their_call_alone() {
    for (name, odd, code) in ODD {
        let network = MemoryNetwork::new();
        let _peer = odd_peer(&network, *odd).await;
        let supervisor = supervise(&network, config().max_retry_attempts(0));
        let channel = supervisor.channel();
        for _ in 0..3 {
            let ended = bounded(name, say(&channel, "odd", CallOptions::new())).await;
            assert_eq!(ended.map_or_else(|status| status.code(), |_| Code::Ok), *code, "{name}");
            let good = bounded(name, say(&channel, "good", CallOptions::new())).await;
            assert_eq!(good.as_deref().ok(), Some("good"), "after {name}");
            assert_eq!(
                (supervisor.snapshot().links, supervisor.snapshot().transparent_retries),
                (1, 0),
                "{name}"
            );
        }
    }
}

/// Its headers come in pieces, one between two PINGs: h2 cannot be given an acknowledgement there.
#[tokio::test(start_paused = true)]
async fn a_ping_that_is_owed_between_pieces_of_headers_ends_no_link() {
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    let supervisor =
        supervise(&network, config().keepalive_time(secs(10)).keepalive_timeout(secs(5)));
    let call =
        start(&supervisor.channel(), "x", CallOptions::new().retry(false).timeout(secs(10_000)));
    let mut link = peer.accept().await;
    link.acknowledge_pings(false).send_settings(&[]).await;
    let (stream, _) = link.next_whole_request().await.expect("a call");
    let block = head(stream).payload;
    link.send(Frame::new(FrameKind::Headers, 0, stream, block.slice(..1))).await;
    for at in 1..block.len() {
        tokio::time::sleep(secs(12)).await;
        link.send(Frame::new(FrameKind::Continuation, 0, stream, block.slice(at..=at))).await;
    }
    link.send(Frame::new(FrameKind::Continuation, Frame::END_HEADERS, stream, "")).await;
    link.send(message(stream)).await;
    link.send(ok(stream)).await;
    assert_eq!(call.await.expect("no panic").1.as_deref().ok(), Some("x"));
    assert_eq!(supervisor.snapshot().links, 1);
}

// --- goodbyes ---

/// Excludes each call by GOAWAY, once or with a second one that takes it back, and answers it
/// nevertheless.
async fn excludes_and_answers(network: &MemoryNetwork, takes_back: bool) -> PlayingPeer {
    RawPeer::on_memory(network, ADDRESS).await.play(move |mut link| async move {
        link.send_settings(&[]).await;
        let Some((stream, _)) = link.next_whole_request().await else { return };
        let mut bytes = Frame::goaway(0, 0, b"not you").to_bytes().to_vec();
        if takes_back {
            bytes.extend_from_slice(&Frame::goaway(stream, 0, b"or you").to_bytes());
        }
        for frame in [head(stream), message(stream), ok(stream)] {
            bytes.extend_from_slice(&frame.to_bytes());
        }
        link.send_bytes(&bytes).await;
        while link.next_frame().await.is_ok_and(|frame| frame.is_some()) {}
    })
}

/// Nobody hears an answer on a stream that is excluded: it shows no link in good order, and the
/// call is not sent again without end.
#[tokio::test(start_paused = true)]
async fn a_peer_that_excludes_each_call_and_answers_it_is_not_asked_without_end() {
    for takes_back in [false, true] {
        let network = MemoryNetwork::new();
        let peer = excludes_and_answers(&network, takes_back).await;
        let supervisor = supervise(&network, config());
        let status =
            say(&supervisor.channel(), "x", CallOptions::new()).await.expect_err("excluded");
        let report = report(&status);
        assert_eq!((status.code(), report.attempts_made), (Code::Unavailable, 5), "{report}");
        assert_eq!((report.transparent_retries, report.retries), (1, 3), "{report}");
        assert!(status.message().contains("you"), "{}", status.message());
        assert!(peer.accepts().len() <= 7, "{:?}", peer.accepts());
    }
}
