//! Makes a call of an HTTP request: learns its kind, and takes from its body what is there already.
//! As a rule that is all of it, and nothing has to wait.

use crate::{
    actor::Core,
    call::{Alarm, Gathering, Method, Reply, Submission, no_such_method, refused},
    clock,
    model::{CallKind, CallOptions, Cause, ConnectivityState, Fact, Failure, Phase, ShedReason},
    policy::after,
    transport::{OpenBody, begins_with_a_message, is_one_message},
};
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, Either};
use http::HeaderMap;
use http_body::Body as _;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use tonic::Status;

/// So many parts of a body are taken at once: one may have parts without a byte without end, and be
/// ready with each.
const TAKEN_AT_ONCE: usize = 64;

/// What a caller hands in: the call, and the rest of its body if that is not whole. The rest is
/// boxed: it is moved with each call, and hardly a unary one has it.
pub(crate) struct Prepared {
    pub(super) call: Submission,
    pub(super) rest: Option<Box<OpenBody>>,
}

/// A call, or the wait for its body.
pub(super) type Preparation = Either<Prepared, Preparing>;

/// A call when its body is there, as far as it is waited for.
pub(crate) type Preparing = BoxFuture<'static, Result<Prepared, Status>>;

/// What is known of a call before its body is taken.
struct Head {
    made: Instant,
    method: Arc<Method>,
    headers: HeaderMap,
    kind: CallKind,
    options: CallOptions,
}

/// The body as far as it was taken: whole, or what is to be sent and read on.
type Taken = (Option<Bytes>, Option<Box<OpenBody>>);

/// Prepares a call with what is there of its body. Only where that is not whole it waits: for the
/// body's message where the call is said to be unary, and for its end where descriptors say so.
/// Nothing is submitted yet.
pub(super) fn prepare(
    core: &Arc<Core>,
    request: http::Request<tonic::body::Body>,
    options: CallOptions,
) -> Result<Preparation, Status> {
    let (head, body) = request.into_parts();
    let Some(path) = head.uri.path_and_query() else {
        let uri = head.uri.to_string();
        return Err(no_such_method(&uri, format!("the request's URI {uri:?} has no path")));
    };
    let (made, method) = (clock::now(), core.calls.method(path));
    let kind = method.kind(options.kind);
    let head = Head { made, method, headers: head.headers, kind, options };
    let taken = take_ready(body, None).map_err(failed_body);
    match (taken, options.whole_within, kind) {
        (Ok((None, Some(open))), _, CallKind::Unary) => {
            let core = core.clone();
            Ok(Either::Right(Box::pin(async move {
                let deadline = head.deadline(&core);
                let taking = take_message(&core, *open, head.method.is_certainly_unary());
                let taken = in_time(&core, deadline, taking).await;
                head.with(&core, taken)
            })))
        }
        (Ok((None, Some(open))), Some(within), CallKind::Auto) => {
            let core = core.clone();
            Ok(Either::Right(Box::pin(async move {
                let taken = take_soon(&core, *open, within).await;
                head.with(&core, taken)
            })))
        }
        (Ok((Some(whole), None)), _, CallKind::Unary) => {
            let taken = announced(core, &whole).map(|()| (Some(whole), None));
            head.with(core, taken).map(Either::Left)
        }
        // A bridge's: what is kept is not its caller's memory.
        (Ok((None, Some(mut open))), Some(_), _) => {
            let counted = count(core, &mut open).map(|()| (None, Some(open)));
            head.with(core, counted).map(Either::Left)
        }
        (taken, ..) => head.with(core, taken).map(Either::Left),
    }
}

impl Head {
    fn deadline(&self, core: &Core) -> Option<Instant> {
        let (headers, options) = (&self.headers, &self.options);
        core.calls.time_limits(&self.method, headers, options, self.kind, self.made).deadline
    }

