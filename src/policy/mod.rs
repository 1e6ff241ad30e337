//! The rules: pure decisions. `now` and random numbers are arguments; nothing here waits, spawns,
//! logs or asks the time.
//!
//! Public is only what [`Config`](crate::Config) hands out. The machines are for this crate:
//! `benches/policy.rs` compiles this chapter by itself.

mod backoff;
mod codes;
mod intensity;
mod plan;
mod refused;
mod retry;
mod schedules;
mod throttle;

// What is `pub` in a machine is for the other chapters, as in a crate of its own.
#[allow(unreachable_pub)]
mod call;
#[allow(unreachable_pub)]
mod channel;
#[allow(unreachable_pub)]
mod deadline;
#[allow(unreachable_pub)]
mod ejection;
#[allow(unreachable_pub)]
mod endpoints;
#[allow(unreachable_pub)]
mod ewma;
#[allow(unreachable_pub)]
mod first_dials;
#[allow(unreachable_pub)]
mod health;
#[allow(unreachable_pub)]
mod idle;
#[allow(unreachable_pub)]
mod keepalive;
#[allow(unreachable_pub)]
mod liveness;
#[allow(unreachable_pub)]
mod pending;
#[allow(unreachable_pub)]
mod pick;
#[allow(unreachable_pub)]
mod resolve;
mod spells;
#[allow(unreachable_pub)]
mod subchannel;
#[allow(unreachable_pub)]
mod subset;
#[allow(unreachable_pub)]
mod wire_time;

pub use backoff::Backoff;
pub use codes::{CodeSet, code_from_name, code_name, code_names};
pub use ejection::EjectionRule;
pub use intensity::Intensity;
pub use plan::{CallPlan, DialPlan, PlannedAttempt, PlannedEnd};
pub use retry::{RetryLimit, RetryPolicy};
pub use throttle::ThrottleRule;

pub(crate) use backoff::jittered;
pub(crate) use call::{CallMachine, Decision, Place, Pushback, Rules, place_after};
pub(crate) use channel::{Channel, NO_ENDPOINTS, News, Standing, Step};
pub(crate) use deadline::{
    TimeoutText, after, attempt_ends, bounds, earliest, format_timeout, nearest_timeout,
    parse_timeout, waits_until,
};
pub(crate) use ejection::{Ejections, Probation, Verdict};
pub(crate) use endpoints::{EndpointList, ListChange, Moved};
pub(crate) use ewma::Ewma;
pub(crate) use first_dials::FirstDials;
pub(crate) use health::{HealthRule, LinkHealth, Probed, WatchEnd, standing_of};
pub(crate) use idle::{IdleWatch, Idleness};
pub(crate) use intensity::{RestartDecision, Restarts};
pub(crate) use keepalive::Keepalive;
pub(crate) use liveness::{Liveness, Next};
pub(crate) use pending::{Due, Pending};
pub(crate) use pick::{choose, key_of, rank};
pub(crate) use plan::{Server, Terms, Way, plan_call, plan_dials, silence_noticed};
pub(crate) use resolve::{Resolve, ResolveRule};
pub(crate) use schedules::Schedules;
pub(crate) use spells::Spells;
pub(crate) use subchannel::{Input, Output};
pub(crate) use subset::subset;
pub(crate) use throttle::Throttle;
pub(crate) use wire_time::WireTime;
