//! Reads a unary answer to its end, so that nothing is shown before the status is known.
//!
//! Its steps are written out where an async function would do: every call's future has room for
//! them, and the compiler would add room for each step that is over and for failures, which are
//! rare.

use super::{
    answer::Answer,
    body::ResponseBody,
    chunks::Chunks,
    clean::clean,
    exchange::{AttemptFailure, Outcome, classify, classify_late, head_ends, no_status, pass_on},
    fields::Fields,
    framing::{Framing, PREFIX},
    link::{OpenStream, Permit},
    status,
};
use crate::model::Failure;
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use h2::RecvStream;
use http::{HeaderMap, response};
use std::{
    future::{Future as _, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// What a unary answer is held back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Its end: the method is known to be unary.
    End,
    /// Its end, unless it goes on after its first message: somebody said that the method is unary.
    EndUnlessItStreams,
    /// Its end, with one message of at most so many bytes: nothing else can be handed on.
    OneMessage(usize),
}

/// A unary answer above this size is passed on before its end is seen.
const COMMIT_AFTER: usize = 1 << 20;

/// More of an answer is given back to flow control at once; less when nothing more is there to be
/// read, or with the stream: as a rule that ends there. Ended streams are kept for a while, and all
/// that they hold together has to be little beside the smallest window of a link, 64 KiB.
const HELD: usize = 1 << 10;

impl Hold {
    /// Whether no more is read before the answer is handed on.
    fn is_over(self, framing: &Framing, size: usize) -> bool {
        match self {
            Self::End => size > COMMIT_AFTER,
            Self::EndUnlessItStreams => size > COMMIT_AFTER || framing.goes_on(),
            Self::OneMessage(limit) => {
                framing.longest() > limit || size > limit.saturating_add(PREFIX)
            }
        }
    }

    /// Whether an answer is handed on that stays open after its first message.
    fn is_over_when_late(self, framing: &Framing) -> bool {
        match self {
            Self::End => false,
            Self::EndUnlessItStreams => true,
            // Its one message may still become an answer; more cannot.
            Self::OneMessage(_) => framing.goes_on(),
        }
    }
}

/// A unary answer that is being read. Dropped before its end, its stream is reset.
pub(crate) struct UnaryAnswer {
    hold: Hold,
    step: Step,
    /// Until its end. Behind `step`: the place is free when the stream is let go.
    permit: Option<Permit>,
}

enum Step {
    /// Its head is still to come.
    Head(Answer),
    Rest(Rest),
    /// Its stream broke off; why is known when its link's end is.
    Broken(BoxFuture<'static, Box<AttemptFailure>>),
    Over,
}

/// An answer after its head.
struct Rest {
    head: response::Parts,
    body: RecvStream,
    data: Chunks,
    framing: Framing,
    size: usize,
    /// What was read, and not given back to the peer's flow control.
    held: usize,
}

/// What comes next of an answer that is read.
enum Next {
    Data(Result<Bytes, h2::Error>),
    /// Its end, with trailers if there are some.
    End(Result<Option<HeaderMap>, h2::Error>),
}

/// How far it was read, where nothing broke.
enum Read {
    /// It is handed on as it is.
    FarEnough,
    /// Up to its trailers, if there are some.
    Whole(Option<HeaderMap>),
}

impl UnaryAnswer {
    pub(crate) fn new(stream: OpenStream, hold: Hold) -> Self {
        let OpenStream { answer, permit, .. } = stream;
        Self { hold, permit: Some(permit), step: Step::Head(answer) }
    }

    /// Reads it. One that is not held back to its end (see [`Hold`]) is passed on live, and is not
    /// retried from then on. `late` is asked only while an answer is open after its first whole
    /// message: whether it has been so for too long. To be called once. Cancel safe.
    pub(crate) async fn read(
        &mut self,
        mut late: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Outcome {
        poll_fn(|cx| self.poll(cx, &mut late)).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        late: &mut impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<Outcome> {
        if let Step::Head(answer) = &mut self.step {
            let response = match ready!(Pin::new(answer).poll(cx)) {
                Ok(response) => response,
                Err(error) => return self.breaks(error, false, cx),
            };
            let (mut head, body) = response.into_parts();
            let permit = self.permit.as_mut().expect("polled until it ends");
            if let Some(end) = head_ends(&mut head, &body, permit).transpose() {
                drop(body);
                (self.step, self.permit) = (Step::Over, None);
                return Poll::Ready(end.map(|body| http::Response::from_parts(head, body)));
            }
            self.step = Step::Rest(Rest::new(head, body));
        }
        if let Step::Broken(why) = &mut self.step {
            return why.poll_unpin(cx).map(Err);
        }
        let Step::Rest(rest) = &mut self.step else { unreachable!("polled until it ends") };
        let read = loop {
            match rest.poll_next(cx) {
                Poll::Ready(Next::Data(Ok(chunk))) => rest.take(chunk),
                Poll::Ready(Next::End(Ok(trailers))) => break Read::Whole(trailers),
                Poll::Ready(Next::Data(Err(error)) | Next::End(Err(error))) => {
                    return self.breaks(error, true, cx);
                }
                Poll::Pending => {
                    rest.give_back();
                    if self.hold == Hold::End || rest.framing.whole() == 0 {
                        return Poll::Pending;
                    }
                    ready!(late(cx));
                    if !self.hold.is_over_when_late(&rest.framing) {
                        return Poll::Pending;
                    }
                    break Read::FarEnough;
                }
            }
            if rest.held > HELD {
                rest.give_back();
            }
            if self.hold.is_over(&rest.framing, rest.size) {
                rest.give_back();
                break Read::FarEnough;
            }
        };
        let (step, permit) = (mem::replace(&mut self.step, Step::Over), self.permit.take());
        let (Step::Rest(rest), Some(permit)) = (step, permit) else {
            unreachable!("it was there a moment ago");
        };
        Poll::Ready(match read {
            Read::FarEnough => Ok(pass_on(rest.head, rest.data, rest.framing, rest.body, permit)),
            Read::Whole(trailers) => rest.end(trailers.unwrap_or_default(), &permit),
        })
    }

    /// Its stream breaks off. `late`: after the head had come.
    fn breaks(&mut self, error: h2::Error, late: bool, cx: &mut Context<'_>) -> Poll<Outcome> {
        // The stream is let go first, then the place on the link, and then the failure is told.
        self.step = Step::Over;
        let permit = self.permit.take().expect("polled until it ends");
        let mut why = Box::pin(async move {
            match late {
                false => classify(&error, permit.link()).await,
                true => classify_late(&error, permit.link()).await,
            }
        });
        let why_now = why.poll_unpin(cx);
        if why_now.is_pending() {
            self.step = Step::Broken(why);
        }
        why_now.map(Err)
    }
}

impl Rest {
    fn new(head: response::Parts, body: RecvStream) -> Self {
        let (data, framing) = (Chunks::default(), Framing::default());
        Self { head, body, data, framing, size: 0, held: 0 }
    }

    /// Behind a whole message the trailers are asked for first: as a rule they are there, and each
    /// question costs a lock of h2's that all calls of the link share.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.framing.whole() > 0
            && !self.framing.breaks_off()
            && let Poll::Ready(trailers) = self.body.poll_trailers(cx)
        {
            return Poll::Ready(Next::End(trailers));
        }
        match ready!(self.body.poll_data(cx)) {
            Some(data) => Poll::Ready(Next::Data(data)),
            None => self.body.poll_trailers(cx).map(Next::End),
        }
    }

    fn take(&mut self, chunk: Bytes) {
        self.held += chunk.len();
        self.size += chunk.len();
        self.framing.feed(&chunk);
        self.data.push(chunk);
    }

    /// Gives the peer room for as much as was read. What is held when a stream ends h2 gives back
    /// with the stream.
    fn give_back(&mut self) {
        if self.held > 0 {
            // Of a stream that is over there is nothing to give back.
            let _ = self.body.flow_control().release_capacity(mem::take(&mut self.held));
        }
    }

    /// What an answer comes to that was read to its end.
    fn end(self, mut trailers: HeaderMap, permit: &Permit) -> Outcome {
        let fields = Fields::of(&trailers);
        let fits = permit.link().headers.check_trailers(fields, &trailers);
        permit.link().take_back(self.body);
        fits.map_err(|failure| Box::new(failure.into()))?;
        if !fields.say_ok(&trailers) {
            let Some(status) = status::from_headers(&trailers) else { return Err(no_status()) };
            let mut ended = AttemptFailure::from_peer(status, &trailers);
            ended.head = Some(Arc::new(self.head.headers));
            return Err(ended);
        }
        if self.framing.breaks_off() {
            return Err(Box::new(Failure::breaks_off().into()));
        }
        if !fields.are_clean() {
            clean(&mut trailers);
        }
        Ok(http::Response::from_parts(self.head, ResponseBody::whole(self.data, trailers)))
    }
}
