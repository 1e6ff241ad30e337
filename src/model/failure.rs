//! One failed attempt, classified: whose fault, how far it came, how much it takes down, and why.
//!
//! | cause | origin | phase | scope | code |
//! |---|---|---|---|---|
//! | status sent by the peer | peer | processed | stream | as sent |
//! | HTTP status without gRPC | peer | maybe processed | stream | gRPC's HTTP mapping |
//! | HTTP 400, 413, 414, 431 | peer | maybe processed | stream | gRPC's HTTP mapping |
//! | RST_STREAM REFUSED_STREAM | peer | unprocessed | stream | UNAVAILABLE |
//! | any other RST_STREAM | peer | maybe processed | stream | gRPC's RST mapping |
//! | GOAWAY, stream above its last id | peer | unprocessed | link | UNAVAILABLE |
//! | link lost under the call | local | maybe processed | link | UNAVAILABLE |
//! | link gone before anything was sent | local | unsent | link | UNAVAILABLE |
//! | no link, and the call does not wait for one | local | unsent | link | UNAVAILABLE |
//! | attempt or overall deadline | local | maybe processed | stream | DEADLINE_EXCEEDED |
//! | a call that would not finish | local | unsent | stream | DEADLINE_EXCEEDED |
//! | a request that HTTP/2 cannot send | local | unsent | stream | INTERNAL |
//! | a head above the peer's limit | local | unsent | stream | RESOURCE_EXHAUSTED |
//! | call credentials | local | unsent | stream | as they say (gRPC A54) |
//! | shed | local | unsent | stream | RESOURCE_EXHAUSTED |
//! | message above a limit of this side | local | unsent or processed | stream | OUT_OF_RANGE |
//! | cancelled, shut down | local | maybe processed or unsent | stream | CANCELLED |

use super::{
    cause::{Cause, ShedReason},
    code,
    link::{GoAway, LinkEnd},
};
use std::{fmt, sync::Arc, time::Duration};
use tonic::Code;

/// Whose fault an attempt's failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// This side, or the path between the two.
    Local,
    /// The peer said so.
    Peer,
}

/// How far the failed attempt can have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// It never left this process.
    Unsent,
    /// It may have left, but the server's application certainly never saw it.
    Unprocessed,
    /// The server may or may not have acted on it.
    MaybeProcessed,
    /// The server answered it.
    Processed,
}

/// What the failure takes down with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Only this call's stream.
    Stream,
    /// The whole link.
    Link,
}

/// A failed attempt, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The gRPC code it surfaces with.
    pub code: Code,
    /// Whose fault it is.
    pub origin: Origin,
    /// How far it can have come.
    pub phase: Phase,
    /// What it takes down.
    pub scope: Scope,
    /// Why.
    pub cause: Cause,
}

impl Failure {
    fn new(code: Code, origin: Origin, phase: Phase, scope: Scope, cause: Cause) -> Self {
        Self { code, origin, phase, scope, cause }
    }

    /// The peer sent `code` as the call's status.
    pub(crate) fn status(code: Code) -> Self {
        Self::new(code, Origin::Peer, Phase::Processed, Scope::Stream, Cause::Status)
    }

    /// The peer answered with HTTP status `status` and no `grpc-status` (gRPC's HTTP mapping).
    pub(crate) fn http(status: u16, text: String) -> Self {
        let code = match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        let cause = match status {
            400 | 413 | 414 | 431 => Cause::BadRequest(text),
            _ => Cause::Http(text),
        };
        Self::new(code, Origin::Peer, Phase::MaybeProcessed, Scope::Stream, cause)
    }

    /// HTTP/2 cannot send this request; nothing was sent, and no other call is concerned.
    pub(crate) fn bad_request(text: String) -> Self {
        Self::new(
            Code::Internal,
            Origin::Local,
            Phase::Unsent,
            Scope::Stream,
            Cause::BadRequest(text),
        )
    }

