//! The promises of the whole crate, kept over loopback and in-memory links.

#[cfg(feature = "cli")]
mod cli;
mod config;
#[cfg(feature = "test-util")]
mod events;
#[cfg(feature = "test-util")]
mod fault_table;
#[cfg(feature = "test-util")]
mod faults_dials;
#[cfg(feature = "test-util")]
mod faults_links;
mod generated;
#[cfg(feature = "test-util")]
mod link_stage;
#[cfg(feature = "test-util")]
mod metrics;
