//! The promises of the whole crate, kept over loopback and in-memory links.

// Helpers of tests may unwrap, and a test over real sockets may look at the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(feature = "cli")]
mod cli;
mod config;
mod docs;
mod generated;
