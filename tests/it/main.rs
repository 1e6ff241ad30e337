//! The promises of the whole crate, kept over loopback and in-memory links.

#[cfg(feature = "cli")]
mod cli;
mod config;
mod generated;
#[cfg(all(feature = "tls-ring", feature = "test-util"))]
mod tls;
