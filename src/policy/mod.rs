//! The decisions, pure: the time and random numbers are arguments; nothing here waits, spawns, logs
//! or asks the time.

mod backoff;
mod call;
mod channel;
mod codes;
mod deadline;
mod first_dials;
mod intensity;
mod keepalive;
mod liveness;
mod pending;
mod retry;
mod subchannel;
mod throttle;

pub use backoff::{Backoff, Schedules, jittered};
pub use call::{CallMachine, Decision, Place, Pushback, Rules, place_after};
pub use channel::{Channel, Step};
pub use codes::{CodeSet, code_from_name, code_name, code_names};
pub(crate) use deadline::after;
pub use deadline::{TimeoutText, earliest, format_timeout, nearest_timeout, parse_timeout};
pub use first_dials::FirstDials;
pub use intensity::{Intensity, Restarts, Verdict};
pub use keepalive::Keepalive;
pub use liveness::{Liveness, Next};
pub use pending::{Due, Pending};
pub use retry::{RetryLimit, RetryPolicy};
pub use subchannel::{Input, Output, Subchannel};
pub use throttle::{Throttle, ThrottleRule};
