//! Sends a streaming request's body as it comes, within the peer's flow control.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
};

/// A request's body that was not whole when the call was made.
pub(crate) struct OpenBody {
    /// What was taken from it before the stream was open.
    pub(crate) taken: VecDeque<Bytes>,
    /// The rest.
    pub(crate) rest: tonic::body::Body,
}

/// What became of the body.
#[derive(Debug)]
pub(crate) enum Sent {
    /// All of it was sent.
    Whole,
    /// The stream ended first: the answer says why.
    StreamEnded,
    /// The body itself failed; the stream was reset.
    BodyFailed(String),
}

impl OpenBody {
    /// Sends `taken`, which stays, and then the rest. `consumed` is set once something of the rest was taken: from then on the
    /// request cannot be sent again. Cancel safe: dropped, the stream is reset.
    pub(crate) async fn send(&mut self, mut stream: SendStream<Bytes>, consumed: &mut bool) -> Sent {
        for chunk in &self.taken {
            if !send_chunk(&mut stream, chunk.clone()).await {
                return Sent::StreamEnded;
            }
        }
        loop {
            let next = poll_fn(|cx| {
                if stream.poll_reset(cx).is_ready() {
                    return std::task::Poll::Ready(None);
                }
                Pin::new(&mut self.rest).poll_frame(cx).map(Some)
            });
            match next.await {
                None => return Sent::StreamEnded,
                Some(None) => {
                    *consumed = true;
                    let _ = stream.send_data(Bytes::new(), true);
                    return Sent::Whole;
                }
                Some(Some(Err(error))) => {
                    *consumed = true;
                    stream.send_reset(Reason::CANCEL);
                    return Sent::BodyFailed(error.message().into());
                }
                Some(Some(Ok(frame))) => {
                    *consumed = true;
                    if let Ok(data) = frame.into_data()
                        && !send_chunk(&mut stream, data).await
                    {
                        return Sent::StreamEnded;
                    }
                }
            }
        }
    }
}

/// Sends `chunk` as the peer's window allows; false once the stream is over.
async fn send_chunk(stream: &mut SendStream<Bytes>, mut chunk: Bytes) -> bool {
    while !chunk.is_empty() {
        stream.reserve_capacity(chunk.len());
        let granted = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(granted)) => granted,
            _ => return false,
        };
        let part = chunk.split_to(granted.min(chunk.len()));
        if stream.send_data(part, false).is_err() {
            return false;
        }
    }
    true
}

/// Runs `pump` beside `answer` until the answer's head is there.
pub(crate) async fn beside<A: Future, P: Future>(answer: A, mut pump: Pin<&mut P>) -> (A::Output, Option<P::Output>) {
    let mut answer = std::pin::pin!(answer);
    let mut pumped = None;
    let output = poll_fn(|cx| {
        if let std::task::Poll::Ready(output) = answer.as_mut().poll(cx) {
            return std::task::Poll::Ready(output);
        }
        if pumped.is_none()
            && let std::task::Poll::Ready(sent) = pump.as_mut().poll(cx)
        {
            pumped = Some(sent);
        }
        std::task::Poll::Pending
    })
    .await;
    (output, pumped)
}
