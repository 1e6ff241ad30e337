//! The command `tonic-supervisor`, from outside.

#[cfg(all(unix, feature = "test-util"))]
mod agent;
#[cfg(all(target_os = "linux", feature = "test-util"))]
mod agent_processes;
mod cli;
#[cfg(unix)]
mod demo;
mod manual;
mod plan;
#[cfg(all(unix, feature = "test-util"))]
mod proxy;
#[cfg(all(unix, feature = "test-util"))]
mod status;
