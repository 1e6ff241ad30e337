//! Sends an answer, as fast as its client reads it.
//!
//! What ends it is always a status in trailers: HTTP/2's own way to end a stream, RST_STREAM, has
//! no place for gRPC's words. A client that reads nothing does not hold it up for ever.

use super::{
    failure::{Tale, head_before, trailers},
    limits::BridgeLimits,
    unread::{Held, Room},
    unwritten::{PART, Unwritten},
};
use crate::call::SupervisedBody;
use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{
    HeaderMap, HeaderValue, Response, Version,
    header::{self, Entry},
};
use http_body::Body as _;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// One answer's way to its client.
pub(super) struct Delivery<'a> {
    pub(super) limits: &'a BridgeLimits,
    pub(super) room: &'a Room,
    pub(super) unwritten: &'a Unwritten,
    pub(super) tale: Tale,
}

/// Why the rest of an answer is not sent.
enum Unsent {
    /// The client has gone, or has given the call up.
    Reset(h2::Error),
    /// The client does not read it, or the call has ended on this side.
    Ended(Status),
}

type Frame = Option<Result<http_body::Frame<Bytes>, Status>>;

impl Delivery<'_> {
    /// Sends it. `kind` is the request's content type, for answers of our own.
    pub(super) async fn send(
        &self,
        mut respond: SendResponse<Bytes>,
        answer: Result<Response<SupervisedBody>, Status>,
        kind: Option<HeaderValue>,
    ) -> Result<(), h2::Error> {
        let (parts, body) = match answer {
            Ok(response) => response.into_parts(),
            Err(status) => return self.refuse(&mut respond, &status, kind),
        };
        let mut headers = parts.headers;
        if body.is_end_stream() {
            self.tale.tell(&mut headers, None);
            respond.send_response(head(headers), true)?;
            return Ok(());
        }
        let mut stream = respond.send_response(head(headers), false)?;
        self.send_body(&mut stream, body).await
    }

    /// The call has failed: its status is all there is, or follows the head that it came behind.
    fn refuse(
        &self,
        respond: &mut SendResponse<Bytes>,
        status: &Status,
        kind: Option<HeaderValue>,
    ) -> Result<(), h2::Error> {
        let mut trailers = trailers(status);
        self.tale.tell(&mut trailers, Some(status));
        if let Some(before) = head_before(status) {
            return respond.send_response(head(before), false)?.send_trailers(trailers);
        }
        let kind = kind.unwrap_or(HeaderValue::from_static("application/grpc"));
        // A map that is full, with the peer's fields, has no room for it.
        if let Ok(Entry::Vacant(place)) = trailers.try_entry(header::CONTENT_TYPE) {
            let _ = place.try_insert(kind);
        }
        respond.send_response(head(trailers), true).map(drop)
    }

    async fn send_body(
        &self,
        stream: &mut SendStream<Bytes>,
        mut body: SupervisedBody,
    ) -> Result<(), h2::Error> {
        let mut held = Held::default();
        loop {
            let frame = poll_fn(|cx| poll_frame(stream, &mut body, cx)).await?;
            let end = match frame {
                None => return stream.send_data(Bytes::new(), true),
                Some(Err(status)) => status,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => match self.send_data(stream, data, &mut body, &mut held).await {
                        Ok(()) => continue,
                        Err(Unsent::Reset(error)) => return Err(error),
                        Err(Unsent::Ended(status)) => status,
                    },
                    Err(frame) => {
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        self.tale.tell(&mut trailers, None);
                        return stream.send_trailers(trailers);
                    }
                },
            };
            let mut trailers = trailers(&end);
            self.tale.tell(&mut trailers, Some(&end));
            return stream.send_trailers(trailers);
        }
    }

    /// Sends this part of the body, as its client makes room and reads.
    async fn send_data<'a>(
        &'a self,
        stream: &mut SendStream<Bytes>,
        mut data: Bytes,
        body: &mut SupervisedBody,
        held: &mut Held<'a>,
    ) -> Result<(), Unsent> {
        stream.reserve_capacity(data.len());
        while !data.is_empty() {
            let granted = stream.capacity();
            if granted == 0 {
                let window = poll_fn(|cx| stream.poll_capacity(cx));
                let most = Some(self.limits.answer_timeout);
                match self.unread(data.len(), body, held, most, window).await? {
                    Some(granted) => drop(granted.map_err(Unsent::Reset)?),
                    None => return Err(Unsent::Reset(h2::Reason::CANCEL.into())),
                }
                continue;
            }
            let length = data.len().min(granted).min(PART);
            if !self.unwritten.take(length) {
                let mut room = pin!(self.unwritten.wait(length));
                let room = poll_fn(|cx| match room.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Ok(())),
                    Poll::Pending => stream.poll_reset(cx).map(|reset| Err(error_of(reset))),
                });
                // Keepalive ends a connection whose socket takes nothing.
                self.unread(data.len(), body, held, None, room).await?.map_err(Unsent::Reset)?;
            }
            held.read(length);
            stream.send_data(data.split_to(length), false).map_err(Unsent::Reset)?;
        }
        held.left(body.at_hand());
        Ok(())
    }

    /// Waits for `end`, at most for `most`, and no longer than the call may take. Meanwhile these
    /// bytes of an answer lie here, and what has come of the rest of its body.
    async fn unread<'a, T>(
        &'a self,
        bytes: usize,
        body: &mut SupervisedBody,
        held: &mut Held<'a>,
        most: Option<Duration>,
        end: impl Future<Output = T>,
    ) -> Result<T, Unsent> {
        let mut end = pin!(end);
        let mut late: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(end) = end.as_mut().poll(cx) {
                return Poll::Ready(Ok(end));
            }
            if let Poll::Ready(status) = body.poll_end(cx) {
                return Poll::Ready(Err(Unsent::Ended(status)));
            }
            body.take_in(cx);
            let bytes = bytes + body.at_hand();
            if held.poll_hold(self.room, bytes, cx).is_ready() {
                return Poll::Ready(Err(Unsent::Ended(Status::resource_exhausted(format!(
                    "the rest of this answer, {bytes} bytes, was not read as it came, and unread \
                     answers take up all that they may (answer bytes, {}, half of it for one \
                     connection): read answers sooner, or ask for less at once",
                    self.limits.answer_bytes
                )))));
            }
            let Some(most) = most else { return Poll::Pending };
            late.get_or_insert_with(|| Box::pin(sleep(most))).as_mut().poll(cx).map(|()| {
                Err(Unsent::Ended(Status::resource_exhausted(format!(
                    "the client has read nothing of this answer for {} s (answer timeout)",
                    most.as_secs_f64()
                ))))
            })
        })
        .await
    }
}

fn error_of(reset: Result<h2::Reason, h2::Error>) -> h2::Error {
    reset.map_or_else(|error| error, Into::into)
}

/// The body's next frame, unless the client gives the call up.
fn poll_frame(
    stream: &mut SendStream<Bytes>,
    body: &mut SupervisedBody,
    cx: &mut Context<'_>,
) -> Poll<Result<Frame, h2::Error>> {
    if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
        return Poll::Ready(Ok(frame));
    }
    stream.poll_reset(cx).map(|reset| Err(error_of(reset)))
}

/// A head. Of what it announced, something may not come: then its client would take the trailers
/// for a broken protocol.
fn head(mut headers: HeaderMap) -> Response<()> {
    headers.remove(header::CONTENT_LENGTH);
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = headers;
    response
}
