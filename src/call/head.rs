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

/// The fields of a call's requests.
pub(super) enum Headers {
    /// The first attempt's, sent as they are: the caller gave no metadata, and those of another
    /// attempt can be made without a copy of them.
    Once(HeaderMap),
    /// The caller's metadata, with everything that a request carries.
    Complete(HeaderMap),
    /// The caller's metadata; a message, which may wait in great number, gets the rest for each
    /// attempt.
    Bare(HeaderMap),
}

impl Headers {
    /// The caller's metadata, with or without the rest; none where the caller gave none.
    pub(super) fn metadata(&self) -> Option<&HeaderMap> {
        match self {
            Self::Once(_) => None,
            Self::Complete(headers) | Self::Bare(headers) => Some(headers),
        }
    }

    /// Those of the next attempt. `deadline`: whether they shall have a place for a timeout.
    pub(super) fn of_an_attempt(&mut self, deadline: bool) -> HeaderMap {
        match self {
            Self::Once(headers) => {
                let headers = std::mem::take(headers);
                *self = Self::Bare(HeaderMap::new());
                headers
            }
            Self::Complete(headers) => headers.clone(),
            Self::Bare(headers) => {
                let mut headers = headers.clone();
                complete(&mut headers, deadline);
                headers
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
        _ => *name == TIMEOUT,
    })
}

/// A plain head with what [`complete`] would add. It is sent as it is, so that a timeout needs no
/// place in it: one that is there is overwritten, and another is put behind the rest.
pub(crate) fn complete_plain(mut headers: HeaderMap, deadline: bool) -> HeaderMap {
    let has_timeout = headers.contains_key(TIMEOUT);
    if has_timeout && !deadline {
        // It could not be read, or is beyond the clock's end.
        headers.remove(TIMEOUT);
    }
    // As a rule both fields are there that a plain head may have: tonic's clients put them in.
    let usual = 2 + usize::from(has_timeout && deadline);
    if (headers.len(), headers.keys_len()) == (usual, usual) {
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
            let plain = complete_plain(plain, false);
            complete(&mut other, false);
            assert!(plain.iter().eq(other.iter()), "{plain:?} is not {other:?}");
            assert_eq!(plain.len(), 3);
        }
    }

    #[test]
    fn a_plain_heads_timeout_is_what_is_left_of_it_and_one_that_cannot_be_read_is_left_out() {
        let value = HeaderValue::from_static;
        for said in [vec![], vec!["5S"], vec!["5S", "6S"]] {
            for deadline in [None, Some(Duration::from_secs(3))] {
                let mut headers = HeaderMap::new();
                for said in &said {
                    headers.append(TIMEOUT, value(said));
                }
                headers.insert(header::TE, value(TRAILERS));
                headers.insert(header::CONTENT_TYPE, value(CONTENT_TYPE));
                assert!(is_plain(&headers));
                let mut headers = Headers::Once(complete_plain(headers, deadline.is_some()));
                assert!(headers.metadata().is_none(), "its fields are ours");
                let uri = Uri::from_static("http://peer/pkg.Svc/Method");
                // The second is made anew.
                let [first, second] = [0, 1].map(|retries| {
                    let headers = headers.of_an_attempt(deadline.is_some());
                    head(&uri, headers, deadline, retries, &LastTimeout::default())
                });
                let timeouts = |head: &http::Request<()>| {
                    let all = head.headers().get_all(TIMEOUT).iter().cloned();
                    all.collect::<Vec<_>>()
                };
                let expected: Vec<_> = deadline.map(|_| value("3000m")).into_iter().collect();
                assert_eq!(timeouts(&first), expected, "{said:?}");
                assert_eq!(timeouts(&second), expected, "{said:?}");
                assert_eq!(first.headers().len(), 3 + expected.len());
                assert_eq!(second.headers().len(), 4 + expected.len(), "one more, of the retry");
            }
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
