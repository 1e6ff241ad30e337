//! A TLS stream that says in an operator's words why the server ended it, and takes a missing
//! close_notify for an end.

use super::{
    super::{connector::BoxedIo, greeted::Greeted},
    describe::{About, inside},
};
use crate::model::LinkTls;
use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::SystemTime,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use x509_cert::{Certificate, der::Decode as _};

/// What the server said against this side, once it has.
pub(crate) type ServerRefusal = Arc<OnceLock<String>>;

/// The stream.
pub(crate) struct Checked {
    io: TlsStream<Greeted<BoxedIo>>,
    about: About,
    verdict: ServerRefusal,
    heard: bool,
}

impl Checked {
    pub(super) fn new(
        io: TlsStream<Greeted<BoxedIo>>,
        about: About,
        verdict: ServerRefusal,
    ) -> Self {
        Self { io, about, verdict, heard: false }
    }

    /// What was agreed on.
    pub(crate) fn about_tls(&self) -> LinkTls {
        let (_, session) = self.io.get_ref();
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        };
        let cipher = session.negotiated_cipher_suite();
        let cipher = cipher.map_or_else(String::new, |cipher| format!("{:?}", cipher.suite()));
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        LinkTls::new(version, cipher.into(), leaf.and_then(|leaf| valid_until(leaf)))
    }

    fn explain(&self, error: io::Error) -> io::Error {
        match inside(&error) {
            Some(inner) => {
                let words = self.verdict.get_or_init(|| self.about.tls(inner));
                io::Error::new(error.kind(), words.clone())
            }
            None => error,
        }
    }

    /// A server that refuses our certificate says so and hangs up: what it said is read before the
    /// write's error is told.
    fn last_words(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut buffer = [0; 1];
        match Pin::new(&mut *self).poll_read(cx, &mut ReadBuf::new(&mut buffer)) {
            Poll::Ready(Err(said)) if self.verdict.get().is_some() => return said,
            Poll::Pending if !self.heard => {
                self.verdict.get_or_init(|| self.about.silence());
            }
            _ => {}
        }
        self.explain(error)
    }

    fn told<T>(&mut self, cx: &mut Context<'_>, result: io::Result<T>) -> Poll<io::Result<T>> {
        Poll::Ready(result.map_err(|error| self.last_words(cx, error)))
    }
}

/// Until when a certificate is valid; none where it cannot be read.
fn valid_until(certificate: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_system_time())
}

impl AsyncRead for Checked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = match ready!(Pin::new(&mut self.io).poll_read(cx, into)) {
            // Many peers close without TLS's close_notify; HTTP/2 knows by itself what was cut off.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(self.explain(error)),
            Ok(()) => Ok(()),
        };
        if into.filled().len() > before {
            self.heard = true;
        } else if !self.heard {
            // Some servers refuse a client without an alert (gRPC's own among them).
            self.verdict.get_or_init(|| self.about.silence());
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Checked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        self.told(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices));
        self.told(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        self.told(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
