//! Who opens the byte stream to an address: TCP, Unix sockets, networks of tests, your own.
//!
//! TLS, where it is configured, is spoken over whatever stream comes out.

use super::connect_request::ConnectRequest;
use crate::model::{Address, DialFailure, DialStep};
use futures::future::BoxFuture;
use std::{
    fmt,
    future::{Future, ready},
    io,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// A byte stream to a peer.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A byte stream to a peer, whatever it is made of.
pub type BoxedIo = Box<dyn Io>;

/// Opens byte streams. A dial is one call; the caller bounds it with `connect_timeout` by dropping
/// the future.
///
/// What its dials are doing it says through [`ConnectRequest::report_progress`], and which of
/// several steps begins through [`ConnectRequest::report_step`].
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream to the request's address.
    ///
    /// # Errors
    ///
    /// Why there is no stream; the text stands in the event `DialFailed` and in what waiting calls
    /// end with.
    ///
    /// # Cancel safety
    ///
    /// A dropped future must leave nothing behind.
    fn connect(&self, request: &ConnectRequest)
    -> BoxFuture<'static, Result<BoxedIo, DialFailure>>;

    /// What the request's address stands for, a name's IP addresses say, in the order in which to
    /// try them: each with a whole dial of its own, TLS and HTTP/2's greeting included, 250 ms
    /// apart or as soon as one fails; the first link wins. By default there is one: what
    /// [`connect`](Self::connect) opens.
    ///
    /// # Errors
    ///
    /// Why there are no addresses: the dial fails with it.
    ///
    /// # Cancel safety
    ///
    /// A dropped future must leave nothing behind.
    fn candidates(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        Box::pin(ready(Ok(vec![Candidate::unnamed(self.connect(request))])))
    }
}

/// A stream that a connector opened, with what it knows of it.
pub struct Connected {
    pub(super) io: BoxedIo,
    pub(super) local: Option<Address>,
}

impl Connected {
    /// A stream from this side's address `local`, which events and snapshots show.
    pub fn from_local(io: BoxedIo, local: Address) -> Self {
        Self { io, local: Some(local) }
    }
}

impl From<BoxedIo> for Connected {
    fn from(io: BoxedIo) -> Self {
        Self { io, local: None }
    }
}

/// One of the places that an address stands for.
pub struct Candidate {
    /// How failures name it; none where there is only the address itself.
    pub(super) address: Option<String>,
    pub(super) connect: BoxFuture<'static, Result<Connected, DialFailure>>,
    /// Which of the endpoint's addresses it is of.
    pub(super) server: usize,
}

impl Candidate {
    /// An address that failures name `address`. `connect` opens a stream to it; it begins when it
    /// is first polled, and must be cancel safe.
    pub fn new(
        address: impl Into<String>,
        connect: impl Future<Output = Result<BoxedIo, DialFailure>> + Send + 'static,
    ) -> Self {
        Self { address: Some(address.into()), ..Self::unnamed(connect) }
    }

    /// The same, where the stream tells this side's address.
    pub fn telling(
        address: impl Into<String>,
        connect: impl Future<Output = Result<Connected, DialFailure>> + Send + 'static,
    ) -> Self {
        Self { address: Some(address.into()), connect: Box::pin(connect), server: 0 }
    }

    /// The only one, which failures name like the address.
    pub fn unnamed(
        connect: impl Future<Output = Result<BoxedIo, DialFailure>> + Send + 'static,
    ) -> Self {
        let connect = Box::pin(async move { Ok(connect.await?.into()) });
        Self { address: None, connect, server: 0 }
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

/// The failure of one step with one place.
pub(super) fn failure(
    step: DialStep,
    place: &dyn fmt::Display,
    error: &dyn fmt::Display,
) -> DialFailure {
    let doing = match step {
        DialStep::Resolve => "resolve",
        DialStep::Connect => "connect to",
        DialStep::Tls => "speak TLS with",
        DialStep::Handshake => "speak HTTP/2 with",
    };
    DialFailure::new(step, format!("cannot {doing} {place}: {error}"))
}

/// The failure to open a stream to `place`. A Unix socket that nobody has made is not found.
pub(super) fn not_connected(place: &dyn fmt::Display, error: &io::Error) -> DialFailure {
    let refused =
        matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
    DialFailure { refused, ..failure(DialStep::Connect, place, error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_user_timeout_is_within_what_the_system_takes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        for timeout in [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_secs(2_592_000),
            Duration::MAX,
        ] {
            let stream = TcpStream::connect(address).await.expect("connected");
            let stream = tune(stream, Some(timeout)).expect("tuned");
            #[cfg(target_os = "linux")]
            {
                let set = socket2::SockRef::from(&stream).tcp_user_timeout().expect("readable");
                assert_eq!(
                    set,
                    Some(timeout.clamp(Duration::from_millis(1), LONGEST_USER_TIMEOUT))
                );
            }
            drop(stream);
        }
    }
}
