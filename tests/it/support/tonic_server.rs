//! A real tonic server with a method of each kind, made by hand as generated code makes it, on a
//! port of loopback.

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use std::{
    convert::Infallible,
    task::{Context, Poll},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// It ends when dropped.
pub(crate) struct TonicServer {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl TonicServer {
    /// Serves `service` beside a method of each kind: `/test.Echo/Say`, `Repeat`, `Join` and
    /// `Chat`.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let serving = Server::builder()
            .add_service(Echo)
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self { port, task: tokio::spawn(async move { serving.await.expect("it serves") }) }
    }

    /// The same on a Unix socket, without a port.
    #[cfg(unix)]
    pub(crate) fn on_unix(path: &std::path::Path) -> Self {
        let listener = tokio::net::UnixListener::bind(path).expect("a free path");
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let serving = Server::builder().add_service(Echo).serve_with_incoming(incoming);
        Self { port: 0, task: tokio::spawn(async move { serving.await.expect("it serves") }) }
    }
}

impl Drop for TonicServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Texts = BoxStream<'static, Result<String, Status>>;

/// The service. `/test.Echo/Say` answers with what it was told.
#[derive(Clone)]
pub(crate) struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                "/test.Echo/Say" => grpc.unary(service_fn(say), request).await,
                "/test.Echo/Repeat" => grpc.server_streaming(service_fn(repeat), request).await,
                "/test.Echo/Join" => grpc.client_streaming(service_fn(join), request).await,
                "/test.Echo/Chat" => grpc.streaming(service_fn(chat), request).await,
                path => Status::unimplemented(path.to_owned()).into_http(),
            })
        })
    }
}

/// The text, and with it the header `x-from`.
async fn say(request: Request<String>) -> Answer<String> {
    let from = request.metadata().get("x-from").cloned();
    let mut response = Response::new(request.into_inner());
    if let Some(from) = from {
        response.metadata_mut().insert("x-from", from);
    }
    Ok(response)
}

/// Each word.
async fn repeat(request: Request<String>) -> Answer<Texts> {
    let words: Vec<_> = request.into_inner().split(' ').map(|word| Ok(word.to_owned())).collect();
    Ok(Response::new(futures::stream::iter(words).boxed()))
}

/// All texts as one.
async fn join(request: Request<Streaming<String>>) -> Answer<String> {
    let texts: Vec<String> = futures::TryStreamExt::try_collect(request.into_inner()).await?;
    Ok(Response::new(texts.join(" ")))
}

/// Each text as it comes.
async fn chat(request: Request<Streaming<String>>) -> Answer<Texts> {
    Ok(Response::new(request.into_inner().boxed()))
}
