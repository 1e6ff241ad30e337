//! What tests share: one rig for each need, and nothing twice.
//!
//! | file | what it is |
//! |---|---|
//! | `calls` | calls of every kind, and what they ended with |
//! | `events` | what a supervisor announced: all of it, or one event after the other |
//! | `log_lines` | the log lines of this thread |
//! | `panic_hook` | injected panics stay out of the output |
//! | `parent` | a user's actor above a supervisor |
//! | `queue_service` | the agent queue's real service, in one process |
//! | `raw_peer` | a peer whose frames the test sends itself |
//! | `recorded` | metrics |
//! | `rig` | a scripted server in memory, and the supervisor that dials it |
//! | `scripted_queue` | a scripted server of the agent queue, and its client |
//! | `spans` | the spans that are made where a test listens |
//! | `time` | waiting, and how long something took |
//! | `tonic_server` | a real server, on loopback |

mod calls;
mod events;
mod log_lines;
mod panic_hook;
mod parent;
#[cfg(feature = "agent-queue-server")]
mod queue_service;
mod raw_peer;
mod recorded;
mod rig;
#[cfg(feature = "agent-queue")]
mod scripted_queue;
mod spans;
mod time;
mod tonic_server;

#[cfg(feature = "agent-queue-server")]
pub(crate) use queue_service::*;
#[cfg(feature = "agent-queue")]
pub(crate) use scripted_queue::*;
pub(crate) use {
    calls::*, events::*, log_lines::*, panic_hook::*, parent::*, raw_peer::*, recorded::*, rig::*,
    spans::*, time::*, tonic_server::*,
};
