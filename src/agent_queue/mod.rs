//! The agent queue: its messages, its generated client, and under `agent-queue-server` its server.

#[cfg(feature = "agent-queue-server")]
pub mod server;

pub use crate::proto::AGENT_QUEUE_DESCRIPTORS as DESCRIPTORS;
pub use crate::proto::agent_queue::*;
