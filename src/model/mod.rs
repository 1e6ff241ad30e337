//! The nouns: what every other chapter talks about, free of behaviour that needs a clock, dice or a
//! runtime.

mod call;
mod code;
mod event;
mod failure;
mod ids;
mod link;
mod report;
mod secret;
mod snapshot;
mod state;
mod text;

pub use call::{CallKind, CallOptions};
pub use code::{code_name, code_names};
pub use event::{Event, Fact};
pub(crate) use failure::RUNTIME_ENDED;
pub use failure::{Cause, Failure, Origin, Phase, Scope, ShedReason};
pub use ids::{CallId, Incarnation};
pub use link::{DialFailure, DialStep, GoAway, LinkEnd};
pub use report::{AttemptReport, CallReport, NotRetried};
pub(crate) use secret::Secret;
pub use snapshot::Snapshot;
pub use state::ConnectivityState;
pub use text::printable;
pub(crate) use text::spelled;
