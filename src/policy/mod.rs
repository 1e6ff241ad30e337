//! The thoughts: pure decisions. `now` and dice are arguments; nothing here waits, spawns, logs or
//! asks the time.

mod backoff;
mod call;
mod channel;
mod codes;
mod deadline;
mod first_dials;
mod intensity;
mod liveness;
mod pending;
mod retry;
mod subchannel;
mod throttle;

pub use backoff::{Backoff, jittered};
pub use call::{CallMachine, Decision, Place, Pushback, Rules, place_after};
pub use channel::{Channel, Step};
pub use codes::{CodeSet, code_from_name, code_name, code_names};
pub(crate) use deadline::after;
pub use deadline::{TimeoutText, earliest, format_timeout, nearest_timeout, parse_timeout};
pub use first_dials::FirstDials;
pub use intensity::{Intensity, Restarts, Verdict};
pub(crate) use liveness::pinged_less;
pub use liveness::{Liveness, Next};
pub use pending::{Due, Pending};
pub use retry::{RetryLimit, RetryPolicy};
pub use subchannel::{Input, Output, Schedules, Subchannel};
pub use throttle::{Throttle, ThrottleRule};
