//! The channel in the place of tonic's own: clients, interceptors and layers work unchanged on it.

use crate::support::{TonicServer, codec, path};
use bytes::Bytes;
use futures::StreamExt;
use http::uri::PathAndQuery;
use http_body::Body as HttpBody;
use std::error::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    client::{Grpc, GrpcService},
    service::interceptor::InterceptedService,
};
use tonic_supervisor::{Config, Supervisor};
use tower::{Layer, util::MapRequestLayer};

pub(super) type StdError = Box<dyn Error + Send + Sync>;

/// One unary call, as generated code makes it.
pub(super) async fn say<T>(service: T, request: Request<String>) -> Result<Response<String>, Status>
where
    T: GrpcService<Body>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let mut grpc = Grpc::new(service);
    grpc.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
    grpc.unary(request, path(), codec()).await
}

pub(super) fn text() -> Request<String> {
    Request::new("hello".to_owned())
}

// --- all kinds of calls ---

/// One call of each kind, with the bounds that generated clients have.
async fn all_four_kinds<T>(service: T) -> Result<(), Status>
where
    T: GrpcService<Body> + Clone,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    assert_eq!(say(service.clone(), text()).await?.into_inner(), "hello");

    let mut grpc = Grpc::new(service);
    let ready = |error: T::Error| Status::unknown(error.into().to_string());
    grpc.ready().await.map_err(ready)?;
    let words = grpc
        .server_streaming(
            Request::new("a b c".to_owned()),
            PathAndQuery::from_static("/test.Echo/Repeat"),
            codec(),
        )
        .await?;
    let words: Vec<_> = words.into_inner().map(|word| word.expect("a word")).collect().await;
    assert_eq!(words, ["a", "b", "c"]);

    grpc.ready().await.map_err(ready)?;
    let words = Request::new(tokio_stream::iter(words));
    assert_eq!(
        grpc.client_streaming(words, PathAndQuery::from_static("/test.Echo/Join"), codec())
            .await?
            .into_inner(),
        "a b c"
    );

    // Each text is said only when the one before was heard.
    grpc.ready().await.map_err(ready)?;
    let (speak, said) = mpsc::unbounded_channel();
    let said = Request::new(UnboundedReceiverStream::new(said));
    let mut heard = grpc
        .streaming(said, PathAndQuery::from_static("/test.Echo/Chat"), codec())
        .await?
        .into_inner();
    for n in 0..100 {
        speak.send(n.to_string()).expect("the call is open");
        assert_eq!(heard.message().await?, Some(n.to_string()));
    }
    drop(speak);
    assert_eq!(heard.message().await?, None);
    Ok(())
}

/// A server of tonic's own on loopback, and a supervisor of a channel to it.
async fn over_tcp() -> (TonicServer, Supervisor) {
    let server = TonicServer::start().await;
    let config = Config::builder().port(server.port).build().expect("a valid configuration");
    (server, Supervisor::spawn(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_works_unchanged_for_unary_and_streaming_calls() {
    let (_server, supervisor) = over_tcp().await;
    all_four_kinds(supervisor.channel()).await.expect("all four kinds");
}

#[tokio::test]
async fn a_client_works_unchanged_on_a_current_thread_runtime() {
    let (_server, supervisor) = over_tcp().await;
    all_four_kinds(supervisor.channel()).await.expect("all four kinds");
}

#[tokio::test]
async fn a_client_works_unchanged_inside_an_interceptor() {
    let (_server, supervisor) = over_tcp().await;
    let sign = |mut request: Request<()>| {
        request.metadata_mut().insert("x-from", "interceptor".parse().expect("ascii"));
        Ok(request)
    };
    let service = InterceptedService::new(supervisor.channel(), sign);
    all_four_kinds(service.clone()).await.expect("all four kinds");
    let answer = say(service, text()).await.expect("answered");
    assert_eq!(answer.metadata().get("x-from").expect("the server saw it"), "interceptor");
}

#[tokio::test]
async fn a_client_works_unchanged_inside_a_tower_layer() {
    let (_server, supervisor) = over_tcp().await;
    let sign = |mut request: http::Request<Body>| {
        request.headers_mut().insert("x-from", "layer".parse().expect("ascii"));
        request
    };
    let service = MapRequestLayer::new(sign).layer(supervisor.channel());
    all_four_kinds(service.clone()).await.expect("all four kinds");
    let answer = say(service, text()).await.expect("answered");
    assert_eq!(answer.metadata().get("x-from").expect("the server saw it"), "layer");
}

#[tokio::test]
async fn an_interceptors_refusal_and_a_method_that_is_not_there_are_told_as_ever() {
    let (_server, supervisor) = over_tcp().await;
    let refuse = |_: Request<()>| Err(Status::unauthenticated("no token"));
    let status = say(InterceptedService::new(supervisor.channel(), refuse), text())
        .await
        .expect_err("refused");
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "no token"));
    let mut grpc = Grpc::new(supervisor.channel());
    let unknown = grpc
        .unary::<String, String, _>(
            text(),
            PathAndQuery::from_static("/test.Echo/Nothing"),
            codec(),
        )
        .await;
    assert_eq!(unknown.expect_err("no such method").code(), Code::Unimplemented);
}
