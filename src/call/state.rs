//! One call as the ledger keeps it: what was asked, how far it is, and the one place its answer
//! goes to.
//!
//! A call is run by its *runner*: the caller's own future, or a task where the call came as a
//! message. Whoever begins an attempt or ends the call makes the runner an offer: an open stream to
//! read the answer from, or the final status.

use super::{
    admission::Admission,
    avoid::Avoid,
    head::{Headers, LastTimeout, head},
    method::Method,
    reply::Reply,
    spans::{NextAttempt, Spans},
};
use crate::{
    model::{AttemptReport, CallId, CallKind, EndpointId, Phase, Story, StreamStory, Waits},
    policy::{CallMachine, Place, RetryPolicy, waits_until},
    telemetry::AttemptEnd,
    transport::{AttemptFailure, OpenStream, Permit, Sample},
};
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;
use tonic::Status;

/// Bodies up to this size are copied to their exact size when a call has to wait.
const COPIED_ON_PARKING: usize = 4 * 1024;

/// One accepted call.
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) slot: usize,
    pub(crate) method: Arc<Method>,
    /// Whether the caller gave no metadata: the head is small.
    pub(crate) plain: bool,
    /// Unary: its answer is read whole. Auto: one whole message was sent, and the answer is passed
    /// on as it comes. Both may be retried by policy.
    pub(crate) kind: CallKind,
    pub(crate) idempotent: bool,
    pub(crate) wait_for_ready: bool,
    /// Whether somebody said so: then it waits for a wrong peer, too.
    pub(crate) wait_is_explicit: bool,
    pub(crate) deadline: Option<Instant>,
    /// Whether the deadline is the caller's own, rather than configured for unary calls.
    pub(crate) deadline_is_said: bool,
    /// Where there is no deadline: until when it may wait, if it never is on the wire.
    pub(crate) patience: Option<Instant>,
    /// Whether it is refused when it would not finish, and its time on the wire counts.
    pub(crate) refuse_late: bool,
    /// Whether the call turned out to stream: a configured deadline holds no more.
    pub(crate) streams: AtomicBool,
    pub(crate) attempt_timeout: Option<Duration>,
    /// Whether the time to its answer says how quick the server is: it is no stream, and the server
    /// was not asked to wait.
    pub(crate) is_timed: bool,
    /// Whether an attempt of it was counted at its endpoint.
    pub(crate) is_counted: AtomicBool,
    /// How many attempts were made before by whoever is on the other side of a bridge.
    pub(crate) attempts_before: u32,
    /// Where it tells its story when it ends, if it was asked to.
    pub(crate) told: Option<StreamStory>,
    pub(crate) retry: RetryPolicy,
    pub(crate) submitted: Instant,
    pub(crate) size: usize,
    /// The messages in it, without gRPC's prefixes, in bytes.
    pub(crate) payload: usize,
    /// Whether a reply port waits for the answer, rather than a future.
    pub(crate) has_port: bool,
    pub(crate) state: Mutex<CallState>,
}

/// What changes in a call's life.
pub(crate) struct CallState {
    pub(crate) stage: Stage,
    /// The request, while it can be sent (again) whole.
    pub(crate) body: Option<Bytes>,
    /// Whether the request can be sent again at all.
    pub(crate) replayable: bool,
    pub(crate) machine: CallMachine,
    pub(crate) attempts: u32,
    /// Where it stands among the calls that wait for a link.
    pub(crate) place: Place,
    /// How many of the attempts have been measured; one that is cut short is measured when the call
    /// ends.
    pub(crate) measured: u32,
    /// How many bytes of the answer's messages came so far.
    pub(crate) received: usize,
    pub(crate) attempt_started: Instant,
    /// When the head of an answer came that is handed on before its end.
    pub(crate) head_came: Option<Instant>,
    /// Whether it waited for a link, or for room on it.
    pub(crate) parked: bool,
    /// Where the attempt under way went; 0 before it has a link.
    pub(crate) endpoint: EndpointId,
    /// Counts the attempt under way at its endpoint, where that is of interest.
    pub(crate) sample: Option<Sample>,
    /// Where its next one goes only if nobody else has room.
    pub(crate) avoid: Avoid,
    /// How long its failed attempts were on the wire.
    pub(crate) on_wire: Duration,
    /// What it waited for so far; the wait for its retry counts from when it is scheduled.
    pub(crate) waits: Waits,
    /// Since when it is parked, and how long the channel had been without a link then.
    pub(super) parked_since: Option<(Instant, Duration)>,
    pub(crate) history: Vec<AttemptReport>,
    /// What was said of the failure that the last retry followed on, in the peer's words if it
    /// spoke.
    pub(crate) retried_after: Option<Arc<str>>,
    pub(crate) reply: Reply,
    pub(crate) admission: Option<Admission>,
    /// What the next attempt is sent with, once it is there.
    pub(crate) credentials: Option<Box<Granted>>,
    /// Where somebody wants to trace it.
    pub(super) spans: Option<Box<Spans>>,
    pub(super) headers: Headers,
    parked_body: bool,
    offer: Option<Offer>,
    waker: Option<Waker>,
    /// The runner need not hear of an attempt before its answer's head is there.
    sleeps_through: bool,
}

