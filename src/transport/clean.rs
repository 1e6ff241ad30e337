//! Cleans heads and trailers before tonic reads them. tonic reads a status by itself from the heads
//! and trailers it is handed, takes details that are not base64 for a bug of its own process and
//! panics, in the caller's task; a message that is not UTF-8 costs it the code; and of several
//! codes it takes the first.

use super::code::{self, STATUS};
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::{Code, metadata::MetadataMap};

const DETAILS: HeaderName = HeaderName::from_static(DETAILS_NAME);
const DETAILS_NAME: &str = "grpc-status-details-bin";
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Takes out details that cannot be read, and mends a message or a code that cannot. Everything
/// else is passed on unchanged.
pub(super) fn clean(headers: &mut HeaderMap) {
    if is_clean(headers) {
        return;
    }
    if headers.get(DETAILS).is_some_and(|details| !is_readable(details)) {
        headers.remove(DETAILS);
    }
    if let Some(mended) = headers.get(MESSAGE).and_then(mended) {
        headers.insert(MESSAGE, mended);
    }
    if headers.contains_key(STATUS) {
        mend_code(headers);
    }
}

/// Whether there is nothing to look at twice: as a rule, so it must be cheap to see.
pub(super) fn is_clean(headers: &HeaderMap) -> bool {
    let mut codes = 0;
    headers.iter().all(|(name, value)| match name.as_str() {
        "grpc-status" => {
            codes += 1;
            codes == 1 && code::is_plain(value)
        }
        "grpc-message" | DETAILS_NAME => false,
        _ => true,
    })
}

/// One code, as tonic reads it. UNKNOWN stands for what cannot be read, and is told in words where
/// the peer has none.
fn mend_code(headers: &mut HeaderMap) {
    let code = code::read(headers);
    let is_silent = headers.get(MESSAGE).is_none_or(HeaderValue::is_empty);
    if code.is_none()
        && is_silent
        && let Ok(words) = HeaderValue::try_from(percent_encoded(&code::describe(headers)))
    {
        headers.insert(MESSAGE, words);
    }
    headers.insert(STATUS, HeaderValue::from(code.unwrap_or(Code::Unknown) as i32));
}

/// Whether tonic's own decoder can read it.
fn is_readable(details: &HeaderValue) -> bool {
    let only = MetadataMap::from_headers(HeaderMap::from_iter([(DETAILS, details.clone())]));
    only.get_bin(DETAILS_NAME).is_some_and(|details| details.to_bytes().is_ok())
}

/// The message in UTF-8, where it is not: what is not text in it is replaced.
fn mended(message: &HeaderValue) -> Option<HeaderValue> {
    // As a rule it is plain text.
    let bytes = message.as_bytes();
    if bytes.is_ascii() && !bytes.contains(&b'%') {
        return None;
    }
    let decoded = percent_decoded(bytes);
    let Err(_) = std::str::from_utf8(&decoded) else { return None };
    HeaderValue::try_from(percent_encoded(&String::from_utf8_lossy(&decoded))).ok()
}

/// As the URL standard has it: what is no escape stands for itself.
fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// gRPC's own encoding of a message.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tonic::Status;

    fn headers(pairs: &[(HeaderName, &[u8])]) -> HeaderMap {
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("a value");
        pairs.iter().map(|(name, bytes)| (name.clone(), value(bytes))).collect()
    }

    fn cleaned(mut headers: HeaderMap) -> HeaderMap {
        clean(&mut headers);
        headers
    }

    #[test]
    fn details_that_are_not_base64_are_left_out_and_others_kept() {
        let other = HeaderName::from_static("x-bin");
        let dirty = headers(&[(DETAILS, b"!!!"), (other.clone(), b"!!!"), (MESSAGE, b"a%20b")]);
        assert_eq!(cleaned(dirty), headers(&[(other, b"!!!"), (MESSAGE, b"a%20b")]));
        let readable = headers(&[(DETAILS, b"aGk="), (MESSAGE, "100 % \u{fc}".as_bytes())]);
        assert_eq!(cleaned(readable.clone()), readable);
    }

    #[test]
    fn a_message_that_is_not_utf_8_keeps_its_code_and_what_is_text_in_it() {
        for message in [&b"a\xffb"[..], b"a%ffb", b"a%FFb"] {
            let status = HeaderName::from_static("grpc-status");
            let status =
                Status::from_header_map(&cleaned(headers(&[(status, b"5"), (MESSAGE, message)])));
            let status = status.expect("a status");
            assert_eq!((status.code(), status.message()), (Code::NotFound, "a\u{fffd}b"));
        }
    }

    #[test]
    fn a_code_that_cannot_be_read_is_unknown_and_named_where_the_peer_has_no_words() {
        for (codes, code, words) in [
            (&["abc"][..], Code::Unknown, "but \"abc\""),
            (&["99"], Code::Unknown, "but \"99\""),
            (&[""], Code::Unknown, "but \"\""),
            (&["0", "7"], Code::Unknown, "but \"0\", \"7\""),
            (&["7", "7"], Code::PermissionDenied, ""),
            (&["007"], Code::PermissionDenied, ""),
        ] {
            for message in ["", "its own"] {
                let mut said: HeaderMap =
                    codes.iter().map(|code| (STATUS, code.parse().expect("a value"))).collect();
                said.insert(MESSAGE, message.parse().expect("a value"));
                let status = Status::from_header_map(&cleaned(said)).expect("a status");
                assert_eq!(status.code(), code, "{codes:?}");
                let expected = if message.is_empty() { words } else { message };
                assert!(status.message().ends_with(expected), "{codes:?}: {}", status.message());
                assert_eq!(status.message().is_empty(), expected.is_empty(), "{codes:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn tonic_reads_a_status_from_whatever_was_cleaned(
            code in proptest::collection::vec(32..=255u8, 0..4),
            message in proptest::collection::vec(32..=255u8, 0..32),
            details in proptest::collection::vec(32..=255u8, 0..32),
        ) {
            // DEL is no header's byte.
            let other = HeaderValue::from_static("x");
            let value = |bytes: Vec<u8>| HeaderValue::from_bytes(&bytes).unwrap_or(other.clone());
            let status = HeaderName::from_static("grpc-status");
            let sent =
                [(status, value(code)), (MESSAGE, value(message)), (DETAILS, value(details))];
            let cleaned = cleaned(HeaderMap::from_iter(sent));
            let status = Status::from_header_map(&cleaned).expect("a status");
            prop_assert!(!status.message().starts_with("Error"));
        }
    }
}
