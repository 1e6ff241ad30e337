//! Calls that waited for so long that they would not finish any more: how long the answers of their
//! method take, and the end of such a call, before it is sent.
//!
//! The decision is `policy::WireTime`'s. It is told of a call's answer when the call ends, once per
//! call, by whoever gets its lock at once: a time that would have to wait for that is left out. It
//! is asked about calls that waited, by the request actor, when a link has room for them.

use super::{
    shared::Calls,
    state::{Call, CallState, Stage},
};
use crate::{
    clock,
    model::{Fact, Failure, ShedReason},
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};
use tonic::Code;

impl Calls {
    /// Ends a call that waited, if it has too little time left to be answered; whether it had.
    pub(crate) fn refuse_late(&self, call: &Arc<Call>) -> bool {
        let now = clock::now();
        let Some(deadline) = call.deadline_now().filter(|_| call.counts()) else { return false };
        // One whose time is over is told what it waited for.
        let Some(left) = deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
            return false;
        };
        let too_short = call.method.wire_time.lock().too_short(left, now);
        let Some(takes) = too_short else { return false };
        if self.try_conclude(call, Failure::would_not_finish(left, takes).into()) {
            let (method, reason) = (call.method.name.clone(), ShedReason::WouldNotFinish);
            self.telemetry.announce(Fact::CallShed { method, reason });
        }
        true
    }
}

impl Call {
    /// Whether it takes part: not a stream, of which nobody can say how long it takes.
    fn counts(&self) -> bool {
        self.refuse_late && !self.streams.load(Relaxed)
    }

    /// It was answered with OK. Of an answer that was handed on as it came the head counts: the
    /// rest is as slow as who reads it.
    pub(super) fn note_answered(&self, state: &CallState, now: Instant) {
        if self.counts()
            && let Some(mut wire_time) = self.method.wire_time.try_lock()
        {
            let came = state.head_came.unwrap_or(now);
            wire_time.answered(came.saturating_duration_since(state.attempt_started), now);
        }
    }

    /// Its attempt failed with this code. What counts is a call that had waited, and that its
    /// deadline ends: as this side sees it or, a little earlier, the server.
    pub(super) fn note_failed(&self, state: &CallState, code: Code, now: Instant) {
        let late = matches!(code, Code::DeadlineExceeded | Code::Cancelled);
        if !late || !state.parked || !self.counts() || !matches!(state.stage, Stage::Running) {
            return;
        }
        let given = now.saturating_duration_since(state.attempt_started);
        let left = self.deadline_now().map(|deadline| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left <= given / 8) {
            self.method.wire_time.lock().ran_out(given, now);
        }
    }
}
