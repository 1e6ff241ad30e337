//! The seam under the link: who opens the byte stream to a target. TCP today; TLS, Unix sockets and tests plug in here.

use crate::model::{DialFailure, DialStep};
use futures::future::BoxFuture;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// A byte stream to a peer.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A byte stream to a peer, whatever it is made of.
pub type BoxedIo = Box<dyn Io>;

/// What to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// After this long without an acknowledgement of sent bytes the connection is dead (gRPC A18), where the system can say so.
    pub user_timeout: Option<Duration>,
}

/// Opens byte streams. A dial is one call; the caller bounds it with `connect_timeout` by dropping the future.
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream to `target`. Must be cancel safe: a dropped future leaves nothing behind.
    fn connect(&self, target: &Target) -> BoxFuture<'static, Result<BoxedIo, DialFailure>>;
}

/// Plain TCP: resolves the host anew at each dial and tries its addresses in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, target: &Target) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let target = target.clone();
        Box::pin(async move {
            let name = (&*target.host, target.port);
            let addresses =
                tokio::net::lookup_host(name).await.map_err(|error| failure(DialStep::Resolve, &target, &error))?;
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let mut step = DialStep::Resolve;
            for address in addresses {
                step = DialStep::Connect;
                match TcpStream::connect(address).await.and_then(|stream| tune(stream, target.user_timeout)) {
                    Ok(stream) => return Ok(Box::new(stream) as BoxedIo),
                    Err(error) => last = error,
                }
            }
            Err(failure(step, &target, &last))
        })
    }
}

fn tune(stream: TcpStream, user_timeout: Option<Duration>) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if user_timeout.is_some() {
        socket2::SockRef::from(&stream).set_tcp_user_timeout(user_timeout)?;
    }
    let _ = user_timeout;
    Ok(stream)
}

fn failure(step: DialStep, target: &Target, error: &io::Error) -> DialFailure {
    let doing = if step == DialStep::Resolve { "resolve" } else { "connect to" };
    DialFailure { step, reason: format!("cannot {doing} {}:{}: {error}", target.host, target.port), timed_out: false }
}
