//! The promises of the whole crate, kept over loopback and in-memory links.

#[cfg(feature = "cli")]
mod cli;
mod config;
mod docs;
mod generated;
