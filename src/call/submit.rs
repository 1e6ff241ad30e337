//! How a call comes in: admitted, entered in the ledger, begun or sent to its request actor.

use super::{
    admission::Admission,
    head::{
        Headers, PREVIOUS_ATTEMPTS, TIMEOUT, complete, complete_plain, is_plain,
        leave_out_connection_fields, too_many_fields,
    },
    method::Method,
    reply::Reply,
    shared::Calls,
    spans::{Ended, Spans},
    state::{Call, CallState, Stage},
};
use crate::{
    clock,
    model::{
        CallId, CallKind, CallOptions, CallReport, Cause, Fact, Failure, Phase, StreamStory, Waits,
        printable, shortened,
    },
    policy::{RetryLimit, bounds, nearest_timeout, parse_timeout},
    telemetry::CallEnd,
    transport::{PREFIX, is_one_message, message_length, payload, status},
};
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tonic::Status;

/// A call to be.
pub(crate) struct Submission {
    /// When the caller made it; its time limits count from here.
    pub(crate) made: Instant,
    pub(crate) method: Arc<Method>,
    pub(crate) headers: HeaderMap,
    /// The request, if it is whole.
    pub(crate) body: Option<Bytes>,
    /// As what it is carried: a request that is not one whole message is always streaming.
    pub(crate) kind: CallKind,
    pub(crate) options: CallOptions,
    pub(crate) reply: Reply,
}

/// Why a call was refused, the call, and its spans.
pub(crate) type Refusal = (Failure, Submission, Option<Box<Spans>>);

/// What bounds a call's time. At most one of both is there.
pub(crate) struct TimeLimits {
    /// When it must have ended.
    pub(crate) deadline: Option<Instant>,
    /// Whether the call states that, rather than the configuration for unary calls.
    is_stated: bool,
    /// Until when it may wait in all, if it is never on the wire.
    patience: Option<Instant>,
}

impl Calls {
    /// Admits a call, enters it in the ledger, and begins it or sends it to its request actor. A
    /// refused call comes back with the reason, boxed: the many others would move room for it.
    pub(crate) fn submit(self: &Arc<Self>, call: Submission) -> Result<Arc<Call>, Box<Refusal>> {
        let spans = self.spans_of(&call.method);
        if let Some(failure) = self.shutdown.refusal() {
            return Err(Box::new((failure, call, spans)));
        }
        if let Some(failure) =
            self.too_large(call.body.as_ref()).or_else(|| too_many_fields(&call.headers))
        {
            return Err(Box::new((failure, call, spans)));
        }
        let size = call.body.as_ref().map_or(0, Bytes::len);
        let admission = match Admission::new(&self.telemetry.counts, &self.config.queue, size) {
            Ok(admission) => admission,
            Err(reason) => {
                self.telemetry
                    .announce(Fact::CallShed { method: call.method.name.clone(), reason });
                return Err(Box::new((Failure::shed(reason), call, spans)));
            }
        };
        let awaited = matches!(&call.reply, Reply::Port { port: Some(_), .. });
        let mut call = Some((call, spans));
        let mut begins = false;
        let entered = self.ledger.enter(|id, slot| {
            let (call, spans) = call.take().expect("taken once");
            let mut call = self.make(call, admission, size, id, slot);
            call.state.get_mut().spans = spans;
            begins = self.begins_at_once(&call);
            if begins {
                call.state.get_mut().stage = Stage::Beginning;
            }
            call
        });
        match (entered, call) {
            (Some(call), _) => {
                call.method.metrics.call_started();
                self.throttle.lock().call_started();
                if awaited {
                    self.ports_open.fetch_add(1, SeqCst);
                }
                match begins {
                    true => self.begin_at_once(&call),
                    false => self.queue.submitted(call.clone()),
                }
                Ok(call)
            }
            (None, Some((call, spans))) => {
                Err(Box::new((self.shutdown.too_late(Phase::Unsent), call, spans)))
            }
            (None, None) => unreachable!("a call that was not entered was not taken"),
        }
    }

