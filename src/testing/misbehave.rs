//! How a raw peer carries out each [`Misbehaviour`].

use super::{Frame, FrameKind, Misbehaviour, Moment, PlayingPeer, RawLink, RawPeer};
use crate::transport::frame;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const HELLO: &[u8] = b"\n\x05hello";

impl RawPeer {
    /// Misbehaves at the first `times` calls, over all connections, and echoes the others. What
    /// befalls a connection's beginning befalls the first `times` connections.
    pub fn misbehave(self, fault: Misbehaviour, times: usize) -> PlayingPeer {
        if fault == Misbehaviour::Refuse {
            return self.refuse();
        }
        let left = Arc::new(AtomicUsize::new(times));
        self.play(move |link| {
            let left = left.clone();
            async move {
                let misbehaves_now =
                    || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
                let Some(mut link) = (if fault.affects_greeting() && misbehaves_now() {
                    link.greet(fault).await
                } else {
                    link.greet_well().await
                }) else {
                    return;
                };
                while let Some((stream, body)) = link.next_whole_request().await {
                    if fault.affects_greeting() || !misbehaves_now() {
                        let message = body.get(5..).unwrap_or_default();
                        link.answer(stream, message).await;
                        continue;
                    }
                    match link.misbehave(fault, stream).await {
                        Some(whole) => link = whole,
                        None => return,
                    }
                }
            }
        })
    }
}

impl RawLink {
    async fn greet_well(mut self) -> Option<Self> {
        self.send_settings(&[]).await;
        Some(self)
    }

    /// Greets as `fault` says; the link, if it goes on from there.
    pub async fn greet(mut self, fault: Misbehaviour) -> Option<Self> {
        match fault {
            Misbehaviour::BlackHole => std::future::pending().await,
            Misbehaviour::AcceptThenClose => {
                self.close().await;
                return None;
            }
            Misbehaviour::AcceptThenReset => {
                self.reset();
                return None;
            }
            Misbehaviour::Http1Greeting => {
                self.answer_http1("400 Bad Request").await;
                return None;
            }
            Misbehaviour::GarbageGreeting => self.send_bytes(&[0xff; 64]).await,
            Misbehaviour::NoSettings => {}
            Misbehaviour::SlowSettings(wait) => {
                tokio::time::sleep(wait).await;
                self.send_settings(&[]).await;
            }
            Misbehaviour::Streams(most) => {
                self.send_settings(&[(MAX_CONCURRENT_STREAMS, most)]).await
            }
            Misbehaviour::StreamsLater(wait) => {
                self.send_settings(&[(MAX_CONCURRENT_STREAMS, 0)]).await;
                tokio::time::sleep(wait).await;
                self.send_settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
            }
            Misbehaviour::NoWindow => self.send_settings(&[(INITIAL_WINDOW_SIZE, 0)]).await,
            _ => return self.greet_well().await,
        }
        Some(self)
    }

    /// Lets the fault befall the call on this stream; the link, if it goes on.
    pub async fn misbehave(mut self, fault: Misbehaviour, stream: u32) -> Option<Self> {
        match fault {
            Misbehaviour::NoAnswer => {}
            Misbehaviour::NoPingAck => drop(self.acknowledge_pings(false)),
            Misbehaviour::PingFlood(pings) => {
                for n in 0..u64::from(pings) {
                    self.ping(n.to_be_bytes()).await;
                }
                self.answer(stream, HELLO).await;
            }
            Misbehaviour::Garbage => self.send_bytes(&[0xff; 64]).await,
            Misbehaviour::Http1 => self.answer_http1("502 Bad Gateway").await,
            Misbehaviour::OversizeFrame => {
                self.answer_head(stream).await;
                self.send(Frame::data(stream, vec![0; 1 << 20], false)).await;
            }
            Misbehaviour::GoAwayBelow(code) => self.goaway(0, code, "").await,
            Misbehaviour::TooManyPings => self.goaway(0, 11, "too_many_pings").await,
            Misbehaviour::GoAwayTwice => {
                self.goaway(u32::MAX >> 1, 0, "").await;
                self.goaway(stream, 0, "").await;
                self.answer(stream, HELLO).await;
            }
            Misbehaviour::Close | Misbehaviour::Cut | Misbehaviour::HalfClose => {
                return self.end(fault).await;
            }
            Misbehaviour::GoAwayThenClose(code) => {
                self.goaway(stream, code, "").await;
                return self.end(Misbehaviour::Close).await;
            }
            Misbehaviour::TruncatedFrame => {
                let frame = Frame::data(stream, HELLO, false).to_bytes();
                self.send_bytes(&frame[..frame.len() - 3]).await;
                return self.end(Misbehaviour::Close).await;
            }
            _ => self.answer_badly(fault, stream).await,
        }
        Some(self)
    }

