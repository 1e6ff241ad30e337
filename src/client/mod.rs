//! The handles: what a program holds. [`Supervisor`] to spawn, observe and shut down;
//! [`SupervisedChannel`] for generated clients; [`Mailbox`] for actors.

mod builder;
mod channel;
mod codec;
mod descriptors;
mod incarnations;
mod levels;
mod mailbox;
mod not_ready;
mod observer;
mod request;
mod supervisor;
mod token_file;

pub use builder::SupervisorBuilder;
pub use channel::SupervisedChannel;
#[cfg(feature = "bridge")]
pub(crate) use codec::encode;
pub use descriptors::DescriptorError;
#[cfg(feature = "bridge")]
pub(crate) use descriptors::kinds_in;
pub use levels::record_levels;
pub use mailbox::Mailbox;
pub use not_ready::NotReady;
pub use observer::{Observer, supervisors};
pub use supervisor::Supervisor;
