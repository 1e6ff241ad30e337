//! Where a call's answer goes, and what it is for a call that takes one message.

use bytes::Bytes;
use ractor::RpcReplyPort;
use std::fmt;
use tokio::task::AbortHandle;
use tonic::{Status, metadata::MetadataMap};

/// The answer to a [`UnaryCall`](crate::UnaryCall). `{:?}` prints neither metadata nor message.
#[derive(Clone)]
pub struct UnaryReply {
    pub(crate) metadata: MetadataMap,
    pub(crate) message: Bytes,
}

impl fmt::Debug for UnaryReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryReply")
            .field("message_bytes", &self.message.len())
            .finish_non_exhaustive()
    }
}

/// What a [`UnaryCall`](crate::UnaryCall)'s reply port receives, exactly once.
pub type UnaryResult = Result<UnaryReply, Status>;

/// Where the answer goes.
pub(crate) enum Reply {
    /// To the future that made the call.
    Caller,
    /// To a port, if one was given; the task reads the answer while an attempt runs.
    Port { port: Option<RpcReplyPort<UnaryResult>>, runner: Option<AbortHandle> },
}
