//! A byte stream whose beginning is judged: with the first byte that the expected protocol cannot
//! send, reading fails.

use super::greeting::{Expected, FirstBytes, Greeting};
use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What came in place of the expected protocol, once that is known.
pub(super) type Wrong = Arc<OnceLock<WrongGreeting>>;

/// A peer that began with something else.
#[derive(Clone, Debug)]
pub(super) struct WrongGreeting {
    /// What it looks like.
    pub(super) words: String,
    /// Whether it speaks another protocol than the expected one, so that it cannot be the server
    /// that was meant. One that speaks HTTP/2, and begins it wrongly, may be.
    pub(super) wrong_peer: bool,
}

/// The stream. Once the beginning is right, it only passes bytes on.
pub(super) struct Greeted<T> {
    io: T,
    greeting: Option<Greeting>,
    wrong: Wrong,
}

impl<T> Greeted<T> {
    pub(super) fn new(io: T, expected: Expected) -> (Self, Wrong) {
        let wrong = Wrong::default();
        (Self { io, greeting: Some(Greeting::new(expected)), wrong: wrong.clone() }, wrong)
    }

    fn judge(&mut self, read: &[u8]) -> io::Result<()> {
        let Some(greeting) = &mut self.greeting else { return Ok(()) };
        match greeting.check(read) {
            FirstBytes::More => Ok(()),
            FirstBytes::Right => {
                self.greeting = None;
                Ok(())
            }
            FirstBytes::Wrong(words) => {
                let wrong_peer = !greeting.may_be_expected();
                let wrong = self.wrong.get_or_init(|| WrongGreeting { words, wrong_peer });
                Err(io::Error::new(io::ErrorKind::InvalidData, wrong.words.clone()))
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, into))?;
        if self.greeting.is_some() {
            self.judge(&into.filled()[before..])?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
