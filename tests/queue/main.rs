//! The agent queue's server: one suite over every store, the command `serve`, and what survives `kill -9`.
//!
//! `cargo test --features serve --test queue`

// Helpers of tests may unwrap, and a test over real sockets may look at the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod conformance;
mod memory;
mod sqlite;
