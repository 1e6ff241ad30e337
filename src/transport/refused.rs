//! Requests that do not go out: too large for the peer or for HTTP/2, or on a link that takes no
//! more streams. Only the last concerns the link.

use super::{event::LinkEvent, limits::size_of_head, link::Link};
use crate::model::{Failure, LinkEnd, Phase};
use bytes::Bytes;
use std::sync::Arc;

/// The most that HTTP/2 can send of one body at once (RFC 9113, section 6.9.1).
const MAX_BODY: usize = (1 << 31) - 1;

impl Link {
    /// What can be known to be refused, before anything is sent.
    pub(super) fn takes(
        &self,
        head: &http::Request<()>,
        body: Option<&Bytes>,
        bound: Option<usize>,
    ) -> Result<(), Failure> {
        if let Some(body) = body.filter(|body| body.len() > MAX_BODY) {
            return Err(Failure::request_too_large(
                body.len(),
                MAX_BODY,
                "what HTTP/2 can send at once",
            ));
        }
        if let Some(max) = self.max_head().filter(|max| bound.is_none_or(|bound| bound > *max)) {
            let size = size_of_head(head.uri(), head.headers());
            if size > max {
                return Err(Failure::head_too_large(size, max));
            }
        }
        Ok(())
    }

    /// Why a stream was not opened: the link is gone, its stream ids are used up, or the request
    /// itself is at fault. Only the first two concern the link.
    pub(super) fn cannot_open(&self, error: &h2::Error) -> Failure {
        let gone = error.is_io() || error.is_go_away();
        if !gone && !has_no_ids(error) {
            return Failure::bad_request(format!("HTTP/2 cannot send this request: {error}"));
        }
        let known = self.end().is_some() || self.goaway().is_some();
        // It refuses the next stream as well: nobody shall try again on it.
        self.drain();
        if gone {
            return self.gone();
        }
        if !known {
            self.report(LinkEvent::Retired);
        }
        Failure::link_lost(Arc::new(LinkEnd::Protocol(error.to_string())), Phase::Unsent)
    }
}

/// Whether a link's stream ids are used up. h2 tells its own errors apart by their words only; a
/// test of links holds these.
fn has_no_ids(error: &h2::Error) -> bool {
    error.to_string().ends_with("stream ID overflowed")
}
