//! One call's life, whoever runs it: admitted, entered in the ledger, attempted, answered, ended.
//!
//! ```text
//! submit     admits a call and enters it in the ledger
//! begin      takes a place on a link, opens the stream and offers it to the call's runner
//! queue      what the call has to say to whoever starts and retries it (the request actors)
//! runner     takes the attempts that were begun, and reads their answers
//! finish     ends it, once
//! ```
//!
//! Nothing here knows an actor: what a call needs of its queue is the trait `CallQueue`. So a call
//! ends at its deadline and with its supervisor although actors fail.

mod admission;
mod alarm;
mod attempts;
mod avoid;
mod begin;
mod body;
mod credentials;
mod exchange;
mod fetch;
mod finish;
mod head;
mod ledger;
mod limit;
mod method;
mod open;
mod panics;
mod picked;
mod picker;
mod propagation;
mod queue;
mod reply;
mod runner;
mod several;
mod shared;
mod shutdown;
mod spans;
mod state;
mod submit;
mod task;
mod too_late;
mod traced;
mod waiting;
mod waits;

pub(crate) use admission::Gathering;
pub(crate) use alarm::{Alarm, within};
pub(crate) use avoid::{Avoid, Wish};
pub(crate) use begin::NotSent;
#[cfg(feature = "bridge")]
pub(crate) use body::SupervisedBody;
pub(crate) use credentials::Credentials;
pub use credentials::{CallCredentials, CredentialsRequest};
pub(crate) use fetch::fetch;
#[cfg(feature = "bridge")]
pub(crate) use method::LONGEST_NAME;
pub(crate) use method::Method;
#[cfg(not(feature = "test-util"))]
pub(crate) use panics::Child;
#[cfg(feature = "test-util")]
pub use panics::{Child, Panics};
pub(crate) use picker::{NoLink, Picker};
pub(crate) use propagation::Propagator;
pub use propagation::{AttemptInfo, Propagation};
pub(crate) use queue::CallQueue;
pub(crate) use reply::Reply;
pub use reply::{UnaryReply, UnaryResult};
pub(crate) use runner::{Submitted, run_typed};
pub(crate) use several::{By, Member, Several};
pub(crate) use shared::Calls;
pub(crate) use state::{Call, Stage};
pub(crate) use submit::{Submission, no_such_method, refusal, refused};
pub(crate) use task::{spawn, spawn_on};