    /// The call with this body.
    fn with(self, core: &Core, taken: Result<Taken, Refused>) -> Result<Prepared, Status> {
        let Self { made, method, headers, kind, options } = self;
        let (whole, rest) = taken.map_err(|end| {
            let (failure, status) = *end;
            if let Cause::Shed(reason) = failure.cause {
                core.telemetry.announce(Fact::CallShed { method: method.name.clone(), reason });
            }
            refused(&method, failure, status, made, core.calls.spans_of(&method))
        })?;
        if let (CallKind::Auto, Some(open)) = (kind, &rest)
            && open.taken.front().is_some_and(goes_on)
        {
            method.streams(false);
        }
        // Whatever is known of the method: what is not exactly one message is passed through.
        let one = whole.as_ref().is_some_and(is_one_message);
        if kind == CallKind::Auto && !one && whole.as_ref().is_some_and(begins_with_a_message) {
            method.streams(false);
        }
        let kind = if one { kind } else { CallKind::Streaming };
        let reply = Reply::Caller;
        let call = Submission { made, method, headers, body: whole, kind, options, reply };
        Ok(Prepared { call, rest })
    }
}

/// What a call ends with that was never entered. Boxed: every call's future would have room for it.
type Refused = Box<(Failure, Status)>;

/// The request's body failed, with its own status, before anything was sent.
fn failed_body(status: Status) -> Refused {
    let failure = Failure::request_body(status.code(), status.message().into());
    Box::new((Failure { phase: Phase::Unsent, ..failure }, status))
}

/// A failure of this side, in its own words.
fn said(failure: Failure) -> Refused {
    let status = Status::new(failure.code, failure.to_string());
    Box::new((failure, status))
}

/// The queue has no room for what was taken.
fn shed(reason: ShedReason) -> Refused {
    said(Failure::shed(reason))
}

/// Waits for the caller's own message no longer than for the call's answer, and not past a
/// shutdown.
async fn in_time<T>(
    core: &Core,
    deadline: Option<Instant>,
    taking: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    let (mut state, mut deadline) = (core.telemetry.watch(), pin!(deadline.map(Alarm::at)));
    let late = poll_fn(|cx| match deadline.as_mut().as_pin_mut() {
        Some(deadline) => deadline.poll_rung(&core.calls.runtime, cx),
        None => Poll::Pending,
    });
    let failure = tokio::select! {
        biased;
        taken = taking => return taken,
        () = late => {
            let what = "for its own request, whose message the caller has not given whole";
            Failure::deadline(Phase::Unsent, Some(what.into()))
        }
        _ = state.wait_for(|state| *state == ConnectivityState::Shutdown) => {
            core.calls.shutdown.too_late(Phase::Unsent)
        }
    };
    Err(said(failure))
}

/// Refuses what says of itself that it is larger than may be.
fn announced(core: &Core, message: &Bytes) -> Result<(), Refused> {
    // Behind a flag that is neither of gRPC's stands no length, either.
    let framed = message.first().is_some_and(|flag| *flag <= 1);
    match core.calls.announces_too_much(message).filter(|_| framed) {
        Some(failure) => Err(said(failure)),
        None => Ok(()),
    }
}

/// The rest of a unary call's body: waits for its message and, where that is `certain`, for its
/// end.
///
/// One that goes on after its message is passed through, so that a stream under the wrong name
/// neither hangs here nor is gathered without end. Nor is one that says of itself that it is larger
/// than may be, or that comes in pieces while the queue is full.
async fn take_message(core: &Core, begun: OpenBody, certain: bool) -> Result<Taken, Refused> {
    let OpenBody { taken, rest: mut body, .. } = begun;
    let mut message = taken.into_iter().fold(Bytes::new(), join);
    let mut gathering = Gathering::new(&core.telemetry.counts, &core.config.queue);
    let mut parts = 0_usize;
    loop {
        announced(core, &message)?;
        let grown = gathering.grow(message.len());
        if begins_with_a_message(&message) && (!certain || !is_one_message(&message)) {
            // What came with the message's last piece is not refused for it.
            let (whole, mut rest) = take_ready(body, Some(message)).map_err(failed_body)?;
            if let Some(open) = &mut rest {
                open.counted = Some(Box::new(gathering));
            }
            return Ok((whole, rest));
        }
        grown.map_err(shed)?;
        parts = parts.wrapping_add(1);
        if parts.is_multiple_of(TAKEN_AT_ONCE) {
            // The call's deadline has its turn.
            tokio::task::yield_now().await;
        }
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else {
            return Ok((Some(message), None));
        };
        if let Ok(data) = frame.map_err(failed_body)?.into_data() {
            message = join(message, data);
        }
    }
}

