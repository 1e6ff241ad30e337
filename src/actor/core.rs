//! What all actors and handles of one supervisor share. It outlives every actor; the last handle's drop begins its end.

use super::{
    call::{Call, CallState, Offer, Reply, Stage},
    ledger::Ledger,
    message::{RequestMsg, SupervisorMsg},
    method::{Method, Methods},
    panics::Panics,
};
use crate::{
    clock,
    config::Config,
    model::{CallId, CallOptions, CallReport, Fact, Failure, Incarnation, Phase, ShedReason},
    policy::{RetryLimit, Throttle, earliest, parse_timeout},
    telemetry::{Counts, Telemetry},
    transport::{AttemptFailure, Connector, Link, Target, status},
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{
    HeaderMap,
    uri::{Authority, PathAndQuery},
};
use parking_lot::Mutex;
use ractor::{ActorRef, Message};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};
use tokio::sync::SetOnce;
use tonic::{Code, Status};

/// The shared core of one supervisor.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) telemetry: Telemetry,
    pub(crate) ledger: Ledger,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) keepalive: Mutex<KeepaliveNow>,
    pub(crate) panics: Panics,
    methods: Methods,
    dice: Mutex<StdRng>,
    incarnations: AtomicU64,
    ports_open: AtomicUsize,
    link: ArcSwapOption<Link>,
    supervisor: ArcSwapOption<ActorRef<SupervisorMsg>>,
    requests: Box<[ArcSwapOption<ActorRef<RequestMsg>>]>,
    closing: Mutex<Option<Closing>>,
    closed: SetOnce<()>,
}

/// Keepalive as this target tolerates it (gRPC A8): remembered over links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepaliveNow {
    pub(crate) time: Option<Duration>,
    pub(crate) while_idle: bool,
}

/// A drain that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// Until when what runs may go on; none: until it ends.
    pub(crate) until: Option<Instant>,
}

/// A place in the waiting room; given back when dropped.
pub(crate) struct Admission {
    counts: Arc<Counts>,
    size: usize,
}

/// A call to be.
pub(crate) struct Submission {
    pub(crate) method: Arc<Method>,
    pub(crate) headers: HeaderMap,
    /// The request, if it is whole.
    pub(crate) body: Option<Bytes>,
    pub(crate) unary: bool,
    pub(crate) options: CallOptions,
    pub(crate) reply: Reply,
}

