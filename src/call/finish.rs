//! How a call ends: once, by whoever comes first, with a report where it failed.

use super::{
    reply::{Reply, UnaryResult},
    shared::Calls,
    spans::{Ended, end_attempt},
    state::{Call, Stage},
};
use crate::{
    clock,
    model::{CallReport, Cause, Failure, Origin, Phase, Story, printable, shortened},
    telemetry::{CallEnd, is_history_kept},
    transport::AttemptFailure,
};
use ractor::RpcReplyPort;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, SystemTime},
};
use tonic::{Code, Status};

/// A call that waited longer is worth a look,
const LONG_WAIT: Duration = Duration::from_millis(100);
/// and so is one that took longer; of a stream, how long it lives says nothing of its server, and
/// its answer's head counts.
const LONG_CALL: Duration = Duration::from_secs(1);

/// Whether it ends a call that has not failed.
fn gives_up(cause: &Cause) -> bool {
    matches!(cause, Cause::Cancelled | Cause::Shutdown | Cause::Supervision(_))
}

impl Calls {
    /// Ends a call, once: true for the one who did. The answer's delivery is the winner's business.
    pub(crate) fn finish(
        &self,
        call: &Arc<Call>,
        code: Code,
        failed: Option<Failed<'_>>,
    ) -> Option<Finished> {
        let now = clock::now();
        let mut state = call.state.lock();
        if state.is_answered() {
            return None;
        }
        let phase = state.stage.phase();
        let on_wire = state.end_waits(now, || self.without_link(now));
        let outcome = failed.map(|failed| failed.outcome);
        let waiting = match outcome.map(|outcome| &outcome.cause) {
            Some(Cause::Deadline(what)) => what.clone(),
            Some(Cause::Shutdown | Cause::Supervision(_)) => self.waits_for(call, &state),
            _ => None,
        };
        if let Stage::Fetching { task, .. } = std::mem::replace(&mut state.stage, Stage::Answered) {
            task.abort();
        }
        let head = state.head_came.map(|came| came.saturating_duration_since(call.submitted));
        let received = state.received;
        let attempt = state.measure(call.payload, received, now);
        // An answer that cannot be used, or that broke off when it was being passed on: nobody is
        // asked what follows.
        if let Some(failed) = failed
            && attempt.is_some()
            && !gives_up(&failed.outcome.cause)
        {
            state.record(failed.outcome, Some(failed.status), call.submitted, now);
            let passed_on = state.head_came.is_some();
            state.machine.cut_short(failed.outcome, passed_on, call.kind);
        }
        if code == Code::Ok {
            call.note_answered(&state, now);
        }
        state.count(call, outcome, now);
        state.credentials = None;
        state.body = None;
        state.admission = None;
        let machine = std::mem::take(&mut state.machine);
        let (attempts, waits, endpoint) = (state.attempts, state.waits, state.last_endpoint());
        let history = std::mem::take(&mut state.history);
        let spans = state.spans.take();
        let port = match &mut state.reply {
            Reply::Caller => None,
            Reply::Port { port, .. } => port.take(),
        };
        drop(state);
        self.ledger.remove(call);
        if port.is_some() {
            self.ports_open.fetch_sub(1, SeqCst);
        }
        let took = now.saturating_duration_since(call.submitted);
        if code == Code::Ok {
            self.throttle.lock().call_succeeded();
        }
        let (retries, transparent) = (machine.retries(), machine.transparent());
        let words = failed.map(Failed::words);
        let not_retried = machine.not_retried().map(|reason| call.method.refine(reason));
        if let Some(spans) = spans {
            let words = words.as_deref();
            spans.end(&Ended { code, words, retries, transparent, waits, not_retried });
        }
        let end = CallEnd { took, attempt, retries, transparent, waits, words: words.clone() };
        call.method.metrics.call_ended(code, end);
        let is_unusual = || {
            // Who has read enough of a stream lets go of it, which is no failure.
            let read_enough =
                head.is_some() && outcome.is_some_and(|outcome| outcome.cause == Cause::Cancelled);
            (outcome.is_some() && !read_enough)
                || (retries > 0 || transparent > 0)
                || waits.total() > LONG_WAIT
                || head.unwrap_or(took) > LONG_CALL
        };
        let kept = is_history_kept() && is_unusual();
        let mut finished = Finished { report: None, port };
        if outcome.is_none() && !kept && call.told.is_none() {
            return Some(finished);
        }
        let maybe_processed = outcome.is_some_and(|outcome| {
            let now = attempts > 0 && outcome.maybe_processed() && phase >= Phase::MaybeProcessed;
            machine.maybe_processed() || now
        });
        let story = Story {
            at: SystemTime::now(),
            method: call.method.name.clone(),
            code,
            outcome: outcome.cloned(),
            words,
            attempts: history,
            attempts_made: attempts,
            retries,
            transparent_retries: transparent,
            endpoint,
            not_retried,
            waiting,
            waits,
            on_wire,
            head,
            elapsed: took,
            maybe_processed,
        };
        if kept {
            self.telemetry.tell(story.clone());
        }
        if let Some(told) = &call.told {
            told.tell(story.clone());
        }
        finished.report = story.into_report();
        Some(finished)
    }

