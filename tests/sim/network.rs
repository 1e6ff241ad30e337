//! The supervisor's way into the simulated network, which counts the streams it holds.

use crate::script::{PORT, SERVER};
use futures::future::BoxFuture;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic_supervisor::{
    DialFailure, DialStep,
    transport::{BoxedIo, Connector, Target},
};
use turmoil::net::TcpStream;

/// Dials the simulated server. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<AtomicUsize>);

impl Network {
    /// How many dials run and how many streams are open.
    pub(crate) fn in_use(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn used(&self) -> Used {
        self.0.fetch_add(1, Relaxed);
        Used(self.0.clone())
    }
}

impl Connector for Network {
    fn connect(&self, _: &Target) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let used = self.used();
        Box::pin(async move {
            match TcpStream::connect((SERVER, PORT)).await {
                Ok(stream) => Ok(Box::new(Counted { stream, _used: used }) as BoxedIo),
                Err(error) => Err(DialFailure {
                    step: DialStep::Connect,
                    reason: format!("cannot connect: {error}"),
                    timed_out: false,
                }),
            }
        })
    }
}

struct Used(Arc<AtomicUsize>);

impl Drop for Used {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

struct Counted {
    stream: TcpStream,
    _used: Used,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
