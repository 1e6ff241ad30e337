//! What follows on a failed attempt: the call is sent again at once, sleeps until its retry, or
//! ends. The decision is `policy::CallMachine`'s, the effects are here.

use super::RequestState;
use crate::{
    call::{Call, Stage},
    clock,
    model::{CallKind, Fact},
    policy::{Decision, Rules, place_after},
};
use std::sync::{Arc, atomic::Ordering::Relaxed};

impl RequestState {
    /// An attempt failed: resend, retry or surface.
    pub(super) fn decide(&mut self, call: Arc<Call>) {
        let now = clock::now();
        let mut state = call.state.lock();
        let ended = match std::mem::replace(&mut state.stage, Stage::Waiting { until: None }) {
            Stage::Failed(ended) => ended,
            other => {
                state.stage = other;
                return;
            }
        };
        let rules = Rules {
            policy: &call.retry,
            by_policy: call.kind != CallKind::Streaming,
            idempotent: call.idempotent,
            replayable: state.replayable,
            draining: self.draining,
            deadline: call.waits_until(&state),
            link_answered: ended.link_answered,
            open_calls: self.core.telemetry.counts.open.load(Relaxed),
        };
        let endpoint = state.leave_endpoint(&ended.failure);
        self.core.mutations.forget_failed_endpoints(&mut state.avoid);
        let (ended, rules) = self.core.mutations.misjudge(ended, rules);
        let unit = self.core.random();
        let decision = {
            let mut throttle = self.core.calls.throttle.lock();
            state.machine.failed(&ended.failure, ended.pushback, rules, &mut throttle, now, unit)
        };
        let Some(decision) = self.core.mutations.misdecide(decision, now) else { return };
        match decision {
            Decision::Resend { place } => {
                state.place = place;
                state.history.last_mut().into_iter().for_each(|last| last.transparent = true);
                drop(state);
                self.core.telemetry.counts.transparent.fetch_add(1, Relaxed);
                self.start_or_park(call);
            }
            Decision::Retry { at, delay, number } => {
                state.stage = Stage::Waiting { until: Some(at) };
                state.place = place_after(&ended.failure);
                state.waits.retry = state.waits.retry.saturating_add(delay);
                let (cause, limit) = (ended.message(), call.waits_until(&state));
                state.retried_after = Some(cause.clone());
                drop(state);
                self.core.telemetry.announce(Fact::RetryScheduled {
                    method: call.method.name.clone(),
                    endpoint,
                    code: ended.failure.code,
                    cause,
                    retry: number,
                    of: call.retry.limit.count(),
                    delay,
                });
                call.shrink();
                self.pending.sleep(call.id, call.clone(), at, limit);
            }
            Decision::Surface | Decision::Throttled => {
                // From now on nobody else decides about it; `conclude` ends it below.
                state.stage = Stage::Running;
                drop(state);
                if decision == Decision::Throttled {
                    let (method, code) = (call.method.name.clone(), ended.failure.code);
                    self.core.telemetry.announce(Fact::RetryThrottled { method, code });
                }
                self.core.calls.conclude(&call, *ended);
            }
        }
    }
}
