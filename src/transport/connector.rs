//! The seam under the link: who opens the byte stream to a target. TCP, Unix sockets and tests plug in here; TLS, where it is
//! configured, is spoken over whatever stream comes out.

use super::{eyeballs::Trail, net};
use crate::model::{DialFailure, DialStep};
use futures::future::BoxFuture;
use std::{fmt, io, sync::Arc, time::Duration};
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
    /// A name or an address; where the target has no host and port, all of it, such as `unix:/run/queue.sock`.
    pub host: Arc<str>,
    /// The port; 0 where the target has none.
    pub port: u16,
    /// After this long without an acknowledgement of sent bytes the connection is dead (gRPC A18), where the system can say so.
    pub user_timeout: Option<Duration>,
}

/// Opens byte streams. A dial is one call; the caller bounds it with `connect_timeout` by dropping the future.
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream to `target`. Must be cancel safe: a dropped future leaves nothing behind.
    fn connect(&self, target: &Target) -> BoxFuture<'static, Result<BoxedIo, DialFailure>>;

    /// What the dial under way has tried so far, for the message when `connect_timeout` cuts it off.
    fn progress(&self) -> Option<String> {
        None
    }
}

/// Plain TCP: resolves the host anew at each dial and tries all its addresses within one dial, 250 ms apart, families in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, target: &Target) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let target = target.clone();
        Box::pin(async move {
            let addresses = net::lookup(&target.host, target.port, &target).await?;
            net::tcp(addresses, &target, &Trail::default()).await
        })
    }
}

/// The longest TCP_USER_TIMEOUT that Linux takes: it is an int of milliseconds, some 24 days.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LONGEST_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

pub(super) fn tune(stream: TcpStream, user_timeout: Option<Duration>) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = user_timeout {
        let timeout = timeout.clamp(Duration::from_millis(1), LONGEST_USER_TIMEOUT);
        // Keepalive finds a dead peer without it, too: a system that does not know it can still
        // dial.
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(timeout));
    }
    let _ = user_timeout;
    Ok(stream)
}

pub(super) fn failure(step: DialStep, target: &Target, error: &dyn fmt::Display) -> DialFailure {
    let doing = if step == DialStep::Resolve { "resolve" } else { "connect to" };
    DialFailure { step, reason: format!("cannot {doing} {target}: {error}"), timed_out: false }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.host, self.port) {
            (host, 0) => f.write_str(host),
            (host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_user_timeout_is_within_what_the_system_takes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        for timeout in [Duration::ZERO, Duration::from_micros(1), Duration::from_secs(2_592_000), Duration::MAX] {
            let stream = TcpStream::connect(address).await.expect("connected");
            let stream = tune(stream, Some(timeout)).expect("tuned");
            #[cfg(target_os = "linux")]
            {
                let set = socket2::SockRef::from(&stream).tcp_user_timeout().expect("readable");
                assert_eq!(set, Some(timeout.clamp(Duration::from_millis(1), LONGEST_USER_TIMEOUT)));
            }
            drop(stream);
        }
    }
}
