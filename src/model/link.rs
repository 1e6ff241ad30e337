//! How a link begins and ends: failed dials, GOAWAY frames and the causes of a loss.

use super::text::printable;
use std::{fmt, io};

/// Why a link is gone. The first cause seen wins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEnd {
    /// No byte arrived within `keepalive_timeout` of a PING (gRPC A8).
    KeepaliveTimeout,
    /// The peer closed the connection without a GOAWAY.
    Closed,
    /// Reading or writing failed.
    #[non_exhaustive]
    Io {
        /// What kind of failure the operating system reported.
        kind: io::ErrorKind,
        /// Its own words.
        text: String,
    },
    /// The peer said GOAWAY; the link ended when its last stream did, or when the peer hung up.
    GoAway(GoAway),
    /// The peer broke HTTP/2's rules.
    Protocol(String),
    /// This side hung up: drain, shutdown or a replaced link.
    HungUp,
    /// More links than `max_draining_links`, this number, were finishing their calls; this one was
    /// the oldest.
    TooManyDraining(usize),
    /// The actor that owned the link failed.
    ActorFailed(String),
}

/// A GOAWAY frame, as the peer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoAway {
    /// Streams above this id were certainly not processed.
    pub last_stream_id: u32,
    /// The HTTP/2 error code; 0 is NO_ERROR.
    pub code: u32,
    /// The peer's debug data, cut to a printable length.
    pub debug: String,
}

/// What a dial was doing when it failed; the furthest, where it failed at several addresses. In the
/// order of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DialStep {
    /// Looking the host up.
    Resolve,
    /// Opening the connection.
    Connect,
    /// Agreeing on TLS, both sides' certificates included.
    Tls,
    /// Waiting for the peer's first HTTP/2 SETTINGS frame.
    Handshake,
}

/// Why a dial produced no link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialFailure {
    /// The step that failed.
    pub step: DialStep,
    /// One sentence with the address and the reason.
    pub reason: String,
    /// Whether `connect_timeout` ran out.
    pub timed_out: bool,
    /// Whether every address refused at once: nobody listens there. The host is up, and its process
    /// is not, or not yet; while calls wait it is dialled more often than one that does not answer
    /// (`reconnect.refused_max_backoff`).
    pub refused: bool,
}

impl LinkEnd {
    /// All values of gRPC A94's `grpc.disconnect_error` label.
    pub(crate) fn labels() -> impl Iterator<Item = String> {
        let own = [
            "connection timed out",
            "connection reset",
            "connection aborted",
            "socket error",
            "subchannel shutdown",
            "unknown",
        ];
        own.map(str::to_owned)
            .into_iter()
            .chain(GoAway::code_names().map(|name| format!("GOAWAY {name}")))
    }

    /// The value of gRPC A94's `grpc.disconnect_error` label.
    pub fn label(&self) -> String {
        match self {
            Self::KeepaliveTimeout => "connection timed out".into(),
            Self::Closed => "socket error".into(),
            Self::Io { kind, .. } => match kind {
                io::ErrorKind::ConnectionReset => "connection reset",
                io::ErrorKind::TimedOut => "connection timed out",
                io::ErrorKind::ConnectionAborted => "connection aborted",
                _ => "socket error",
            }
            .into(),
            Self::GoAway(goaway) => format!("GOAWAY {}", goaway.code_name()),
            Self::Protocol(_) | Self::ActorFailed(_) => "unknown".into(),
            Self::HungUp | Self::TooManyDraining(_) => "subchannel shutdown".into(),
        }
    }
}

impl DialFailure {
    /// A failure at `step`. `reason` is one sentence with the address and the reason; it is made
    /// printable wherever it is shown.
    pub fn new(step: DialStep, reason: impl Into<String>) -> Self {
        Self { step, reason: reason.into(), timed_out: false, refused: false }
    }
}

impl DialStep {
    /// Its name in lower case, as it stands in log lines and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
        }
    }
}

impl GoAway {
    /// The error code of a peer that goes away in good order.
    pub(crate) const NO_ERROR: u32 = 0;

    /// HTTP/2's name for the error code (RFC 9113, section 7).
    pub fn code_name(&self) -> &'static str {
        code_name(self.code)
    }

    /// All that [`code_name`](Self::code_name) can be.
    pub(crate) fn code_names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().chain([UNKNOWN])
    }

    /// Whether this is gRPC A8's complaint about keepalive pings.
    pub fn is_too_many_pings(&self) -> bool {
        self.code == 0xb && self.debug == "too_many_pings"
    }
}

/// HTTP/2's names for its error codes, in the order of their numbers (RFC 9113, section 7).
const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The name of all others.
const UNKNOWN: &str = "UNKNOWN_ERROR_CODE";

/// HTTP/2's name for an error code.
pub(crate) fn code_name(code: u32) -> &'static str {
    NAMES.get(code as usize).copied().unwrap_or(UNKNOWN)
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepaliveTimeout => {
                f.write_str("keepalive: no answer from the peer within keepalive_timeout")
            }
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Io { text, .. } => write!(f, "the connection failed: {}", printable(text)),
            Self::GoAway(goaway) => goaway.fmt(f),
            Self::Protocol(text) => write!(f, "HTTP/2 protocol error: {}", printable(text)),
            Self::HungUp => f.write_str("this side closed the connection"),
            Self::TooManyDraining(limit) => write!(
                f,
                "this side closed the connection: it was the oldest of more than \
                 max_draining_links ({limit}) that were finishing their calls"
            ),
            Self::ActorFailed(text) => {
                write!(f, "the connection actor failed: {}", printable(text))
            }
        }
    }
}

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer sent GOAWAY {} (last stream {})",
            self.code_name(),
            self.last_stream_id
        )?;
        if self.debug.is_empty() {
            return Ok(());
        }
        write!(f, ": \"{}\"", printable(&self.debug))
    }
}

impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.reason))
    }
}
