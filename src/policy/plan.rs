//! What becomes of one call, told before it is made: when its attempts begin and how it ends, if a
//! server always does the same, and when dials begin while there is no link.
//!
//! Nothing is decided here. The machines that run are asked, in the order in which a run asks them:
//! `CallMachine`, `Throttle` and `Pending` for the call, `Channel` for the dials, `Liveness` for a
//! link that has fallen silent. So a plan cannot say anything else than what happens. Nothing takes
//! time here but waits and limits, and those end with whole milliseconds, as tokio's timers do.

use super::{
    call::{CallMachine, Decision, Rules},
    channel::{Channel, Step},
    deadline::{attempt_ends, bounds, waits_until},
    liveness::{Liveness, Next},
    pending::{Due, Pending},
    retry::RetryPolicy,
    schedules::Schedules,
    subchannel::{Input, Output},
    throttle::{Throttle, ThrottleRule},
};
use crate::model::{
    CallId, CallKind, ConnectivityState, EndpointId, Failure, Incarnation, NotRetried, Phase,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::Code;

/// The random number that leaves every wait as its schedule has it, whatever the jitter.
const MIDDLE: f64 = 0.5;

/// The attempts of one call on a link whose server always does the same. Times count from the
/// moment when the call was made, and are whole milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CallPlan {
    /// The first attempts, at most [`LISTED`](Self::LISTED).
    pub attempts: Vec<PlannedAttempt>,
    /// How many attempts there are in all; [`FOLLOWED`](Self::FOLLOWED) if nobody counted further.
    pub made: u32,
    /// How the call ends; none: nothing ends it, or nobody looked that far.
    pub end: Option<PlannedEnd>,
}

/// An attempt of a [`CallPlan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedAttempt {
    /// When it begins.
    pub at: Duration,
    /// When it ends; none: nothing ends it.
    pub ends: Option<Duration>,
    /// How long the call then waits for the next one; none: it is the last.
    pub wait: Option<Duration>,
}

/// How a planned call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedEnd {
    /// When.
    pub at: Duration,
    /// With which code.
    pub code: Code,
    /// Why no retry follows, although the code is one of those that are retried.
    pub not_retried: Option<NotRetried>,
}

/// The dials while there is no link, and a call waits for one. Times count from the moment when the
/// first dial begins and the call is made.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DialPlan {
    /// When the first dials begin, up to the call's end; at most [`CallPlan::LISTED`].
    pub dials: Vec<Duration>,
    /// How the call ends; none: it waits for as long as there is no link.
    pub end: Option<PlannedEnd>,
}

impl CallPlan {
    /// So many attempts, or dials, are listed.
    pub const LISTED: usize = 12;

    /// So many attempts are followed.
    pub const FOLLOWED: u32 = 10_000;
}

/// What holds for the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) policy: RetryPolicy,
    pub(crate) throttle: ThrottleRule,
    pub(crate) kind: CallKind,
    /// Whether nobody says what kind it is.
    pub(crate) is_undescribed: bool,
    pub(crate) idempotent: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) wait_for_ready: bool,
}

/// What a server does with every attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    /// It answers with this code, at once.
    Answers(Code),
    /// It answers nothing.
    Silent,
}

/// What becomes of every dial.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// It is refused at once.
    Refused,
    /// Nobody answers, and it ends after `connect_timeout`.
    Dropped(Duration),
}

/// Times since a call was made.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn since(self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// When a timer for `at` rings: with the millisecond that is over then.
    fn rings(self, at: Instant) -> Instant {
        let millis = self.since(at).as_nanos().div_ceil(1_000_000);
        let wait = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        self.start.checked_add(wait).unwrap_or(at)
    }

    fn end(self, at: Instant, code: Code, not_retried: Option<NotRetried>) -> PlannedEnd {
        PlannedEnd { at: self.since(at), code, not_retried }
    }
}

impl Terms {
    /// The call's deadline, or until when it may wait, if it is made `now`.
    fn bounds(&self, now: Instant) -> (Option<Instant>, Option<Instant>) {
        let limit = self.timeout.and_then(|timeout| now.checked_add(timeout));
        bounds(limit, self.kind == CallKind::Unary)
    }
}

