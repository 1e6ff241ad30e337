//! The reference server: queues in memory, and a ledger file that survives `kill -9`.
//!
//! An operation decides on the [`Store`], which yields at most one [`Effect`]; the effect is on disk before the answer goes out.
//! A server that starts reads the ledger back into its store.

mod check;
mod effect;
mod ledger;
mod service;
mod store;

pub use effect::Effect;
pub use ledger::{Durable, Ledger, LedgerError, read};
pub use service::Service;
pub use store::Store;
