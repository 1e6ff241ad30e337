//! A connector that is other people's code, whose byte streams are kept from harming ours: their
//! panics are errors, and so are counts that cannot be true. h2 writes while it holds a lock that
//! every call on the link needs; a panic there would reach them all.
//!
//! The streams of our own connector are the system's sockets, and need no guard.

use super::{
    connect_request::ConnectRequest,
    connector::{BoxedIo, Candidate, Connected, Connector},
};
use crate::{model::DialFailure, unwind::caught};
use futures::future::BoxFuture;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The connector. Panics of its own code are the dial's to catch.
pub(crate) struct GuardedConnector(pub(crate) Arc<dyn Connector>);

impl Connector for GuardedConnector {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let connecting = self.0.connect(request);
        Box::pin(async move { connecting.await.map(guarded) })
    }

    fn candidates(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        let finding = self.0.candidates(request);
        let guard = |candidate: Candidate| {
            let connect = candidate.connect;
            let connect = Box::pin(async move {
                let connected = connect.await?;
                Ok(Connected { io: guarded(connected.io), ..connected })
            });
            Candidate { connect, ..candidate }
        };
        Box::pin(async move { Ok(finding.await?.into_iter().map(guard).collect()) })
    }
}

/// The stream; none once it has panicked.
struct Guarded {
    io: Option<BoxedIo>,
    vectored: bool,
}

/// The same stream, guarded.
fn guarded(io: BoxedIo) -> BoxedIo {
    let vectored = caught(|| io.is_write_vectored()).unwrap_or_default();
    Box::new(Guarded { io: Some(io), vectored })
}

impl Guarded {
    fn guard<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut BoxedIo>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        caught(|| poll(Pin::new(io))).unwrap_or_else(|words| {
            self.let_go();
            Poll::Ready(Err(io::Error::other(format!("the byte stream panicked: {words}"))))
        })
    }

    fn let_go(&mut self) {
        let io = self.io.take();
        // Its drop is other people's code, too; a panic there changes nothing any more.
        let _ = caught(move || drop(io));
    }
}

fn counted(written: Poll<io::Result<usize>>, given: usize) -> Poll<io::Result<usize>> {
    match written {
        Poll::Ready(Ok(count)) if count > given => {
            let text = format!("the byte stream says that it wrote {count} of {given} bytes");
            Poll::Ready(Err(io::Error::other(text)))
        }
        written => written,
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.guard(|io| io.poll_read(cx, into));
        if into.filled().len() < before {
            return Poll::Ready(Err(io::Error::other(
                "the byte stream took back bytes that were read",
            )));
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        counted(self.guard(|io| io.poll_write(cx, bytes)), bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let given = slices.iter().map(|slice| slice.len()).sum();
        counted(self.guard(|io| io.poll_write_vectored(cx, slices)), given)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guard(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guard(|io| io.poll_shutdown(cx))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.let_go();
    }
}