impl Core {
    pub(crate) fn new(config: Config, connector: Arc<dyn Connector>, seed: Option<u64>) -> Self {
        let target: Arc<str> = authority_of(&config).into();
        let time = config.effective_keepalive_time();
        let shards = config.request_actors;
        Self {
            telemetry: Telemetry::new(target.clone(), time),
            ledger: Ledger::default(),
            throttle: Mutex::new(Throttle::new(config.throttle, clock::now())),
            keepalive: Mutex::new(KeepaliveNow { time, while_idle: config.keepalive.permit_without_calls }),
            panics: Panics::default(),
            methods: Methods::new(
                Authority::try_from(&*target).unwrap_or_else(|_| Authority::from_static("localhost")),
                target,
            ),
            dice: Mutex::new(seed.map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64)),
            incarnations: AtomicU64::new(0),
            ports_open: AtomicUsize::new(0),
            link: ArcSwapOption::empty(),
            supervisor: ArcSwapOption::empty(),
            requests: (0..shards).map(|_| ArcSwapOption::empty()).collect(),
            closing: Mutex::new(None),
            closed: SetOnce::new(),
            connector,
            config,
        }
    }

    /// A die in `0.0..1.0`.
    pub(crate) fn roll(&self) -> f64 {
        self.dice.lock().random()
    }

    pub(crate) fn next_incarnation(&self) -> Incarnation {
        Incarnation(self.incarnations.fetch_add(1, Relaxed) + 1)
    }

    /// What to dial.
    pub(crate) fn target(&self) -> Target {
        let keepalive = self.keepalive.lock().time;
        Target {
            host: self.config.host.as_str().into(),
            port: self.config.port,
            user_timeout: keepalive.map(|_| self.config.keepalive.timeout),
        }
    }

    pub(crate) fn method(&self, path: &PathAndQuery) -> Arc<Method> {
        self.methods.get(path, &self.config)
    }

    pub(crate) fn describe(&self, descriptor_set: &[u8]) -> Result<usize, prost::DecodeError> {
        self.methods.describe(descriptor_set)
    }

    // --- mailboxes -------------------------------------------------------------------------------------------------

    pub(crate) fn set_supervisor(&self, actor: ActorRef<SupervisorMsg>) {
        self.supervisor.store(Some(Arc::new(actor)));
    }

    pub(crate) fn set_request_actor(&self, shard: usize, actor: ActorRef<RequestMsg>) {
        self.requests[shard].store(Some(Arc::new(actor)));
    }

    pub(crate) fn shards(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn shard_of(&self, call: CallId) -> usize {
        call.0 as usize % self.requests.len()
    }

    /// Tells the supervisor. A message lost to its death is made good by the one that follows.
    pub(crate) fn tell_supervisor(&self, message: SupervisorMsg) {
        tell(&self.supervisor, message);
    }

    /// Tells a call's request actor. A message lost to its death is made good by adoption from the ledger.
    pub(crate) fn tell_request(&self, shard: usize, message: RequestMsg) {
        tell(&self.requests[shard], message);
    }

    /// The link in use, for whoever wants to look at it.
    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) {
        self.link.store(link);
    }

    /// How many streams are open on the link in use.
    pub(crate) fn streams(&self) -> usize {
        self.link.load().as_ref().map_or(0, |link| link.in_flight())
    }

    // --- calls -----------------------------------------------------------------------------------------------------

    /// Admits a call, enters it in the ledger and sends it to its request actor. A refused call comes back with the reason.
    pub(crate) fn submit(&self, call: Submission) -> Result<Arc<Call>, (Failure, Submission)> {
        if self.closing.lock().is_some() {
            return Err((Failure::shutdown(Phase::Unsent), call));
        }
        let size = call.body.as_ref().map_or(0, Bytes::len);
        let admission = match self.admit(size) {
            Ok(admission) => admission,
            Err(reason) => {
                self.telemetry.announce(Fact::CallShed { method: call.method.name.clone(), reason });
                return Err((Failure::shed(reason), call));
            }
        };
        let mut call = Some(call);
        let entered = self.ledger.enter(|id, page| {
            let call = call.take().expect("taken once");
            self.page(call, admission, size, id, page)
        });
        match (entered, call) {
            (Some(call), _) => {
                self.throttle.lock().call_started();
                if call.has_port {
                    self.ports_open.fetch_add(1, SeqCst);
                }
                self.tell_request(self.shard_of(call.id), RequestMsg::Submit(call.clone()));
                Ok(call)
            }
            (None, Some(call)) => Err((Failure::shutdown(Phase::Unsent), call)),
            (None, None) => unreachable!("a call that was not entered was not taken"),
        }
    }

    fn page(&self, call: Submission, admission: Admission, size: usize, id: CallId, page: usize) -> Call {
        let now = clock::now();
        let Submission { method, mut headers, body, unary, options, reply } = call;
        let rule = method.rule.as_ref();
        let asked = headers.remove("grpc-timeout");
        let asked = asked.and_then(|value| parse_timeout(value.to_str().ok()?));
        headers.remove("grpc-previous-rpc-attempts");
        let configured = rule.and_then(|rule| rule.timeout).unwrap_or(self.config.timeout);
        // `timeout` bounds unary calls only: a stream may live for months.
        let timeouts = [asked, options.timeout, configured.filter(|_| unary)];
        let deadline =
            timeouts.into_iter().flatten().map(|timeout| now + timeout).fold(None, |a, b| earliest(a, Some(b)));
        let attempt_timeout = options
            .attempt_timeout
            .or(rule.and_then(|rule| rule.attempt_timeout).unwrap_or(self.config.attempt_timeout))
            .filter(|_| unary);
        let mut retry = rule.map_or(self.config.retry, |rule| rule.retry);
        if options.no_retry {
            retry.limit = RetryLimit::AtMost(0);
        }
        Call {
            id,
            page,
            headers,
            unary,
            idempotent: options.idempotent.or(rule.and_then(|rule| rule.idempotent)).unwrap_or(true),
            wait_for_ready: options
                .wait_for_ready
                .or(rule.and_then(|rule| rule.wait_for_ready))
                .unwrap_or(self.config.wait_for_ready),
            deadline,
            attempt_timeout,
            retry,
            submitted: now,
            size,
            has_port: matches!(reply, Reply::Port { .. }),
            state: Mutex::new(CallState::new(body, reply, admission, now)),
            method,
        }
    }

    /// Admission, before any mailbox.
    fn admit(&self, size: usize) -> Result<Admission, ShedReason> {
        let counts = &self.telemetry.counts;
        let below = |bound: usize, more: usize| move |n: usize| n.checked_add(more).filter(|n| *n <= bound);
        let queue = &self.config.queue;
        let too_many = |_| ShedReason::TooManyCalls;
        counts.open.fetch_update(SeqCst, SeqCst, below(queue.max_calls, 1)).map_err(too_many)?;
        if counts.bytes.fetch_update(SeqCst, SeqCst, below(queue.max_bytes, size)).is_err() {
            counts.open.fetch_sub(1, SeqCst);
            return Err(ShedReason::TooManyBytes);
        }
        Ok(Admission { counts: counts.clone(), size })
    }

    /// Ends a call, once: true for the one who did. The answer's delivery is the winner's business.
    pub(crate) fn finish(&self, call: &Arc<Call>, code: Code, outcome: Option<&Failure>) -> Option<Finished> {
        let now = clock::now();
        let mut state = call.state.lock();
        if state.is_answered() {
            return None;
        }
        let phase = match state.stage {
            Stage::Waiting { .. } => Phase::Unsent,
            _ => Phase::MaybeProcessed,
        };
        state.stage = Stage::Answered;
        state.body = None;
        state.admission = None;
        let machine = std::mem::take(&mut state.machine);
        let history = std::mem::take(&mut state.history);
        let (attempts, waited) = (state.attempts, state.waited);
        let port = match &mut state.reply {
            Reply::Caller => None,
            Reply::Port { port, .. } => port.take(),
        };
        drop(state);
        self.ledger.strike_out(call);
        if call.has_port {
            self.ports_open.fetch_sub(1, SeqCst);
        }
        let elapsed = now.saturating_duration_since(call.submitted);
        if code == Code::Ok {
            self.throttle.lock().call_succeeded();
        }
        call.method.metrics.call_ended(code, elapsed, machine.retries(), machine.transparent(), waited);
        let report = outcome.map(|outcome| CallReport {
            method: call.method.name.to_string(),
            attempts: history,
            attempts_made: attempts,
            retries: machine.retries(),
            transparent_retries: machine.transparent(),
            outcome: outcome.clone(),
            elapsed,
            maybe_processed: machine.maybe_processed()
                || (attempts > 0 && outcome.maybe_processed() && phase >= Phase::MaybeProcessed),
        });
        Some(Finished { report, port })
    }

    /// Ends a call with a failure and delivers it. Nothing happens if the call is over.
    pub(crate) fn conclude(&self, call: &Arc<Call>, ended: AttemptFailure) {
        let Some(finished) = self.finish(call, ended.status.code(), Some(&ended.failure)) else {
            return;
        };
        let status = finished.status(ended.status);
        match finished.port {
            Some(port) => {
                // Whoever asked may be gone.
                let _ = port.send(Err(status));
            }
            None if call.has_port => {}
            None => call.state.lock().offer(Offer::Answer(status)),
        }
        // A task that reads an answer for a port has nothing left to read it for.
        if let Reply::Port { runner: Some(runner), .. } = &call.state.lock().reply {
            runner.abort();
        }
    }

    /// The caller is gone.
    pub(crate) fn cancel(&self, call: &Arc<Call>) {
        let waiting = matches!(call.state.lock().stage, Stage::Waiting { .. });
        self.conclude(call, Failure::cancelled(if waiting { Phase::Unsent } else { Phase::MaybeProcessed }).into());
        if waiting {
            self.tell_request(self.shard_of(call.id), RequestMsg::Cancel(call.id));
        }
    }

    /// A runner's attempt failed: the ledger keeps the failure, the request actor decides.
    pub(crate) fn attempt_failed(&self, call: &Arc<Call>, failure: Box<AttemptFailure>) {
        let mut state = call.state.lock();
        if state.is_answered() {
            return;
        }
        state.record(&failure.failure, call.submitted, clock::now());
        state.stage = Stage::Failed(failure);
        drop(state);
        self.tell_request(self.shard_of(call.id), RequestMsg::AttemptFailed(call.clone()));
    }

    /// Whether somebody waits behind a reply port.
    pub(crate) fn has_ports(&self) -> bool {
        self.ports_open.load(SeqCst) > 0
    }

    // --- the end ---------------------------------------------------------------------------------------------------

    /// Asks for a drain; of several, the shortest grace holds.
    pub(crate) fn begin_drain(&self, grace: Option<Duration>) {
        let until = grace.map(|grace| clock::now() + grace);
        let mut closing = self.closing.lock();
        let first = closing.is_none();
        let until = closing.map_or(until, |before| earliest(before.until, until));
        *closing = Some(Closing { until });
        drop(closing);
        if first && !self.is_closed() {
            self.telemetry.announce(Fact::DrainStarted { grace });
        }
        self.tell_supervisor(SupervisorMsg::Drain);
    }

    /// The drain under way.
    pub(crate) fn closing(&self) -> Option<Closing> {
        *self.closing.lock()
    }

    /// Ends every open call with `failure`.
    pub(crate) fn end_all(&self, calls: Vec<Arc<Call>>, failure: impl Fn(Phase) -> Failure) {
        for call in calls {
            let waiting = matches!(call.state.lock().stage, Stage::Waiting { .. });
            let phase = if waiting { Phase::Unsent } else { Phase::MaybeProcessed };
            self.conclude(&call, failure(phase).into());
        }
    }

    /// Ends the calls whose deadline has passed: for as long as there is no request actor to do so.
    pub(crate) fn end_overdue(&self) {
        let now = clock::now();
        let overdue = self.ledger.open(|call| call.deadline.is_some_and(|deadline| deadline <= now));
        self.end_all(overdue, |phase| Failure::deadline(phase, None));
    }

    pub(crate) fn set_closed(&self) {
        let _ = self.closed.set(());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    /// Waits until everything is over. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.closed.wait().await;
    }
}

