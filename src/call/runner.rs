//! Runs a call: takes the attempts that are offered, reads the answer, reports what failed. In the
//! caller's own future, or in a task per attempt where the call came as a message.

use super::{
    body::SupervisedBody,
    exchange::exchange,
    limit::Limit,
    reply::UnaryReply,
    shared::Calls,
    state::{Call, Offer},
    task,
};
use crate::{
    clock,
    model::{Failure, Phase, Story},
    policy::attempt_ends,
    transport::{AttemptFailure, Hold, OpenBody, OpenStream, Pump, ResponseBody, unframe},
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};
use tokio::task::AbortHandle;
use tonic::{Code, Status, metadata::MetadataMap};

/// A call that was submitted, for its caller's future to run. Dropped, it ends everywhere at once.
pub(crate) struct Submitted {
    guard: CancelOnDrop,
    /// What is not sent whole yet of its request.
    rest: Option<Box<OpenBody>>,
}

impl Submitted {
    pub(crate) fn new(calls: Arc<Calls>, call: Arc<Call>, rest: Option<Box<OpenBody>>) -> Self {
        Self { guard: CancelOnDrop(Some((calls, call))), rest }
    }

    /// The call itself, for whoever tells how it went.
    #[cfg(feature = "bridge")]
    pub(crate) fn call(&self) -> &Arc<Call> {
        self.guard.call()
    }

    /// Runs the call. Cancel safe: dropped, it ends as above.
    pub(crate) async fn answer(self) -> Result<http::Response<SupervisedBody>, Status> {
        let Self { mut guard, rest } = self;
        let unary = guard.call().method.is_certainly_unary();
        let hold = if unary { Hold::End } else { Hold::EndUnlessItStreams };
        let (response, pump) = attempts(&mut guard, rest, hold).await?;
        let (calls, call) = guard.disarm();
        Ok(hand_over(calls, call, response, pump))
    }
}

/// The same for a call that takes one message: it ends when its answer was judged, and what
/// `decode` makes of the message is its outcome, with the call's story where it asks for that.
/// Cancel safe, too.
pub(crate) async fn run_typed<T>(
    calls: Arc<Calls>,
    call: Arc<Call>,
    decode: impl FnOnce(UnaryReply) -> Result<T, String>,
) -> Result<(T, Option<Box<Story>>), Status> {
    let hold = one_message(&calls);
    let mut guard = CancelOnDrop(Some((calls, call)));
    let (response, _) = attempts(&mut guard, None, hold).await?;
    let (calls, call) = guard.armed();
    let judged = judge(calls, call, response).and_then(|reply| {
        decode(reply).map_err(|problem| Failure::unusable_answer(Code::Internal, problem))
    });
    match judged {
        Ok(answer) => {
            if calls.finish(call, Code::Ok, None).is_some() {
                let story = call.story();
                return guard.done(Ok((answer, story)));
            }
            // It ended elsewhere meanwhile.
        }
        Err(failure) => calls.reject(call, failure),
    }
    let status = poll_fn(|cx| match guard.call().poll_offer(cx, false) {
        Poll::Ready(Offer::Answer(status)) => Poll::Ready(status),
        Poll::Ready(Offer::Attempt(_)) => unreachable!("no attempt begins after the call's end"),
        Poll::Pending => Poll::Pending,
    });
    let status = status.await;
    guard.done(Err(status))
}

/// Reads one attempt after the other, until there is an answer to hand on.
async fn attempts(
    guard: &mut CancelOnDrop,
    mut body: Option<Box<OpenBody>>,
    hold: Hold,
) -> Result<(http::Response<ResponseBody>, Option<Box<Pump>>), Status> {
    // Neither has anything to do between an attempt's begin and its answer.
    let sleeps_through = body.is_none() && guard.call().attempt_timeout.is_none();
    let mut limit = pin!(Limit::of_waiting(guard.call()));
    loop {
        let (calls, call) = guard.armed();
        let offer = poll_fn(|cx| {
            let offer = call.poll_offer(cx, sleeps_through);
            if offer.is_ready() || !limit.as_mut().has_passed(calls, call, cx) {
                return offer;
            }
            // Whoever else would end it may be gone.
            calls.expire(call);
            call.poll_offer(cx, false)
        });
        let stream = match offer.await {
            Offer::Attempt(stream) => stream,
            Offer::Answer(status) => return guard.done(Err(status)),
        };
        let ends = attempt_limit(call);
        limit.as_mut().attempt_began(call, ends);
        let mut pump = None;
        let ended = {
            let mut exchange =
                pin!(exchange(calls, call, stream, &mut body, &mut pump, hold, ends));
            poll_fn(|cx| match call.poll_offer(cx, false) {
                Poll::Ready(Offer::Answer(status)) => Poll::Ready(Err(status)),
                Poll::Ready(Offer::Attempt(_)) => unreachable!("one attempt at a time"),
                Poll::Pending => match exchange.as_mut().poll(cx) {
                    Poll::Pending if limit.as_mut().has_passed(calls, call, cx) => {
                        Poll::Ready(Ok(Err(out_of_time(call))))
                    }
                    outcome => outcome.map(Ok),
                },
            })
            .await
        };
        match ended {
            Err(status) => return guard.done(Err(status)),
            Ok(Ok(response)) => return Ok((response, pump)),
            Ok(Err(failure)) => {
                calls.attempt_failed(call, failure);
                limit.as_mut().attempt_ended(call);
            }
        }
    }
}

