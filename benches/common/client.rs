//! The clients: what tonic's generator writes for a unary method, over any channel, and the same
//! call as a message.

use ractor::call;
use std::{future::Future, net::SocketAddr, time::Duration};
use tonic::{
    Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{Bytes, StdError, http::uri::PathAndQuery},
    transport::Endpoint,
};
use tonic_prost::ProstCodec;
use tonic_supervisor::{CallOptions, Config, ConfigBuilder, Mailbox, Supervisor, UnaryCall};

pub(crate) const PATH: &str = "/bench.Echo/Unary";

/// Anything that echoes a payload.
pub(crate) trait Echo: Clone + Send + 'static {
    fn echo(&mut self, payload: Vec<u8>) -> impl Future<Output = Result<usize, Status>> + Send;
}

/// A unary client over a channel.
#[derive(Clone)]
pub(crate) struct Client<C> {
    grpc: Grpc<C>,
    deadline: Option<Duration>,
}

pub(crate) fn over<C>(channel: C) -> Client<C>
where
    C: GrpcService<Body>,
{
    Client { grpc: Grpc::new(channel), deadline: None }
}

impl<C> Client<C> {
    /// The same with a deadline on every call, or with none.
    pub(crate) fn within(self, deadline: Option<Duration>) -> Self {
        Self { deadline, ..self }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address")
}

/// Bare tonic, connected.
pub(crate) async fn plain(address: SocketAddr) -> Client<tonic::transport::Channel> {
    over(endpoint(address).connect().await.expect("the server listens"))
}

/// Bare tonic over TLS, connected.
#[cfg(feature = "cli")]
pub(crate) async fn plain_secured(
    address: SocketAddr,
    certificate: &str,
) -> Client<tonic::transport::Channel> {
    use tonic::transport::{Certificate, ClientTlsConfig};
    let trusted = Certificate::from_pem(std::fs::read(certificate).expect("written by the bench"));
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    let endpoint =
        endpoint.tls_config(ClientTlsConfig::new().ca_certificate(trusted)).expect("a certificate");
    over(endpoint.connect().await.expect("the server listens"))
}

/// Bare tonic, which dials when it is called.
pub(crate) fn plain_lazy(address: SocketAddr) -> Client<tonic::transport::Channel> {
    over(endpoint(address).connect_lazy())
}

/// A supervisor with the defaults, its link up.
pub(crate) async fn supervise(address: SocketAddr) -> Supervisor {
    ready(Config::builder().host("127.0.0.1").port(address.port())).await
}

/// The same over TLS.
#[cfg(feature = "cli")]
pub(crate) async fn supervise_secured(address: SocketAddr, certificate: &str) -> Supervisor {
    ready(Config::builder().target(format!("https://{address}")).tls_ca(certificate)).await
}

async fn ready(config: ConfigBuilder) -> Supervisor {
    let supervisor = Supervisor::spawn(config.build().expect("a valid configuration"));
    supervisor.wait_ready(Duration::from_secs(5)).await.expect("the server listens");
    supervisor
}

impl<C> Echo for Client<C>
where
    C: GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
    C::ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    C::Error: Into<StdError>,
{
    async fn echo(&mut self, payload: Vec<u8>) -> Result<usize, Status> {
        self.grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(payload);
        request.extensions_mut().insert(CallOptions::new().unary());
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        let codec = ProstCodec::<Vec<u8>, Vec<u8>>::default();
        let path = PathAndQuery::from_static(PATH);
        Ok(self.grpc.unary(request, path, codec).await?.into_inner().len())
    }
}

/// The same call as a message.
#[derive(Clone)]
pub(crate) struct Mailboxed(pub(crate) Mailbox);

impl Echo for Mailboxed {
    async fn echo(&mut self, payload: Vec<u8>) -> Result<usize, Status> {
        let reply = call!(self.0, UnaryCall::new, PATH, &payload).expect("one answer")?;
        Ok(reply.decode::<Vec<u8>>()?.len())
    }
}
