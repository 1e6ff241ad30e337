//! Begins attempts: a place on a link becomes an open stream, which is offered to the call's
//! runner.
//!
//! A request actor begins the attempts of the calls in its queue. The first attempt of a new call
//! begins on its caller's own thread where the queue is at rest, which saves two hand-overs between
//! threads; by then the call is in the ledger, so its request actor has it, and decides what
//! follows if the attempt fails (decision 96). Whether a queue is at rest is `actor::inbox`'s to
//! say.

use super::{
    panics::Child,
    reply::Reply,
    runner::spawn_attempt,
    shared::Calls,
    state::{Begun, Call, Stage},
};
use crate::{
    clock,
    model::Failure,
    transport::{OpenStream, Permit},
    unwind::caught,
};
use http::HeaderMap;
use std::{sync::Arc, time::Instant};
use tonic::Code;

impl Calls {
    /// Whether whoever makes this call, which is being entered in the ledger, tries to begin it.
    pub(super) fn begins_at_once(&self, call: &Call) -> bool {
        !call.has_port && self.credentials.is_none() && self.queue.is_at_rest(call)
    }

    /// Begins the first attempt of such a call. Where it cannot be begun now, it goes to its queue,
    /// which has not known of it so far: so nobody else begins, parks or ends it meanwhile as one
    /// that waits.
    pub(super) fn begin_at_once(self: &Arc<Self>, call: &Arc<Call>) {
        let begun = caught(|| {
            self.panics.inject(Child::Task, "Begin");
            self.pick_and_begin(call)
        });
        let mut state = call.state.lock();
        match (&state.stage, begun) {
            // What was not begun can be begun as if nothing had happened.
            (Stage::Beginning, _) => {
                state.stage = Stage::Waiting { until: None };
                drop(state);
                self.queue.submitted(call.clone());
            }
            (_, Ok(())) => {}
            (_, Err(words)) => {
                drop(state);
                let text = format!("sending the request panicked: {words}");
                let failure = Failure::unusable_answer(Code::Internal, text);
                self.attempt_failed(call, Box::new(failure.into()));
            }
        }
    }

    fn pick_and_begin(self: &Arc<Self>, call: &Arc<Call>) {
        let now = clock::now();
        // The queue ends it, with the words for that.
        if call.deadline.is_some_and(|deadline| deadline <= now) {
            return;
        }
        let wish = || call.wish(self.config.sticky_header.as_ref());
        let picked = self.picker.load().pick(&mut self.dice.lock(), wish);
        let Some(permit) = picked else { return };
        // No lock is held here: a hook of the user's may make a call of its own.
        if let Err(NotSent) = self.begin(call, permit, None, now) {
            self.queue.attempt_failed(call.clone());
        }
    }

    /// Begins an attempt. Where that fails, the failure is in the call and somebody has to decide
    /// what follows. Nothing happens if the call does not wait for one.
    pub(crate) fn begin(
        self: &Arc<Self>,
        call: &Arc<Call>,
        mut permit: Permit,
        credentials: Option<HeaderMap>,
        now: Instant,
    ) -> Result<(), NotSent> {
        let without_link = || self.without_link(now);
        let begun = call.begin_attempt(&mut permit, now, without_link, &self.last_timeout);
        let Some(Begun { mut head, body, traced }) = begun else { return Ok(()) };
        let carries_trace = traced
            .is_some_and(|next| self.trace_attempt(call, &next, permit.link(), head.headers_mut()));
        let is_plain = call.plain && credentials.is_none() && !carries_trace;
        let bound = is_plain.then_some(call.method.plain_head);
        credentials.into_iter().for_each(|more| head.headers_mut().extend(more));
        call.method.metrics.attempt_started();
        match permit.open(head, body, bound) {
            Ok(stream) => {
                self.offer(call, stream);
                Ok(())
            }
            Err(failure) => {
                self.note_failure(call, Box::new(failure.into()));
                Err(NotSent)
            }
        }
    }

    /// Hands the open stream to the call's runner.
    fn offer(self: &Arc<Self>, call: &Arc<Call>, stream: OpenStream) {
        let mut state = call.state.lock();
        if state.is_answered() {
            return;
        }
        if call.size > self.config.max_replay_bytes {
            state.body = None;
            state.replayable = false;
        }
        match &mut state.reply {
            Reply::Caller => state.offer_attempt(stream),
            Reply::Port { runner, .. } => *runner = Some(spawn_attempt(self, call, stream)),
        }
    }
}

/// The request has certainly not left this process; the call keeps why.
pub(crate) struct NotSent;
