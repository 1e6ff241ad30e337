//! For people: pages, JSON, metrics and probes of every supervisor of the process, over
//! HTTP.
//!
//! Windows only look. Whatever they show is a fact that the supervisors announced or counted, so
//! that a page, a metric and a log line cannot disagree; what they do goes through the public
//! handles. They are read-only unless a token file is given, and show neither metadata nor bodies
//! nor secrets.
//!
//! ```text
//! settings   what the user says; starts the rest
//! listen     connections, with their limits
//! guard      who may do what: a pure function of a request's head
//! session    the token, and who has shown it
//! routes     paths to answers
//! look       one picture of all supervisors; samples: the last five minutes of each
//! wire       the picture as JSON; pages: as HTML; live: events as they come
//! ```

mod actions;
mod error;
mod guard;
mod listen;
mod live;
mod look;
mod pages;
mod probes;
mod recorder;
mod routes;
mod samples;
mod session;
mod settings;
mod wire;

pub use error::AdminError;
pub use recorder::install_recorder;
pub use settings::{Admin, AdminHandle};
