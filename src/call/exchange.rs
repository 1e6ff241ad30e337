//! One attempt of a call: reads its answer, and sends meanwhile what is left of its request.

use super::{alarm::Alarm, limit::OPEN_AFTER_MESSAGE, shared::Calls, state::Call};
use crate::{
    clock,
    model::{CallKind, Failure},
    policy::after,
    transport::{
        AttemptFailure, Beside, Hold, OpenBody, OpenStream, Outcome, Pump, UnaryAnswer, beside,
        read_head,
    },
};
use futures::future::Either;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

/// One attempt; with it, a request body that is still being sent.
///
/// Not an async function: every call's future has room for this one, and the compiler would keep
/// room for the stream beside what is made of it.
pub(super) fn exchange<'a>(
    calls: &'a Calls,
    call: &'a Call,
    stream: OpenStream,
    body: &'a mut Option<Box<OpenBody>>,
    unsent: &'a mut Option<Box<Pump>>,
    hold: Hold,
    ends: Option<Instant>,
) -> impl Future<Output = Outcome> {
    if call.kind == CallKind::Unary {
        let mut answer = UnaryAnswer::new(stream, hold);
        let mut waiting = EndOfAnswerWait { calls, call, hold, ends, alarm: None, is_over: false };
        return Either::Left(async move {
            let outcome = answer.read(|cx| waiting.poll_over(cx)).await;
            if hold == Hold::EndUnlessItStreams
                && let Ok(response) = &outcome
                && let Some(framing) = response.body().framing()
                && (waiting.is_over || framing.goes_on())
            {
                call.found_to_stream();
            }
            outcome
        });
    }
    let OpenStream { answer, send, permit } = stream;
    let head = read_head(answer, permit);
    Either::Right(match (send, body.take()) {
        (Some(send), Some(open)) => {
            let pump = Box::new(Pump::new(*open, send));
            Either::Right(Box::pin(send_beside(call, head, pump, body, unsent)))
        }
        _ => Either::Left(head),
    })
}

/// Sends the body until the answer's head is there.
async fn send_beside(
    call: &Call,
    head: impl Future<Output = Outcome>,
    mut pump: Box<Pump>,
    body: &mut Option<Box<OpenBody>>,
    unsent: &mut Option<Box<Pump>>,
) -> Outcome {
    match beside(head, &mut pump).await {
        Beside::Answered(Ok(response), sent) => {
            pump.answered();
            *unsent = sent.is_none().then_some(pump);
            Ok(response)
        }
        Beside::Answered(Err(failure), _) => {
            give_back(call, *pump, body);
            Err(failure)
        }
        Beside::BodyFailed(status) => {
            let failure = Failure::request_body(status.code(), status.message().into());
            Err(Box::new(AttemptFailure { status, ..failure.into() }))
        }
    }
}

/// Waits for the end of an answer whose first message is there. Costs nothing until then.
struct EndOfAnswerWait<'a> {
    calls: &'a Calls,
    call: &'a Call,
    hold: Hold,
    ends: Option<Instant>,
    alarm: Option<Pin<Box<Alarm>>>,
    is_over: bool,
}

impl EndOfAnswerWait<'_> {
    /// Whether it has been long enough: 1 s. Where the answer is then passed on, it is not longer
    /// than the attempt may take.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over {
            return Poll::Ready(());
        }
        let alarm = self.alarm.get_or_insert_with(|| {
            let late = after(clock::now(), OPEN_AFTER_MESSAGE);
            let ends = self.ends.filter(|_| self.hold == Hold::EndUnlessItStreams);
            Box::pin(Alarm::at(ends.map_or(late, |ends| ends.min(late))))
        });
        ready!(alarm.as_mut().poll_rung(&self.calls.runtime, cx));
        self.is_over = true;
        if matches!(self.hold, Hold::OneMessage(_)) {
            self.call.method.warn_left_open();
        }
        Poll::Ready(())
    }
}

/// Keeps the body for another attempt, unless something of it is gone.
fn give_back(call: &Call, pump: Pump, body: &mut Option<Box<OpenBody>>) {
    let open = pump.into_body();
    if open.consumed {
        call.state.lock().replayable = false;
    }
    *body = Some(Box::new(open));
}
