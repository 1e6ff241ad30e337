//! What the command's servers have in common: their connections and limits, and what systemd is
//! told.
//!
//! `serve` and `proxy` differ in what they answer, and not in what a client may cost them.

mod connections;
mod limits;
mod notify;
mod transport;

pub(crate) use connections::Acceptor;
pub(crate) use limits::Limits;
pub(crate) use notify::{live, ready, stopping};
pub(crate) use transport::Listener;
