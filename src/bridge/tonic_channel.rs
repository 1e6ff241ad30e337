//! A real `tonic::transport::Channel` whose only connection is a pipe in memory into a bridge.
//!
//! The pipe is made when the first call is, and again when it has ended. Each side of it is one
//! task of the runtime in which the channel lives, and with one call open the two and the link's
//! driver run one behind the other (`chain`). They end when the channel is dropped: then the pipe
//! does.

use super::{limits::BridgeLimits, server::Bridge, together::Together};
use crate::client::Supervisor;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use std::{
    future::{Ready, pending, ready},
    io,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{DuplexStream, duplex};
use tonic::transport::{Channel, Endpoint, Uri};

/// What lies in the pipe at most, in each direction.
const PIPE: usize = 256 << 10;
/// What tonic's side takes before it is read.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How large heads may be: the server's limits are for the link.
const HEADER_BYTES: u32 = 1 << 20;

impl Supervisor {
    /// A real `tonic::transport::Channel` whose calls are made on this supervisor's channel, for
    /// crates that take no other. For generated clients [`channel`](Self::channel) is the better
    /// one: it needs no pipe, and takes [`CallOptions`](crate::CallOptions).
    ///
    /// Everything that gRPC has crosses it: deadlines, metadata, trailers, status details, all four
    /// kinds of calls, cancellation, flow control. What does not is what only Rust has: extensions
    /// of requests, so `CallOptions`, and the [`CallReport`](crate::CallReport) in a status. Say
    /// per method what calls are: by descriptors, or by `methods:` in the configuration. Calls of
    /// other methods are of kind [`Auto`](crate::CallKind::Auto).
    ///
    /// A request stream must not block its thread, not even by `block_in_place`, and above all not
    /// for another call of this supervisor: it is polled on a thread on which that may have to run.
    ///
    /// It connects with its first call, and keeps the supervisor alive as a `SupervisedChannel`
    /// does. Each one has a pipe of its own; clones share it. No port is opened, and no task is
    /// left when it and its clones are dropped.
    ///
    /// ```
    /// # async fn example() {
    /// use tonic_supervisor::{Config, Supervisor};
    /// let supervisor = Supervisor::spawn(Config::default());
    /// let channel: tonic::transport::Channel = supervisor.tonic_channel();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime: tonic's channel spawns a task.
    pub fn tonic_channel(&self) -> Channel {
        let channel = self.channel();
        let endpoint = Endpoint::from_static("http://supervised")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(HEADER_BYTES)
            .executor(Together::new(channel.calls().clone()));
        endpoint.connect_with_connector_lazy(Pipes(Bridge::new(channel).limits(limits())))
    }
}

/// None but on streams that nothing else bounds: both ends are this program's.
fn limits() -> BridgeLimits {
    BridgeLimits::default()
        .streams(u32::MAX)
        .header_bytes(HEADER_BYTES)
        .keepalive(Duration::MAX, Duration::MAX)
        .answer_bytes(usize::MAX)
        .answer_timeout(Duration::MAX)
}

/// Makes a pipe for each connection that tonic's channel opens.
struct Pipes(Bridge);

impl tower_service::Service<Uri> for Pipes {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = duplex(PIPE);
        let bridge = self.0.clone();
        // An end of the pipe is no news: tonic's channel is gone, or makes another.
        let calls = bridge.channel.calls().clone();
        let serving = async move { bridge.serve_http2(far, Bytes::new(), pending()).await };
        tokio::spawn(calls.chained(serving));
        ready(Ok(TokioIo::new(near)))
    }
}
