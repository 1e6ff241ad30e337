//! A failed call's status as trailers, and what a bridge tells in trailers of its own.

use super::request::OURS;
use crate::{
    call::Call,
    model::{CallReport, NotRetried, Origin},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::sync::Arc;
use tonic::Status;

const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const ORIGIN: HeaderName = HeaderName::from_static("x-tonic-supervisor-origin");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tonic-supervisor-attempts");
const WAITED: HeaderName = HeaderName::from_static("x-tonic-supervisor-waited-ms");

/// What is told of a call in its trailers, where that is asked for.
pub(super) struct Tale(pub(super) Option<Arc<Call>>);

impl Tale {
    /// Adds it to the trailers of a call that ended with `status`; none: with the peer's own.
    pub(super) fn tell(&self, trailers: &mut HeaderMap, status: Option<&Status>) {
        debug_assert!([&ORIGIN, &ATTEMPTS, &WAITED].iter().all(|it| it.as_str().starts_with(OURS)));
        let Some(call) = &self.0 else { return };
        let report = status.and_then(CallReport::of);
        let origin = match report.map(|report| report.outcome.origin) {
            Some(Origin::Local) => "local",
            Some(Origin::Peer) | None => "peer",
        };
        let (attempts, waited) = call.tale();
        trailers.insert(ORIGIN, HeaderValue::from_static(origin));
        trailers.insert(ATTEMPTS, HeaderValue::from(attempts));
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        trailers.insert(WAITED, HeaderValue::from(waited));
    }
}

/// A status as trailers. Where retries were made here and are used up, or were throttled, they
/// forbid the client's own (gRPC A6): they would multiply.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Words that cannot stand in a field.
        trailers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    if let Some(words) = message(status.message()) {
        trailers.insert(MESSAGE, words);
    }
    // The peer's, where it was all in one head.
    trailers.remove(header::CONTENT_LENGTH);
    if CallReport::of(status).is_some_and(forbids_retries) {
        trailers.insert(PUSHBACK, HeaderValue::from_static("-1"));
    }
    trailers
}

/// A status's words as `grpc-message`; none where there are none. What is not printable is encoded,
/// and `%` (gRPC over HTTP/2, "Responses"), and nothing else: tonic encodes `?` and `#`, too, which
/// grpc-js does not decode.
fn message(words: &str) -> Option<HeaderValue> {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(words.len());
    for (at, byte) in words.bytes().enumerate() {
        // A field may not begin or end with a space (RFC 9113, section 8.2.1).
        let inside = at > 0 && at + 1 < words.len();
        match byte {
            b'%' => encoded.push_str("%25"),
            b'!'..=b'~' => encoded.push(byte.into()),
            b' ' if inside => encoded.push(' '),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    HeaderValue::try_from(encoded).ok().filter(|words| !words.is_empty())
}

fn forbids_retries(report: &CallReport) -> bool {
    match report.not_retried {
        Some(NotRetried::LimitReached(made)) => made > 0,
        Some(NotRetried::Throttled) => true,
        _ => false,
    }
}

/// The head of the answer whose trailers ended the call, where it had one.
pub(super) fn head_before(status: &Status) -> Option<HeaderMap> {
    Some(CallReport::of(status)?.head.as_ref()?.as_ref().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_encoded_as_grpc_says_and_are_read_as_they_were() {
        for (words, written) in [
            ("is it right? #1 {x} `y` \"z\" <a>", "is it right? #1 {x} `y` \"z\" <a>"),
            ("100 %\n", "100 %25%0A"),
            (" both ends ", "%20both ends%20"),
            ("Schl\u{fc}ssel \u{7f}", "Schl%C3%BCssel %7F"),
        ] {
            let trailers = trailers(&Status::not_found(words));
            assert_eq!(trailers["grpc-message"], written);
            let read = Status::from_header_map(&trailers).expect("a status");
            assert_eq!(read.message(), words);
        }
        assert!(!trailers(&Status::not_found("")).contains_key("grpc-message"));
    }
}
