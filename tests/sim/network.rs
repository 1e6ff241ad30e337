//! The supervisor's way into the simulated network, which counts the streams it holds, and can be
//! clogged.

use crate::fleet::{SERVERS, server_of};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic_supervisor::{
    DialFailure, DialStep,
    transport::{BoxedIo, ConnectRequest, Connector},
};
use turmoil::net::TcpStream;

/// Dials the simulated servers. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Network {
    in_use: Arc<AtomicUsize>,
    /// For each server.
    clogs: [Arc<Mutex<Clog>>; SERVERS.len()],
}

/// Whether bytes are taken, and who waits until they are.
#[derive(Default)]
struct Clog {
    on: bool,
    waiting: Vec<Waker>,
}

impl Network {
    /// How many dials run and how many streams are open.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    /// `true`: from now on no bytes to this server are taken. `false`: they are again.
    pub(crate) fn clog(&self, server: usize, on: bool) {
        let mut clog = self.clogs[server].lock();
        clog.on = on;
        clog.waiting.drain(..).for_each(Waker::wake);
    }

    fn used(&self) -> Used {
        self.in_use.fetch_add(1, Relaxed);
        Used(self.in_use.clone())
    }
}

impl Connector for Network {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let address = request.address().clone();
        let server = server_of(address.host()).expect("only servers are dialled");
        let (used, clog) = (self.used(), self.clogs[server].clone());
        Box::pin(async move {
            match TcpStream::connect((address.host(), address.port())).await {
                Ok(stream) => Ok(Box::new(Stream { stream, clog, _used: used }) as BoxedIo),
                Err(error) => {
                    let reason = format!("cannot connect: {error}");
                    Err(DialFailure::new(DialStep::Connect, reason))
                }
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

struct Stream {
    stream: TcpStream,
    clog: Arc<Mutex<Clog>>,
    _used: Used,
}

impl Stream {
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut clog = self.clog.lock();
        if !clog.on {
            return Poll::Ready(());
        }
        clog.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx));
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx));
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx));
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