    /// Ends a call with a failure and delivers it. Nothing happens if the call is over.
    pub(crate) fn conclude(&self, call: &Arc<Call>, ended: AttemptFailure) {
        self.try_conclude(call, ended);
    }

    /// The same; whether it ended the call.
    pub(super) fn try_conclude(&self, call: &Arc<Call>, ended: AttemptFailure) -> bool {
        let failed = Failed::of(&ended);
        let Some(mut finished) = self.finish(call, ended.status.code(), Some(failed)) else {
            return false;
        };
        if let Some(report) = &mut finished.report {
            report.head = ended.head;
        }
        let status = finished.status(finished.with_waiting(ended.status));
        match finished.port {
            Some(port) => {
                // Whoever asked may be gone.
                let _ = port.send(Err(status));
            }
            None if call.has_port => {}
            None => call.state.lock().offer_answer(status),
        }
        // A task that reads an answer for a port has nothing left to read it for.
        if let Reply::Port { runner: Some(runner), .. } = &call.state.lock().reply {
            runner.abort();
        }
        true
    }

    /// Ends a call whose answer came, but cannot be used. Nothing happens if the call is over.
    pub(crate) fn reject(&self, call: &Arc<Call>, failure: Failure) {
        self.conclude(call, failure.into());
    }

    /// The caller is gone.
    pub(crate) fn cancel(&self, call: &Arc<Call>) {
        let phase = {
            let state = call.state.lock();
            // As a rule: answered, and let go of.
            if state.is_answered() {
                return;
            }
            state.stage.phase()
        };
        self.conclude(call, Failure::cancelled(phase).into());
        if phase == Phase::Unsent {
            self.queue.cancelled(call);
        }
    }

    /// The call's time has passed while it waited. What was last known of it is its answer.
    pub(crate) fn expire(&self, call: &Arc<Call>) {
        self.end_late(call);
        self.queue.cancelled(call);
    }

    /// The same, by the request actor itself, which has let go of the call.
    pub(crate) fn end_late(&self, call: &Arc<Call>) {
        let mut state = call.state.lock();
        // This very moment it may have begun an attempt, which only a deadline ends.
        if call.patience.is_some() && matches!(state.stage, Stage::Running) {
            return;
        }
        let phase = state.stage.phase();
        let ended = match std::mem::replace(&mut state.stage, Stage::Running) {
            // A failure that nobody decided about any more.
            Stage::Failed(ended) => *ended,
            before => {
                state.stage = before;
                Failure::deadline(phase, self.waits_for(call, &state)).into()
            }
        };
        drop(state);
        self.conclude(call, ended);
    }

    /// A runner's attempt failed: the ledger keeps the failure, the request actor decides. Where
    /// the call's deadline has passed nothing is left to decide, and its answer waits for no actor:
    /// that may have failed, and its successor may be a while in coming.
    pub(crate) fn attempt_failed(&self, call: &Arc<Call>, failure: Box<AttemptFailure>) {
        let is_over = matches!(failure.failure.cause, Cause::Deadline(_));
        match self.note_failure(call, failure) {
            false => {}
            true if is_over => self.expire(call),
            true => self.queue.attempt_failed(call.clone()),
        }
    }

