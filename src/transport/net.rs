//! The connector of everyday: dials the configured target over TCP or a Unix socket.

use super::{
    connector::{BoxedIo, Candidate, Connector, Endpoint, failure, tune},
    eyeballs::{in_turn, race},
    lookup::Lookups,
    trail::Trail,
};
use crate::{
    config,
    model::{DialFailure, DialStep},
};
use futures::future::BoxFuture;
use std::{future::Future, io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// Dials one target, its name looked up anew each time.
#[derive(Debug)]
pub(crate) struct NetConnector {
    target: Arc<config::Target>,
    lookups: Arc<Lookups>,
}

impl NetConnector {
    pub(crate) fn new(target: config::Target) -> Self {
        Self { target: Arc::new(target), lookups: Arc::default() }
    }
}

impl Connector for NetConnector {
    fn connect(&self, endpoint: &Endpoint) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        Box::pin(connect_to_any(endpoint.clone(), self.candidates(endpoint)))
    }

    fn candidates(
        &self,
        endpoint: &Endpoint,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        let (configured, lookups, endpoint) =
            (self.target.clone(), self.lookups.clone(), endpoint.clone());
        Box::pin(async move {
            match &*configured {
                config::Target::Host { host, port } => {
                    named(&lookups, host, *port, &endpoint).await
                }
                config::Target::Addresses(addresses) => Ok(tcp(addresses.clone(), &endpoint)),
                config::Target::Zoned(all) => zoned(&lookups, all, &endpoint).await,
                #[cfg(unix)]
                config::Target::Unix(path) => Ok(unix(path.clone(), &endpoint)),
                #[cfg(unix)]
                // The leading NUL is the system's own mark of an abstract name.
                config::Target::UnixAbstract(name) => {
                    Ok(unix(format!("\0{name}").into(), &endpoint))
                }
                #[cfg(not(unix))]
                config::Target::Unix(_) | config::Target::UnixAbstract(_) => {
                    Err(failure(DialStep::Connect, &endpoint, &io::ErrorKind::Unsupported))
                }
            }
        })
    }

    fn progress(&self) -> Option<String> {
        let config::Target::Host { host, .. } = &*self.target else { return None };
        let silence = self.lookups.unanswered(host)?;
        Some(format!("the lookup of {host} has not answered for {:.1} s", silence.as_secs_f64()))
    }
}

/// The first stream that opens.
pub(super) async fn connect_to_any(
    endpoint: Endpoint,
    candidates: impl Future<Output = Result<Vec<Candidate>, DialFailure>>,
) -> Result<BoxedIo, DialFailure> {
    let trail = Trail::new(&endpoint);
    let won = race(candidates.await?, |_, candidate| candidate.connect, &trail).await;
    won.ok_or_else(|| trail.all_failed())
}

/// What a name or an address stands for.
pub(super) async fn named(
    lookups: &Lookups,
    host: &str,
    port: u16,
    endpoint: &Endpoint,
) -> Result<Vec<Candidate>, DialFailure> {
    let addresses = lookups.addresses(host, port).await;
    addresses
        .map(|all| tcp(all, endpoint))
        .map_err(|cause| failure(DialStep::Resolve, endpoint, &cause))
}

/// Those of the addresses whose zones are there; none: the first one's failure.
async fn zoned(
    lookups: &Lookups,
    all: &[(String, u16)],
    endpoint: &Endpoint,
) -> Result<Vec<Candidate>, DialFailure> {
    let (mut found, mut missing) = (Vec::new(), None);
    for (host, port) in all {
        match lookups.addresses(host, *port).await {
            Ok(addresses) => found.extend(addresses),
            Err(cause) => missing = missing.or(Some(cause)),
        }
    }
    match missing {
        Some(cause) if found.is_empty() => Err(failure(DialStep::Resolve, endpoint, &cause)),
        _ => Ok(tcp(found, endpoint)),
    }
}

fn tcp(addresses: Vec<SocketAddr>, endpoint: &Endpoint) -> Vec<Candidate> {
    let user_timeout = endpoint.user_timeout;
    let connect = move |address| async move {
        let stream =
            TcpStream::connect(address).await.and_then(|stream| tune(stream, user_timeout));
        let stream = stream.map_err(|error| failure(DialStep::Connect, &address, &error))?;
        Ok(Box::new(stream) as BoxedIo)
    };
    let candidate = |address: SocketAddr| Candidate::new(address.to_string(), connect(address));
    in_turn(addresses).into_iter().map(candidate).collect()
}

#[cfg(unix)]
fn unix(path: std::path::PathBuf, endpoint: &Endpoint) -> Vec<Candidate> {
    let endpoint = endpoint.clone();
    let connect = Box::pin(async move {
        let stream: io::Result<_> = tokio::net::UnixStream::connect(path).await;
        stream
            .map(|stream| Box::new(stream) as BoxedIo)
            .map_err(|error| failure(DialStep::Connect, &endpoint, &error))
    });
    vec![Candidate { address: None, connect }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_is_asked_once_and_named_in_each_failure() {
        let (_never, answer) = std::sync::mpsc::channel::<Vec<SocketAddr>>();
        let answer = parking_lot::Mutex::new(answer);
        let lookups = Lookups::new(move |_| answer.lock().recv().map_err(io::Error::other));
        let configured = Arc::new(config::Target::Host { host: "queue".into(), port: 7 });
        let connector = NetConnector { target: configured, lookups: Arc::new(lookups) };
        let endpoint = Endpoint { host: "queue".into(), port: 7, user_timeout: None };
        let timeout = Duration::from_secs(20);
        for said in ["20.0 s", "40.0 s"] {
            let dial = connector.candidates(&endpoint);
            assert!(tokio::time::timeout(timeout, dial).await.is_err());
            let failure = Trail::new(&endpoint).cut_off(timeout, connector.progress());
            assert_eq!((failure.step, failure.timed_out), (DialStep::Resolve, true));
            let words =
                format!("cannot resolve queue:7: the lookup of queue has not answered for {said}");
            assert!(failure.reason.starts_with(&words), "{failure}");
        }
    }
}
