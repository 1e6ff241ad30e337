//! Statuses: read from the peer's headers without trusting them, and made from failures of our own.

use super::{
    clean::{clean, is_clean},
    code::{self, STATUS},
};
use crate::model::Failure;
use http::HeaderMap;
use tonic::{Code, Status};

/// The status in `headers`, with message, details and metadata; none if there is no `grpc-status`.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Status> {
    if !headers.contains_key(STATUS) {
        return None;
    }
    if is_clean(headers) {
        return Status::from_header_map(headers);
    }
    let mut headers = headers.clone();
    clean(&mut headers);
    Status::from_header_map(&headers)
}

/// The code of [`from_headers`], without the rest.
pub(crate) fn code_from_headers(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS)?;
    Some(code::read(headers).unwrap_or(Code::Unknown))
}

/// Takes a status out of a head that is not the answer's end: it is not the call's status, and must
/// not be read as it.
pub(super) fn leave_out(head: &mut HeaderMap) {
    head.remove(STATUS);
    head.remove("grpc-message");
    head.remove("grpc-status-details-bin");
}

/// Whether there is a `grpc-status` that says which code it is.
pub(super) fn is_readable(headers: &HeaderMap) -> bool {
    code::read(headers).is_some()
}

/// Whether the peer says that a message is too large for it, or for this side in its view: in the
/// words of gRPC's core and Go, of Java, of .NET, and of tonic.
pub(super) fn says_too_large(status: &Status) -> bool {
    const WORDS: [&str; 4] = [
        "larger than max",
        "exceeds maximum size",
        "exceeds the maximum configured message size",
        "message length too large",
    ];
    matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange)
        && WORDS.iter().any(|words| status.message().contains(words))
}

/// The status that a failure of this side, or of the protocol, surfaces with.
pub(crate) fn of(failure: &Failure) -> Status {
    Status::new(failure.code, failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETAILS: &str = "grpc-status-details-bin";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")))
            .collect()
    }

    #[test]
    fn a_peer_cannot_make_us_panic_with_details_that_are_not_base64() {
        let status =
            from_headers(&headers(&[("grpc-status", "5"), (DETAILS, "!!! not base64 !!!")]));
        assert_eq!(status.expect("a status").code(), Code::NotFound);
        let status =
            from_headers(&headers(&[("grpc-status", "5"), (DETAILS, "aGk=")])).expect("a status");
        assert_eq!(status.details(), b"hi");
    }

    #[test]
    fn the_code_alone_is_the_whole_statuss() {
        let (status, message) = ("grpc-status", "grpc-message");
        for pairs in [
            &[][..],
            &[(message, "no code")],
            &[(status, "0")],
            &[(status, "14"), (message, "a%20b")],
            &[(status, "05")],
            &[(status, "17")],
            &[(status, "")],
            &[(status, "+5")],
            &[(status, "five")],
            &[(status, "0"), (status, "0")],
            &[(status, "0"), (status, "5")],
            &[(status, "5"), (DETAILS, "!!! not base64 !!!")],
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().expect("a value"));
            }
            let whole = from_headers(&headers).map(|status| status.code());
            assert_eq!(code_from_headers(&headers), whole, "{pairs:?}");
        }
    }

    #[test]
    fn message_and_metadata_come_through() {
        let status = from_headers(&headers(&[
            ("grpc-status", "14"),
            ("grpc-message", "a%20b"),
            ("x-why", "because"),
        ]));
        let status = status.expect("a status");
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "a b"));
        assert_eq!(status.metadata().get("x-why").expect("kept"), "because");
        assert!(from_headers(&HeaderMap::new()).is_none());
    }
}
