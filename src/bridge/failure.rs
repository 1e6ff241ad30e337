//! A failed call's status as trailers, and what a bridge tells in trailers of its own.

use super::request::OURS;
use crate::{
    call::Call,
    model::{CallReport, NotRetried, Origin},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::sync::Arc;
use tonic::Status;

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
    // The peer's, where it was all in one head.
    trailers.remove(header::CONTENT_LENGTH);
    if CallReport::of(status).is_some_and(forbids_retries) {
        trailers.insert(PUSHBACK, HeaderValue::from_static("-1"));
    }
    trailers
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
