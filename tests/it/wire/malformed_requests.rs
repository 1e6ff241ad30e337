//! Requests and bodies as no generated client makes them: each ends its own call, and costs no
//! other call and no link.

use super::malformed::{MESSAGE, all_is_well};
use crate::support::{SAY, bounded, config, hide_injected_panics, ms, secs, with_tonic_server};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, uri::PathAndQuery};
use http_body::Frame as Part;
use http_body_util::{BodyExt as _, Full};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Code, Status, body::Body};
use tonic_supervisor::{CallOptions, CallReport, SupervisedChannel};
use tower::Service as _;

/// A request as no generated client makes it; the code that its call ends with.
async fn ask(channel: &SupervisedChannel, request: http::Request<Body>) -> Code {
    let mut channel = channel.clone();
    let asking = async {
        poll_fn(|cx| channel.poll_ready(cx)).await?;
        let answer = channel.call(request).await?.into_body().collect().await?;
        let trailers = answer.trailers().cloned().unwrap_or_default();
        Ok::<_, Status>(Status::from_header_map(&trailers).map_or(Code::Ok, |status| status.code()))
    };
    bounded("an answer", asking).await.unwrap_or_else(|status| status.code())
}

fn request(path: &str) -> http::Request<Body> {
    let body = Full::new(Bytes::from_static(MESSAGE)).map_err(|never| match never {});
    let mut request = http::Request::new(Body::new(body));
    *request.uri_mut() = Uri::from(path.parse::<PathAndQuery>().expect("a path"));
    *request.method_mut() = Method::POST;
    request
}

#[tokio::test]
async fn odd_paths_end_their_call_alone() {
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    let long = format!("/{}", "a".repeat(60_000));
    let paths = ["/", "*", "//", "?a", "/%00", "/\u{fc}ber/\u{1F600}", "/test.Echo/Say/"];
    for path in paths {
        assert_eq!(ask(&supervisor.channel(), request(path)).await, Code::Unimplemented, "{path}");
        all_is_well(&supervisor, path).await;
    }
    assert_eq!(ask(&supervisor.channel(), request(&long)).await, Code::ResourceExhausted);
    all_is_well(&supervisor, "a long path").await;
}

/// gRPC is POST over HTTP/2 to the channel's own target, whatever a request says.
#[tokio::test]
async fn method_version_authority_and_extensions_of_a_request_do_not_count() {
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    for method in [Method::GET, Method::CONNECT, Method::HEAD, Method::OPTIONS] {
        for version in [Version::HTTP_09, Version::HTTP_11, Version::HTTP_3] {
            let mut odd = request(SAY);
            *odd.method_mut() = method.clone();
            *odd.version_mut() = version;
            *odd.uri_mut() = format!("https://other:99{SAY}").parse().expect("a URI");
            odd.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
            assert_eq!(ask(&supervisor.channel(), odd).await, Code::Ok, "{method} {version:?}");
        }
    }
    let mut authority_alone = request(SAY);
    *authority_alone.uri_mut() = "other:99".parse().expect("a URI");
    assert_eq!(ask(&supervisor.channel(), authority_alone).await, Code::Internal);
    all_is_well(&supervisor, "odd requests").await;
}

#[tokio::test]
async fn odd_metadata_ends_its_call_alone() {
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    let long = "y".repeat(8_000);
    let fields = [
        ("content-length", "5", Code::Internal),
        ("content-length", "-1", Code::Internal),
        ("content-length", "99999999999999999999999", Code::Internal),
        ("host", "other", Code::Ok),
        ("expect", "100-continue", Code::Ok),
        ("trailer", "x", Code::Ok),
        ("te", "gzip", Code::Ok),
        ("http2-settings", "x", Code::Ok),
        ("grpc-encoding", "gzip", Code::Unimplemented),
        ("grpc-accept-encoding", "nonsense", Code::Ok),
        ("grpc-status", "5", Code::Ok),
        ("grpc-message", "%", Code::Ok),
        ("grpc-timeout", "0n", Code::DeadlineExceeded),
        ("grpc-timeout", "99999999H", Code::Ok),
        ("x-bin", "###", Code::Ok),
        ("x-long", &long, Code::Ok),
    ];
    for (name, value, code) in fields {
        let mut odd = request(SAY);
        odd.headers_mut()
            .append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        assert_eq!(ask(&supervisor.channel(), odd).await, code, "{name}: {value}");
        all_is_well(&supervisor, name).await;
    }
}

/// What a body has, and where it lets others go first.
type Parts = Vec<Option<Part<Bytes>>>;

/// How a body ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Well,
    InError,
    Never,
}

struct OddBody(std::vec::IntoIter<Option<Part<Bytes>>>, End);

impl http_body::Body for OddBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Part<Bytes>, Status>>> {
        match (self.0.next(), self.1) {
            (Some(Some(part)), _) => Poll::Ready(Some(Ok(part))),
            (Some(None), _) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (None, End::Well) => Poll::Ready(None),
            (None, End::InError) => Poll::Ready(Some(Err(Status::data_loss("the body broke")))),
            (None, End::Never) => Poll::Pending,
        }
    }
}

