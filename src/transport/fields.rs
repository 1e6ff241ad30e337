//! One look at all fields of an answer's head or trailers: how large they are, and whether they say
//! anything of the call's status, or of a type that is not gRPC's. As a rule they say "0" or
//! nothing, and then no field has to be looked up by its name.

use super::code::{self, STATUS};
use http::{HeaderMap, HeaderValue};
use tonic::Code;

/// What every field counts for, beside its name and value (RFC 9113, section 6.5.2).
pub(super) const FIELD: usize = 32;

/// What one look showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// The size of the list, as HTTP/2 counts it.
    pub(super) size: usize,
    /// Whether there is a `content-type` that is not gRPC's.
    pub(super) has_other_type: bool,
    status: Said,
}

/// Whether a `content-type` is gRPC's.
pub(super) fn is_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/grpc")
}

/// What is said of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// One `grpc-status`, which is "0", and no words or details.
    Ok,
    /// Anything else: it is to be read with care.
    Other,
}

impl Fields {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (mut size, mut has_other_type, mut status) = (0, false, Said::Nothing);
        for (name, value) in headers {
            let name = name.as_str();
            size += name.len() + value.len() + FIELD;
            match name {
                "grpc-status" if status == Said::Nothing && value == "0" => status = Said::Ok,
                "grpc-status" | "grpc-message" | "grpc-status-details-bin" => status = Said::Other,
                "content-type" => has_other_type |= !is_grpc(value),
                _ => {}
            }
        }
        Self { size, has_other_type, status }
    }

    /// Whether tonic can be handed them as they are; if not, some may still be (see
    /// [`clean`](super::clean::clean)).
    pub(super) fn are_clean(self) -> bool {
        self.status != Said::Other
    }

    /// Whether they have a `grpc-status`.
    pub(super) fn have_status(self, headers: &HeaderMap) -> bool {
        match self.status {
            Said::Nothing => false,
            Said::Ok => true,
            Said::Other => headers.contains_key(STATUS),
        }
    }

    /// Whether they say OK.
    pub(super) fn say_ok(self, headers: &HeaderMap) -> bool {
        match self.status {
            Said::Nothing => false,
            Said::Ok => true,
            Said::Other => code::read(headers) == Some(Code::Ok),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::clean::clean, *};
    use http::HeaderName;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just("grpc-status"),
            Just("grpc-message"),
            Just("grpc-status-details-bin"),
            Just("x-other")
        ]
    }

    fn value() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec!["0", "0", "0", "0", "00", "5", "!!!", ""])
    }

    proptest! {
        #[test]
        fn one_look_shows_what_looking_each_field_up_would(
            fields in proptest::collection::vec((name(), value()), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let looked = Fields::of(&headers);
            let size = |(name, value): &(&str, &str)| name.len() + value.len() + FIELD;
            let size = fields.iter().map(size).sum::<usize>();
            prop_assert_eq!(looked.size, size);
            prop_assert_eq!(looked.have_status(&headers), headers.contains_key(STATUS));
            prop_assert_eq!(looked.say_ok(&headers), code::read(&headers) == Some(Code::Ok));
            let mut cleaned = headers.clone();
            clean(&mut cleaned);
            prop_assert!(!looked.are_clean() || cleaned == headers, "{:?}", headers);
        }
    }
}
