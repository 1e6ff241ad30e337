//! The ways in which a peer can break HTTP/2 or gRPC, each with a name: play one, or all of them in
//! a loop.

use std::time::Duration;

/// One way to misbehave. Some befall a connection's beginning, the others a call.
///
/// ```
/// use tonic_supervisor::testing::{Misbehaviour, RawPeer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// for fault in Misbehaviour::all() {
///     let peer = RawPeer::on_tcp().await.misbehave(fault, 1);
///     // ... let your agent call peer.address(): its first call meets the fault, the others
///     // are echoed ...
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
#[non_exhaustive]
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
    pub const ALL: &'static [Self] =
        &[Self::BeforeHeaders, Self::AfterHeaders, Self::MidMessage, Self::AfterMessage];
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
        let resets = (0..14)
            .flat_map(|code| Moment::ALL.iter().map(move |moment| Self::Reset(code, *moment)));
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

impl Misbehaviour {
    /// Whether it takes the place of, or comes with, the connection's greeting; else it befalls a
    /// call.
    pub fn affects_greeting(self) -> bool {
        let silent_or_rude =
            [Self::Refuse, Self::BlackHole, Self::AcceptThenClose, Self::AcceptThenReset];
        let other_words =
            [Self::Http1Greeting, Self::GarbageGreeting, Self::NoSettings, Self::NoWindow];
        let settings =
            matches!(self, Self::SlowSettings(_) | Self::Streams(_) | Self::StreamsLater(_));
        settings || silent_or_rude.contains(&self) || other_words.contains(&self)
    }
}
