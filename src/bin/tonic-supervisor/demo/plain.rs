//! The plain side: a bare tonic `Channel`, as most programs use it. It dials through a connector
//! that counts.

use super::{report::Report, tally::Counts};
use crate::{CliError, tls::Tls};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

/// What is left of a side when its channel is given away.
#[derive(Debug)]
pub(super) struct Side(Connector);

/// A channel to `address`.
pub(super) fn start(
    agent: &'static str,
    address: SocketAddr,
    tls: Option<&Tls>,
    report: &Arc<Report>,
) -> Result<(Channel, Side), CliError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(CliError::failed("cannot name the server"))?
        .connect_timeout(Duration::from_secs(30))
        .timeout(Duration::from_secs(30));
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.client()).map_err(CliError::failed("cannot use TLS"))?;
    }
    let connector =
        Connector { agent, report: report.clone(), dials: Arc::default(), links: Arc::default() };
    Ok((endpoint.connect_with_connector_lazy(connector.clone()), Side(connector)))
}

impl Side {
    pub(super) async fn counts(&self) -> Counts {
        Counts {
            dials: self.0.dials.load(Relaxed),
            reconnects: self.0.links.load(Relaxed).saturating_sub(1),
            ..Counts::default()
        }
    }

    /// The channel closes with its last clone.
    pub(super) async fn close(self) {}
}

#[derive(Clone, Debug)]
struct Connector {
    agent: &'static str,
    report: Arc<Report>,
    dials: Arc<AtomicU64>,
    links: Arc<AtomicU64>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.dials.fetch_add(1, Relaxed);
        let Self { agent, report, links, .. } = self.clone();
        Box::pin(async move {
            let address =
                uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            links.fetch_add(1, Relaxed);
            report.event(agent, "Connected", "connected", json!({}), true);
            Ok(TokioIo::new(stream))
        })
    }
}
