//! The agent queue: its messages, its generated client, and under `cli` a small reference server.

#[cfg(feature = "cli")]
pub mod server;

pub use crate::proto::AGENT_QUEUE_DESCRIPTORS as DESCRIPTORS;
pub use crate::proto::agent_queue::*;