/// What is left of an ended call.
pub(crate) struct Finished {
    report: Option<CallReport>,
    pub(crate) port: Option<ractor::RpcReplyPort<super::message::UnaryResult>>,
}

impl Finished {
    /// The status to end with, the report as its source.
    pub(crate) fn status(&self, mut status: Status) -> Status {
        if let Some(report) = &self.report {
            status.set_source(Arc::new(report.clone()));
        }
        status
    }
}

/// The status of a call that was never entered.
pub(crate) fn refusal(method: &Method, failure: Failure) -> Status {
    let mut status = status::of(&failure);
    status.set_source(Arc::new(CallReport {
        method: method.name.to_string(),
        attempts: Vec::new(),
        attempts_made: 0,
        retries: 0,
        transparent_retries: 0,
        outcome: failure,
        elapsed: Duration::ZERO,
        maybe_processed: false,
    }));
    status
}

/// `host:port`, an IPv6 address in brackets.
fn authority_of(config: &Config) -> String {
    let Config { host, port, .. } = config;
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn tell<M: Message>(slot: &ArcSwapOption<ActorRef<M>>, message: M) {
    if let Some(actor) = &*slot.load() {
        // An error means that the actor is dead; whoever follows it is told what matters.
        let _ = actor.send_message(message);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, SeqCst);
        self.counts.bytes.fetch_sub(self.size, SeqCst);
    }
}
