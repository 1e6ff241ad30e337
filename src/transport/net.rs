//! The default connector: dials the configured target over TCP or a Unix socket.

use super::{
    connect_request::ConnectRequest,
    connector::{BoxedIo, Candidate, Connector, failure, tune},
    dial_record::DialRecord,
    eyeballs::{in_turn, race},
    lookup::Lookups,
};
use crate::{
    config::Target,
    model::{DialFailure, DialStep},
};
use futures::future::BoxFuture;
use std::{future::Future, io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// Dials one target, its name looked up anew each time.
#[derive(Debug)]
pub(crate) struct NetConnector {
    target: Arc<Target>,
    lookups: Arc<Lookups>,
}

impl NetConnector {
    pub(crate) fn new(target: Target) -> Self {
        Self { target: Arc::new(target), lookups: Arc::default() }
    }

    /// A dial that is cut off says for how long its name server has not answered: over several
    /// dials, where one lookup outlives them.
    fn report_lookup(&self, request: &ConnectRequest) {
        let Target::Host { host, .. } = &*self.target else { return };
        let (host, lookups) = (host.clone(), self.lookups.clone());
        request.report_progress(move || {
            let silence = lookups.unanswered(&host)?.as_secs_f64();
            Some(format!("the lookup of {host} has not answered for {silence:.1} s"))
        });
    }
}

impl Connector for NetConnector {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        Box::pin(connect_to_any(request.clone(), self.candidates(request)))
    }

    fn candidates(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        let (target, lookups, request) =
            (self.target.clone(), self.lookups.clone(), request.clone());
        self.report_lookup(&request);
        Box::pin(async move {
            match &*target {
                Target::Host { host, port } => named(&lookups, host, *port, &request).await,
                Target::Addresses(addresses) => Ok(tcp(addresses.clone(), &request)),
                Target::Zoned(all) => zoned(&lookups, all, &request).await,
                #[cfg(unix)]
                Target::Unix(path) => Ok(unix(path.clone(), &request)),
                #[cfg(unix)]
                // The leading NUL is the system's own mark of an abstract name.
                Target::UnixAbstract(name) => Ok(unix(format!("\0{name}").into(), &request)),
                #[cfg(not(unix))]
                Target::Unix(_) | Target::UnixAbstract(_) => {
                    Err(failure(DialStep::Connect, request.endpoint(), &io::ErrorKind::Unsupported))
                }
            }
        })
    }
}

/// The first stream that opens.
pub(super) async fn connect_to_any(
    request: ConnectRequest,
    candidates: impl Future<Output = Result<Vec<Candidate>, DialFailure>>,
) -> Result<BoxedIo, DialFailure> {
    let record = DialRecord::new(request.endpoint());
    let won = race(candidates.await?, |_, candidate| candidate.connect, &record).await;
    won.ok_or_else(|| record.all_failed())
}

/// What a name or an address stands for.
pub(super) async fn named(
    lookups: &Lookups,
    host: &str,
    port: u16,
    request: &ConnectRequest,
) -> Result<Vec<Candidate>, DialFailure> {
    let addresses = lookups.addresses(host, port).await;
    addresses
        .map(|all| tcp(all, request))
        .map_err(|cause| failure(DialStep::Resolve, request.endpoint(), &cause))
}

/// Those of the addresses whose zones are there; none: the first one's failure.
async fn zoned(
    lookups: &Lookups,
    all: &[(String, u16)],
    request: &ConnectRequest,
) -> Result<Vec<Candidate>, DialFailure> {
    let (mut found, mut missing) = (Vec::new(), None);
    for (host, port) in all {
        match lookups.addresses(host, *port).await {
            Ok(addresses) => found.extend(addresses),
            Err(cause) => missing = missing.or(Some(cause)),
        }
    }
    match missing {
        Some(cause) if found.is_empty() => {
            Err(failure(DialStep::Resolve, request.endpoint(), &cause))
        }
        _ => Ok(tcp(found, request)),
    }
}

fn tcp(addresses: Vec<SocketAddr>, request: &ConnectRequest) -> Vec<Candidate> {
    let user_timeout = request.user_timeout();
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
fn unix(path: std::path::PathBuf, request: &ConnectRequest) -> Vec<Candidate> {
    let endpoint = request.endpoint().clone();
    let connect = async move {
        let stream: io::Result<_> = tokio::net::UnixStream::connect(path).await;
        stream
            .map(|stream| Box::new(stream) as BoxedIo)
            .map_err(|error| failure(DialStep::Connect, &endpoint, &error))
    };
    vec![Candidate::unnamed(connect)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Endpoint;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_is_asked_once_and_named_in_each_failure() {
        let (_never, answer) = std::sync::mpsc::channel::<Vec<SocketAddr>>();
        let answer = parking_lot::Mutex::new(answer);
        let lookups = Lookups::new(move |_| answer.lock().recv().map_err(io::Error::other));
        let target = Arc::new(Target::Host { host: "queue".into(), port: 7 });
        let connector = NetConnector { target, lookups: Arc::new(lookups) };
        let queue = Endpoint::new("queue", 7);
        let timeout = Duration::from_secs(20);
        for said in ["20.0 s", "40.0 s"] {
            let request = ConnectRequest::new(queue.clone());
            let dial = connector.candidates(&request);
            assert!(tokio::time::timeout(timeout, dial).await.is_err());
            let failure = DialRecord::new(&queue).cut_off(timeout, request.progress());
            assert_eq!((failure.step, failure.timed_out), (DialStep::Resolve, true));
            let words =
                format!("cannot resolve queue:7: the lookup of queue has not answered for {said}");
            assert!(failure.reason.starts_with(&words), "{failure}");
        }
    }
}
