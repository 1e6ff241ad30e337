//! Who may do what with which queue.
//!
//! | place | what it is |
//! |---|---|
//! | [`Action`] | what may be done with a queue |
//! | `access` | which operation needs which action: one table |
//! | [`Authorizer`], [`Identity`] | who asks, and what they may: a trait for rules of one's own |
//! | [`Authenticated`] | asks who it is before a request's body is read |
//! | `authorized_store` | gives a request the store, after the checks |
//! | [`Grants`] | identities and what they may, as a file says it (feature `auth-file`) |
//! | [`Token`], [`TokenHash`] | a bearer token, and what is kept of it (feature `auth-file`) |
//! | [`LiveGrants`] | the grants in force, replaced while calls run (feature `auth-file`) |

mod access;
mod action;
mod authenticated;
pub(super) mod authorized_store;
mod authorizer;
#[cfg(feature = "auth-file")]
mod file;
#[cfg(feature = "auth-file")]
mod grants;
#[cfg(feature = "auth-file")]
mod live;
#[cfg(feature = "auth-file")]
mod token;

pub use action::Action;
pub use authenticated::Authenticated;
pub use authorizer::{Authorizer, Identity};
#[cfg(feature = "auth-file")]
pub use grants::Grants;
#[cfg(feature = "auth-file")]
pub use live::LiveGrants;
#[cfg(feature = "auth-file")]
pub use token::{Token, TokenHash};
