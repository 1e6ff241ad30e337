//! A connection's byte stream, of which some bytes may have been read already, and which knows
//! whether its client sends and reads.

use bytes::{Buf as _, Bytes};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What its client does. Written and read in the connection's task.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Something came, and something went, since somebody looked.
    came: AtomicBool,
    went: AtomicBool,
    /// What was to be written last could not be: the client does not read.
    is_stuck: AtomicBool,
}

/// The byte stream.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    /// Read already, and read again first.
    first: Bytes,
    traffic: Traffic,
}

impl Traffic {
    /// Whether the client is there, by what it did since this was asked last: it sent something,
    /// and read something where there was anything to read.
    pub(super) fn shows_life(&self) -> bool {
        let (came, went) = (self.0.came.swap(false, Relaxed), self.0.went.swap(false, Relaxed));
        came && (went || !self.is_stuck())
    }

    /// Whether what was to be written last could not be.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.is_stuck.load(Relaxed)
    }

    /// So it went when something was to be written.
    fn note<T>(&self, written: &Poll<io::Result<T>>) {
        self.0.is_stuck.store(written.is_pending(), Relaxed);
    }

    fn note_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.note(&written);
        if written.is_ready() {
            self.0.went.store(true, Relaxed);
        }
        written
    }
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, first: Bytes, traffic: Traffic) -> Self {
        Self { io, first, traffic }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.traffic.0.came.store(true, Relaxed);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.traffic.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.traffic.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.traffic.note(&flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
