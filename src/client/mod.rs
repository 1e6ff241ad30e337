//! The handles: what a program holds. [`Supervisor`] to spawn, observe and shut down;
//! [`SupervisedChannel`] for generated clients; [`Mailbox`] for actors.

mod channel;
mod codec;
mod incarnations;
mod mailbox;
mod not_ready;
mod request;
mod supervisor;
mod token_file;

pub use channel::{DescriptorError, SupervisedChannel};
pub use mailbox::Mailbox;
pub use not_ready::NotReady;
pub use supervisor::{Builder, Supervisor};
