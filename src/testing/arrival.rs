//! A call as a scripted server saw it.
//!
//! Scripts choose their answers by it, and tests look at it afterwards; so it stands below both.

use bytes::Bytes;
use http::HeaderMap;
use std::time::Duration;

/// One call as the server saw it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// When its first message was complete, counted from the server's start.
    pub at: Duration,
    /// `/package.Service/Method`.
    pub path: String,
    /// All its headers.
    pub metadata: HeaderMap,
    /// The header `grpc-timeout`.
    pub grpc_timeout: Option<String>,
    /// The header `grpc-previous-rpc-attempts`.
    pub previous_attempts: Option<String>,
    /// Its first message, without the length prefix.
    pub message: Bytes,
    /// Which connection it came over, from 1, counted through restarts.
    pub connection: usize,
    /// Its HTTP/2 stream id.
    pub stream: u32,
}
