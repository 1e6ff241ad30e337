//! The clients: what tonic's generator writes for a unary method, over any channel, and the same call as a message.

use super::Echo;
use ractor::call;
use std::net::SocketAddr;
use tonic::{
    Request,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Bytes, StdError, http::uri::PathAndQuery},
    transport::Endpoint,
};
use tonic_prost::ProstCodec;
use tonic_supervisor::{CallOptions, Mailbox, UnaryCall};

pub(crate) const PATH: &str = "/bench.Echo/Unary";

/// A channel that a generated client takes.
pub(crate) trait Channel:
    GrpcService<
        Body,
        ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        Error: Into<StdError>,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C> Channel for C where
    C: GrpcService<
            Body,
            ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
            Error: Into<StdError>,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A unary client over a channel.
#[derive(Clone)]
pub(crate) struct Path<C>(Grpc<C>);

pub(crate) fn over<C: Channel>(channel: C) -> Path<C> {
    Path(Grpc::new(channel))
}

pub(crate) async fn plain(address: SocketAddr) -> Path<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    over(endpoint.connect().await.expect("the server listens"))
}

impl<C: Channel> Path<C> {
    pub(crate) async fn call(&mut self, payload: Vec<u8>) -> usize {
        self.0.ready().await.map_err(Into::into).expect("a channel");
        let mut request = Request::new(payload);
        request.extensions_mut().insert(CallOptions::new().unary());
        let codec = ProstCodec::<Vec<u8>, Vec<u8>>::default();
        let path = PathAndQuery::from_static(PATH);
        self.0.unary(request, path, codec).await.expect("an answer").into_inner().len()
    }
}

/// The same call as a message.
#[derive(Clone)]
pub(crate) struct Mailboxed(pub(crate) Mailbox);

impl Echo for Mailboxed {
    async fn echo(&mut self, payload: Vec<u8>) -> usize {
        let reply = call!(self.0, UnaryCall::new, PATH, &payload).expect("an answer").expect("OK");
        reply.decode::<Vec<u8>>().expect("the message").len()
    }
}
