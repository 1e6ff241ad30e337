//! An answer's body in the user's hands. While it is live, the call is open: its deadline and
//! shutdown are heard here, and dropping it ends the call.

use super::{
    alarm::Alarm,
    finish::Failed,
    limit::OPEN_AFTER_MESSAGE,
    shared::Calls,
    state::{Call, Offer},
    task,
};
use crate::{
    clock,
    model::{Cause, Failure, Phase},
    policy::after,
    transport::{AttemptFailure, Pump, ResponseBody, Sent, status},
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::task::AbortHandle;
use tonic::{Code, Status};

/// The body of a supervised call's answer.
pub(crate) struct SupervisedBody {
    body: ResponseBody,
    open: Option<Box<Open>>,
}

/// What a call needs while its answer streams.
struct Open {
    calls: Arc<Calls>,
    call: Arc<Call>,
    deadline: Option<Pin<Box<Alarm>>>,
    pump: Option<AbortHandle>,
    /// A whole message of the answer has come.
    has_begun: bool,
    /// No descriptors say what the method is, and the answer may still show that it streams.
    may_stream: bool,
    /// When it has been open for too long after its first message to be a unary call's; made when
    /// it is awaited behind that.
    open_too_long: Option<Pin<Box<Alarm>>>,
    /// The link went with the supervisor's runtime; the call's answer is on its way.
    supervisor_gone: bool,
}

impl SupervisedBody {
    pub(crate) fn whole(body: ResponseBody) -> Self {
        Self { body, open: None }
    }

    /// The call goes on until the body ends; a request that is not sent whole yet is sent on in a
    /// task.
    pub(crate) fn live(
        calls: Arc<Calls>,
        call: Arc<Call>,
        body: ResponseBody,
        pump: Option<Box<Pump>>,
    ) -> Self {
        let deadline = call.deadline_now().map(|at| Box::pin(Alarm::at(at)));
        let pump = pump.map(|pump| pump_on(&calls, &call, pump));
        let may_stream = call.may_stream();
        let mut open = Open {
            calls,
            call,
            deadline,
            pump,
            has_begun: false,
            may_stream,
            open_too_long: None,
            supervisor_gone: false,
        };
        body.framing().into_iter().for_each(|framing| open.note_message(framing.whole()));
        Self { body, open: Some(Box::new(open)) }
    }

    /// Takes in what the peer has sent of it, for whoever counts what is not read.
    #[cfg(feature = "bridge")]
    pub(crate) fn take_in(&mut self, cx: &mut Context<'_>) {
        self.body.take_in(cx);
    }

    /// How many bytes of it lie here, to be read without waiting for the wire.
    #[cfg(feature = "bridge")]
    pub(crate) fn at_hand(&self) -> usize {
        self.body.at_hand()
    }

    /// What ends the call from this side, if anything does: its deadline, or a shutdown.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(open) = &mut self.open else {
            return Poll::Pending;
        };
        if let Poll::Ready(Offer::Answer(status)) = open.call.poll_offer(cx, false) {
            return Poll::Ready(status);
        }
        let Some(deadline) = &mut open.deadline else {
            return Poll::Pending;
        };
        ready!(deadline.as_mut().poll_rung(&open.calls.runtime, cx));
        // A large answer was passed on before its first message was whole.
        let lifted = open.may_stream && !open.call.deadline_is_said;
        if lifted && self.body.framing().is_some_and(|framing| framing.whole() > 0) {
            open.found_to_stream();
            return Poll::Pending;
        }
        Poll::Ready(self.ended(Failure::deadline(Phase::MaybeProcessed, None), None))
    }

    /// Ends the call with a failure; the status to yield.
    fn ended(&mut self, failure: Failure, status: Option<Status>) -> Status {
        let status = status.unwrap_or_else(|| status::of(&failure));
        match self.open.take() {
            Some(open) => {
                let failed = Failed { outcome: &failure, status: &status };
                match open.calls.finish(&open.call, status.code(), Some(failed)) {
                    Some(finished) => finished.status(status),
                    None => status,
                }
            }
            None => status,
        }
    }

    /// Counts the data that goes by.
    fn count(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if let (Some(open), Some(framing)) = (&mut self.open, self.body.framing()) {
            open.call.state.lock().received = framing.payload();
            open.note_message(framing.whole());
            if open.may_stream && framing.goes_on() {
                open.found_to_stream();
            }
        }
        frame
    }

    /// Nothing comes: an answer that stays open after its first message is a stream's.
    fn note_open(&mut self, cx: &mut Context<'_>) {
        if let Some(open) = self.open.as_mut().filter(|open| open.may_stream)
            && self.body.framing().is_some_and(|framing| framing.whole() > 0)
        {
            let late = || Box::pin(Alarm::at(after(clock::now(), OPEN_AFTER_MESSAGE)));
            let alarm = open.open_too_long.get_or_insert_with(late);
            if alarm.as_mut().poll_rung(&open.calls.runtime, cx).is_ready() {
                open.found_to_stream();
            }
        }
    }

    /// What became of the link ends the call; but where the runtime ended under the link, that is
    /// the reason, and its news come as the call's answer.
    fn failed(&mut self, failure: Failure) -> Poll<Status> {
        if let Some(open) = &mut self.open
            && matches!(failure.cause, Cause::LinkLost(_))
            && open.calls.runtime_has_ended()
        {
            open.supervisor_gone = true;
            return Poll::Pending;
        }
        Poll::Ready(self.ended(failure, None))
    }

    /// The peer's last word ends the call, and goes on to the user as it is: tonic reads the status
    /// from it. An error of the body would have a report, but tonic tells such an error twice.
    fn trailers(&mut self, trailers: HeaderMap) -> Result<Frame<Bytes>, Status> {
        let Some(code) = status::code_from_headers(&trailers) else {
            return Err(self.ended(
                Failure::no_status("the peer's trailers have no grpc-status".into()),
                None,
            ));
        };
        if let Some(open) = self.open.take() {
            let failure = (code != Code::Ok).then(|| Failure::status(code));
            // The words are read only where somebody is told of them.
            let status = failure.as_ref().and_then(|_| status::from_headers(&trailers));
            let failed = failure.as_ref().zip(status.as_ref());
            let failed = failed.map(|(outcome, status)| Failed { outcome, status });
            open.calls.finish(&open.call, code, failed);
        }
        Ok(Frame::trailers(trailers))
    }
}