    /// Keeps an attempt's failure in its call; not if that is over.
    pub(crate) fn note_failure(&self, call: &Arc<Call>, failure: Box<AttemptFailure>) -> bool {
        let mut state = call.state.lock();
        if state.is_answered() {
            return false;
        }
        let (now, code) = (clock::now(), failure.failure.code);
        state.record(&failure.failure, Some(&failure.status), call.submitted, now);
        let attempt = state.measure(call.payload, 0, now);
        call.note_failed(&state, code, now);
        state.count(call, Some(&failure.failure), now);
        if matches!(state.stage, Stage::Running) {
            let took = now.saturating_duration_since(state.attempt_started);
            state.on_wire = state.on_wire.saturating_add(took);
        }
        let span = state.spans.as_mut().map(|spans| spans.attempt_ended());
        let words = span.is_some().then(|| Failed::of(&failure).words());
        state.stage = Stage::Failed(failure);
        drop(state);
        span.into_iter().for_each(|span| end_attempt(span, code, words.as_deref()));
        if let Some(attempt) = attempt {
            call.method.metrics.attempt_ended(code, attempt);
        }
        true
    }

    /// Whether somebody waits behind a reply port.
    pub(crate) fn has_ports(&self) -> bool {
        self.ports_open.load(SeqCst) > 0
    }

    /// Ends every open call with `failure`; one that the peer has answered with an error, which
    /// nobody has decided about, with that.
    pub(crate) fn end_all(&self, calls: Vec<Arc<Call>>, failure: impl Fn(Phase) -> Failure) {
        for call in calls {
            let mut state = call.state.lock();
            let phase = state.stage.phase();
            let ended = match std::mem::replace(&mut state.stage, Stage::Running) {
                Stage::Failed(ended) if ended.failure.origin == Origin::Peer => *ended,
                before => {
                    state.stage = before;
                    failure(phase).into()
                }
            };
            drop(state);
            self.conclude(&call, ended);
        }
    }

    /// Ends the calls whose deadline has passed: for as long as there is no request actor to do so.
    pub(crate) fn end_overdue(&self) {
        let now = clock::now();
        let is_over =
            |call: &Call| call.limit_now(&call.state.lock()).is_some_and(|limit| limit <= now);
        let overdue = self.ledger.open(is_over);
        overdue.iter().for_each(|call| self.expire(call));
    }
}

/// How a call failed, and the status that says so.
#[derive(Clone, Copy)]
pub(crate) struct Failed<'a> {
    pub(crate) outcome: &'a Failure,
    pub(crate) status: &'a Status,
}

impl<'a> Failed<'a> {
    fn of(ended: &'a AttemptFailure) -> Self {
        Self { outcome: &ended.failure, status: &ended.status }
    }

    /// The peer's own words, if it sent some, or else the failure as a sentence; fit to be shown.
    fn words(self) -> Arc<str> {
        match self.status.message() {
            "" => self.outcome.to_string().into(),
            message => shortened(message),
        }
    }
}

/// What is left of an ended call.
pub(crate) struct Finished {
    report: Option<CallReport>,
    pub(crate) port: Option<RpcReplyPort<UnaryResult>>,
}

impl Finished {
    /// The status of a call that a shutdown, or the end of supervision, ended while it waited says
    /// what for. A deadline's says so already.
    fn with_waiting(&self, status: Status) -> Status {
        match self.report.as_ref().and_then(CallReport::waiting_unsaid) {
            Some(what) => {
                let (said, what) = (status.message(), printable(what));
                Status::new(status.code(), format!("{said}; the call was waiting {what}"))
            }
            None => status,
        }
    }

    /// The status to end with, the report as its source.
    pub(crate) fn status(&self, mut status: Status) -> Status {
        if let Some(report) = &self.report {
            status.set_source(Arc::new(report.clone()));
        }
        status
    }
}