fn data(bytes: &'static [u8]) -> Option<Part<Bytes>> {
    Some(Part::data(Bytes::from_static(bytes)))
}

fn trailers() -> Option<Part<Bytes>> {
    Some(Part::trailers(HeaderMap::from_iter([(
        HeaderName::from_static("x-trailer"),
        HeaderValue::from_static("1"),
    )])))
}

/// Each body, and what it comes to where it ends well.
fn bodies() -> Vec<(&'static str, Parts, Code)> {
    vec![
        ("nothing", vec![], Code::Internal),
        ("late nothing", vec![None, None], Code::Internal),
        (
            "empty parts",
            vec![data(b""), None, data(b""), data(b""), None, data(b"")],
            Code::Internal,
        ),
        ("trailers last", vec![data(MESSAGE), trailers()], Code::Ok),
        ("trailers first", vec![trailers(), data(MESSAGE)], Code::Ok),
        ("late trailers", vec![None, data(MESSAGE), None, trailers(), None], Code::Ok),
        ("garbage", vec![data(b"\xff\xff\xff\xff\xff\xff"), None, data(b"zzz")], Code::Internal),
        ("half a message", vec![data(&MESSAGE[..7])], Code::Internal),
        (
            "byte by byte",
            MESSAGE.chunks(1).map(|byte| Some(Part::data(Bytes::from_static(byte)))).collect(),
            Code::Ok,
        ),
    ]
}

#[tokio::test]
async fn odd_bodies_end_their_call_alone() {
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    for options in [CallOptions::new(), CallOptions::new().unary()] {
        for end in [End::Well, End::InError, End::Never] {
            for (name, parts, code) in bodies() {
                let mut odd = request(SAY);
                odd.extensions_mut().insert(options.timeout(if matches!(end, End::Never) {
                    ms(30)
                } else {
                    secs(60)
                }));
                *odd.body_mut() = Body::new(OddBody(parts.into_iter(), end));
                let ended = ask(&supervisor.channel(), odd).await;
                let right = match end {
                    End::Well => ended == code,
                    End::InError => ended == Code::DataLoss || ended == code && code != Code::Ok,
                    End::Never => ended != Code::Ok,
                };
                assert!(right, "{name}, {end:?}: {ended:?}");
                all_is_well(&supervisor, name).await;
            }
        }
    }
}

/// Always ready with a part that says nothing; the first may be a message.
struct Endless(Option<Part<Bytes>>, fn() -> Option<Part<Bytes>>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Part<Bytes>, Status>>> {
        let part = self.0.take().or_else(self.1);
        Poll::Ready(part.map(Ok))
    }
}

/// It would keep its thread for ever: the caller's, or the supervisor's once the answer has begun.
#[tokio::test]
async fn a_body_that_never_ends_and_says_nothing_holds_nobody_up() {
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    for options in [CallOptions::new(), CallOptions::new().unary()] {
        for parts in [|| data(b""), trailers] {
            for first in [None, data(MESSAGE)] {
                let mut odd = request("/test.Echo/Chat");
                odd.extensions_mut().insert(options.timeout(ms(30)));
                *odd.body_mut() = Body::new(Endless(first, parts));
                let ended = ask(&supervisor.channel(), odd).await;
                assert_eq!(ended, Code::DeadlineExceeded);
                all_is_well(&supervisor, "an endless body").await;
            }
        }
    }
}

/// In one piece and ended, or more of it still to come: it is said before anything is sent.
#[tokio::test]
async fn a_unary_request_that_says_it_is_too_large_is_refused_here_although_it_is_not() {
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    for end in [End::Well, End::Never] {
        let mut odd = request(SAY);
        odd.extensions_mut().insert(CallOptions::new().unary().timeout(secs(60)));
        let announced = Bytes::from_static(&[0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]);
        let parts = vec![Some(Part::data(announced))];
        *odd.body_mut() = Body::new(OddBody(parts.into_iter(), end));
        let status = supervisor.channel().call(odd).await.expect_err("refused");
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        assert_eq!(CallReport::of(&status).expect("a report").attempts_made, 0);
    }
}

/// The panic is the caller's own, and shows where the call is awaited: whoever makes calls for many
/// goes on.
#[tokio::test]
async fn a_body_that_panics_when_the_call_is_made_panics_where_it_is_awaited() {
    hide_injected_panics();
    let (_server, supervisor) = with_tonic_server(config().max_retry_attempts(0)).await;
    let mut odd = request(SAY);
    *odd.body_mut() = Body::new(Endless(None, || panic!("injected by a test")));
    let made = supervisor.channel().call(odd);
    let awaited = tokio::spawn(made).await;
    assert!(awaited.expect_err("a panic").is_panic());
    all_is_well(&supervisor, "a body that panics").await;
}
