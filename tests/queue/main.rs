//! The agent queue's server: one suite over every store, the command `serve`, and what survives
//! `kill -9`.
//!
//! `.ci/postgres cargo test --features serve --test queue`; the tests of `postgres` need it, the
//! others do not.

// Helpers of tests may unwrap, and a test over real sockets may look at the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod auth;
#[allow(dead_code, reason = "shared with the other suites")]
#[path = "../it/tls/certificates.rs"]
mod certificates;
mod conformance;
#[cfg(unix)]
mod file;
#[cfg(unix)]
mod kills;
#[cfg(target_os = "linux")]
mod limits;
mod memory;
mod postgres;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod queue_command;
#[cfg(unix)]
mod serve;
mod sqlite;
mod versions;
#[cfg(unix)]
mod worker_metrics;
