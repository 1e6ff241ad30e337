//! Answers in very small pieces: they come whole and in order, and the peer gets room only for what
//! was read.

use crate::support::{ADDRESS, config, framed, generated_stream, say, secs, supervise};
use prost::Message as _;
use tonic_supervisor::{
    CallOptions,
    testing::{Frame, FrameKind, MemoryNetwork, RawPeer},
};

fn message(text: &str) -> Vec<u8> {
    let message = text.to_owned().encode_to_vec();
    framed(0, message.len(), &message)
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_every_message_whole_and_in_order_however_it_is_cut() {
    const MESSAGES: usize = 3_000;
    for size in [1, 2, 7, 300] {
        let network = MemoryNetwork::new();
        let peer = RawPeer::on_memory(&network, ADDRESS).await;
        let _peer = peer.play(move |mut link| async move {
            link.send_settings(&[]).await;
            while let Some((stream, _)) = link.next_whole_request().await {
                link.answer_head(stream).await;
                let all: Vec<u8> = (0..MESSAGES).flat_map(|n| message(&n.to_string())).collect();
                for piece in all.chunks(size) {
                    link.send(Frame::data(stream, piece.to_vec(), false)).await;
                }
                link.trailers(stream, &[("grpc-status", "0")]).await;
            }
        });
        let supervisor = supervise(&network, config());
        let mut stream =
            generated_stream(&supervisor.channel(), CallOptions::new()).await.expect("a head");
        for n in 0..MESSAGES {
            if n % 500 == 0 {
                tokio::time::sleep(secs(1)).await;
            }
            assert_eq!(
                stream.message().await.expect("well").as_deref(),
                Some(&*n.to_string()),
                "{size}"
            );
        }
        assert_eq!(stream.message().await.expect("OK"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_unary_answer_byte_by_byte_is_whole() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await;
    let _peer = peer.play(|mut link| async move {
        link.send_settings(&[]).await;
        while let Some((stream, body)) = link.next_whole_request().await {
            link.answer_head(stream).await;
            for byte in body {
                link.send(Frame::data(stream, vec![byte], false)).await;
            }
            link.trailers(stream, &[("grpc-status", "0")]).await;
        }
    });
    let supervisor = supervise(&network, config());
    let text = "0123456789".repeat(2_000);
    let answer = say(&supervisor.channel(), &text, CallOptions::new()).await;
    assert!(answer.expect("whole") == text);
}

/// The peer is given room for what the reader took, and for no more.
#[tokio::test(start_paused = true)]
async fn room_is_given_for_what_was_read_only() {
    const TAKEN: i64 = 2 << 20;
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let channel = supervisor.channel();
    let opening = generated_stream(&channel, CallOptions::new());
    let answering = async {
        let mut link = peer.accept().await;
        link.send_settings(&[]).await;
        let (stream, _) = link.next_whole_request().await.expect("a call");
        link.answer_head(stream).await;
        (link, stream)
    };
    let (reader, (mut link, stream)) = tokio::join!(opening, answering);
    let mut reader = reader.expect("a head");
    let one = message("x");
    let mut sent = 0i64;
    let mut send = async |link: &mut tonic_supervisor::testing::RawLink, most: i64| {
        while sent + (one.len() as i64) < most {
            link.send(Frame::data(stream, one.clone(), false)).await;
            sent += one.len() as i64;
        }
    };
    send(&mut link, TAKEN / 2).await;
    for _ in 0..100 {
        assert_eq!(reader.message().await.expect("well").as_deref(), Some("x"));
    }
    send(&mut link, TAKEN).await;
    tokio::time::sleep(secs(1)).await;
    let mut room = 0i64;
    while let Ok(Ok(Some(frame))) = tokio::time::timeout(secs(1), link.next_frame()).await {
        if frame.kind == FrameKind::WindowUpdate && frame.stream == stream {
            room +=
                i64::from(u32::from_be_bytes(frame.payload[..4].try_into().expect("four bytes")));
        }
    }
    assert_eq!(room, 0, "a hundred messages are less than half a window");
}