/// Reads the answer to one attempt of a call that came as a message, in a task.
pub(crate) fn spawn_attempt(
    calls: &Arc<Calls>,
    call: &Arc<Call>,
    stream: OpenStream,
) -> AbortHandle {
    let reading = run_attempt(calls.clone(), call.clone(), stream);
    let (told, call) = (calls.clone(), call.clone());
    task::spawn(calls, "Runner", reading, move |end| {
        if let Err(words) = end {
            // An attempt that failed: whether it is made again is the policy's to say.
            let text = format!("reading the answer panicked: {words}");
            told.attempt_failed(
                &call,
                Box::new(Failure::unusable_answer(Code::Internal, text).into()),
            );
        }
    })
}

/// Reads the answer to one attempt of a call that came as a message, and replies.
async fn run_attempt(calls: Arc<Calls>, call: Arc<Call>, stream: OpenStream) {
    // The request was sent whole.
    let (mut body, mut pump) = (None, None);
    let ends = attempt_limit(&call);
    let exchange = exchange(&calls, &call, stream, &mut body, &mut pump, one_message(&calls), ends);
    let outcome = match ends {
        None => exchange.await,
        Some(end) => match tokio::time::timeout_at(end.into(), exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(out_of_time(&call)),
        },
    };
    let judged = match outcome {
        Err(failure) => return calls.attempt_failed(&call, failure),
        Ok(response) => judge(&calls, &call, response),
    };
    match judged {
        Err(failure) => calls.reject(&call, failure),
        Ok(reply) => {
            if let Some(port) =
                calls.finish(&call, Code::Ok, None).and_then(|finished| finished.port)
            {
                // Whoever asked may be gone.
                let _ = port.send(Ok(reply));
            }
        }
    }
}

/// What a call that takes one message reads of an answer.
fn one_message(calls: &Calls) -> Hold {
    Hold::OneMessage(calls.config.max_response_message_bytes.unwrap_or(usize::MAX))
}

/// When an attempt that begins now has to end.
fn attempt_limit(call: &Call) -> Option<Instant> {
    attempt_ends(call.deadline, call.attempt_timeout, clock::now())
}

fn out_of_time(call: &Call) -> Box<AttemptFailure> {
    let failure = match call.deadline {
        Some(deadline) if clock::now() >= deadline => {
            Failure::deadline(Phase::MaybeProcessed, None)
        }
        _ => Failure::attempt_timeout(),
    };
    Box::new(failure.into())
}

/// Takes note of a whole answer's size; a live one counts as it comes. Either is measured when the
/// call ends.
fn count(call: &Call, body: &ResponseBody) {
    if !body.is_live() {
        call.state.lock().received = body.payload();
    }
}

/// The answer's head is there: whole answers end the call here, the others when their body ends.
fn hand_over(
    calls: Arc<Calls>,
    call: Arc<Call>,
    response: http::Response<ResponseBody>,
    pump: Option<Box<Pump>>,
) -> http::Response<SupervisedBody> {
    let (mut head, body) = response.into_parts();
    count(&call, &body);
    let body = if body.is_live() {
        call.state.lock().head_came = Some(clock::now());
        if let Some(told) = &call.told {
            head.extensions.insert(told.clone());
        }
        SupervisedBody::live(calls, call, body, pump)
    } else {
        calls.finish(&call, Code::Ok, None);
        if let Some(story) = call.story() {
            head.extensions.insert(*story);
        }
        SupervisedBody::whole(body)
    };
    http::Response::from_parts(head, body)
}

/// Reads the answer to a call that takes one message: its metadata, trailers included, and that
/// message. What was not read to its end is too large, or more than one message.
fn judge(
    calls: &Calls,
    call: &Call,
    response: http::Response<ResponseBody>,
) -> Result<UnaryReply, Failure> {
    let limit = calls.config.max_response_message_bytes.unwrap_or(usize::MAX);
    let (head, body) = response.into_parts();
    call.state.lock().received = body.payload();
    let too_large = body.framing().is_some_and(|framing| framing.longest() > limit);
    let Some((data, trailers)) = body.into_whole() else {
        return Err(match too_large {
            true => Failure::answer_too_large(limit),
            false => {
                let text = "the answer goes on after its first message, and the call takes one";
                Failure::unusable_answer(Code::Internal, text.into())
            }
        });
    };
    let message =
        unframe(data).map_err(|problem| Failure::unusable_answer(Code::Internal, problem))?;
    let mut metadata = MetadataMap::from_headers(head.headers);
    metadata.as_mut().extend(trailers);
    Ok(UnaryReply { metadata, message })
}

/// Ends the call when its future is dropped.
struct CancelOnDrop(Option<(Arc<Calls>, Arc<Call>)>);

impl CancelOnDrop {
    fn armed(&self) -> &(Arc<Calls>, Arc<Call>) {
        self.0.as_ref().expect("disarmed only on return")
    }

    fn call(&self) -> &Arc<Call> {
        &self.armed().1
    }

    fn disarm(&mut self) -> (Arc<Calls>, Arc<Call>) {
        self.0.take().expect("disarmed only on return")
    }

    /// The call has ended, with this.
    fn done<T>(&mut self, outcome: Result<T, Status>) -> Result<T, Status> {
        self.0 = None;
        outcome
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some((calls, call)) = self.0.take() {
            calls.cancel(&call);
        }
    }
}
