//! Calls of each kind without a generated client.

use futures::Stream;
use http::uri::PathAndQuery;
use prost::Message;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, Config, ConfigBuilder, EventItem, EventStream, Fact, SupervisedChannel, Supervisor,
};

type Client = Grpc<SupervisedChannel>;

/// The defaults, aimed at a port of loopback.
pub(crate) fn config(port: &str) -> ConfigBuilder {
    Config::builder().target(format!("127.0.0.1:{port}"))
}

pub(crate) fn spawn(config: ConfigBuilder) -> Supervisor {
    Supervisor::spawn(config.build().expect("valid"))
}

async fn client(supervisor: &Supervisor) -> Client {
    let mut client = Grpc::new(supervisor.channel()).max_decoding_message_size(64 << 20);
    client.ready().await.expect("always ready");
    client
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

/// A unary call as a generated client makes it.
pub(crate) async fn unary<M: Message + 'static, R: Message + Default + 'static>(
    supervisor: &Supervisor,
    method: &'static str,
    mut request: Request<M>,
) -> Result<Response<R>, Status> {
    let options = request.extensions().get::<CallOptions>().copied().unwrap_or_default();
    request.extensions_mut().insert(options.unary());
    client(supervisor).await.unary(request, path(method), ProstCodec::default()).await
}

pub(crate) async fn server_streaming<M: Message + 'static, R: Message + Default + 'static>(
    supervisor: &Supervisor,
    method: &'static str,
    request: M,
) -> Result<Streaming<R>, Status> {
    let mut client = client(supervisor).await;
    let answer =
        client.server_streaming(Request::new(request), path(method), ProstCodec::default());
    answer.await.map(Response::into_inner)
}

pub(crate) async fn client_streaming<M: Message + 'static, R: Message + Default + 'static>(
    supervisor: &Supervisor,
    method: &'static str,
    requests: impl Stream<Item = M> + Send + 'static,
) -> Result<R, Status> {
    let mut client = client(supervisor).await;
    let answer =
        client.client_streaming(Request::new(requests), path(method), ProstCodec::default());
    answer.await.map(Response::into_inner)
}

pub(crate) async fn streaming<M: Message + 'static, R: Message + Default + 'static>(
    supervisor: &Supervisor,
    method: &'static str,
    requests: Request<impl Stream<Item = M> + Send + 'static>,
) -> Result<Response<Streaming<R>>, Status> {
    client(supervisor).await.streaming(requests, path(method), ProstCodec::default()).await
}

/// What `pick` makes of the next facts, until `time` has passed.
pub(crate) async fn facts<T>(
    events: &mut EventStream,
    time: Duration,
    pick: impl Fn(&Fact) -> Option<T>,
) -> Vec<T> {
    let mut picked = Vec::new();
    let listening = async {
        while let Some(item) = events.next().await {
            match item {
                EventItem::Event(event) => picked.extend(pick(&event.fact)),
                EventItem::Lagged(missed) => panic!("the test missed {missed} events"),
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(time, listening).await;
    picked
}
