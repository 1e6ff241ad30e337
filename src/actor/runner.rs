//! Runs a call: takes the request actor's offers, reads the answer, reports what failed. In the caller's own future, or in a
//! task per attempt where the call came as a message.

use super::{
    alarm::Alarm,
    body::SupervisedBody,
    call::{Call, Offer},
    core::Core,
    message::UnaryReply,
    task,
};
use crate::{
    clock,
    model::{Failure, Phase},
    policy::earliest,
    transport::{
        AttemptFailure, Beside, OpenBody, OpenStream, Outcome, PREFIX, Pump, ResponseBody, beside, clean,
        is_one_message, read_head, read_unary, status,
    },
};
use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::task::AbortHandle;
use tonic::{Code, Status, metadata::MetadataMap};

/// A unary answer above this size is passed on before its end is seen, and not retried from then on.
const COMMIT_AFTER: usize = 1 << 20;

/// Runs a call in its caller's future. Cancel safe: dropped, the call ends everywhere at once.
pub(crate) async fn run(
    core: Arc<Core>,
    call: Arc<Call>,
    mut body: Option<OpenBody>,
) -> Result<http::Response<SupervisedBody>, Status> {
    let mut guard = CancelOnDrop(Some((core, call)));
    // Neither has anything to do between an attempt's begin and its answer.
    let sleeps_through = body.is_none() && guard.call().attempt_timeout.is_none();
    let mut limit = pin!(guard.call().deadline.map(Alarm::at));
    loop {
        let (core, call) = guard.armed();
        let offer = poll_fn(|cx| {
            let offer = call.poll_offer(cx, sleeps_through);
            if offer.is_ready() || !has_passed(core, limit.as_mut(), cx) {
                return offer;
            }
            // Whoever else would end it may be gone.
            core.expire(call);
            call.poll_offer(cx, false)
        });
        let stream = match offer.await {
            Offer::Attempt(stream) => stream,
            Offer::Answer(status) => return guard.answered(status),
        };
        set_limit(limit.as_mut(), attempt_limit(call));
        let mut pump = None;
        let ended = {
            let mut exchange = pin!(exchange(call, stream, &mut body, &mut pump, COMMIT_AFTER));
            poll_fn(|cx| match call.poll_offer(cx, false) {
                Poll::Ready(Offer::Answer(status)) => Poll::Ready(Err(status)),
                Poll::Ready(Offer::Attempt(_)) => unreachable!("one attempt at a time"),
                Poll::Pending => match exchange.as_mut().poll(cx) {
                    Poll::Pending if has_passed(core, limit.as_mut(), cx) => Poll::Ready(Ok(Err(out_of_time(call)))),
                    outcome => outcome.map(Ok),
                },
            })
            .await
        };
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(status) => return guard.answered(status),
        };
        match outcome {
            Err(failure) => {
                core.attempt_failed(call, failure);
                set_limit(limit.as_mut(), call.deadline);
            }
            Ok(response) => {
                let (core, call) = guard.disarm();
                return Ok(hand_over(core, call, response, pump));
            }
        }
    }
}

/// Another limit, with the alarm that is there already.
fn set_limit(mut limit: Pin<&mut Option<Alarm>>, at: Option<Instant>) {
    match (limit.as_mut().as_pin_mut(), at) {
        (Some(alarm), Some(at)) => alarm.reset(at),
        (_, at) => limit.set(at.map(Alarm::at)),
    }
}

/// Whether the time is over; if not, the task is woken when it is.
fn has_passed(core: &Core, limit: Pin<&mut Option<Alarm>>, cx: &mut Context<'_>) -> bool {
    limit.as_pin_mut().is_some_and(|limit| limit.poll_rung(&core.runtime, cx).is_ready())
}

/// Reads the answer to one attempt of a call that came as a message, in a task.
pub(super) fn spawn_attempt(core: &Arc<Core>, call: &Arc<Call>, stream: OpenStream) -> AbortHandle {
    let reading = run_attempt(core.clone(), call.clone(), stream);
    let (told, call) = (core.clone(), call.clone());
    task::spawn(core, "Runner", reading, move |end| {
        if let Err(words) = end {
            let text = format!("reading the answer panicked: {words}");
            told.conclude(&call, Failure::unusable_answer(Code::Internal, text).into());
        }
    })
}

/// Reads the answer to one attempt of a call that came as a message, and replies.
async fn run_attempt(core: Arc<Core>, call: Arc<Call>, stream: OpenStream) {
    let limit = core.config.max_response_message_bytes.unwrap_or(usize::MAX);
    // The request was sent whole.
    let (mut body, mut pump) = (None, None);
    let exchange = exchange(&call, stream, &mut body, &mut pump, limit.saturating_add(PREFIX));
    let outcome = match attempt_limit(&call) {
        None => exchange.await,
        Some(end) => match tokio::time::timeout_at(end.into(), exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(out_of_time(&call)),
        },
    };
    match outcome {
        Err(failure) => core.attempt_failed(&call, failure),
        Ok(response) => {
            count(&call, response.body());
            match reply(response.map(SupervisedBody::whole), limit).await {
                Err(failure) => core.conclude(&call, failure),
                Ok(reply) => {
                    if let Some(port) = core.finish(&call, Code::Ok, None).and_then(|finished| finished.port) {
                        // Whoever asked may be gone.
                        let _ = port.send(Ok(reply));
                    }
                }
            }
        }
    }
}

