//! The generated messages, clients and servers of `proto/`. `UPDATE=1 cargo test generated_code`
//! writes them anew.

/// The agent queue, version 1.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
#[path = "agent_queue.v1.rs"]
#[rustfmt::skip]
pub mod agent_queue;

/// The descriptors of `agent_queue.v1`, an encoded `FileDescriptorSet`: they tell which methods are
/// unary.
pub const AGENT_QUEUE_DESCRIPTORS: &[u8] = include_bytes!("agent_queue.v1.bin");
