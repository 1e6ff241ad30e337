//! A request as it comes from a client: whether it is gRPC, and its body.

use super::first_bytes::SENTENCE;
use crate::transport::size_of_head;
use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tonic::Status;

/// Fields that only a bridge writes begin with this.
pub(super) const OURS: &str = "x-tonic-supervisor-";
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// What a request that is not gRPC is answered with, and why.
pub(super) fn refusal(head: &http::request::Parts) -> Option<(Response<()>, Bytes)> {
    let status = if head.method != Method::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if !head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        return None;
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Some((response, Bytes::from_static(SENTENCE.as_bytes())))
}

/// `application/grpc`, whatever encodes the messages; not gRPC-Web.
fn is_grpc(kind: &HeaderValue) -> bool {
    let rest = kind.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Takes out the fields that are ours to write: a server, or a bridge behind this one, would take a
/// client's word for ours. `host` would speak against the `:authority` of our own.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(header::HOST);
    let ours = |name: &&HeaderName| name.as_str().starts_with(OURS);
    let found: Vec<HeaderName> = headers.keys().filter(ours).cloned().collect();
    found.into_iter().for_each(|name| drop(headers.remove(name)));
}

/// What a request whose head is larger than `most`, as HTTP/2 counts it, is refused with.
pub(super) fn too_large(head: &http::request::Parts, most: u32) -> Option<Status> {
    let size = size_of_head(&head.uri, &head.headers);
    (size > most as usize).then(|| {
        Status::resource_exhausted(format!(
            "the head of this request has {size} bytes, and may have {most} here (header bytes): \
             send less metadata"
        ))
    })
}

/// How many attempts the client says to have made before; 0 for what is no number.
pub(super) fn attempts_before(headers: &HeaderMap) -> u32 {
    let said = headers.get(PREVIOUS_ATTEMPTS).and_then(|value| value.to_str().ok());
    said.and_then(|said| said.parse().ok()).unwrap_or(0)
}

/// A request's body. Its sender gets room for what the call has taken.
pub(super) struct RequestBody(pub(super) RecvStream);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_data(cx).map(|data| {
            Some(match data? {
                Ok(data) => {
                    let _ = self.0.flow_control().release_capacity(data.len());
                    Ok(Frame::data(data))
                }
                Err(error) => Err(Status::cancelled(format!("the request broke off: {error}"))),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_over_post_is_taken() {
        let refused = |method: Method, kind: &'static str| {
            let request = http::Request::builder().method(method).header("content-type", kind);
            let (head, ()) = request.body(()).expect("a request").into_parts();
            refusal(&head).map(|(response, _)| response.status().as_u16())
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
        {
            assert_eq!(refused(Method::POST, kind), None, "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            assert_eq!(refused(Method::POST, kind), Some(415), "{kind}");
        }
        assert_eq!(refused(Method::GET, "application/grpc"), Some(405));
    }

    #[test]
    fn fields_of_ours_are_taken_out_and_others_kept() {
        let mut headers = HeaderMap::new();
        let names = ["x-tonic-supervisor-origin", "x-tonic-supervisor-else", "x-tonic", "x-other"];
        for name in names {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("2"));
        }
        strip(&mut headers);
        assert!(headers.contains_key("x-tonic") && headers.contains_key("x-other"), "{headers:?}");
        assert_eq!((headers.keys_len(), headers.len()), (2, 4));
    }

    #[test]
    fn what_a_client_says_of_its_attempts_is_a_number_or_nothing() {
        let said = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            attempts_before(&HeaderMap::from_iter([(PREVIOUS_ATTEMPTS, value)]))
        };
        assert_eq!([said("2"), said("-1"), said("many"), said("99999999999")], [2, 0, 0, 0]);
        assert_eq!(attempts_before(&HeaderMap::new()), 0);
    }
}
