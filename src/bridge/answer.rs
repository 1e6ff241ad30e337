//! Sends an answer, as fast as its client reads it.
//!
//! What ends it is always a status in trailers: HTTP/2's own way to end a stream, RST_STREAM, has
//! no place for gRPC's words. A client that reads nothing does not hold it up for ever.

use super::{
    failure::{Tale, head_before, trailers},
    limits::BridgeLimits,
    unread::{Room, Share},
};
use crate::call::SupervisedBody;
use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response, Version, header};
use http_body::Body as _;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::Status;

/// One answer's way to its client.
pub(super) struct Delivery<'a> {
    pub(super) limits: &'a BridgeLimits,
    pub(super) room: &'a Room,
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
        let mut headers = HeaderMap::with_capacity(trailers.len() + 1);
        let kind = kind.unwrap_or(HeaderValue::from_static("application/grpc"));
        headers.insert(header::CONTENT_TYPE, kind);
        headers.extend(trailers);
        respond.send_response(head(headers), true).map(drop)
    }

    async fn send_body(
        &self,
        stream: &mut SendStream<Bytes>,
        mut body: SupervisedBody,
    ) -> Result<(), h2::Error> {
        let mut share = None;
        loop {
            let frame = poll_fn(|cx| poll_frame(stream, &mut body, cx)).await?;
            let end = match frame {
                None => return stream.send_data(Bytes::new(), true),
                Some(Err(status)) => status,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let behind = body.at_hand();
                        match self.send_data(stream, data, behind, &mut share).await {
                            Ok(()) => continue,
                            Err(Unsent::Reset(error)) => return Err(error),
                            Err(Unsent::Unread(status)) => status,
                        }
                    }
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

    /// `behind` it lie so many bytes more.
    async fn send_data<'a>(
        &'a self,
        stream: &mut SendStream<Bytes>,
        mut data: Bytes,
        behind: usize,
        share: &mut Option<Share<'a>>,
    ) -> Result<(), Unsent> {
        stream.reserve_capacity(data.len());
        while !data.is_empty() {
            let granted = match stream.capacity() {
                0 => self.wait(stream, data.len() + behind, share).await?,
                granted => granted,
            };
            let part = data.split_to(granted.min(data.len()));
            stream.send_data(part, false).map_err(Unsent::Reset)?;
        }
        Ok(())
    }

    /// Waits until the client has made room; `bytes` of its answer lie here meanwhile.
    async fn wait<'a>(
        &'a self,
        stream: &mut SendStream<Bytes>,
        bytes: usize,
        share: &mut Option<Share<'a>>,
    ) -> Result<usize, Unsent> {
        let mut capacity = poll_fn(|cx| stream.poll_capacity(cx));
        let now = futures::poll!(&mut capacity);
        let granted = match now {
            Poll::Ready(granted) => granted,
            Poll::Pending => {
                if share.is_none() {
                    *share = Some(self.room.take(bytes).ok_or_else(|| {
                        Unsent::Unread(Status::resource_exhausted(format!(
                            "the rest of this answer, {bytes} bytes, was not read as it came, and \
                             unread answers take up all that they may (answer bytes, {}, half of \
                             it for one connection): read answers sooner, or ask for less at once",
                            self.limits.answer_bytes
                        )))
                    })?);
                }
                match tokio::time::timeout(self.limits.answer_timeout, capacity).await {
                    Ok(granted) => granted,
                    Err(_) => {
                        return Err(Unsent::Unread(Status::resource_exhausted(format!(
                            "the client has read nothing of this answer for {} s (answer timeout)",
                            self.limits.answer_timeout.as_secs_f64()
                        ))));
                    }
                }
            }
        };
        match granted {
            Some(granted) => granted.map_err(Unsent::Reset),
            None => Err(Unsent::Reset(h2::Reason::CANCEL.into())),
        }
    }
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
    stream.poll_reset(cx).map(|reset| Err(reset.map_or_else(|error| error, Into::into)))
}

fn head(headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = headers;
    response
}
