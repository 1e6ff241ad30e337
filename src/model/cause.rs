//! Why an attempt or a call failed, as a sentence for people and as a value for programs.
//!
//! A cause says more than a status code can: several causes share a code, and what to do about a
//! failure depends on the cause.

use super::{
    link::{GoAway, LinkEnd, code_name},
    text::{printable, readable},
};
use std::{fmt, sync::Arc, time::Duration};

/// Why a call was refused or dropped while it waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShedReason {
    /// `queue.max_calls` calls are open already.
    TooManyCalls,
    /// The bodies of the open calls add up to `queue.max_bytes` already.
    TooManyBytes,
    /// It waited until it had less time left than its method's answers take.
    WouldNotFinish,
}

/// Why an attempt, or the call as a whole, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The peer sent this status.
    Status,
    /// The peer answered with HTTP, not with gRPC.
    Http(String),
    /// The peer reset the stream with this HTTP/2 error code.
    Reset(u32),
    /// The peer's GOAWAY excluded this stream.
    GoAway(Arc<GoAway>),
    /// The link ended under the call.
    LinkLost(Arc<LinkEnd>),
    /// No link is up and the call does not wait for one; the text is the last connect error.
    NotConnected(Arc<str>),
    /// The peer broke the protocol on this stream.
    Protocol(String),
    /// A message is larger than a limit of this side or, in its own words, of the peer: the same
    /// again would fail the same.
    TooLarge(String),
    /// The request as it is can not be sent, or the peer refuses its shape (HTTP 400, 413, 414,
    /// 431): the same again would fail the same.
    BadRequest(String),
    /// The request's own body failed.
    RequestBody(String),
    /// The call's credentials could not be had; the text says why.
    Credentials(Arc<str>),
    /// `attempt_timeout` ran out.
    AttemptTimeout,
    /// The call's deadline passed; the text says what the call was waiting for, if it was waiting:
    /// "for a link: " with the last connect error, for room, for its credentials, for a retry.
    Deadline(Option<Arc<str>>),
    /// The call waited, and when it could have begun it had `left` until its deadline, while the
    /// answers of its method take at least `takes` of late. This attempt was not sent.
    WouldNotFinish {
        /// The time until its deadline.
        left: Duration,
        /// What an answer needs.
        takes: Duration,
    },
    /// The caller gave up.
    Cancelled,
    /// The supervisor was shut down.
    Shutdown,
    /// The queue is full.
    Shed(ShedReason),
    /// The supervisor itself failed for good.
    Supervision(Arc<str>),
}

/// Why supervision ended, where the runtime did.
pub(crate) const RUNTIME_ENDED: &str = "the runtime of this supervisor has ended";

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("the peer answered with this status"),
            Self::Http(text)
            | Self::Protocol(text)
            | Self::TooLarge(text)
            | Self::BadRequest(text) => f.write_str(&printable(text)),
            Self::Reset(code) => write!(f, "the peer reset the stream: {}", code_name(*code)),
            Self::GoAway(goaway) => goaway.fmt(f),
            Self::LinkLost(end) => end.fmt(f),
            Self::NotConnected(last) => write!(f, "not connected: {}", printable(last)),
            Self::RequestBody(text) => write!(f, "the request's body failed: {}", printable(text)),
            Self::Credentials(text) => write!(f, "call credentials: {}", printable(text)),
            Self::AttemptTimeout => f.write_str("the attempt took longer than attempt_timeout"),
            Self::Deadline(None) => f.write_str("the call's deadline passed"),
            Self::Deadline(Some(what)) => {
                write!(f, "the call's deadline passed while it waited {}", printable(what))
            }
            Self::WouldNotFinish { left, takes } => {
                // Rounded up, so that it is more than what is left.
                let takes = readable(takes.saturating_add(Duration::from_nanos(999_999)));
                write!(f, "would not finish: {} left, answers take {takes}", readable(*left))
            }
            Self::Cancelled => f.write_str("the caller gave up"),
            Self::Shutdown => f.write_str("the supervisor was shut down"),
            Self::Shed(reason) => reason.fmt(f),
            Self::Supervision(reason) => write!(f, "supervision ended: {}", printable(reason)),
        }
    }
}

impl fmt::Display for ShedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyCalls => "the queue is full: queue.max_calls calls are open",
            Self::TooManyBytes => "the queue is full: queue.max_bytes of requests are open",
            Self::WouldNotFinish => "it would not finish within its deadline",
        })
    }
}

impl ShedReason {
    /// Each of them.
    pub(crate) const ALL: [Self; 3] =
        [Self::TooManyCalls, Self::TooManyBytes, Self::WouldNotFinish];

    /// The value of the `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooManyCalls => "too_many_calls",
            Self::TooManyBytes => "too_many_bytes",
            Self::WouldNotFinish => "would_not_finish",
        }
    }
}
