//! When the peer wants a call to be tried again, in any of the places it may say so.

use crate::policy::Pushback;
use http::{HeaderMap, header::RETRY_AFTER};
use prost::Message;
use std::time::Duration;
use tonic::Status;

/// `google.rpc.Status`, the content of `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// What came with a status: `grpc-retry-pushback-ms` (gRPC A6), or else a `google.rpc.RetryInfo`
/// among its details. Two values of the first forbid the retry, as in grpc-go.
pub(super) fn of_status(status: &Status, headers: &HeaderMap) -> Option<Pushback> {
    let mut values = headers.get_all("grpc-retry-pushback-ms").iter();
    match (values.next(), values.next()) {
        (None, _) => retry_info(status.details()).map(Pushback::After),
        (Some(value), None) => Some(Pushback::parse(value.as_bytes())),
        (Some(_), Some(_)) => Some(Pushback::Never),
    }
}

/// What a proxy said, which knows nothing of gRPC: `retry-after` in seconds. A date there is not
/// obeyed: clocks differ.
pub(super) fn of_http(headers: &HeaderMap) -> Option<Pushback> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Pushback::After(Duration::from_secs(seconds.into())))
}

/// The wait in the first `RetryInfo`; what cannot be read, or lies in the past, says nothing.
fn retry_info(details: &[u8]) -> Option<Duration> {
    if details.is_empty() {
        return None;
    }
    let status = RpcStatus::decode(details).ok()?;
    let info =
        status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    RetryInfo::decode(&*info.value).ok()?.retry_delay?.try_into().ok()
}

/// The details of a status that asks for this wait.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn details_with_retry_info(wait: Duration) -> Vec<u8> {
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    let delay = prost_types::Duration { seconds, nanos: wait.subsec_nanos() as i32 };
    details("type.googleapis.com/google.rpc.RetryInfo", delay)
}

#[cfg(any(test, feature = "test-util"))]
fn details(type_url: &str, delay: prost_types::Duration) -> Vec<u8> {
    let value = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
    let other = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.DebugInfo".into(),
        value: Vec::new(),
    };
    let info = prost_types::Any { type_url: type_url.into(), value };
    RpcStatus { details: vec![other, info] }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(details: Vec<u8>) -> Status {
        Status::with_details(tonic::Code::Unavailable, "", details.into())
    }

    #[test]
    fn retry_info_is_found_among_other_details_and_the_header_goes_before_it() {
        let with = status(details_with_retry_info(Duration::from_millis(1_500)));
        assert_eq!(
            of_status(&with, &HeaderMap::new()),
            Some(Pushback::After(Duration::from_millis(1_500)))
        );
        let header =
            HeaderMap::from_iter([("grpc-retry-pushback-ms".parse().expect("a name"), 700.into())]);
        assert_eq!(of_status(&with, &header), Some(Pushback::After(Duration::from_millis(700))));
        let past = prost_types::Duration { seconds: -1, nanos: 0 };
        for nothing in [
            status(details("type.googleapis.com/google.rpc.RetryInfo", past)),
            status(details(
                "type.googleapis.com/google.rpc.ErrorInfo",
                prost_types::Duration { seconds: 1, nanos: 0 },
            )),
            status(Vec::new()),
        ] {
            assert_eq!(of_status(&nothing, &HeaderMap::new()), None);
        }
    }

    #[test]
    fn two_values_of_the_pushback_forbid_the_retry_in_two_fields_or_in_one() {
        for values in [&["700", "700"][..], &["700", "800"], &["700, 800"], &["soon", "700"]] {
            let field = |value: &&str| {
                let name = http::HeaderName::from_static("grpc-retry-pushback-ms");
                (name, value.parse().expect("a value"))
            };
            let headers: HeaderMap = values.iter().map(field).collect();
            assert_eq!(
                of_status(&status(Vec::new()), &headers),
                Some(Pushback::Never),
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_proxys_retry_after_counts_in_seconds() {
        let said = |value: &str| {
            of_http(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().expect("a value"))]))
        };
        assert_eq!(said("3"), Some(Pushback::After(Duration::from_secs(3))));
        for nothing in ["-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999"] {
            assert_eq!(said(nothing), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_in_a_statuss_details_or_headers_are_more_than_a_wait_or_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            seconds: i64,
            nanos: i32,
        ) {
            of_status(&status(bytes.clone()), &HeaderMap::new());
            let delay = prost_types::Duration { seconds, nanos };
            let retry_info = status(details("x/google.rpc.RetryInfo", delay));
            let asked = of_status(&retry_info, &HeaderMap::new());
            prop_assert!(!matches!(asked, Some(Pushback::Never)));
            if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                of_http(&HeaderMap::from_iter([(RETRY_AFTER, value.clone())]));
                Pushback::parse(value.as_bytes());
            }
        }
    }
}