/// How far a call is.
pub(crate) enum Stage {
    /// Whoever makes it tries to begin it: no queue has it.
    Beginning,
    /// It waits for a link, or until the time of its retry.
    Waiting { until: Option<Instant> },
    /// Its credentials are being fetched by this task, since then.
    Fetching { task: AbortHandle, since: Instant },
    /// Its runner has an open stream.
    Running,
    /// An attempt failed; the request actor decides what follows.
    Failed(Box<AttemptFailure>),
    /// Over.
    Answered,
}

/// An attempt that began: its head and, where the request is whole, its body.
pub(crate) struct Begun {
    pub(crate) head: http::Request<()>,
    pub(crate) body: Option<Bytes>,
    /// What its span is made of, where it has one.
    pub(crate) traced: Option<Box<NextAttempt>>,
}

/// What a credentials hook gave, with the place on the link that it was asked for.
pub(crate) struct Granted {
    pub(crate) headers: HeaderMap,
    pub(crate) permit: Permit,
}

/// What the queue hands a runner.
pub(crate) enum Offer {
    /// An open stream to read the answer from.
    Attempt(OpenStream),
    /// The end.
    Answer(Status),
}

impl Stage {
    /// How far the call can have come if it ended now, as far as the attempt under way goes.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Beginning | Self::Waiting { .. } | Self::Fetching { .. } => Phase::Unsent,
            Self::Running | Self::Failed(_) | Self::Answered => Phase::MaybeProcessed,
        }
    }
}

impl CallState {
    pub(super) fn new(
        body: Option<Bytes>,
        headers: Headers,
        reply: Reply,
        admission: Admission,
        now: Instant,
    ) -> Self {
        Self {
            stage: Stage::Waiting { until: None },
            body,
            replayable: true,
            machine: CallMachine::default(),
            attempts: 0,
            place: Place::default(),
            measured: 0,
            received: 0,
            attempt_started: now,
            head_came: None,
            parked: false,
            endpoint: EndpointId::default(),
            sample: None,
            avoid: Avoid::default(),
            on_wire: Duration::ZERO,
            waits: Waits::default(),
            parked_since: None,
            history: Vec::new(),
            retried_after: None,
            reply,
            admission: Some(admission),
            credentials: None,
            spans: None,
            headers,
            parked_body: false,
            offer: None,
            waker: None,
            sleeps_through: false,
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Answered)
    }

    /// Offers the runner a stream. A runner that sleeps through it is woken by the stream itself,
    /// once instead of twice per call.
    pub(crate) fn offer_attempt(&mut self, mut stream: OpenStream) {
        let sleeper = self.waker.as_ref().filter(|_| self.sleeps_through);
        let quiet = sleeper.is_some_and(|waker| stream.answer.wakes(waker));
        self.offer = Some(Offer::Attempt(stream));
        if !quiet {
            self.wake();
        }
    }

    /// Offers the runner the end.
    pub(crate) fn offer_answer(&mut self, status: Status) {
        self.offer = Some(Offer::Answer(status));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Measures the attempt under way, once. The caller records it, when it has let go of the lock.
    pub(crate) fn measure(
        &mut self,
        sent: usize,
        received: usize,
        now: Instant,
    ) -> Option<AttemptEnd> {
        let is_open = self.measured < self.attempts;
        self.measured = self.attempts;
        let took = now.saturating_duration_since(self.attempt_started);
        is_open.then_some(AttemptEnd { took, sent, received })
    }
}

impl Call {
    /// Its story, if it was asked for one and has ended.
    pub(crate) fn story(&self) -> Option<Box<Story>> {
        Some(Box::new(self.told.as_ref()?.get()?.clone()))
    }

