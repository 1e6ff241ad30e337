//! The addresses that these tools listen at and the connections they accept, over TCP or in memory,
//! with the same faults.

use super::{MemoryListener, MemoryNetwork, MemoryStream};
use crate::{
    model::Address,
    transport::{Connector, TcpConnector},
};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// A place to listen at, again and again.
#[derive(Clone, Debug)]
pub(super) enum ListenAddress {
    Tcp(SocketAddr),
    Memory(MemoryNetwork, String),
}

impl ListenAddress {
    /// Some free port of the loopback interface.
    pub(super) fn any_port() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens here. The place it returns is this one, with the port that was chosen.
    pub(super) async fn listen(&self) -> (Acceptor, Self) {
        match self {
            Self::Tcp(address) => {
                let listener = TcpListener::bind(address).await.expect("the port is free");
                let address = listener.local_addr().expect("a bound socket has an address");
                (Acceptor::Tcp(listener), Self::Tcp(address))
            }
            Self::Memory(network, address) => {
                (Acceptor::Memory(network.listen(address)), self.clone())
            }
        }
    }

    /// Takes the place without listening at it, so that nobody else does: dials are refused.
    pub(super) fn reserve(&self) -> io::Result<Option<TcpSocket>> {
        let Self::Tcp(address) = self else { return Ok(None) };
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(*address)?;
        Ok(Some(socket))
    }

    /// What a dialler has to dial.
    pub(super) fn to_dial(&self) -> Address {
        let (host, port) = match self {
            Self::Tcp(address) => (address.ip().to_string(), address.port()),
            Self::Memory(_, address) => {
                let (host, port) =
                    address.rsplit_once(':').expect("the address is written host:port");
                (host.to_owned(), port.parse().expect("the port is a number"))
            }
        };
        Address::new(host, port)
    }

    /// What dials it.
    pub(super) fn connector(&self) -> Arc<dyn Connector> {
        match self {
            Self::Tcp(_) => Arc::new(TcpConnector),
            Self::Memory(network, _) => network.connector(),
        }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Memory(_, address) => address.clone(),
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Memory(MemoryListener),
}

impl Acceptor {
    pub(super) async fn accept(&mut self) -> Socket {
        match self {
            Self::Tcp(listener) => loop {
                // A dialler that has gone before it was accepted is no failure of the listener.
                if let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).ok();
                    return Socket::Tcp(stream);
                }
            },
            Self::Memory(listener) => Socket::Memory(listener.accept().await),
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Memory(MemoryStream),
}

impl Socket {
    /// Ends the connection with an RST.
    pub(super) fn reset(self) {
        match self {
            Self::Tcp(stream) => stream.set_zero_linger().unwrap_or_default(),
            Self::Memory(stream) => stream.reset(),
        }
    }
}

macro_rules! delegate {
    ($socket:ident . $method:ident ( $($argument:expr),* )) => {
        match $socket.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Socket::Memory(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self.poll_read(cx, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ConnectRequest;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_place_can_be_listened_at_again_and_resets_are_resets_on_both_kinds() {
        let network = MemoryNetwork::new();
        for listen_address in
            [ListenAddress::any_port(), ListenAddress::Memory(network.clone(), "queue:1".into())]
        {
            let (acceptor, listen_address) = listen_address.listen().await;
            drop(acceptor);
            let (mut acceptor, _) = listen_address.listen().await;
            let request = ConnectRequest::new(listen_address.to_dial());
            let mut client = listen_address.connector().connect(&request).await.unwrap();
            let mut server = acceptor.accept().await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
            server.reset();
            assert_eq!(client.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
