//! The pages, as HTML that escapes by itself. One column, whole without scripts, readable at 80
//! characters; a state is never told by colour alone.

mod calls;
mod channel;
mod config;
mod events;
mod help;
mod layout;
mod login;
mod overview;
mod words;

pub(super) use calls::calls;
pub(super) use channel::channel;
pub(super) use config::config;
pub(super) use events::events;
pub(super) use help::help;
pub(super) use login::login;
pub(super) use overview::overview;
