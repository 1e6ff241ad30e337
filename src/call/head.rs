//! A request's head: what every gRPC request carries, beside the caller's metadata.

use crate::{
    model::Failure,
    policy::{TimeoutText, format_timeout},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Uri, Version, header};
use parking_lot::Mutex;
use std::time::Duration;

pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const PREVIOUS_ATTEMPTS: HeaderName =
    HeaderName::from_static("grpc-previous-rpc-attempts");
const CONTENT_TYPE: &str = "application/grpc";
const TRAILERS: &str = "trailers";
const USER_AGENT: &str = concat!("tonic-supervisor/", env!("CARGO_PKG_VERSION"));

/// The last `grpc-timeout` that was sent: calls made at about the same time share one.
#[derive(Default)]
pub(crate) struct LastTimeout(Mutex<Option<(TimeoutText, HeaderValue)>>);

impl LastTimeout {
    fn value(&self, remaining: Duration) -> HeaderValue {
        let text = format_timeout(remaining);
        let mut kept = self.0.lock();
        match &*kept {
            Some((last, value)) if *last == text => value.clone(),
            _ => {
                let value = HeaderValue::from_bytes(text.as_bytes()).expect("digits and a letter");
                *kept = Some((text, value.clone()));
                value
            }
        }
    }
}

/// An attempt's head. `headers` are complete.
pub(crate) fn head(
    uri: &Uri,
    mut headers: HeaderMap,
    remaining: Option<Duration>,
    retries: u32,
    last: &LastTimeout,
) -> http::Request<()> {
    if let Some(remaining) = remaining {
        headers.insert(TIMEOUT, last.value(remaining));
    }
    if retries > 0 {
        headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(retries));
    }
    let mut request = http::Request::new(());
    *request.method_mut() = HttpMethod::POST;
    *request.uri_mut() = uri.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

/// Fields about the connection, which have no place in HTTP/2 (RFC 9113, section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Leaves out what is about the connection and not about the call, and what a `connection` field
/// names, as hyper does: HTTP/2 would refuse the whole request for it.
pub(crate) fn leave_out_connection_fields(headers: &mut HeaderMap) {
    let named: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    for names in named.iter().filter_map(|names| names.to_str().ok()) {
        names.split(',').for_each(|name| drop(headers.remove(name.trim())));
    }
    OF_THE_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether fields of this name are gRPC's own, which no hook may set.
pub(crate) fn belongs_to_grpc(name: &str) -> bool {
    name.starts_with("grpc-") || ["te", "content-type", "user-agent", "host"].contains(&name)
}

/// More fields than this make no head: far above what any server takes, and below what a map of
/// headers can hold.
const MAX_FIELDS: usize = 8_192;

/// Whether there are more fields than a head may have.
pub(crate) fn too_many_fields(headers: &HeaderMap) -> Option<Failure> {
    let text = || {
        format!(
            "the request has {} fields of metadata, and a head may have {MAX_FIELDS}: send less \
             metadata",
            headers.len()
        )
    };
    (headers.len() > MAX_FIELDS).then(|| Failure::bad_request(text()))
}

/// Whether a request carries nothing but what [`complete`] would give it.
pub(crate) fn is_plain(headers: &HeaderMap) -> bool {
    headers.iter().all(|(name, value)| match *name {
        header::TE => value == TRAILERS,
        header::CONTENT_TYPE => value == CONTENT_TYPE,
        _ => false,
    })
}

/// A plain head with what [`complete`] would add. It is sent as it is, so that it needs no place
/// for a timeout, which is put behind the rest.
pub(crate) fn complete_plain(mut headers: HeaderMap) -> HeaderMap {
    // As a rule both fields are there that a plain head may have: tonic's clients put them in.
    if (headers.len(), headers.keys_len()) == (2, 2) {
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    } else {
        complete(&mut headers, false);
    }
    headers
}

/// Adds what every gRPC request carries beside its metadata.
pub(crate) fn complete(headers: &mut HeaderMap, deadline: bool) {
    headers.insert(header::TE, HeaderValue::from_static(TRAILERS));
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(CONTENT_TYPE));
    let agent = user_agent(headers.get(header::USER_AGENT));
    headers.insert(header::USER_AGENT, agent);
    if deadline {
        // Its place; each attempt puts in what remains.
        headers.insert(TIMEOUT, HeaderValue::from_static(""));
    }
}

/// The application's own, if it has one, before this crate's (as in tonic).
fn user_agent(own: Option<&HeaderValue>) -> HeaderValue {
    let both = own.map(|own| [own.as_bytes(), b" ", USER_AGENT.as_bytes()].concat());
    both.and_then(|both| HeaderValue::try_from(both).ok())
        .unwrap_or(HeaderValue::from_static(USER_AGENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_head_is_completed_to_the_same_fields_in_the_same_order() {
        let (te, kind) = ((header::TE, TRAILERS), (header::CONTENT_TYPE, CONTENT_TYPE));
        for fields in [vec![], vec![&te], vec![&kind], vec![&te, &kind], vec![&te, &te]] {
            let mut plain = HeaderMap::new();
            for (name, value) in fields {
                plain.append(name.clone(), HeaderValue::from_static(value));
            }
            assert!(is_plain(&plain));
            let mut other = plain.clone();
            let plain = complete_plain(plain);
            complete(&mut other, false);
            assert!(plain.iter().eq(other.iter()), "{plain:?} is not {other:?}");
            assert_eq!(plain.len(), 3);
        }
    }

    #[test]
    fn a_request_with_metadata_or_a_content_type_of_its_own_is_not_plain() {
        let mut headers = HeaderMap::new();
        assert!(is_plain(&headers));
        headers.insert(header::TE, HeaderValue::from_static(TRAILERS));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        assert!(is_plain(&headers));
        let mut other = headers.clone();
        other.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+json"));
        assert!(!is_plain(&other));
        headers.insert("x-tenant", HeaderValue::from_static("a"));
        assert!(!is_plain(&headers));
    }

    #[test]
    fn fields_of_the_connection_are_left_out_and_those_that_they_name() {
        let mut headers = HeaderMap::new();
        for name in OF_THE_CONNECTION {
            headers.append(name.clone(), HeaderValue::from_static("x-hop, close"));
            headers.append(name, HeaderValue::from_static(" x-other ,,"));
        }
        for name in ["x-hop", "x-other", "x-kept"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        leave_out_connection_fields(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn a_timeout_is_made_anew_when_its_text_changes() {
        let last = LastTimeout::default();
        let text = |micros| last.value(Duration::from_micros(micros));
        assert_eq!(
            [text(59_999_990), text(59_999_001), text(59_998_999)],
            ["59999m", "59999m", "59998m"]
        );
    }
}
