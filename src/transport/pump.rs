//! Sends a streaming request's body as it comes, within the peer's flow control.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::Status;

/// So many parts of a body are taken at once. Then others go on: parts without a byte are not
/// bounded by flow control, and a body may have them without end.
const TAKEN_AT_ONCE: usize = 64;

/// A request's body that was not whole when the call was made.
pub(crate) struct OpenBody {
    /// What was taken from it before a stream was open; kept, so that it can be sent again.
    pub(crate) taken: VecDeque<Bytes>,
    /// The rest.
    pub(crate) rest: tonic::body::Body,
    /// Gives back, when dropped, what `taken` counts for.
    pub(crate) counted: Option<Box<dyn Send + Sync>>,
    /// Whether something of the rest was taken: from then on the request cannot be sent again.
    pub(crate) consumed: bool,
}

/// What became of the body.
#[derive(Debug)]
pub(crate) enum Sent {
    /// All of it was sent.
    Whole,
    /// The stream ended first: the answer says why.
    StreamEnded,
    /// The body itself failed: the stream is to be reset, once the call knows why.
    BodyFailed(Status),
}

/// Sends a body. Dropped before its end, it resets the stream.
pub(crate) struct Pump {
    body: OpenBody,
    stream: SendStream<Bytes>,
    /// So many parts of what was taken are on their way on this stream.
    resent: usize,
    /// The answer has begun: the request is not sent again, so that nothing is kept for that.
    is_final: bool,
    chunk: Bytes,
}

impl Pump {
    pub(crate) fn new(body: OpenBody, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, resent: 0, is_final: false, chunk: Bytes::new() }
    }

    /// The body back, for another attempt.
    pub(crate) fn into_body(self) -> OpenBody {
        self.body
    }

    /// The answer has begun.
    pub(crate) fn answered(&mut self) {
        self.body.taken.drain(..self.resent);
        self.is_final = true;
    }

    /// Something of the rest is taken: the request is not sent again, and what was kept for that
    /// goes.
    fn consume(&mut self) {
        if !self.body.consumed {
            self.body.consumed = true;
            (self.body.taken, self.body.counted) = (VecDeque::new(), None);
            self.resent = 0;
        }
    }

    /// What was taken before the stream was open, part by part.
    fn next_taken(&mut self) -> Option<Bytes> {
        if self.is_final {
            let next = self.body.taken.pop_front();
            if self.body.taken.is_empty() {
                self.body.counted = None;
            }
            return next;
        }
        let next = self.body.taken.get(self.resent).cloned();
        self.resent += usize::from(next.is_some());
        next
    }

    /// Tells the peer that the request will not be whole.
    pub(crate) fn reset(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    fn begin(&mut self, chunk: Bytes) {
        self.stream.reserve_capacity(chunk.len());
        self.chunk = chunk;
    }

    fn poll_send_chunk(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.chunk.is_empty() {
            let granted = match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(granted)) => granted,
                _ => return Poll::Ready(false),
            };
            let part = self.chunk.split_to(granted.min(self.chunk.len()));
            if self.stream.send_data(part, false).is_err() {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }
}

impl Future for Pump {
    type Output = Sent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let me = &mut *self;
        for _ in 0..TAKEN_AT_ONCE {
            if !ready!(me.poll_send_chunk(cx)) {
                return Poll::Ready(Sent::StreamEnded);
            }
            if let Some(chunk) = me.next_taken() {
                me.begin(chunk);
                continue;
            }
            if me.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Sent::StreamEnded);
            }
            let frame = ready!(Pin::new(&mut me.body.rest).poll_frame(cx));
            me.consume();
            match frame {
                None => {
                    let _ = me.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(Sent::Whole);
                }
                Some(Err(status)) => return Poll::Ready(Sent::BodyFailed(status)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        me.begin(data);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How far two things came that ran beside each other.
pub(crate) enum Beside<T> {
    /// The answer is there; so is what became of the body, if it ended.
    Answered(T, Option<Sent>),
    /// The body failed first.
    BodyFailed(Status),
}

/// Runs `pump` until the answer's head is there.
pub(crate) async fn beside<A: Future>(answer: A, pump: &mut Pump) -> Beside<A::Output> {
    let mut answer = std::pin::pin!(answer);
    let mut sent = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = answer.as_mut().poll(cx) {
            return Poll::Ready(Beside::Answered(output, sent.take()));
        }
        if sent.is_none()
            && let Poll::Ready(end) = Pin::new(&mut *pump).poll(cx)
        {
            match end {
                Sent::BodyFailed(status) => return Poll::Ready(Beside::BodyFailed(status)),
                end => sent = Some(end),
            }
        }
        Poll::Pending
    })
    .await
}
