//! The promises of the whole crate, kept over loopback and in-memory links.

#[cfg(feature = "test-util")]
mod cancel;
#[cfg(feature = "cli")]
mod cli;
mod config;
#[cfg(feature = "test-util")]
mod crash_loops;
mod generated;
#[cfg(feature = "test-util")]
mod load;
#[cfg(feature = "test-util")]
mod panics;
#[cfg(feature = "test-util")]
mod ractor_facts;
#[cfg(feature = "test-util")]
mod rig;
#[cfg(feature = "test-util")]
mod shutdown;
