//! The actors: each a mailbox around one pure machine of `policy`, and the effects that the machine
//! decides on.
//!
//! ```text
//! SupervisorActor         owns the channel's lifecycle (policy::Channel, policy::Restarts); starts over when it fails
//!  |- ConnectionActor     one life of one link
//!  '- RequestActor x n    queue calls, start attempts, retry by message (policy::Pending, policy::CallMachine)
//! ```
//!
//! Calls live in the `Ledger`, outside all of them, so no panic loses one. `message` has the
//! protocol on one page.

mod alarm;
mod body;
mod call;
mod connection;
mod core;
mod credentials;
mod finish;
mod head;
mod hooks;
mod inbox;
mod ledger;
mod limit;
mod message;
mod method;
mod mutations;
mod panics;
mod request;
mod runner;
mod start;
mod submit;
mod supervisor;
mod task;
mod timer;
mod waiting;

pub(crate) use self::core::Core;
pub(crate) use alarm::{Alarm, within};
pub(crate) use call::Reply;
pub(crate) use credentials::Credentials;
pub use credentials::{CallCredentials, CredentialsRequest};
pub(crate) use message::SupervisorMsg;
pub use message::{UnaryCall, UnaryReply, UnaryResult};
#[cfg(feature = "sim")]
pub use mutations::{Mutation, Mutations};
#[cfg(feature = "test-util")]
pub use panics::{Child, Panics};
pub(crate) use runner::{run, run_typed};
pub(crate) use start::{spawn, spawn_linked};
pub(crate) use submit::{Submission, no_such_method, refusal, refused};
