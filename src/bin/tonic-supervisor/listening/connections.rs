//! The server's connections: how many there may be, and how long a new one may take to begin
//! HTTP/2.
//!
//! A client that connects costs a file and some memory, whether it speaks or not. So each
//! connection has one of a limited number of slots; TLS and HTTP/2's first bytes have a deadline,
//! after which the slot is free again. A connection that falls silent later is found by HTTP/2's
//! own pings. Where the system has no more files accepting fails at once, again and again: then
//! there is a pause.
//!
//! No process has two such servers, so both commands count under the same names.

use super::transport::{Listener, Transport};
use arc_swap::ArcSwap;
use futures::{Stream, stream};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{self, Instant, Sleep},
};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

/// HTTP/2's first bytes: the preface, and the head of the SETTINGS frame.
const FIRST_BYTES: usize = 24 + 9;
/// How long to wait after an error of accepting, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What all connections of a server share.
pub(crate) struct Acceptor<T> {
    /// Which may be replaced: each new connection takes the present one.
    pub(crate) tls: Option<Arc<ArcSwap<TlsAcceptor>>>,
    pub(crate) handshake: Duration,
    pub(crate) connections: usize,
    /// What is known of a new connection, by the names in its client's certificate; requests on it
    /// carry that.
    pub(crate) about: About<T>,
}

/// Says what is known of a connection.
pub(crate) type About<T> = Box<dyn Fn(Vec<String>) -> T + Send + Sync>;

/// One client's connection.
pub(crate) struct Connection<T> {
    stream: Transport,
    /// Until its first bytes have come.
    first_bytes: Option<FirstBytes>,
    about: T,
    _slot: Slot,
}

struct FirstBytes {
    deadline: Pin<Box<Sleep>>,
    received: usize,
}

/// One of the connections that may be open at once.
struct Slot(#[allow(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit);

impl<T: Send + 'static> Acceptor<T> {
    /// The connections that come, until the stream is dropped.
    pub(crate) fn open(self, listener: Listener) -> impl Stream<Item = io::Result<Connection<T>>> {
        describe();
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(self.accept(listener, sender));
        stream::poll_fn(move |context| {
            receiver.poll_recv(context).map(|connection| connection.map(Ok))
        })
    }

    async fn accept(self, listener: Listener, sender: mpsc::Sender<Connection<T>>) {
        let slots = Arc::new(Semaphore::new(self.connections));
        let full = Arc::new(AtomicBool::new(false));
        let acceptor = Arc::new(self);
        let mut pause = PAUSE.0;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                // The client has gone again.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    if pause == PAUSE.0 {
                        tracing::warn!(
                            target: "tonic_supervisor", %error,
                            "no connection can be accepted; trying again at least once a second"
                        );
                    }
                    counter!("tonic_supervisor.queue.accept_errors").increment(1);
                    time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                    continue;
                }
            };
            pause = PAUSE.0;
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                counter!("tonic_supervisor.queue.connections_refused", "reason" => "limit")
                    .increment(1);
                if !full.swap(true, Relaxed) {
                    let most = acceptor.connections;
                    tracing::warn!(
                        target: "tonic_supervisor",
                        "{most} connections are open, as many as max-connections allows: more are \
                         closed"
                    );
                }
                continue;
            };
            if slots.available_permits() > acceptor.connections / 10 {
                full.store(false, Relaxed);
            }
            tokio::spawn(acceptor.clone().set_up(stream, Slot::new(slot), sender.clone()));
        }
    }

    /// TLS, where it is spoken; then the connection is the server's.
    async fn set_up(
        self: Arc<Self>,
        stream: Transport,
        slot: Slot,
        sender: mpsc::Sender<Connection<T>>,
    ) {
        let deadline = Instant::now() + self.handshake;
        let stream = match (&self.tls, stream) {
            (Some(tls), Transport::Tcp(stream)) => {
                match time::timeout_at(deadline, tls.load_full().accept(stream)).await {
                    Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
                    Ok(Err(error)) => return refused("tls", &error),
                    Err(late) => return refused("deadline", &late),
                }
            }
            (_, stream) => stream,
        };
        let first_bytes =
            Some(FirstBytes { deadline: Box::pin(time::sleep_until(deadline)), received: 0 });
        let about = (self.about)(stream.certificate_names());
        let connection = Connection { stream, first_bytes, about, _slot: slot };
        // Nobody takes it any more: the server drains.
        let _ = sender.send(connection).await;
    }
}

/// Tells the recorder what is counted, and begins it at 0.
fn describe() {
    describe_gauge!(
        "tonic_supervisor.queue.connections",
        Unit::Count,
        "Connections that are open."
    );
    describe_counter!(
        "tonic_supervisor.queue.connections_refused",
        Unit::Count,
        "Connections closed before their first call, by reason."
    );
    describe_counter!(
        "tonic_supervisor.queue.accept_errors",
        Unit::Count,
        "Errors of accepting, each followed by a pause."
    );
    gauge!("tonic_supervisor.queue.connections").increment(0.0);
    counter!("tonic_supervisor.queue.accept_errors").increment(0);
    for reason in ["limit", "deadline", "tls"] {
        counter!("tonic_supervisor.queue.connections_refused", "reason" => reason).increment(0);
    }
}

fn refused(reason: &'static str, error: &dyn std::fmt::Display) {
    counter!("tonic_supervisor.queue.connections_refused", "reason" => reason).increment(1);
    tracing::debug!(
        target: "tonic_supervisor",
        %error,
        reason,
        "a connection was closed before its first call"
    );
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        gauge!("tonic_supervisor.queue.connections").increment(1.0);
        Self(permit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        gauge!("tonic_supervisor.queue.connections").decrement(1.0);
    }
}

impl<T: Clone + Send + Sync + 'static> Connected for Connection<T> {
    /// Stands in the extensions of its requests.
    type ConnectInfo = T;

    fn connect_info(&self) -> T {
        self.about.clone()
    }
}

impl<T: Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(first_bytes) = &mut self.first_bytes else { return read };
        first_bytes.received += buffer.filled().len() - before;
        if first_bytes.received >= FIRST_BYTES {
            self.first_bytes = None;
        } else if read.is_pending() && first_bytes.deadline.as_mut().poll(context).is_ready() {
            let late =
                io::Error::new(io::ErrorKind::TimedOut, "it did not begin with HTTP/2 in time");
            refused("deadline", &late);
            return Poll::Ready(Err(late));
        }
        read
    }
}

impl<T: Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