    /// The spans of a call that is made now, where somebody wants to trace it.
    pub(crate) fn spans_of(&self, method: &Method) -> Option<Box<Spans>> {
        Spans::new(method, self.propagation.is_some())
    }

    fn make(
        &self,
        call: Submission,
        admission: Admission,
        size: usize,
        id: CallId,
        slot: usize,
    ) -> Call {
        let Submission { made, method, mut headers, body, kind, options, reply } = call;
        let rule = method.rule.as_ref();
        let plain = is_plain(&headers);
        let has_port = matches!(reply, Reply::Port { .. });
        let limits = self.time_limits(&method, &headers, &options, kind, made);
        let TimeLimits { deadline, is_stated, patience } = limits;
        if !plain {
            leave_out_connection_fields(&mut headers);
            headers.remove(PREVIOUS_ATTEMPTS);
        }
        let headers = if has_port {
            headers.remove(TIMEOUT);
            Headers::Bare(headers)
        } else if plain {
            Headers::Once(complete_plain(headers, deadline.is_some()))
        } else {
            headers.remove(TIMEOUT);
            complete(&mut headers, deadline.is_some());
            Headers::Complete(headers)
        };
        let configured = self.config.attempt_timeout_for(rule);
        let configured = configured.map(|timeout| beyond_the_wait(timeout, &options));
        let attempt_timeout =
            options.attempt_timeout.or(configured).filter(|_| kind != CallKind::Streaming);
        let mut retry = self.config.retry_for(rule);
        if options.no_retry {
            retry.limit = RetryLimit::AtMost(0);
        }
        let said = options.wait_for_ready.or(rule.and_then(|rule| rule.wait_for_ready));
        let wait_for_ready = said.unwrap_or(self.config.wait_for_ready);
        let refuse_late = rule.and_then(|rule| rule.refuse_late).unwrap_or(self.config.refuse_late);
        Call {
            id,
            slot,
            plain,
            kind,
            idempotent: is_idempotent(&method, &options, kind),
            wait_for_ready,
            wait_is_explicit: wait_for_ready
                && (said.is_some() || self.config.provenance.wait_for_ready),
            deadline,
            deadline_is_said: is_stated,
            patience,
            // How long those take is for the server to say.
            refuse_late: refuse_late && kind != CallKind::Streaming && options.long_poll.is_zero(),
            streams: AtomicBool::new(false),
            attempt_timeout,
            is_timed: kind != CallKind::Streaming && options.long_poll.is_zero(),
            is_counted: AtomicBool::new(false),
            attempts_before: options.attempts_before,
            told: options.tells.then(StreamStory::default),
            retry,
            submitted: made,
            size,
            payload: body.as_ref().map_or(0, |body| payload(body)),
            has_port,
            state: Mutex::new(CallState::new(body, headers, reply, admission, made)),
            method,
        }
    }

    /// What bounds the time of a call made then: what it states, in either form, or else what is
    /// configured. That bounds a unary call as a whole, and of any other the time that it is not on
    /// the wire: there a stream may live for months.
    pub(crate) fn time_limits(
        &self,
        method: &Method,
        headers: &HeaderMap,
        options: &CallOptions,
        kind: CallKind,
        made: Instant,
    ) -> TimeLimits {
        let asked = headers.get(TIMEOUT).and_then(|value| parse_timeout(value.to_str().ok()?));
        let stated = [options.timeout, asked];
        let is_stated = stated.iter().any(Option::is_some);
        let configured = self.config.timeout_for(method.rule.as_ref());
        let configured = configured.map(|timeout| beyond_the_wait(timeout, options));
        // A timeout beyond the clock's end is none.
        let limit =
            nearest_timeout(stated, configured).and_then(|timeout| made.checked_add(timeout));
        let (deadline, patience) = bounds(limit, is_stated || kind == CallKind::Unary);
        TimeLimits { deadline, is_stated, patience }
    }

