//! How large the headers of answers may be: the head or the trailers of one call, and the heads of
//! all open calls of a link together. A call above a limit fails alone.
//!
//! h2 has a limit of its own, and what is far above that one ends the connection with every call on
//! it. So h2's is set far above ours, and ours is checked here, when the headers have come.

use super::{
    fields::{FIELD, Fields},
    link::{Link, Permit},
    status,
};
use crate::model::Failure;
use http::HeaderMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What h2 takes in one head or trailers, and what it announces to the peer.
pub(super) const TAKEN_BY_H2: u32 = 16 << 20;

/// What the heads of a link's open calls may hold together.
pub(super) const OPEN_HEADS: usize = 16 << 20;

/// A head below this size is not counted: there is at most one for each open call.
const SMALL: usize = 1 << 10;

/// The field that HTTP/2 begins an answer with: `:status`, three digits, and what every field
/// counts for.
const STATUS_FIELD: usize = 7 + 3 + FIELD;

/// The limits of one link, and what is held of them.
#[derive(Debug)]
pub(super) struct HeaderLimits {
    each: usize,
    held: AtomicUsize,
}

impl HeaderLimits {
    /// `each`: what one head, or one call's trailers, may hold.
    pub(super) fn new(each: usize) -> Self {
        Self { each, held: AtomicUsize::new(0) }
    }

    /// Takes a head in; how much of it to give back with `release` when its call ends.
    pub(super) fn take_head(&self, fields: Fields, head: &HeaderMap) -> Result<usize, Failure> {
        let size = STATUS_FIELD + fields.size;
        self.check("headers", size, head)?;
        if size < SMALL {
            return Ok(0);
        }
        if self.held.fetch_add(size, Relaxed) + size > OPEN_HEADS {
            self.release(size);
            return Err(Failure::open_headers_too_large(OPEN_HEADS));
        }
        Ok(size)
    }

    /// Gives back what `take_head` took.
    pub(super) fn release(&self, size: usize) {
        if size > 0 {
            self.held.fetch_sub(size, Relaxed);
        }
    }

    /// Trailers end their call, so that they are not held.
    pub(super) fn check_trailers(
        &self,
        fields: Fields,
        trailers: &HeaderMap,
    ) -> Result<(), Failure> {
        self.check("trailers", fields.size, trailers)
    }

    fn check(&self, what: &str, size: usize, headers: &HeaderMap) -> Result<(), Failure> {
        if size <= self.each {
            return Ok(());
        }
        let code = status::code_from_headers(headers);
        Err(Failure::headers_too_large(what, size, self.each, code))
    }
}

impl Link {
    /// With a limit on the headers of one answer.
    pub(super) fn with_header_limit(mut self, bytes: usize) -> Self {
        self.headers = HeaderLimits::new(bytes);
        self
    }
}

impl Permit {
    /// Takes in the head of this stream's answer.
    pub(super) fn take_head(&mut self, fields: Fields, head: &HeaderMap) -> Result<(), Failure> {
        self.head = self.link().headers.take_head(fields, head)?;
        Ok(())
    }
}

/// The size of a request's head as HTTP/2 counts it against SETTINGS_MAX_HEADER_LIST_SIZE, with the
/// fields that it puts in front.
pub(crate) fn size_of_head(uri: &http::Uri, headers: &HeaderMap) -> usize {
    let scheme = uri.scheme_str().map_or(0, str::len);
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let first =
        [":method".len() + "POST".len(), ":scheme".len(), ":authority".len(), ":path".len()];
    let first = first.iter().sum::<usize>() + scheme + authority + path + first.len() * FIELD;
    first + Fields::of(headers).size
}

/// What gRPC's own fields come to at most, beside the URI: method, type, agent, timeout, attempts.
const OWN_FIELDS: usize = 600;

/// What a head without metadata, to this URI, comes to at most.
pub(crate) fn bound_without_metadata(uri: &http::Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    OWN_FIELDS + authority + path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;
    use http::HeaderValue;
    use tonic::Code;

    fn take_head(limits: &HeaderLimits, head: &HeaderMap) -> Result<usize, Failure> {
        limits.take_head(Fields::of(head), head)
    }

    fn head(bytes: usize) -> HeaderMap {
        let long = HeaderValue::try_from("x".repeat(bytes)).expect("a value");
        HeaderMap::from_iter([("x-long".parse().expect("a name"), long)])
    }

    #[test]
    fn a_head_is_measured_as_http2_does_and_one_byte_too_many_is_too_large() {
        let limits = HeaderLimits::new(1_000);
        let fits = 1_000 - STATUS_FIELD - FIELD - "x-long".len();
        assert_eq!(take_head(&limits, &head(fits)).ok(), Some(0), "a small head is not counted");
        let failure = take_head(&limits, &head(fits + 1)).expect_err("one byte too many");
        assert_eq!(failure.code, Code::ResourceExhausted);
        let Cause::TooLarge(words) = failure.cause else { panic!("too large") };
        assert!(words.contains("1001") && words.contains("1000"), "{words}");
        assert!(words.contains("max_response_header_bytes"), "{words}");
    }

    #[test]
    fn the_status_of_trailers_that_are_too_large_is_named() {
        let mut trailers = head(2_000);
        trailers.insert("grpc-status", HeaderValue::from_static("5"));
        let failure = HeaderLimits::new(1_000)
            .check_trailers(Fields::of(&trailers), &trailers)
            .expect_err("too large");
        assert!(failure.to_string().contains("NOT_FOUND"), "{failure}");
    }

    #[test]
    fn open_heads_count_together_and_are_given_back() {
        let limits = HeaderLimits::new(1 << 20);
        let mut open = Vec::new();
        let failure = loop {
            match take_head(&limits, &head(1_000_000)) {
                Ok(size) => open.push(size),
                Err(failure) => break failure,
            }
        };
        assert_eq!(open.len(), OPEN_HEADS / 1_000_000);
        assert!(matches!(failure.cause, Cause::TooLarge(_)), "{failure:?}");
        open.drain(..).for_each(|size| limits.release(size));
        assert!(take_head(&limits, &head(1_000_000)).is_ok());
    }
}
