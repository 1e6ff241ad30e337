//! Sends an answer, as fast as its client reads it.
//!
//! What ends it is always a status in trailers: HTTP/2's own way to end a stream, RST_STREAM, has
//! no place for gRPC's words. A client that reads nothing does not hold it up for ever.

use super::{
    failure::{Tale, head_before, trailers},
    limits::BridgeLimits,
    unread::{Held, Room},
    unwritten::Unwritten,
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
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
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
    /// The client does not read it.
    Unread(Status),
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
        // Of what follows it, something may be missing: then its client would take the trailers
        // for a broken protocol.
        headers.remove(header::CONTENT_LENGTH);
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
        if let Some(mut before) = head_before(status) {
            // What it announced does not come.
            before.remove(header::CONTENT_LENGTH);
            return respond.send_response(head(before), false)?.send_trailers(trailers);
        }
        let kind = kind.unwrap_or(HeaderValue::from_static("application/grpc"));
        // Where the peer's fields are as many as a map can have, they have a type among them.
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
                        Err(Unsent::Unread(status)) => status,
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

    /// Sends this part of the body, as its client makes room.
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
            if granted == 0 || !self.unwritten.has_room() {
                self.wait(stream, data.len(), body, held).await?;
                continue;
            }
            let part = data.split_to(granted.min(data.len()));
            self.unwritten.add(part.len());
            held.taken(part.len());
            stream.send_data(part, false).map_err(Unsent::Reset)?;
        }
        Ok(())
    }

    /// Waits until the client has made room. Meanwhile these bytes of its answer lie here, and what
    /// has come of the rest of its body.
    async fn wait<'a>(
        &'a self,
        stream: &mut SendStream<Bytes>,
        bytes: usize,
        body: &mut SupervisedBody,
        held: &mut Held<'a>,
    ) -> Result<(), Unsent> {
        let mut granted = pin!(self.granted(stream));
        let mut late: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(granted) = granted.as_mut().poll(cx) {
                return Poll::Ready(granted.map_err(Unsent::Reset));
            }
            body.take_in(cx);
            let bytes = bytes + body.at_hand();
            if held.poll_crowded(self.room, bytes, cx).is_ready() {
                return Poll::Ready(Err(Unsent::Unread(Status::resource_exhausted(format!(
                    "the rest of this answer, {bytes} bytes, was not read as it came, and unread \
                     answers take up all that they may (answer bytes, {}, half of it for one \
                     connection): read answers sooner, or ask for less at once",
                    self.limits.answer_bytes
                )))));
            }
            let late = late.get_or_insert_with(|| Box::pin(sleep(self.limits.answer_timeout)));
            late.as_mut().poll(cx).map(|()| {
                Err(Unsent::Unread(Status::resource_exhausted(format!(
                    "the client has read nothing of this answer for {} s (answer timeout)",
                    self.limits.answer_timeout.as_secs_f64()
                ))))
            })
        })
        .await
    }

    /// Returns when something can be sent.
    async fn granted(&self, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        let mut room = pin!(self.unwritten.room());
        poll_fn(|cx| match room.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => stream.poll_reset(cx).map(|reset| Err(error_of(reset))),
        })
        .await?;
        if stream.capacity() > 0 {
            return Ok(());
        }
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(granted) => granted.map(drop),
            None => Err(h2::Reason::CANCEL.into()),
        }
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

fn head(headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = headers;
    response
}
