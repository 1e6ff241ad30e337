//! One in-memory connection: two ends, a buffer for each direction, and the faults that can be
//! injected.
//!
//! A fault holds when its method returns: the buffers are behind one lock, so no byte passes after
//! that.

use super::Direction;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a buffer holds before its writer has to wait, as a socket's buffers do.
const CAPACITY: usize = 256 * 1024;

/// What has become of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionState {
    Open,
    Cut,
    Reset,
}

/// One direction of the connection.
#[derive(Debug, Default)]
struct Buffer {
    bytes: BytesMut,
    stalled: bool,
    writer_gone: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Buffer {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct State {
    connection: ConnectionState,
    /// Indexed by [`Direction`].
    buffers: [Buffer; 2],
}

/// The connection as the outside sees it: something to break.
#[derive(Clone, Debug)]
pub(super) struct Pipe(Arc<Mutex<State>>);

impl Pipe {
    /// A new connection: the handle to break it with, the dialler's end, the listener's end.
    pub(super) fn new() -> (Self, MemoryStream, MemoryStream) {
        let pipe = Self(Arc::new(Mutex::new(State {
            connection: ConnectionState::Open,
            buffers: Default::default(),
        })));
        let end = |writes| MemoryStream { pipe: pipe.clone(), writes };
        let (client, server) = (end(Direction::ToServer), end(Direction::ToClient));
        (pipe, client, server)
    }

    /// Whether an end is still held by somebody.
    pub(super) fn is_open(&self) -> bool {
        let state = self.0.lock();
        state.connection == ConnectionState::Open
            && !state.buffers.iter().all(|buffer| buffer.reader_gone)
    }

    /// Ends the connection as a FIN both ways does: what was written before still arrives, then
    /// both ends read their end.
    pub(super) fn cut(&self) {
        self.change(|state| {
            if state.connection == ConnectionState::Open {
                state.connection = ConnectionState::Cut;
            }
        });
    }

    /// Ends the connection as an RST both ways does: bytes under way are lost, and every read and
    /// write fails.
    pub(super) fn reset(&self) {
        self.change(|state| state.connection = ConnectionState::Reset);
    }

    /// Stops (or lets go on) the bytes of one direction. The writer goes on until its buffer is
    /// full; nobody hears an end.
    pub(super) fn stall(&self, direction: Direction, stalled: bool) {
        self.change(|state| state.buffers[direction as usize].stalled = stalled);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock();
        change(&mut state);
        state.buffers.iter_mut().for_each(Buffer::wake);
    }
}

/// One end of an in-memory connection.
#[derive(Debug)]
pub struct MemoryStream {
    pipe: Pipe,
    writes: Direction,
}

impl MemoryStream {
    /// Ends the connection as an RST does: bytes under way are lost and both ends fail with
    /// `ConnectionReset`.
    pub fn reset(self) {
        self.pipe.reset();
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.pipe.0.lock();
        let connection = state.connection;
        if connection == ConnectionState::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let buffer = &mut state.buffers[self.writes.other() as usize];
        let held_back = buffer.stalled && connection == ConnectionState::Open;
        if !held_back && !buffer.bytes.is_empty() {
            let count = buffer.bytes.len().min(into.remaining());
            into.put_slice(&buffer.bytes[..count]);
            buffer.bytes.advance(count);
            if let Some(writer) = buffer.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if !held_back && (buffer.writer_gone || connection == ConnectionState::Cut) {
            return Poll::Ready(Ok(()));
        }
        buffer.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.pipe.0.lock();
        match state.connection {
            ConnectionState::Open => {}
            ConnectionState::Cut => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            ConnectionState::Reset => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        let buffer = &mut state.buffers[self.writes as usize];
        if buffer.writer_gone || (buffer.reader_gone && !buffer.stalled) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY.saturating_sub(buffer.bytes.len());
        if room == 0 && !bytes.is_empty() {
            buffer.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        buffer.bytes.extend_from_slice(&bytes[..count]);
        if let Some(reader) = buffer.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipe.0.lock();
        let buffer = &mut state.buffers[self.writes as usize];
        buffer.writer_gone = true;
        buffer.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.pipe.change(|state| {
            state.buffers[self.writes as usize].writer_gone = true;
            state.buffers[self.writes.other() as usize].reader_gone = true;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn silent(stream: &mut MemoryStream) -> bool {
        tokio::time::timeout(Duration::from_secs(3600), stream.read_u8()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_cross_both_ways_and_a_dropped_end_is_an_end_of_file() {
        let (pipe, mut client, mut server) = Pipe::new();
        client.write_all(b"ping").await.unwrap();
        server.write_all(b"pong").await.unwrap();
        let mut four = [0; 4];
        server.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        client.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"pong");
        assert!(pipe.is_open());
        drop(server);
        assert_eq!(client.read(&mut four).await.unwrap(), 0);
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(client);
        assert!(!pipe.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shut_down_end_still_reads() {
        let (_pipe, mut client, mut server) = Pipe::new();
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        server.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_buffer_makes_its_writer_wait_until_somebody_reads() {
        let (_pipe, mut client, mut server) = Pipe::new();
        let writer =
            tokio::spawn(
                async move { client.write_all(&vec![7; 3 * CAPACITY]).await.map(|()| client) },
            );
        let mut read = vec![0; 3 * CAPACITY];
        server.read_exact(&mut read).await.unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
        writer.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_buffer_holds_its_bytes_and_even_the_end_until_it_is_let_go() {
        let (pipe, mut client, mut server) = Pipe::new();
        pipe.stall(Direction::ToServer, true);
        client.write_all(b"x").await.unwrap();
        drop(client);
        assert!(silent(&mut server).await);
        pipe.stall(Direction::ToServer, false);
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_leaves_the_other_direction_alone() {
        let (pipe, mut client, mut server) = Pipe::new();
        pipe.stall(Direction::ToClient, true);
        server.write_all(b"x").await.unwrap();
        assert!(silent(&mut client).await);
        client.write_all(b"y").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'y');
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_delivers_what_was_under_way_and_a_reset_loses_it() {
        for (reset, expected) in [(false, Ok(1)), (true, Err(io::ErrorKind::ConnectionReset))] {
            let (pipe, mut client, mut server) = Pipe::new();
            client.write_all(b"x").await.unwrap();
            if reset {
                pipe.reset()
            } else {
                pipe.cut()
            }
            let mut buffer = [0; 8];
            assert_eq!(server.read(&mut buffer).await.map_err(|error| error.kind()), expected);
            assert!(client.write(b"y").await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_wakes_a_reader_that_waits() {
        let (pipe, mut client, _server) = Pipe::new();
        let reader = tokio::spawn(async move { client.read_u8().await });
        tokio::task::yield_now().await;
        pipe.reset();
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