/// The attempts of a call that is made at `start`, on a quiet channel with a link.
pub(crate) fn plan_call(terms: &Terms, server: Server, start: Instant) -> CallPlan {
    let (clock, mut now) = (Clock { start }, start);
    let streaming = terms.kind == CallKind::Streaming;
    let attempt_timeout = terms.attempt_timeout.filter(|_| !streaming);
    let limits = terms.bounds(start);
    let (deadline, _) = limits;
    let mut throttle = Throttle::new(terms.throttle, start);
    throttle.call_started();
    let (mut machine, mut pending) = (CallMachine::default(), Pending::default());
    let (mut plan, mut on_wire) = (CallPlan::default(), Duration::ZERO);
    while plan.made < CallPlan::FOLLOWED {
        let began = now;
        let ended = match server {
            Server::Answers(_) => Some(began),
            Server::Silent => {
                attempt_ends(deadline, attempt_timeout, began).map(|at| clock.rings(at))
            }
        };
        let Some(ended) = ended else {
            plan.add(clock, (began, None), None);
            return plan;
        };
        let failure = match server {
            Server::Answers(code) => Failure::status(code),
            Server::Silent if deadline.is_some_and(|deadline| ended >= deadline) => {
                Failure::deadline(Phase::MaybeProcessed, None)
            }
            Server::Silent => Failure::attempt_timeout(),
        };
        on_wire = on_wire.saturating_add(ended.saturating_duration_since(began));
        let waits_until = waits_until(limits, on_wire);
        let rules = Rules {
            draining: false,
            policy: &terms.policy,
            by_policy: !streaming,
            idempotent: terms.idempotent,
            replayable: true,
            deadline: waits_until,
            link_answered: true,
            open_calls: 1,
        };
        match machine.failed(&failure, None, rules, &mut throttle, ended, MIDDLE) {
            Decision::Retry { at, delay, .. } => {
                plan.add(clock, (began, Some(ended)), Some(delay));
                pending.sleep(CallId(1), (), at, waits_until);
                now = clock.rings(pending.next_timer().unwrap_or(at));
                if let Some(Due::Expired(())) = pending.due(now) {
                    let code = Failure::deadline(Phase::Unsent, None).code;
                    plan.end = Some(clock.end(now, code, None));
                    return plan;
                }
            }
            // It costs nothing, and no time.
            Decision::Resend { .. } => plan.add(clock, (began, Some(ended)), Some(Duration::ZERO)),
            Decision::Surface | Decision::Throttled => {
                plan.add(clock, (began, Some(ended)), None);
                let reason = machine.not_retried();
                let reason = reason.map(|reason| reason.of_undescribed(terms.is_undescribed));
                plan.end = Some(clock.end(ended, failure.code, reason));
                return plan;
            }
        }
    }
    plan
}

impl CallPlan {
    fn add(
        &mut self,
        clock: Clock,
        (began, ended): (Instant, Option<Instant>),
        wait: Option<Duration>,
    ) {
        self.made += 1;
        if self.attempts.len() < Self::LISTED {
            let ends = ended.map(|at| clock.since(at));
            self.attempts.push(PlannedAttempt { at: clock.since(began), ends, wait });
        }
    }
}

/// The dials of a channel that begins at `start`, where a call is made at the same moment.
pub(crate) fn plan_dials(
    terms: &Terms,
    way: Way,
    schedules: Schedules,
    start: Instant,
) -> DialPlan {
    let (clock, mut now, mut plan) = (Clock { start }, start, DialPlan::default());
    let limit = waits_until(terms.bounds(start), Duration::ZERO).map(|at| clock.rings(at));
    let cause: Arc<str> = "".into();
    let mut channel = Channel::new(schedules, 1, Incarnation(0));
    channel.on_list([EndpointId(1)], [], &cause, now, || MIDDLE);
    channel.on(Input::CallsWaiting(true), &cause, now, || MIDDLE);
    let mut input = Input::Connect;
    while plan.dials.len() < CallPlan::LISTED {
        // Of the dial that ended, or the wait that is over.
        let Some(step) = channel.on(input, &cause, now, || MIDDLE) else { break };
        let failing = channel.state() == ConnectivityState::TransientFailure;
        if failing && !terms.wait_for_ready {
            plan.end = Some(clock.end(now, Failure::not_connected(cause).code, None));
            return plan;
        }
        let (next, at) = match what_follows(&step) {
            Some(Output::Dial(dial)) => {
                plan.dials.push(clock.since(now));
                match way {
                    Way::Refused => (Input::DialRefused(dial), Some(now)),
                    Way::Dropped(timeout) => (Input::DialFailed(dial), now.checked_add(timeout)),
                }
            }
            Some(Output::WaitUntil(at)) => (Input::RedialDue, Some(at)),
            _ => break,
        };
        let Some(at) = at.map(|at| clock.rings(at)) else { break };
        if limit.is_some_and(|limit| limit <= at) {
            break;
        }
        (input, now) = (next, at);
    }
    let code = Failure::deadline(Phase::Unsent, None).code;
    plan.end = limit.map(|at| clock.end(at, code, None));
    plan
}

fn what_follows(step: &Step) -> Option<Output> {
    step.outputs.last().map(|(_, output)| *output)
}

/// After how long at most a link with a call on it is known to be dead, given its keepalive; none
/// if that is not soon.
pub(crate) fn silence_noticed(
    time: Duration,
    timeout: Duration,
    start: Instant,
) -> Option<Duration> {
    let (clock, mut now) = (Clock { start }, start);
    let mut liveness = Liveness::new(time, timeout, true);
    for _ in 0..CallPlan::FOLLOWED {
        match liveness.next(now, start, 1) {
            Next::SleepUntil(at) => now = clock.rings(at),
            Next::Ping => {}
            Next::Dead => return Some(clock.since(now)),
            Next::Dormant => return None,
        }
    }
    None
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
