//! Until when a call's runner waits: for an attempt, and then for that attempt's answer.
//!
//! A call of kind `auto` has no limit of its own on the wire. Where one waits long for its answer,
//! that is said once per method.

use super::{alarm::Alarm, shared::Calls, state::Call};
use crate::{
    clock,
    model::CallKind,
    policy::{after, earliest},
};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

/// An answer that is open so long after its first message is taken for a stream.
pub(crate) const OPEN_AFTER_MESSAGE: Duration = Duration::from_secs(1);

/// After so long on the wire a call without a limit there is told of.
const LONG: Duration = Duration::from_secs(60);

pin_project! {
    /// The limit of what a call's runner does now.
    pub(crate) struct Limit {
        ends: Option<Instant>,
        on_wire: bool,
        // When to look, before it ends, whether an attempt waits long; for kind `auto` only.
        look: Option<Instant>,
        #[pin]
        alarm: Option<Alarm>,
    }
}

impl Limit {
    /// Of a call that waits for its first attempt.
    pub(crate) fn of_waiting(call: &Call) -> Self {
        let ends = call.patience.or(call.deadline);
        let look = look_after(call, call.submitted, ends);
        Self { ends, on_wire: false, look, alarm: look.or(ends).map(Alarm::at) }
    }

    /// From now on it is an attempt's, which has to end then.
    pub(crate) fn attempt_began(self: Pin<&mut Self>, call: &Call, ends: Option<Instant>) {
        let look = match call.kind {
            CallKind::Auto => look_after(call, call.state.lock().attempt_started, ends),
            _ => None,
        };
        self.set(true, ends, look);
    }

    /// From now on it is that of a call that waits for its next attempt.
    pub(crate) fn attempt_ended(self: Pin<&mut Self>, call: &Call) {
        let ends = call.waits_until(&call.state.lock());
        self.set(false, ends, look_after(call, clock::now(), ends));
    }

    /// Keeps the alarm that is there already.
    fn set(self: Pin<&mut Self>, on_wire: bool, ends: Option<Instant>, look: Option<Instant>) {
        let mut me = self.project();
        (*me.on_wire, *me.ends, *me.look) = (on_wire, ends, look);
        match (me.alarm.as_mut().as_pin_mut(), look.or(ends)) {
            (Some(alarm), Some(at)) => alarm.reset(at),
            (_, at) => me.alarm.set(at.map(Alarm::at)),
        }
    }

    /// Whether it has passed; if not, the task is woken when it does.
    pub(crate) fn has_passed(
        mut self: Pin<&mut Self>,
        calls: &Calls,
        call: &Call,
        cx: &mut Context<'_>,
    ) -> bool {
        loop {
            let me = self.as_mut().project();
            let Some(alarm) = me.alarm.as_pin_mut() else { return false };
            if alarm.poll_rung(&calls.runtime, cx).is_pending() {
                return false;
            }
            let Some(looked) = *me.look else { return true };
            let (on_wire, ends) = (*me.on_wire, *me.ends);
            if on_wire {
                call.method.warn_awaited(LONG);
            }
            // The runner may sleep through an attempt's begin: it looks again.
            self.as_mut().set(on_wire, ends, look_after(call, looked, ends));
        }
    }
}

/// When to look whether a call waits long that began to do so then; none where its limit is not
/// later, or nothing is left to be said.
fn look_after(call: &Call, begun: Instant, ends: Option<Instant>) -> Option<Instant> {
    if call.kind != CallKind::Auto || call.method.is_known_to_wait() {
        return None;
    }
    let look = after(begun, LONG);
    (earliest(ends, Some(look)) != ends).then_some(look)
}
