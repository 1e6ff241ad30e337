//! The actors: each a mailbox around one pure machine of `policy`, and the effects that the machine
//! decides on.
//!
//! ```text
//! SupervisorActor        owns the channel's lifecycle (policy::Channel, policy::Restarts)
//!  |- ConnectionActor    one link, from its dial to its end
//!  '- RequestActor x n   queue calls, start attempts, retry by message (policy::Pending)
//! ```
//!
//! A request actor is started with the first call that needs it.
//!
//! Calls live in the ledger of `call`, outside all of them, so no panic loses one. `message` has
//! the protocol on one page.

mod connection;
mod core;
mod handling;
mod health;
mod inbox;
mod link_events;
mod link_task;
mod message;
mod mutations;
mod registry;
mod request;
mod requests;
mod start;
mod supervisor;
mod timer;

pub(crate) use self::core::{Core, EndpointSource};
pub(crate) use message::SupervisorMsg;
pub use message::UnaryCall;
#[cfg(feature = "sim")]
pub use mutations::{Mutation, Mutations};
pub(crate) use registry::registered;
pub(crate) use start::{spawn, spawn_linked};
