//! A client's byte stream, and where clients come from: TCP, with TLS or without, or a Unix socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::server::TlsStream;

/// Where clients come from.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client's byte stream.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Listener {
    /// The next client. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<Transport> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Transport::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Transport::Unix(listener.accept().await?.0)),
        }
    }
}

impl Transport {
    /// The URIs and DNS names of the client's certificate, which TLS has verified. Its CN is no
    /// name.
    pub(super) fn certificate_names(&self) -> Vec<String> {
        let Self::Tls(stream) = self else { return Vec::new() };
        let Some(shown) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else {
            return Vec::new();
        };
        let Ok(certificate) = webpki::EndEntityCert::try_from(shown) else { return Vec::new() };
        certificate
            .valid_uri_names()
            .chain(certificate.valid_dns_names())
            .map(str::to_owned)
            .collect()
    }
}

/// The stream inside, whatever it is.
macro_rules! inner {
    ($transport:expr, $stream:ident => $do:expr) => {
        match $transport {
            Transport::Tcp($stream) => $do,
            Transport::Unix($stream) => $do,
            Transport::Tls($stream) => $do,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(&mut *self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        inner!(&mut *self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(&mut *self, stream => Pin::new(stream).poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        inner!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(&mut *self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(&mut *self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
