//! What tests share. Each file has what one kind of test needs.

pub(crate) mod link_stage;
pub(crate) mod log_lines;
pub(crate) mod panic_hook;
#[cfg(feature = "agent-queue")]
pub(crate) mod queue_desk;
#[cfg(feature = "agent-queue-server")]
pub(crate) mod queue_house;
pub(crate) mod rig;
pub(crate) mod stage;
pub(crate) mod tonic_server;
