//! The agent queue: a client for the tasks of agents, its messages, and, under the feature
//! `agent-queue-server`, the service itself.
//!
//! [`PrivateAgentTasksQueue`] is what a program holds; it gives an [`AgentQueue`], the queue of one
//! agent. A long-running agent writes [`AgentQueue::process`] and nothing else. The messages and
//! the service are documented in `proto/agent_queue/v1/agent_queue.proto`; their Rust types are
//! here as well, and the client speaks in them. Under `agent-queue-server`, `server` has the
//! service itself.

mod builder;
mod client;
mod error_class;
mod labels;
mod process;
mod queue;
#[cfg(feature = "agent-queue-server")]
pub mod server;
mod task;
mod watch;

pub use crate::proto::AGENT_QUEUE_DESCRIPTORS as DESCRIPTORS;
pub use crate::proto::agent_queue::*;
pub use builder::QueueBuilder;
pub use client::PrivateAgentTasksQueue;
pub use process::{Outcome, Process, Processed, Processing};
pub use queue::AgentQueue;
pub use task::{Claim, Update};
pub use watch::QueueWatch;
