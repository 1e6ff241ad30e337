//! The byte stream under h2 with a tap on it: what is read passes the scanner of frames.

use super::tap::{Scanner, Tap};
use crate::clock;
use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An acknowledgement of h2's own PING: it has the same payload each time.
const PONG: &[u8] = &[0, 0, 8, 6, 1, 0, 0, 0, 0, 0x3b, 0x7c, 0xdb, 0x7a, 0x0b, 0x87, 0x16, 0xb4];

/// So many bytes of headers are read in one turn of the driver. Then the calls have theirs, and
/// read what has come, before h2 unpacks more: it holds what is unpacked, and that may be a hundred
/// times as much.
const HEADERS_IN_A_TURN: usize = 256 << 10;

/// A byte stream with a tap on it.
pub(super) struct Tapped<T> {
    io: T,
    tap: Arc<Tap>,
    scanner: Scanner,
    /// What is still to be read of an acknowledgement that the peer did not send.
    pong: &'static [u8],
}

impl<T> Tapped<T> {
    pub(super) fn new(io: T, tap: Arc<Tap>) -> Self {
        Self { io, tap, scanner: Scanner::default(), pong: &[] }
    }

    fn reads_pong(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.tap.pong_owed.load(Relaxed) {
            self.tap.pong_owed.store(false, Relaxed);
            self.pong = PONG;
        }
        let (now, later) = self.pong.split_at(self.pong.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.pong = later;
        !now.is_empty()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.reads_pong(buffer) {
            return Poll::Ready(Ok(()));
        }
        if me.tap.headers.load(Relaxed) > HEADERS_IN_A_TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let room = buffer.remaining() > 0;
        let result = ready!(Pin::new(&mut me.io).poll_read(cx, buffer));
        match &result {
            Err(error) => me.tap.failed(error),
            Ok(()) if buffer.filled().len() == before => {
                if room {
                    me.tap.closed.store(true, Relaxed);
                }
            }
            Ok(()) => {
                let age = clock::now().saturating_duration_since(me.tap.since);
                me.tap.last_read.store(age.as_nanos() as u64, Relaxed);
                me.scanner.scan(&buffer.filled()[before..], &me.tap);
                me.tap.between_frames.store(me.scanner.is_between_frames(), Relaxed);
            }
        }
        Poll::Ready(result)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        Poll::Ready(result.inspect_err(|error| self.tap.failed(error)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices));
        Poll::Ready(result.inspect_err(|error| self.tap.failed(error)))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(result.inspect_err(|error| self.tap.failed(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
