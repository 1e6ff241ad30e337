//! How a bridge serves one connection: HTTP/2 after its first bytes, until it ends or is drained.

use super::{
    connection, first_bytes,
    server::Bridge,
    watched::{Traffic, Watched},
};
use crate::transport::Io;
use bytes::Bytes;
use std::{
    future::{Future, pending},
    io,
};

impl Bridge {
    /// Serves one connection until it ends.
    ///
    /// # Errors
    ///
    /// The connection broke, was silent for too long, or does not speak HTTP/2 after its preface.
    /// A client that begins with HTTP/1 is answered with 415 and a sentence, which is no error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the connection is closed and its calls are cancelled.
    pub async fn serve<I: Io>(&self, io: I) -> io::Result<()> {
        self.serve_until(io, pending()).await
    }

    /// The same, until `drain` ends: then the client is told by GOAWAY to begin no more calls here,
    /// and the connection ends with the last call. How long that may take is for whoever waits.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_until<I: Io>(
        &self,
        mut io: I,
        drain: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let preface = tokio::time::timeout(self.limits.handshake, first_bytes::read(&mut io));
        let Some(first) = preface.await?? else { return Ok(()) };
        self.serve_http2(io, first, drain).await
    }

    /// The same for a peer that is known to speak HTTP/2.
    pub(super) async fn serve_http2<I: Io>(
        &self,
        io: I,
        first: Bytes,
        drain: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let traffic = Traffic::default();
        let io = Watched::new(io, first, traffic.clone());
        connection::serve(self, io, traffic, drain).await
    }
}
