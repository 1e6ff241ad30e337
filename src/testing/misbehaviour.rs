//! The ways in which a peer can break HTTP/2 or gRPC, each with a name: play one, or all of them in
//! a loop.

use super::{Frame, FrameKind, PlayingPeer, RawLink, RawPeer, serve};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// One way to misbehave. Some befall a connection's beginning, the others a call.
///
/// ```
/// use tonic_supervisor::testing::{Misbehaviour, RawPeer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// for fault in Misbehaviour::all() {
///     let peer = RawPeer::on_tcp().await.misbehave(fault, 1);
///     // ... let your agent call peer.address(): its first call meets the fault, the others are echoed ...
/// #   let _ = peer.address();
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Refuses to be dialled. Not for a number of times: for ever.
    Refuse,
    /// Instead of a greeting: accepts, reads nothing, says nothing.
    BlackHole,
    /// Instead of a greeting: FIN.
    AcceptThenClose,
    /// Instead of a greeting: RST.
    AcceptThenReset,
    /// Instead of a greeting: an answer in HTTP/1.1.
    Http1Greeting,
    /// Instead of a greeting: bytes that mean nothing.
    GarbageGreeting,
    /// Reads all, acknowledges all, and never sends its SETTINGS.
    NoSettings,
    /// Sends its SETTINGS only after this long.
    SlowSettings(Duration),
    /// Greets with MAX_CONCURRENT_STREAMS of this.
    Streams(u32),
    /// Greets with MAX_CONCURRENT_STREAMS 0, and raises it to 1 after this long.
    StreamsLater(Duration),
    /// Greets with INITIAL_WINDOW_SIZE 0, and never gives room for a byte.
    NoWindow,
    /// Never answers the call.
    NoAnswer,
    /// Never answers the call, nor any PING from then on.
    NoPingAck,
    /// Sends this many PINGs, then a good answer.
    PingFlood(u32),
    /// Closes the connection under the call (FIN).
    Close,
    /// Resets the connection under the call (RST).
    Cut,
    /// Ends its side of the connection under the call, and goes on reading.
    HalfClose,
    /// Bytes that mean nothing.
    Garbage,
    /// Half of a frame, then FIN.
    TruncatedFrame,
    /// A frame of 1 MiB, larger than the client allows (this crate's takes 128 KiB).
    OversizeFrame,
    /// An answer in HTTP/1.1.
    Http1,
    /// GOAWAY with this error code that excludes the call.
    GoAwayBelow(u32),
    /// GOAWAY with this error code that promises to serve the call, then FIN without having served
    /// it.
    GoAwayThenClose(u32),
    /// GOAWAY for all streams, then for all above the call's, then a good answer: how a server says
    /// goodbye.
    GoAwayTwice,
    /// GOAWAY ENHANCE_YOUR_CALM "too_many_pings" that excludes the call.
    TooManyPings,
    /// RST_STREAM with this error code at this moment.
    Reset(u32, Moment),
    /// The answer's headers and a message, and the end of the stream: no trailers at all.
    NoTrailers,
    /// Trailers without `grpc-status`.
    NoStatus,
    /// A `grpc-status` that is no number.
    BadStatus,
    /// A `grpc-status` that is no code of gRPC: 99.
    UnknownStatus,
    /// A message that is shorter than its prefix says, then status 0.
    TruncatedMessage,
    /// Status 0 without a message.
    NoMessage,
    /// Two messages, then status 0.
    TwoMessages,
    /// A message whose compression flag is neither 0 nor 1.
    BadFlag,
    /// A message that claims to be compressed, in no encoding.
    CompressedFlag,
    /// HTTP 200 with this text and a content-type that is not gRPC's.
    WrongContentType,
    /// An HTTP status without gRPC, and, if `true`, a text.
    Http(u16, bool),
    /// A message of this many bytes, sent as the client gives room.
    OversizeMessage(usize),
    /// Headers of this many bytes.
    OversizeHeaders(usize),
    /// Trailers of this many bytes, with status 0.
    OversizeTrailers(usize),
    /// This `grpc-status` in a head that does not end the stream, then a message, then status 0.
    StatusInHead(u32),
    /// This many DATA frames without a byte, each of which the client has to read and none of which
    /// says anything, then a good answer.
    EmptyData(u32),
}

