//! The default connector: dials addresses over TCP, or a Unix socket.

use super::{
    connect_request::ConnectRequest,
    connector::{BoxedIo, Candidate, Connected, Connector, failure, not_connected, tune},
    dial_record::DialRecord,
    eyeballs::{Found, in_turn, race},
    lookup::{Lookups, literal},
    resolver::NameResolver,
};
use crate::model::{Address, DialFailure, DialStep};
use futures::future::BoxFuture;
use std::{
    future::{Future, ready},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::TcpStream;

/// Dials whatever address it is asked for; a name is looked up anew each time.
#[derive(Debug, Default)]
pub(crate) struct NetConnector {
    lookups: Arc<Lookups>,
}

impl NetConnector {
    /// Looks up the servers of a name, together with the dials.
    pub(crate) fn resolver(&self, host: &str, port: u16) -> NameResolver {
        NameResolver::new(host, port, self.lookups.clone())
    }

    /// A dial that is cut off says for how long its name server has not answered: over several
    /// dials, where one lookup outlives them.
    fn report_lookup(&self, request: &ConnectRequest) {
        let (host, lookups) = (request.address().host().to_owned(), self.lookups.clone());
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
        let (lookups, request) = (self.lookups.clone(), request.clone());
        if let Some(path) = socket_path(request.address()) {
            return Box::pin(ready(unix(path, &request)));
        }
        self.report_lookup(&request);
        Box::pin(async move {
            let address = request.address();
            named(&lookups, address.host(), address.port(), &request).await
        })
    }
}

/// Whether it has to be looked up.
fn is_name(address: &Address) -> bool {
    socket_path(address).is_none() && literal(address.host(), address.port()).is_none()
}

/// The path of a Unix socket, as the system takes it.
fn socket_path(address: &Address) -> Option<String> {
    let text = address.host();
    if address.port() != 0 {
        return None;
    }
    // The leading NUL is the system's own mark of an abstract name.
    let hidden = text.strip_prefix("unix-abstract:").map(|name| format!("\0{name}"));
    hidden.or_else(|| text.strip_prefix("unix:").map(str::to_owned))
}

/// The first stream that opens.
pub(super) async fn connect_to_any(
    request: ConnectRequest,
    candidates: impl Future<Output = Result<Vec<Candidate>, DialFailure>>,
) -> Result<BoxedIo, DialFailure> {
    let record = DialRecord::new(request.address().to_string(), vec![request.clone()]);
    let address = request.address();
    if is_name(address) {
        request.report_step(DialStep::Resolve);
    }
    let found = Found::all(candidates.await?);
    request.report_step(DialStep::Connect);
    record.looked_up(0);
    let won = race(found, |_, candidate| candidate.connect, &record).await;
    won.map(|connected| connected.io).ok_or_else(|| record.all_failed())
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
        .map_err(|cause| failure(DialStep::Resolve, request.address(), &cause))
}

fn tcp(addresses: Vec<SocketAddr>, request: &ConnectRequest) -> Vec<Candidate> {
    let user_timeout = request.user_timeout();
    let connect = move |address: SocketAddr| async move {
        let stream =
            TcpStream::connect(address).await.and_then(|stream| tune(stream, user_timeout));
        let stream = stream.map_err(|error| {
            // A host without IPv6 says so of `localhost`. Of another address it may be that this
            // host has no port left to dial from, which more dials would not mend.
            let has_no_ipv6 = error.kind() == io::ErrorKind::AddrNotAvailable
                && address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST);
            let failure = not_connected(&address, &error);
            DialFailure { refused: failure.refused || has_no_ipv6, ..failure }
        })?;
        let local = stream.local_addr();
        let io = Box::new(stream) as BoxedIo;
        Ok(match local {
            Ok(local) => Connected::from_local(io, local.into()),
            Err(_) => io.into(),
        })
    };
    let candidate = |address: SocketAddr| Candidate::telling(address.to_string(), connect(address));
    in_turn(addresses).into_iter().map(candidate).collect()
}

#[cfg(unix)]
fn unix(path: String, request: &ConnectRequest) -> Result<Vec<Candidate>, DialFailure> {
    let address = request.address().clone();
    let connect = async move {
        let stream: io::Result<_> = tokio::net::UnixStream::connect(path).await;
        stream
            .map(|stream| Box::new(stream) as BoxedIo)
            .map_err(|error| not_connected(&address, &error))
    };
    Ok(vec![Candidate::unnamed(connect)])
}

#[cfg(not(unix))]
fn unix(_: String, request: &ConnectRequest) -> Result<Vec<Candidate>, DialFailure> {
    Err(failure(DialStep::Connect, request.address(), &io::ErrorKind::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_port_where_nobody_listens_refuses_and_so_does_a_socket_that_nobody_made() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let connect = |host: &str, port| {
            NetConnector::default().connect(&ConnectRequest::new(Address::new(host, port)))
        };
        let refused = connect("127.0.0.1", port).await.err().expect("nobody listens");
        assert!(refused.refused && !refused.timed_out, "{refused:?}");
        #[cfg(unix)]
        {
            let missing = connect("unix:/nowhere/at.sock", 0).await.err().expect("no such file");
            assert!(missing.refused, "{missing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_is_asked_once_and_named_in_each_failure() {
        let (_never, answer) = std::sync::mpsc::channel::<Vec<SocketAddr>>();
        let answer = parking_lot::Mutex::new(answer);
        let lookups = Lookups::new(move |_| answer.lock().recv().map_err(io::Error::other));
        let connector = NetConnector { lookups: Arc::new(lookups) };
        let queue = Address::new("queue", 7);
        let timeout = Duration::from_secs(20);
        for said in ["20.0 s", "40.0 s"] {
            let request = ConnectRequest::new(queue.clone());
            let dial = connector.candidates(&request);
            assert!(tokio::time::timeout(timeout, dial).await.is_err());
            let record = DialRecord::new(queue.to_string(), vec![request.clone()]);
            let failure = record.cut_off(timeout, request.progress());
            assert_eq!((failure.step, failure.timed_out), (DialStep::Resolve, true));
            let words =
                format!("cannot resolve queue:7: the lookup of queue has not answered for {said}");
            assert!(failure.reason.starts_with(&words), "{failure}");
        }
    }
}