/// The rest of a body of which something, or nothing, is there: whoever passes calls on reads heads
/// and bodies one after the other, and a whole message that comes a moment after its head is a
/// unary call's as a rule. Not awaited: a second message, and more than may be sent again.
async fn take_soon(core: &Core, open: OpenBody, within: Duration) -> Result<Taken, Refused> {
    let most = core.config.max_replay_bytes.min(core.config.queue.max_bytes);
    let OpenBody { taken, rest: mut body, .. } = open;
    let mut first = taken.into_iter().fold(Bytes::new(), join);
    let mut gathering = Gathering::new(&core.telemetry.counts, &core.config.queue);
    let mut late = pin!(Alarm::at(after(clock::now(), within)));
    loop {
        // The piece with which it is too much is taken in any case.
        gathering.grow(first.len().min(most)).map_err(shed)?;
        if goes_on(&first) || first.len() > most {
            break;
        }
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => late.as_mut().poll_rung(&core.calls.runtime, cx).map(|()| None),
        });
        match frame.await {
            Some(None) => return Ok((Some(first), None)),
            Some(Some(frame)) => {
                if let Ok(data) = frame.map_err(failed_body)?.into_data() {
                    first = join(first, data);
                }
            }
            None => break,
        }
    }
    let taken = Some(first).filter(|first| !first.is_empty()).into_iter().collect();
    let counted = Some(Box::new(gathering) as _);
    Ok((None, Some(Box::new(OpenBody { taken, rest: body, counted, consumed: false }))))
}

/// Counts what was taken of a request that is not whole.
fn count(core: &Core, open: &mut OpenBody) -> Result<(), Refused> {
    let mut gathering = Gathering::new(&core.telemetry.counts, &core.config.queue);
    let size = open.taken.iter().map(Bytes::len).sum::<usize>();
    gathering.grow(size.min(core.config.queue.max_bytes)).map_err(shed)?;
    open.counted = Some(Box::new(gathering));
    Ok(())
}

/// More than one message has begun.
fn goes_on(data: &Bytes) -> bool {
    begins_with_a_message(data) && !is_one_message(data)
}

fn join(head: Bytes, tail: Bytes) -> Bytes {
    if head.is_empty() {
        return tail;
    }
    if tail.is_empty() {
        return head;
    }
    let mut joined = BytesMut::from(head);
    joined.extend_from_slice(&tail);
    joined.freeze()
}

/// What can be had of the body without waiting, after what was taken before: all of it, where it
/// ends there.
fn take_ready(mut body: tonic::body::Body, mut first: Option<Bytes>) -> Result<Taken, Status> {
    let mut more = VecDeque::new();
    // The rest is asked for again when a stream is open, by whoever waits for it then.
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..TAKEN_AT_ONCE {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(None) => {
                let whole = more.into_iter().fold(first.unwrap_or_default(), join);
                return Ok((Some(whole), None));
            }
            Poll::Ready(Some(frame)) => {
                if let Ok(data) = frame?.into_data() {
                    match first {
                        None => first = Some(data),
                        Some(_) => more.push_back(data),
                    }
                }
            }
            Poll::Pending => break,
        }
        // An endless body that is always ready is left to flow control.
        if !more.is_empty() {
            break;
        }
    }
    let taken = first.into_iter().chain(more).collect();
    Ok((None, Some(Box::new(OpenBody { taken, rest: body, counted: None, consumed: false }))))
}
