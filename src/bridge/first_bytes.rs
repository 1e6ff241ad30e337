//! Reads HTTP/2's preface. Whoever begins with something else is told what this port speaks, in
//! HTTP/1, which browsers, curl and probes show to people; h2 would say it in a GOAWAY that they
//! cannot read.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read of a request that is refused, so that its sender reads the answer before it hears
/// that nobody reads on.
const READ_ON: u64 = 64 << 10;

/// Reads the preface; none where it is not one, and then all is over.
pub(super) async fn read<I: AsyncRead + AsyncWrite + Unpin>(
    io: &mut I,
) -> io::Result<Option<Bytes>> {
    let (mut first, mut filled) = ([0; PREFACE.len()], 0);
    while filled < first.len() {
        let length = io.read(&mut first[filled..]).await?;
        filled += length;
        if length == 0 {
            return Ok(None);
        }
        if first[..filled] != PREFACE[..filled] {
            // TLS, say, is not answered in clear.
            if first[0].is_ascii_uppercase() {
                refuse(io).await?;
            }
            return Ok(None);
        }
    }
    Ok(Some(Bytes::from_static(PREFACE)))
}

/// What a client is told that does not speak gRPC.
pub(super) const SENTENCE: &str = "this port speaks gRPC, which is HTTP/2 with content-type \
     application/grpc; gRPC-Web and \
     HTTP/1 are not translated\n";

async fn refuse<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I) -> io::Result<()> {
    let length = SENTENCE.len();
    let answer = format!(
        "HTTP/1.1 415 Unsupported Media Type\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{SENTENCE}"
    );
    io.write_all(answer.as_bytes()).await?;
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(READ_ON), &mut tokio::io::sink()).await?;
    Ok(())
}