impl Body for SupervisedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let me = &mut *self;
        if let Poll::Ready(status) = me.poll_end(cx) {
            me.open = None;
            me.body = ResponseBody::empty();
            return Poll::Ready(Some(Err(status)));
        }
        if me.open.as_ref().is_some_and(|open| open.supervisor_gone) {
            return Poll::Pending;
        }
        let frame = match me.body.poll_frame(cx) {
            Poll::Pending => {
                me.note_open(cx);
                return Poll::Pending;
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(failure))) => {
                return me.failed(failure).map(|status| Some(Err(status)));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        if me.open.is_none() {
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(Some(match frame.into_trailers() {
            Ok(trailers) => me.trailers(trailers),
            Err(frame) => Ok(me.count(frame)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none() && self.body.is_end_stream()
    }
}

/// Sends the rest of the request in a task. A request that fails or panics there ends its call.
fn pump_on(calls: &Arc<Calls>, call: &Arc<Call>, pump: Box<Pump>) -> AbortHandle {
    let (told, call) = (calls.clone(), call.clone());
    let mut pump = Some(pump);
    let sending = poll_fn(move |cx| {
        let sent = ready!(Pin::new(pump.as_mut().expect("polled until it ends")).poll(cx));
        Poll::Ready((sent, pump.take()))
    });
    task::spawn(calls, "Pump", sending, move |sent| {
        let (status, pump) = match sent {
            // The answer says the rest.
            Ok((Sent::Whole | Sent::StreamEnded, _)) => return,
            Ok((Sent::BodyFailed(status), pump)) => (status, pump),
            Err(words) => (Status::internal(format!("it panicked: {words}")), None),
        };
        let failure = Failure::request_body(status.code(), status.message().into());
        told.conclude(&call, AttemptFailure { status, ..failure.into() });
        // Only then: who reads the answer shall hear the reason, not the reset.
        if let Some(pump) = pump {
            pump.reset();
        }
    })
}

impl Open {
    /// So many messages came whole. The first shows that the endpoint serves; a head alone does
    /// not, since some servers send theirs before they know.
    fn note_message(&mut self, whole: usize) {
        if whole > 0 && !self.has_begun {
            self.has_begun = true;
            self.call.answer_began();
        }
    }

    /// The call is a stream after all: only a deadline of its own still holds.
    fn found_to_stream(&mut self) {
        self.may_stream = false;
        self.open_too_long = None;
        self.call.found_to_stream();
        self.deadline = self.deadline.take().filter(|_| self.call.deadline_now().is_some());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
        // Nothing, if the call is over already.
        self.calls.cancel(&self.call);
    }
}
