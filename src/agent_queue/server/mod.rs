//! The server of the agent queue: a [`Service`] that speaks gRPC, and behind it a [`Store`] that
//! keeps the queues.
//!
//! | place | what it is |
//! |---|---|
//! | `check` | what a request must be like, before any store sees it |
//! | [`record`] | a task as a store keeps it, and what may become of it: pure, and the same for every store |
//! | [`Store`] | what every store can do |
//! | [`MemoryStore`] | the queues in memory, with a journal on disk if wanted |
//! | `SqliteStore` | the queues in a SQLite file (feature `sqlite`) |
//! | `PostgresStore` | the queues in PostgreSQL, for any number of servers (feature `postgres`) |
//! | [`Board`] | tells who waits that a queue has news |
//! | [`Budget`], [`Measured`] | what requests and answers may take up until they are read |
//! | [`Authorizer`], [`Identified`] | who may do what: asked before a body is read, and before the store |
//! | [`Metered`] | a store whose operations are timed |
//! | [`Service`] | the operations over gRPC: waiting claims, watches, drain |

mod answers;
mod auth;
mod board;
mod budget;
mod check;
mod happened;
mod journal;
mod line;
mod memory;
mod metered;
mod meters;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queues;
pub mod record;
mod remembered;
mod requests;
mod sample;
mod service;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod waiting;
mod watch;

pub use answers::Measured;
pub use auth::{Action, Authorizer, Identified, Identity};
#[cfg(feature = "auth-file")]
pub use auth::{Grants, LiveGrants, Token, TokenHash};
pub use board::{Board, Mark, News, Turn};
pub use budget::{AnswerLimits, Budget, Caller};
pub use journal::{Entry, JournalError, read};
pub use memory::MemoryStore;
pub use metered::Metered;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use service::Service;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteError, SqliteStore};
pub use store::{Changes, Claimed, Millis, Settings, Store};
