//! The connector of everyday: dials the configured endpoint over TCP or a Unix socket.

use super::{
    connector::{BoxedIo, Connector, Target, failure, tune},
    eyeballs::{Trail, race},
};
use crate::{
    config::Endpoint,
    model::{DialFailure, DialStep},
};
use futures::future::BoxFuture;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// Dials one endpoint, its name looked up anew each time.
#[derive(Debug)]
pub(crate) struct NetConnector {
    endpoint: Arc<Endpoint>,
    trail: Trail,
}

impl NetConnector {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), trail: Trail::default() }
    }
}

impl Connector for NetConnector {
    fn connect(&self, target: &Target) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let (endpoint, trail, target) = (self.endpoint.clone(), self.trail.clone(), target.clone());
        trail.clear();
        Box::pin(async move {
            match &*endpoint {
                Endpoint::Host { host, port } => tcp(lookup(host, *port, &target).await?, &target, &trail).await,
                Endpoint::Addresses(addresses) => tcp(addresses.clone(), &target, &trail).await,
                #[cfg(unix)]
                Endpoint::Unix(path) => unix(path, &target).await,
                #[cfg(unix)]
                // The leading NUL is the system's own mark of an abstract name.
                Endpoint::UnixAbstract(name) => unix(format!("\0{name}").as_ref(), &target).await,
                #[cfg(not(unix))]
                Endpoint::Unix(_) | Endpoint::UnixAbstract(_) => {
                    Err(failure(DialStep::Connect, &target, &io::ErrorKind::Unsupported))
                }
            }
        })
    }

    fn progress(&self) -> Option<String> {
        // Nothing was named before it.
        self.trail.words("")
    }
}

pub(super) async fn lookup(host: &str, port: u16, target: &Target) -> Result<Vec<SocketAddr>, DialFailure> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<_> = found.map_err(|error| failure(DialStep::Resolve, target, &error))?.collect();
    if found.is_empty() { Err(failure(DialStep::Resolve, target, &"the name has no address")) } else { Ok(found) }
}

pub(super) async fn tcp(addresses: Vec<SocketAddr>, target: &Target, trail: &Trail) -> Result<BoxedIo, DialFailure> {
    let user_timeout = target.user_timeout;
    let dial = |address| async move { tune(TcpStream::connect(address).await?, user_timeout) };
    match race(addresses, dial, trail).await {
        Some(stream) => Ok(Box::new(stream)),
        None => Err(failure(DialStep::Connect, target, &trail.words(&target.to_string()).unwrap_or_default())),
    }
}

#[cfg(unix)]
async fn unix(path: &std::path::Path, target: &Target) -> Result<BoxedIo, DialFailure> {
    let stream: io::Result<_> = tokio::net::UnixStream::connect(path).await;
    stream.map(|stream| Box::new(stream) as BoxedIo).map_err(|error| failure(DialStep::Connect, target, &error))
}