    /// The request's head is larger than the peer's SETTINGS say that it takes; nothing was sent.
    pub(crate) fn head_too_large(size: usize, limit: usize) -> Self {
        let text = format!(
            "the request's metadata make a head of {size} bytes, and the peer takes {limit} (its \
             MAX_HEADER_LIST_SIZE): send less metadata"
        );
        Self::new(
            Code::ResourceExhausted,
            Origin::Local,
            Phase::Unsent,
            Scope::Stream,
            Cause::TooLarge(text),
        )
    }

    /// The peer sent RST_STREAM with the HTTP/2 error code `reason` (gRPC's RST mapping).
    pub(crate) fn reset(reason: u32) -> Self {
        let code = match reason {
            7 => Code::Unavailable,
            8 => Code::Cancelled,
            0xb => Code::ResourceExhausted,
            0xc => Code::PermissionDenied,
            _ => Code::Internal,
        };
        let phase = if reason == 7 { Phase::Unprocessed } else { Phase::MaybeProcessed };
        Self::new(code, Origin::Peer, phase, Scope::Stream, Cause::Reset(reason))
    }

    /// The stream's id lies above the last one a GOAWAY promised to serve.
    pub(crate) fn goaway(goaway: Arc<GoAway>) -> Self {
        Self::new(
            Code::Unavailable,
            Origin::Peer,
            Phase::Unprocessed,
            Scope::Link,
            Cause::GoAway(goaway),
        )
    }

    /// The link ended; `phase` says how far the attempt had come.
    pub(crate) fn link_lost(end: Arc<LinkEnd>, phase: Phase) -> Self {
        Self::new(Code::Unavailable, Origin::Local, phase, Scope::Link, Cause::LinkLost(end))
    }

    /// The call does not wait for a link and none is up.
    pub(crate) fn not_connected(last_error: Arc<str>) -> Self {
        let cause = Cause::NotConnected(last_error);
        Self::new(Code::Unavailable, Origin::Local, Phase::Unsent, Scope::Link, cause)
    }

    /// The peer's answer is not valid gRPC.
    pub(crate) fn protocol(text: String) -> Self {
        let cause = Cause::Protocol(text);
        Self::new(Code::Internal, Origin::Peer, Phase::MaybeProcessed, Scope::Stream, cause)
    }

    /// The peer said OK, but its last message is not whole.
    pub(crate) fn breaks_off() -> Self {
        Self::protocol("the peer said OK, but its message breaks off".into())
    }

    /// The peer ended the stream without a `grpc-status`.
    pub(crate) fn no_status(text: String) -> Self {
        let cause = Cause::Protocol(text);
        Self::new(Code::Unknown, Origin::Peer, Phase::MaybeProcessed, Scope::Stream, cause)
    }

    /// The peer answered, but this side cannot take the answer: too large, compressed, or not one
    /// message.
    pub(crate) fn unusable_answer(code: Code, text: String) -> Self {
        let cause = Cause::Protocol(text);
        Self::new(code, Origin::Local, Phase::Processed, Scope::Stream, cause)
    }

    /// The request's message is larger than this side may send (as tonic's encoder has it); nothing
    /// was sent.
    pub(crate) fn request_too_large(size: usize, limit: usize, whose: &str) -> Self {
        let text = format!("the request's message of {size} bytes is larger than {whose}, {limit}");
        Self::new(
            Code::OutOfRange,
            Origin::Local,
            Phase::Unsent,
            Scope::Stream,
            Cause::TooLarge(text),
        )
    }

    /// The answer's message is larger than this side takes (as tonic's decoder has it).
    pub(crate) fn answer_too_large(limit: usize) -> Self {
        let text =
            format!("the answer's message is larger than max_response_message_bytes, {limit}");
        Self {
            cause: Cause::TooLarge(text),
            ..Self::unusable_answer(Code::OutOfRange, String::new())
        }
    }

