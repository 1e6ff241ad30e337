//! Plain values that all other chapters use: ids, states, facts, failures, reports.
//!
//! Nothing here needs a clock, random numbers, I/O or a runtime.

mod call;
mod cause;
mod code;
mod counts;
mod endpoint;
mod ends;
mod event;
#[cfg(any(test, feature = "test-util"))]
mod examples;
mod facts;
mod failure;
mod field;
mod health;
mod ids;
mod level;
mod link;
mod links;
mod open_call;
mod report;
mod secret;
mod snapshot;
mod state;
mod step_times;
mod story;
mod text;
mod verdict;
mod waits;

pub use call::{CallKind, CallOptions};
pub(crate) use cause::RUNTIME_ENDED;
pub use cause::{Cause, ShedReason};
pub use code::{code_name, code_names};
pub use counts::{LastFailure, MethodCounts};
pub use endpoint::{Address, Endpoint, EndpointId};
pub use ends::{LinkEnds, LinkTls};
pub use event::{Event, Fact};
#[cfg(any(test, feature = "test-util"))]
pub use examples::every_fact;
pub use failure::{Failure, Origin, Phase, Scope};
pub use field::{Field, FieldValue};
pub use health::Health;
pub(crate) use ids::CallId;
pub use ids::Incarnation;
pub use level::Level;
pub use link::{DialFailure, DialStep, GoAway, LinkEnd};
pub use links::LinksInUse;
pub use open_call::{CallStage, OpenCall};
pub use report::{AttemptReport, CallReport, NotRetried};
pub(crate) use secret::Secret;
pub use snapshot::{Allowance, Draining, EndpointSnapshot, LinkSnapshot, Snapshot};
pub use state::ConnectivityState;
pub use step_times::StepTimes;
pub use story::{Story, StreamStory};
pub(crate) use text::clean;
pub use text::printable;
pub(crate) use text::{readable, shortened};
pub use verdict::{Recent, Verdict, VerdictKind, endpoint_verdicts, verdict};
pub use waits::Waits;
