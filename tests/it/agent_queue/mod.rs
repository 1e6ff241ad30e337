//! The agent queue's client and worker loop, against a scripted server and against the real
//! service.

mod client;
#[cfg(feature = "agent-queue-server")]
mod service;
mod worker_loop;
mod worker_loop_end;
#[cfg(feature = "agent-queue-server")]
mod worker_loop_faults;