/// A moment of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Before anything of it.
    BeforeHeaders,
    /// After its headers.
    AfterHeaders,
    /// In the middle of a message.
    MidMessage,
    /// After a whole message.
    AfterMessage,
}

impl Moment {
    /// All of them, in order.
    pub const ALL: [Self; 4] =
        [Self::BeforeHeaders, Self::AfterHeaders, Self::MidMessage, Self::AfterMessage];
}

impl Misbehaviour {
    /// Each kind at least once: RST_STREAM with every code of HTTP/2 at every moment.
    pub fn all() -> Vec<Self> {
        let soon = Duration::from_millis(100);
        let greetings = [
            Self::Refuse,
            Self::BlackHole,
            Self::AcceptThenClose,
            Self::AcceptThenReset,
            Self::Http1Greeting,
        ];
        let more_greetings =
            [Self::GarbageGreeting, Self::NoSettings, Self::SlowSettings(soon), Self::Streams(0)];
        let limits = [Self::Streams(1), Self::StreamsLater(soon), Self::NoWindow];
        let links = [
            Self::NoAnswer,
            Self::NoPingAck,
            Self::PingFlood(1_000),
            Self::Close,
            Self::Cut,
            Self::HalfClose,
        ];
        let bytes = [Self::Garbage, Self::TruncatedFrame, Self::OversizeFrame, Self::Http1];
        let goaways =
            (0..14).flat_map(|code| [Self::GoAwayBelow(code), Self::GoAwayThenClose(code)]);
        let resets = (0..14).flat_map(|code| Moment::ALL.map(|moment| Self::Reset(code, moment)));
        let statuses = [
            Self::NoTrailers,
            Self::NoStatus,
            Self::BadStatus,
            Self::UnknownStatus,
            Self::WrongContentType,
        ];
        let messages = [Self::TruncatedMessage, Self::NoMessage, Self::TwoMessages, Self::BadFlag];
        let http = [400, 401, 403, 404, 413, 414, 429, 431, 500, 502, 503, 504];
        let http = http
            .into_iter()
            .flat_map(|status| [Self::Http(status, true), Self::Http(status, false)]);
        let large =
            [Self::CompressedFlag, Self::OversizeMessage(5 << 20), Self::OversizeHeaders(20 << 10)];
        let mut all = Vec::new();
        all.extend(
            greetings.into_iter().chain(more_greetings).chain(limits).chain(links).chain(bytes),
        );
        all.extend(goaways.chain([Self::GoAwayTwice, Self::TooManyPings]).chain(resets));
        all.extend([Self::OversizeHeaders(64 << 10), Self::OversizeTrailers(64 << 10)]);
        all.extend([Self::StatusInHead(0), Self::StatusInHead(10), Self::EmptyData(50)]);
        all.extend(statuses.into_iter().chain(messages).chain(http).chain(large));
        all
    }
}

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
                let strikes =
                    || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
                let Some(mut link) = (if fault.befalls_greeting() && strikes() {
                    link.greet(fault).await
                } else {
                    link.greet_well().await
                }) else {
                    return;
                };
                while let Some((stream, body)) = link.next_whole_request().await {
                    if fault.befalls_greeting() || !strikes() {
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

impl Misbehaviour {
    /// Whether it takes the place of, or comes with, the connection's greeting; else it befalls a
    /// call.
    pub fn befalls_greeting(self) -> bool {
        let silent_or_rude =
            [Self::Refuse, Self::BlackHole, Self::AcceptThenClose, Self::AcceptThenReset];
        let other_words =
            [Self::Http1Greeting, Self::GarbageGreeting, Self::NoSettings, Self::NoWindow];
        let settings =
            matches!(self, Self::SlowSettings(_) | Self::Streams(_) | Self::StreamsLater(_));
        settings || silent_or_rude.contains(&self) || other_words.contains(&self)
    }
}

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const HELLO: &[u8] = b"\n\x05hello";

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
                return self.send(Frame::data(stream, serve::frame(HELLO), true)).await;
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
        let mut framed = serve::frame(HELLO).to_vec();
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