    async fn end(mut self, how: Misbehaviour) -> Option<Self> {
        match how {
            Misbehaviour::Cut => self.reset(),
            Misbehaviour::HalfClose => {
                self.half_close().await;
                return Some(self);
            }
            _ => self.close().await,
        }
        None
    }

    /// The faults of one stream.
    async fn answer_badly(&mut self, fault: Misbehaviour, stream: u32) {
        let ok = [("grpc-status", "0")];
        match fault {
            Misbehaviour::Reset(code, moment) => return self.reset_at(stream, code, moment).await,
            Misbehaviour::Http(status, text) => {
                return self
                    .answer_http(
                        stream,
                        status,
                        "text/html",
                        if text { "<html>no</html>" } else { "" },
                    )
                    .await;
            }
            Misbehaviour::WrongContentType => {
                return self.answer_http(stream, 200, "text/html", "<html>").await;
            }
            Misbehaviour::OversizeHeaders(size) => return self.long_head(stream, size).await,
            Misbehaviour::StatusInHead(code) => {
                let code = code.to_string();
                let fields = [
                    (":status", "200"),
                    ("content-type", "application/grpc"),
                    ("grpc-status", &code),
                ];
                self.send(Frame::headers(stream, &fields, false)).await;
            }
            _ => self.answer_head(stream).await,
        }
        match fault {
            Misbehaviour::NoTrailers => {
                return self.send(Frame::data(stream, frame(HELLO), true)).await;
            }
            Misbehaviour::TruncatedMessage => self.truncated_message(stream, HELLO, 8, false).await,
            Misbehaviour::BadFlag => self.flagged_message(stream, 7).await,
            Misbehaviour::CompressedFlag => self.flagged_message(stream, 1).await,
            Misbehaviour::OversizeMessage(size) => self.message(stream, &vec![b' '; size]).await,
            Misbehaviour::NoMessage => {}
            Misbehaviour::OversizeTrailers(size) => {
                self.message(stream, HELLO).await;
                let long = "x".repeat(size);
                return self
                    .long_block(
                        stream,
                        &[("grpc-status", "0"), ("x-long", &long)],
                        Frame::END_STREAM,
                    )
                    .await;
            }
            Misbehaviour::EmptyData(frames) => {
                for _ in 0..frames {
                    self.send(Frame::data(stream, "", false)).await;
                }
                self.message(stream, HELLO).await;
            }
            Misbehaviour::TwoMessages => {
                self.message(stream, HELLO).await;
                self.message(stream, HELLO).await;
            }
            _ => self.message(stream, HELLO).await,
        }
        let trailers = match fault {
            Misbehaviour::NoStatus => [("x-status", "lost")],
            Misbehaviour::BadStatus => [("grpc-status", "fine")],
            Misbehaviour::UnknownStatus => [("grpc-status", "99")],
            _ => ok,
        };
        self.trailers(stream, &trailers).await;
    }

    async fn reset_at(&mut self, stream: u32, code: u32, moment: Moment) {
        if moment > Moment::BeforeHeaders {
            self.answer_head(stream).await;
        }
        match moment {
            Moment::BeforeHeaders | Moment::AfterHeaders => {}
            Moment::MidMessage => self.truncated_message(stream, HELLO, 8, false).await,
            Moment::AfterMessage => self.message(stream, HELLO).await,
        }
        self.reset_stream(stream, code).await;
    }

    async fn flagged_message(&mut self, stream: u32, flag: u8) {
        let mut framed = frame(HELLO).to_vec();
        framed[0] = flag;
        self.send(Frame::data(stream, framed, false)).await;
    }

    async fn long_head(&mut self, stream: u32, size: usize) {
        let long = "x".repeat(size);
        let fields = [(":status", "200"), ("content-type", "application/grpc"), ("x-long", &long)];
        self.long_block(stream, &fields, 0).await;
        self.trailers(stream, &[("grpc-status", "0")]).await;
    }

    /// Headers in as many frames as they need, the first with these flags.
    async fn long_block(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) {
        const FRAME: usize = 1 << 14;
        let block = Frame::headers(stream, fields, false).payload;
        let mut pieces = block.chunks(FRAME).peekable();
        let (mut kind, mut flags) = (FrameKind::Headers, flags);
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { Frame::END_HEADERS } else { 0 };
            self.send(Frame::new(kind, flags | last, stream, piece.to_vec())).await;
            (kind, flags) = (FrameKind::Continuation, 0);
        }
    }
}
