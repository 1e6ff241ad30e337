//! What the tap hears of frames, however their bytes are cut.

use super::{super::tapped::Tapped, *};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead as _, ReadBuf};

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

fn goaway(last: u32, code: u32, debug: &[u8]) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(debug);
    frame(GOAWAY, 0, &payload)
}

#[test]
fn frames_are_heard_however_the_bytes_are_cut() {
    let mut bytes = frame(SETTINGS, ACK, &[]);
    bytes.extend(frame(0, 0, &[7; 1_000]));
    bytes.extend(frame(SETTINGS, 0, &[0, 3, 0, 0, 0, 100, 0, 6, 0, 0, 0x40, 0, 0, 4, 0, 0, 1, 0]));
    bytes.extend(goaway(0x7fff_ffff, 0, b""));
    bytes.extend(goaway(5, 11, b"too_many_pings"));
    for size in [1, 2, 7, 9, 10, 100, bytes.len()] {
        let (tap, mut scanner) = (Tap::new(), Scanner::default());
        for (n, chunk) in bytes.chunks(size).enumerate() {
            assert!(n > 0 || size > 9 || !tap.settings_seen());
            scanner.scan(chunk, &tap);
        }
        assert!(tap.settings_seen() && !tap.has_proof());
        assert_eq!((tap.goaways(), tap.max_head()), (2, Some(16 << 10)));
        let heard = tap.goaway().expect("a GOAWAY was sent");
        assert_eq!((heard.last_stream_id, heard.code), (5, 11));
        assert!(heard.is_too_many_pings());
    }
}

/// Of all DATA frames, those without a byte of data that do not end their stream; padding is no
/// data.
#[test]
fn data_frames_that_say_nothing_are_counted_however_they_are_cut() {
    let mut bytes = frame(DATA, 0, b"");
    bytes.extend(frame(DATA, END_STREAM, b""));
    bytes.extend(frame(DATA, 0, b"x"));
    bytes.extend(frame(DATA, PADDED, &[0]));
    bytes.extend(frame(DATA, PADDED, &[3, 0, 0, 0]));
    bytes.extend(frame(DATA, PADDED, &[2, b'x', 0, 0]));
    bytes.extend(frame(DATA, PADDED | END_STREAM, &[1, 0]));
    for size in [1, 2, 9, 10, 11, bytes.len()] {
        let (tap, mut scanner) = (Tap::new(), Scanner::default());
        bytes.chunks(size).for_each(|chunk| scanner.scan(chunk, &tap));
        assert_eq!(tap.empty_data(), 3, "in pieces of {size}");
    }
}

/// Many heads at once are taken in turns, in which the calls read theirs; DATA is not held up.
#[test]
fn headers_are_read_in_turns_and_data_is_not() {
    let reads = |kind: u8| {
        let bytes = frame(kind, 0, &[0; 16 << 10]).repeat(100);
        let tap = Arc::new(Tap::new());
        let mut tapped = Tapped::new(&bytes[..], tap.clone());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut turns = 1;
        let mut buffer = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut tapped).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return turns,
                Poll::Ready(read) => read.expect("a slice does not fail"),
                Poll::Pending => {
                    turns += 1;
                    tap.turn();
                }
            }
        }
    };
    assert_eq!(reads(DATA), 1);
    assert!((6..=8).contains(&reads(HEADERS)) && reads(CONTINUATION) > 5);
}

#[test]
fn an_acknowledgement_is_not_settings_and_a_huge_goaway_is_cut() {
    let (tap, mut scanner) = (Tap::new(), Scanner::default());
    scanner.scan(&frame(SETTINGS, ACK, &[]), &tap);
    assert!(!tap.settings_seen());
    scanner.scan(&goaway(1, 0, &[b'x'; 100_000]), &tap);
    assert_eq!(tap.goaway().expect("heard").debug.len(), 256);
    scanner.scan(&frame(GOAWAY, 0, b"short"), &tap);
    assert_eq!(tap.goaways(), 1, "a malformed one is h2's to refuse");
}

/// A server that answers questions about its health may drop every call.
#[test]
fn what_the_peer_says_on_a_stream_that_is_no_call_is_no_answer_to_a_call() {
    let on = |stream: u8, mut bytes: Vec<u8>| {
        bytes[8] = stream;
        bytes
    };
    let answer = |stream: u8| {
        let mut bytes = on(stream, frame(HEADERS, END_HEADERS, b"head"));
        bytes.extend(on(stream, frame(DATA, 0, &[0, 0, 0, 0, 0])));
        bytes.extend(on(stream, frame(HEADERS, END_HEADERS | END_STREAM, b"trailers")));
        bytes
    };
    for size in [1, 7, 1_000] {
        let (tap, mut scanner) = (Tap::new(), Scanner::default());
        let mut hears = |bytes: Vec<u8>| bytes.chunks(size).for_each(|cut| scanner.scan(cut, &tap));
        tap.asides.opening().note(1);
        hears(answer(1));
        tap.asides.close(1);
        hears(answer(1));
        let opening = tap.asides.opening();
        hears(answer(3));
        opening.note(3);
        assert!(!tap.has_proof() && !tap.has_answered());
        hears(answer(5));
        assert!(tap.has_proof() && tap.has_answered(), "a call's answer is one");
    }
}

#[test]
fn an_answer_is_heard_before_the_goaway_behind_it() {
    let (tap, mut scanner) = (Tap::new(), Scanner::default());
    let mut bytes = frame(SETTINGS, 0, &[]);
    bytes.extend(frame(1, 4, b"head"));
    bytes.extend(frame(0, 0, &[0, 0, 0, 0, 0]));
    scanner.scan(&bytes, &tap);
    assert!(tap.has_proof() && !tap.has_answered());
    scanner.scan(&frame(1, 5, b"trailers"), &tap);
    assert!(tap.has_answered() && tap.goaway().is_none());
}
