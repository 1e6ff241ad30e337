//! One attempt on one open stream: reads the answer's head, and labels whatever goes wrong. A unary
//! answer is read to its end by `unary_answer`.

use super::{
    answer::Answer,
    body::ResponseBody,
    chunks::Chunks,
    clean::clean,
    fields::{Fields, is_grpc},
    framing::Framing,
    link::{Link, Permit},
    pushback, status,
};
use crate::{
    model::{Failure, GoAway, LinkEnd, Phase, printable},
    policy::Pushback,
};
use h2::RecvStream;
use http::HeaderMap;
use std::sync::Arc;
use tonic::Status;

/// A failed attempt: the classification to decide on, and the status to surface with.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) failure: Failure,
    pub(crate) status: Status,
    /// When to retry, if the peer said so.
    pub(crate) pushback: Option<Pushback>,
    /// Whether the peer had finished an answer on the link of this attempt, where the link failed.
    pub(crate) link_answered: bool,
    /// The head of the answer whose trailers have the status; none where the head is all there is.
    pub(crate) head: Option<Arc<HeaderMap>>,
}

impl From<Failure> for AttemptFailure {
    fn from(failure: Failure) -> Self {
        let status = status::of(&failure);
        Self { failure, status, pushback: None, link_answered: false, head: None }
    }
}

impl AttemptFailure {
    /// The peer's own words, where it spoke.
    pub(crate) fn message(&self) -> Arc<str> {
        match self.status.message() {
            "" => self.failure.to_string().into(),
            message => message.into(),
        }
    }

    pub(super) fn from_peer(status: Status, headers: &HeaderMap) -> Box<Self> {
        let pushback = pushback::of_status(&status, headers);
        let failure = match status::says_too_large(&status) {
            true => Failure::too_large_for_peer(status.code(), status.message()),
            false => Failure::status(status.code()),
        };
        Box::new(Self { failure, status, pushback, link_answered: false, head: None })
    }
}

/// The outcome of an attempt; failures are rare and large, so they are boxed.
pub(crate) type Outcome = Result<http::Response<ResponseBody>, Box<AttemptFailure>>;

pub(super) fn pass_on(
    head: http::response::Parts,
    data: Chunks,
    framing: Framing,
    body: RecvStream,
    permit: Permit,
) -> http::Response<ResponseBody> {
    http::Response::from_parts(head, ResponseBody::live(data, framing, body, permit))
}

/// Reads only the head of a streaming answer. Cancel safe: dropped, the stream is reset.
pub(crate) async fn read_head(answer: Answer, mut permit: Permit) -> Outcome {
    let response = match answer.await {
        Ok(response) => response,
        // Boxed: every call's future would have room for it.
        Err(error) => return Err(Box::pin(classify(&error, permit.link())).await),
    };
    let (mut head, body) = response.into_parts();
    Ok(match head_ends(&mut head, &body, &mut permit)? {
        Some(end) => http::Response::from_parts(head, end),
        None => pass_on(head, Chunks::default(), Framing::default(), body, permit),
    })
}

/// Whether the head is all there is: a trailers-only OK, an answer that is not gRPC, or a head
/// above a limit. A head that is handed on is clean.
///
/// A status counts here only where the head is the answer's end. In any other head it is left out:
/// the call's status is what its trailers say. One that cannot be read does not hide an HTTP error.
pub(super) fn head_ends(
    head: &mut http::response::Parts,
    body: &RecvStream,
    permit: &mut Permit,
) -> Result<Option<ResponseBody>, Box<AttemptFailure>> {
    let fields = Fields::of(&head.headers);
    permit.take_head(fields, &head.headers).map_err(|failure| Box::new(failure.into()))?;
    let http = head.status.as_u16();
    if fields.have_status(&head.headers) {
        if !body.is_end_stream() {
            status::leave_out(&mut head.headers);
        } else if (http == 200 || status::is_readable(&head.headers))
            && let Some(status) = status::from_headers(&head.headers)
        {
            return match status.code() {
                tonic::Code::Ok => {
                    clean(&mut head.headers);
                    Ok(Some(ResponseBody::whole(Chunks::default(), HeaderMap::new())))
                }
                _ => Err(AttemptFailure::from_peer(status, &head.headers)),
            };
        }
    }
    if http != 200 {
        let text = format!("the peer answered HTTP {http} without a grpc-status");
        let pushback = pushback::of_http(&head.headers);
        return Err(Box::new(AttemptFailure { pushback, ..Failure::http(http, text).into() }));
    }
    if fields.has_other_type
        && let Some(kind) =
            head.headers.get(http::header::CONTENT_TYPE).filter(|kind| !is_grpc(kind))
    {
        let kind = String::from_utf8_lossy(kind.as_bytes());
        let text = format!(
            "the peer answered with content-type \"{}\", which is not gRPC",
            printable(&kind)
        );
        return Err(Box::new(Failure::http(http, text).into()));
    }
    if !fields.are_clean() {
        clean(&mut head.headers);
    }
    Ok(None)
}

pub(super) fn no_status() -> Box<AttemptFailure> {
    Box::new(Failure::no_status("the peer ended the call without a grpc-status".into()).into())
}

/// Labels an error of h2 by where it came from, not by its text. Where the link died, waits for the
/// driver's label of that.
pub(super) async fn classify(error: &h2::Error, link: &Link) -> Box<AttemptFailure> {
    let failure = match classify_now(error, link) {
        Some(failure) => failure,
        None => Failure::link_lost(link.ended().await, Phase::MaybeProcessed),
    };
    Box::new(AttemptFailure { link_answered: link.has_answered(), ..failure.into() })
}

/// The same, where the answer has begun.
pub(super) async fn classify_late(error: &h2::Error, link: &Link) -> Box<AttemptFailure> {
    let mut ended = classify(error, link).await;
    ended.failure = ended.failure.after_answer_began();
    ended
}

/// The label of an error, where it does not depend on how the link ended.
pub(super) fn classify_now(error: &h2::Error, link: &Link) -> Option<Failure> {
    let reason = error.reason().map(u32::from).unwrap_or_default();
    if error.is_go_away() && error.is_remote() {
        let unheard = || Arc::new(GoAway { last_stream_id: 0, code: reason, debug: String::new() });
        return Some(Failure::goaway(link.goaway().unwrap_or_else(unheard)));
    }
    if error.is_reset() {
        return Some(match error.is_remote() {
            true => Failure::reset(reason),
            false => Failure::protocol(format!("the peer broke HTTP/2 on this stream: {error}")),
        });
    }
    if error.is_io() || error.is_go_away() {
        return link.end().map(|end: Arc<LinkEnd>| Failure::link_lost(end, Phase::MaybeProcessed));
    }
    Some(Failure::protocol(format!("HTTP/2 refused the call: {error}")))
}
