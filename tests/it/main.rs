//! The promises of the whole crate, kept over loopback and in-memory links.

// Helpers of tests may unwrap, and a test over real sockets may look at the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(feature = "test-util")]
mod actors;
#[cfg(all(feature = "agent-queue", feature = "test-util"))]
mod agent_queue;
#[cfg(all(feature = "tonic-channel", feature = "test-util"))]
mod bridge;
#[cfg(feature = "test-util")]
mod calls;
#[cfg(feature = "cli")]
mod command;
mod config;
#[cfg(feature = "test-util")]
mod endpoints;
#[cfg(feature = "test-util")]
mod faults;
#[cfg(feature = "test-util")]
mod links;
#[cfg(feature = "test-util")]
mod observe;
mod pages;
#[cfg(feature = "test-util")]
mod retries;
#[cfg(feature = "test-util")]
mod support;
#[cfg(feature = "test-util")]
mod telemetry;
#[cfg(all(feature = "tls-ring", feature = "test-util"))]
mod tls;
#[cfg(feature = "test-util")]
mod wire;
