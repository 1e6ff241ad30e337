//! The promises of the whole crate, kept over loopback and in-memory links.

#[cfg(feature = "cli")]
mod cli;
mod config;
#[cfg(feature = "test-util")]
mod credentials;
mod generated;
#[cfg(feature = "test-util")]
mod targets;
#[cfg(all(feature = "tls-ring", feature = "test-util"))]
mod tls;