/// When an attempt that begins now has to end.
fn attempt_limit(call: &Call) -> Option<Instant> {
    let own = call.attempt_timeout.and_then(|timeout| clock::now().checked_add(timeout));
    earliest(call.deadline, own)
}

/// One attempt; with it, a request body that is still being sent.
async fn exchange(
    call: &Call,
    stream: OpenStream,
    body: &mut Option<OpenBody>,
    unsent: &mut Option<Pump>,
    commit_after: usize,
) -> Outcome {
    if call.unary {
        return read_unary(stream, commit_after).await;
    }
    let OpenStream { answer, send, permit } = stream;
    let (Some(send), Some(open)) = (send, body.take()) else {
        return read_head(answer, permit).await;
    };
    let mut pump = Pump::new(open, send);
    match beside(read_head(answer, permit), &mut pump).await {
        Beside::Answered(Ok(response), sent) => {
            *unsent = sent.is_none().then_some(pump);
            Ok(response)
        }
        Beside::Answered(Err(failure), _) => {
            give_back(call, pump, body);
            Err(failure)
        }
        Beside::BodyFailed(status) => {
            let failure = Failure::request_body(status.message().into());
            Err(Box::new(AttemptFailure { failure, status, pushback: None, link_answered: false }))
        }
    }
}

/// Keeps the body for another attempt, unless something of it is gone.
fn give_back(call: &Call, pump: Pump, body: &mut Option<OpenBody>) {
    let open = pump.into_body();
    if open.consumed {
        call.state.lock().replayable = false;
    }
    *body = Some(open);
}

fn out_of_time(call: &Call) -> Box<AttemptFailure> {
    let failure = match call.deadline {
        Some(deadline) if clock::now() >= deadline => Failure::deadline(Phase::MaybeProcessed, None),
        _ => Failure::attempt_timeout(),
    };
    Box::new(failure.into())
}

/// Takes note of a whole answer's size; a live one counts as it comes. Either is measured when the call ends.
fn count(call: &Call, body: &ResponseBody) {
    if !body.is_live() {
        call.state.lock().received = body.buffered();
    }
}

/// The answer's head is there: whole answers end the call here, the others when their body ends.
fn hand_over(
    core: Arc<Core>,
    call: Arc<Call>,
    response: http::Response<ResponseBody>,
    pump: Option<Pump>,
) -> http::Response<SupervisedBody> {
    let (mut head, body) = response.into_parts();
    clean(&mut head.headers);
    count(&call, &body);
    let body = if body.is_live() {
        SupervisedBody::live(core, call, body, pump)
    } else {
        core.finish(&call, Code::Ok, None);
        SupervisedBody::whole(body)
    };
    http::Response::from_parts(head, body)
}

/// Reads a unary answer whole: its metadata, trailers included, and its one message of at most `limit` bytes.
pub(crate) async fn reply(
    response: http::Response<SupervisedBody>,
    limit: usize,
) -> Result<UnaryReply, AttemptFailure> {
    let (head, mut body) = response.into_parts();
    let mut metadata = MetadataMap::from_headers(head.headers);
    let mut frames: Vec<Bytes> = Vec::new();
    let mut size = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                size += data.len();
                frames.push(data);
            }
            Ok(Err(frame)) => metadata.as_mut().extend(frame.into_trailers().unwrap_or_default()),
            Err(status) => {
                let failure = Failure::unusable_answer(status.code(), status.message().into());
                return Err(AttemptFailure { failure, status, pushback: None, link_answered: false });
            }
        }
        if size > limit.saturating_add(PREFIX) {
            return Err(body.reject(Failure::answer_too_large(limit)));
        }
    }
    // A large answer was passed on before its status was known.
    if let Some(status) = status::from_headers(metadata.as_ref()).filter(|status| status.code() != Code::Ok) {
        return Err(AttemptFailure {
            failure: Failure::status(status.code()),
            status,
            pushback: None,
            link_answered: false,
        });
    }
    match unframe(frames) {
        Ok(message) => Ok(UnaryReply { metadata, message }),
        Err(problem) => Err(body.reject(Failure::unusable_answer(Code::Internal, problem))),
    }
}

/// The one message that an answer's data holds.
fn unframe(mut frames: Vec<Bytes>) -> Result<Bytes, String> {
    let mut whole = match frames.len() {
        1 => frames.pop().expect("one"),
        _ => frames.concat().into(),
    };
    if !is_one_message(&whole) {
        return Err(format!("the answer's {} bytes are not one gRPC message", whole.len()));
    }
    if whole[0] != 0 {
        return Err("the answer is compressed, and no compression was offered".into());
    }
    whole.advance(PREFIX);
    Ok(whole)
}

/// Ends the call when its future is dropped.
struct CancelOnDrop(Option<(Arc<Core>, Arc<Call>)>);

impl CancelOnDrop {
    fn armed(&self) -> &(Arc<Core>, Arc<Call>) {
        self.0.as_ref().expect("disarmed only on return")
    }

    fn call(&self) -> &Arc<Call> {
        &self.armed().1
    }

    fn disarm(&mut self) -> (Arc<Core>, Arc<Call>) {
        self.0.take().expect("disarmed only on return")
    }

    /// The call has ended elsewhere, with this.
    fn answered<T>(&mut self, status: Status) -> Result<T, Status> {
        self.0 = None;
        Err(status)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some((core, call)) = self.0.take() {
            core.cancel(&call);
        }
    }
}
