//! Who may do what with which queue.
//!
//! | place | what it is |
//! |---|---|
//! | [`Action`] | what may be done with a queue |
//! | `access` | which operation needs which action: one table |
//! | [`Authorizer`], [`Identity`] | who asks, and what they may: a trait for rules of one's own |
//! | [`Identified`] | asks who it is before a request's body is read |
//! | `gate` | the only way to the store: through the check |
//! | [`Grants`] | identities and what they may, as a file says it (feature `auth-file`) |
//! | [`Token`], [`TokenHash`] | a bearer token, and what is kept of it (feature `auth-file`) |
//! | [`LiveGrants`] | the grants in force, which can be replaced while calls run (feature `auth-file`) |

mod access;
mod action;
mod authorizer;
#[cfg(feature = "auth-file")]
mod file;
pub(super) mod gate;
#[cfg(feature = "auth-file")]
mod grants;
mod identified;
#[cfg(feature = "auth-file")]
mod live;
#[cfg(feature = "auth-file")]
mod token;

pub use action::Action;
pub use authorizer::{Authorizer, Identity};
#[cfg(feature = "auth-file")]
pub use grants::Grants;
pub use identified::Identified;
#[cfg(feature = "auth-file")]
pub use live::LiveGrants;
#[cfg(feature = "auth-file")]
pub use token::{Token, TokenHash};
