//! The plain side: a bare tonic `Channel`, as most programs use it. It dials through a connector
//! that counts; to several servers, which tonic balances only over connections of its own, it dials
//! uncounted.

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
pub(super) struct Side(Option<Connector>);

/// A channel to `addresses`; to several it is tonic's `Channel::balance_list`.
pub(super) fn start(
    agent: &'static str,
    addresses: &[SocketAddr],
    tls: Option<&Tls>,
    report: &Arc<Report>,
) -> Result<(Channel, Side), CliError> {
    let endpoints = addresses.iter().map(|address| endpoint(*address, tls));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let [only] = &endpoints[..] else {
        return Ok((Channel::balance_list(endpoints.into_iter()), Side(None)));
    };
    let connector =
        Connector { agent, report: report.clone(), dials: Arc::default(), links: Arc::default() };
    Ok((only.connect_with_connector_lazy(connector.clone()), Side(Some(connector))))
}

fn endpoint(address: SocketAddr, tls: Option<&Tls>) -> Result<Endpoint, CliError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(CliError::failed("cannot name the server"))?
        .connect_timeout(Duration::from_secs(30))
        .timeout(Duration::from_secs(30));
    match tls {
        Some(tls) => endpoint.tls_config(tls.client()).map_err(CliError::failed("cannot use TLS")),
        None => Ok(endpoint),
    }
}

impl Side {
    pub(super) async fn counts(&self) -> Counts {
        let Some(connector) = &self.0 else { return Counts::default() };
        Counts {
            dials: Some(connector.dials.load(Relaxed)),
            reconnects: Some(connector.links.load(Relaxed).saturating_sub(1)),
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
