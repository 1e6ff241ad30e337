//! The server of the agent queue: a [`Service`] that speaks gRPC, and behind it a [`Store`] that
//! keeps the queues.
//!
//! | item | what it is |
//! |---|---|
//! | `check` | the rules for requests, checked before any store sees one |
//! | [`record`] | a task as a store keeps it, and what may become of it: one rule for all stores |
//! | `moment`, `settings` | times, and what a store is told when it is opened |
//! | [`Store`] | what every store can do |
//! | `page`, `steps` | how much of a long list, or of a large operation, a store does at once |
//! | [`MemoryStore`] | the queues in memory, with a journal on disk if wanted |
//! | `SqliteStore` | the queues in a SQLite file (feature `sqlite`) |
//! | `PostgresStore` | the queues in PostgreSQL, for any number of servers (feature `postgres`) |
//! | [`Notifier`] | notifies waiting claims and watches of changes |
//! | [`Budget`], [`Budgeted`] | what requests and answers may take up until they are read |
//! | [`Authorizer`], [`Authenticated`] | who may do what: checked before a body is read |
//! | [`Metered`] | a store whose operations are timed |
//! | [`Service`] | the operations over gRPC: waiting claims, watches, drain |

mod answers;
mod auth;
mod budget;
mod check;
mod journal;
mod long_poll;
mod memory;
mod metered;
mod meters;
mod moment;
mod notifier;
mod page;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queues;
pub mod record;
mod remembered;
mod requests;
mod sample;
mod service;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod steps;
mod store;
mod task_event;
mod waiting_claims;
mod watch;

pub use answers::Budgeted;
pub use auth::{Action, Authenticated, Authorizer, Identity};
#[cfg(feature = "auth-file")]
pub use auth::{Grants, LiveGrants, Token, TokenHash};
pub use budget::{AnswerLimits, Budget, ConnectionInfo};
pub use journal::{Entry, JournalError, read};
pub use memory::MemoryStore;
pub use metered::Metered;
pub use moment::Millis;
pub use notifier::{ChangeSubscription, Notifier, QueueChange, WaitingClaim};
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use service::Service;
pub use settings::Settings;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteError, SqliteStore};
pub use store::{Changes, Claimed, Store};