    /// When the call must have ended, as far as is known now.
    pub(crate) fn deadline_now(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.deadline_is_said || !self.streams.load(Relaxed))
    }

    /// Until when it may wait for an attempt, or before the next one.
    pub(crate) fn waits_until(&self, state: &CallState) -> Option<Instant> {
        waits_until((self.deadline, self.patience), state.on_wire)
    }

    /// Until when it may go on as it stands.
    pub(crate) fn limit_now(&self, state: &CallState) -> Option<Instant> {
        match state.stage {
            Stage::Running => self.deadline_now(),
            _ => self.waits_until(state),
        }
    }

    /// Whether its answer may show that it streams: nobody knows, or somebody said that it is
    /// unary.
    pub(crate) fn may_stream(&self) -> bool {
        self.kind != CallKind::Streaming
            && !self.method.is_certainly_unary()
            && !self.streams.load(Relaxed)
    }

    /// Its answer goes on after its first message.
    pub(crate) fn found_to_stream(&self) {
        self.streams.store(true, Relaxed);
        self.method.streams(self.kind == CallKind::Unary);
    }

    /// The next offer. Only the runner asks. One that `sleeps_through` is not woken for a stream
    /// before that has an answer; it must hear the call's deadline by itself.
    pub(crate) fn poll_offer(&self, cx: &mut Context<'_>, sleeps_through: bool) -> Poll<Offer> {
        let mut state = self.state.lock();
        if let Some(offer) = state.offer.take() {
            return Poll::Ready(offer);
        }
        state.sleeps_through = sleeps_through;
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// How many attempts were made so far, and how long the call was not on the wire for the last.
    #[cfg(feature = "bridge")]
    pub(crate) fn tale(&self) -> (u32, Duration) {
        let state = self.state.lock();
        let until = match state.attempts {
            0 => crate::clock::now(),
            _ => state.attempt_started,
        };
        let waited = until.saturating_duration_since(self.submitted);
        (state.attempts, waited.saturating_sub(state.on_wire))
    }

    /// Begins an attempt. None if the call does not wait for one: it is over, or a former request
    /// actor, not quite dead yet, was quicker.
    pub(crate) fn begin_attempt(
        &self,
        permit: &mut Permit,
        now: Instant,
        without_link: impl FnOnce() -> Duration,
        last: &LastTimeout,
    ) -> Option<Begun> {
        let mut state = self.state.lock();
        if !matches!(state.stage, Stage::Beginning | Stage::Waiting { .. }) {
            return None;
        }
        let delayed = state.unpark(now, without_link);
        state.stage = Stage::Running;
        state.attempts += 1;
        state.attempt_started = now;
        (state.endpoint, state.sample) = (permit.link().endpoint(), permit.sample.take());
        if state.sample.is_some() {
            self.is_counted.store(true, Relaxed);
        }
        let remaining = self.deadline.map(|deadline| deadline.saturating_duration_since(now));
        let headers = state.headers.of_an_attempt(self.deadline.is_some());
        let before = self.attempts_before.saturating_add(state.machine.retries());
        let transparent = state.history.last().is_some_and(|last| last.transparent);
        let (number, peer) = (state.attempts - 1, permit.link().peer().address());
        let next =
            |spans: &mut Box<Spans>| spans.next(peer, (number, before), transparent, delayed);
        let traced = state.spans.as_mut().map(next);
        let head = head(&self.method.uri, headers, remaining, before, last);
        Some(Begun { head, body: state.body.clone(), traced })
    }

    /// Copies a small body to its exact size: an encoder's buffer may be many times larger.
    pub(crate) fn shrink(&self) {
        let mut state = self.state.lock();
        if state.parked_body {
            return;
        }
        state.parked_body = true;
        if let Some(body) = state.body.as_mut().filter(|body| body.len() <= COPIED_ON_PARKING) {
            *body = Bytes::copy_from_slice(body);
        }
    }
}
