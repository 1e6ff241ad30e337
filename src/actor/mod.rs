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

mod connection;
pub(crate) mod core;
mod hooks;
mod inbox;
pub(crate) mod message;
mod request;
mod start;
mod supervisor;
mod timer;

pub(crate) use self::core::Core;
pub(crate) use crate::call::alarm::{Alarm, within};
pub(crate) use crate::call::credentials::Credentials;
pub use crate::call::credentials::{CallCredentials, CredentialsRequest};
#[cfg(feature = "sim")]
pub use crate::call::mutations::{Mutation, Mutations};
#[cfg(feature = "test-util")]
pub use crate::call::panics::{Child, Panics};
pub(crate) use crate::call::runner::{run, run_typed};
pub(crate) use crate::call::state::Reply;
pub(crate) use crate::call::submit::{Submission, no_such_method, refusal, refused};
pub(crate) use message::SupervisorMsg;
pub use message::{UnaryCall, UnaryReply, UnaryResult};
pub(crate) use start::{spawn, spawn_linked};
