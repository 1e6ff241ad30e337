//! The promises of the whole crate, kept over loopback and in-memory links.

#[cfg(feature = "cli")]
mod cli;
mod config;
mod generated;
#[cfg(feature = "test-util")]
mod ractor_facts;
#[cfg(feature = "test-util")]
mod rig;
#[cfg(feature = "test-util")]
mod shutdown;