    /// The head or the trailers of the answer are larger than this side takes; `status` is what
    /// they say, if they say one.
    pub(crate) fn headers_too_large(
        what: &str,
        size: usize,
        limit: usize,
        status: Option<Code>,
    ) -> Self {
        let mut text = format!(
            "the answer's {what} of {size} bytes are larger than max_response_header_bytes, {limit}"
        );
        if let Some(code) = status {
            text = format!("{text}; their grpc-status is {}", code::code_name(code));
        }
        let failure = Self::unusable_answer(Code::ResourceExhausted, String::new());
        Self { cause: Cause::TooLarge(text), ..failure }
    }

    /// The heads of the answers that are open on one link are larger together than this side takes.
    pub(crate) fn open_headers_too_large(limit: usize) -> Self {
        let text = format!(
            "the headers of the answers that are open on this link would be larger than {limit} \
             bytes together; a smaller max_response_header_bytes or max_in_flight keeps them below"
        );
        let failure = Self::unusable_answer(Code::ResourceExhausted, String::new());
        Self { cause: Cause::TooLarge(text), ..failure }
    }

    /// The peer's status says that a message is too large for it.
    pub(crate) fn too_large_for_peer(code: Code, text: &str) -> Self {
        Self {
            cause: Cause::TooLarge(format!("the peer says that a message is too large: {text}")),
            ..Self::status(code)
        }
    }

    /// The same, once the peer has begun to answer: whatever it says then, it may have acted on the
    /// call.
    pub(crate) fn after_answer_began(mut self) -> Self {
        self.phase = self.phase.max(Phase::MaybeProcessed);
        self
    }

    /// The request's body failed with `code` before it was sent whole.
    pub(crate) fn request_body(code: Code, text: String) -> Self {
        let cause = Cause::RequestBody(text);
        Self::new(code, Origin::Local, Phase::MaybeProcessed, Scope::Stream, cause)
    }

    /// The call's credentials could not be had; nothing was sent.
    pub(crate) fn credentials(code: Code, text: &str) -> Self {
        Self::new(
            code,
            Origin::Local,
            Phase::Unsent,
            Scope::Stream,
            Cause::Credentials(text.into()),
        )
    }

    /// `attempt_timeout` ran out.
    pub(crate) fn attempt_timeout() -> Self {
        Self::deadline_like(Cause::AttemptTimeout, Phase::MaybeProcessed)
    }

    /// The call's deadline passed in `phase`, while it waited for `what`, if for anything.
    pub(crate) fn deadline(phase: Phase, what: Option<Arc<str>>) -> Self {
        Self::deadline_like(Cause::Deadline(what), phase)
    }

    /// The call waited until it had only `left`, and the answers of its method take `takes`.
    pub(crate) fn would_not_finish(left: Duration, takes: Duration) -> Self {
        Self::deadline_like(Cause::WouldNotFinish { left, takes }, Phase::Unsent)
    }

    fn deadline_like(cause: Cause, phase: Phase) -> Self {
        Self::new(Code::DeadlineExceeded, Origin::Local, phase, Scope::Stream, cause)
    }

    /// The caller went away.
    pub(crate) fn cancelled(phase: Phase) -> Self {
        Self::new(Code::Cancelled, Origin::Local, phase, Scope::Stream, Cause::Cancelled)
    }

    /// The supervisor was shut down while the call was in `phase`.
    pub(crate) fn shutdown(phase: Phase) -> Self {
        Self::new(Code::Cancelled, Origin::Local, phase, Scope::Stream, Cause::Shutdown)
    }

    /// The queue is full.
    pub(crate) fn shed(reason: ShedReason) -> Self {
        let cause = Cause::Shed(reason);
        Self::new(Code::ResourceExhausted, Origin::Local, Phase::Unsent, Scope::Stream, cause)
    }

    /// Supervision itself ended, for the reason given.
    pub(crate) fn supervision(reason: Arc<str>, phase: Phase) -> Self {
        let cause = Cause::Supervision(reason);
        Self::new(Code::Unavailable, Origin::Local, phase, Scope::Link, cause)
    }

    /// Whether the server may have acted on the call although it failed.
    pub fn maybe_processed(&self) -> bool {
        self.phase >= Phase::MaybeProcessed
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}