    /// A message that is not whole yet, and says that it is larger than may be sent, or than the
    /// whole queue.
    pub(crate) fn announces_too_much(&self, begun: &Bytes) -> Option<Failure> {
        let whole = message_length(begun).filter(|whole| *whole > begun.len())?;
        let room = self.config.queue.max_bytes;
        if whole > room {
            return Some(Failure::request_too_large(whole, room, "queue.max_bytes"));
        }
        let limit =
            self.config.max_request_message_bytes.filter(|limit| whole - PREFIX > *limit)?;
        Some(Failure::request_too_large(whole - PREFIX, limit, "max_request_message_bytes"))
    }

    /// A request that is larger than the whole queue, or one message and larger than may be
    /// sent.
    fn too_large(&self, body: Option<&Bytes>) -> Option<Failure> {
        let (size, room) = (body?.len(), self.config.queue.max_bytes);
        if size > room {
            return Some(Failure::request_too_large(size, room, "queue.max_bytes"));
        }
        let limit = self.config.max_request_message_bytes?;
        let message = body.filter(|body| is_one_message(body))?.len() - PREFIX;
        (message > limit)
            .then(|| Failure::request_too_large(message, limit, "max_request_message_bytes"))
    }
}

/// Whether running the call twice does no harm, as the call, the configuration, or whoever passes
/// the call on for somebody else says.
fn is_idempotent(method: &Method, options: &CallOptions, kind: CallKind) -> bool {
    let said = options.idempotent.or(method.rule.as_ref().and_then(|rule| rule.idempotent));
    if said.is_none() && options.unsaid_is_harmful && kind != CallKind::Streaming {
        method.hint_not_idempotent();
    }
    said.unwrap_or(!options.unsaid_is_harmful)
}

/// A configured timeout of a call: what the server waits of its own accord is not counted.
fn beyond_the_wait(timeout: Duration, options: &CallOptions) -> Duration {
    timeout.saturating_add(options.long_poll)
}

/// The status of a call that was never entered, and who waits for it. It counts as an ended call.
pub(crate) fn refusal(refusal: Box<Refusal>) -> (Status, Reply) {
    let (failure, call, spans) = *refusal;
    let status = status::of(&failure);
    (refused(&call.method, failure, status, call.made, spans), call.reply)
}

/// The same, where the status says more than the failure.
pub(crate) fn refused(
    method: &Method,
    failure: Failure,
    status: Status,
    made: Instant,
    spans: Option<Box<Spans>>,
) -> Status {
    let elapsed = clock::now().saturating_duration_since(made);
    let words = Some(shortened(status.message()));
    if let Some(spans) = spans {
        spans.end(&Ended::refused(status.code(), words.as_deref()));
    }
    method.metrics.call_started();
    method
        .metrics
        .call_ended(status.code(), CallEnd { took: elapsed, words, ..CallEnd::default() });
    with_report(&method.name, failure, status, elapsed)
}

/// The status of a call whose path names no method.
pub(crate) fn no_such_method(path: &str, text: String) -> Status {
    let failure = Failure::bad_request(text);
    let status = status::of(&failure);
    with_report(&printable(path), failure, status, Duration::ZERO)
}

fn with_report(method: &str, outcome: Failure, mut status: Status, elapsed: Duration) -> Status {
    let waiting = match &outcome.cause {
        Cause::Deadline(what) => what.clone(),
        _ => None,
    };
    status.set_source(Arc::new(CallReport {
        method: method.to_owned(),
        attempts: Vec::new(),
        attempts_made: 0,
        retries: 0,
        transparent_retries: 0,
        outcome,
        not_retried: None,
        waiting,
        waits: Waits::default(),
        on_wire: Duration::ZERO,
        elapsed,
        maybe_processed: false,
        head: None,
    }));
    status
}
