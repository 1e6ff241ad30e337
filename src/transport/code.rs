//! A `grpc-status`, read as gRPC writes it: one value, of decimal digits. Of several values none
//! counts, unless all are the same.

use crate::model::printable;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// So much of a value, and so many values, are named in an error.
const NAMED_CHARS: usize = 64;
const NAMED_VALUES: usize = 4;

/// The code in `headers`; none where there is no `grpc-status`, or none that can be read.
pub(super) fn read(headers: &HeaderMap) -> Option<Code> {
    let first = headers.get(STATUS)?;
    // Where no name has two values, there is nothing to compare.
    let alone = headers.len() == headers.keys_len();
    if !alone && headers.get_all(STATUS).iter().any(|other| other != first) {
        return None;
    }
    parse(first.as_bytes())
}

fn parse(digits: &[u8]) -> Option<Code> {
    // As a rule it is this one.
    if digits == b"0" {
        return Some(Code::Ok);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // What is no code is made UNKNOWN.
    let code = Code::from(number);
    (code as i32 == number).then_some(code)
}

/// Whether tonic reads the same in it.
pub(super) fn is_plain(value: &HeaderValue) -> bool {
    let digits = value.as_bytes();
    digits == b"0" || parse(digits).is_some() && (digits.len() == 1 || digits[0] != b'0')
}

/// What stands in `headers` in place of a code.
pub(super) fn describe(headers: &HeaderMap) -> String {
    let quoted = |value: &HeaderValue| {
        let text: String =
            String::from_utf8_lossy(value.as_bytes()).chars().take(NAMED_CHARS).collect();
        format!("\"{}\"", printable(&text))
    };
    let values: Vec<_> = headers.get_all(STATUS).iter().take(NAMED_VALUES).map(quoted).collect();
    format!("the peer's grpc-status is not one gRPC status code, but {}", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (STATUS, HeaderValue::from_str(value).expect("a value")))
            .collect()
    }

    #[test]
    fn a_code_is_one_value_of_digits_with_zeros_before_it_or_without() {
        for (values, code) in [
            (&["0"][..], Some(Code::Ok)),
            (&["00"], Some(Code::Ok)),
            (&["7"], Some(Code::PermissionDenied)),
            (&["007"], Some(Code::PermissionDenied)),
            (&["16"], Some(Code::Unauthenticated)),
            (&["2"], Some(Code::Unknown)),
            (&["7", "7"], Some(Code::PermissionDenied)),
            (&["0", "7"], None),
            (&["7", "0"], None),
            (&["17"], None),
            (&["99999999999999999999"], None),
            (&["-1"], None),
            (&["+7"], None),
            (&["7 "], None),
            (&["0, 7"], None),
            (&["abc"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(read(&said(values)), code, "{values:?}");
        }
    }

    #[test]
    fn tonic_reads_a_plain_value_as_it_is_read_here() {
        for text in (0..120).map(|n| n.to_string()).chain(["00", "007", "", "x"].map(String::from))
        {
            let value = HeaderValue::from_str(&text).expect("a value");
            if is_plain(&value) {
                assert_eq!(
                    parse(text.as_bytes()),
                    Some(Code::from_bytes(text.as_bytes())),
                    "{text}"
                );
            }
        }
        assert!(
            is_plain(&HeaderValue::from_static("16")) && !is_plain(&HeaderValue::from_static("07"))
        );
    }

    #[test]
    fn the_words_name_what_came_and_stay_short() {
        assert!(describe(&said(&["abc"])).ends_with("but \"abc\""));
        assert!(describe(&said(&["0", "7"])).ends_with("but \"0\", \"7\""));
        let long = "x".repeat(9_000);
        assert!(describe(&said(&[long.as_str(); 9])).len() < 400);
        let odd = HeaderValue::from_bytes(b"a\xff\tb").expect("a value");
        assert!(
            describe(&HeaderMap::from_iter([(STATUS, odd)])).ends_with("but \"a\u{fffd}\\tb\"")
        );
    }
}
