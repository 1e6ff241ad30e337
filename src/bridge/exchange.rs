//! One call of a client: its request becomes a call of the supervised channel, whose answer is
//! sent.

use super::{
    answer::Delivery,
    failure::Tale,
    request::{RequestBody, attempts_before, refusal, strip, too_large},
    server::Bridge,
    unread::Room,
    unwritten::Unwritten,
};
use crate::{call::SupervisedBody, model::CallOptions};
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response, header};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};
use tonic::{Status, body::Body};

/// How long a request that nobody described has to show that it is one whole message, which is then
/// retried as a unary call's. HTTP/2 brings its head and its body one after the other, as a rule at
/// once. So long, at most, is held up whatever waits for an answer before it sends its message.
const WHOLE_WITHIN: Duration = Duration::from_millis(10);

/// What the calls of a connection share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) bridge: &'a Bridge,
    pub(super) room: &'a Room,
    pub(super) unwritten: &'a Unwritten,
}

/// Carries out one call. Dropped, the call is cancelled; it is also where the client resets it.
pub(super) async fn run(
    Shared { bridge, room, unwritten }: Shared<'_>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (mut head, body) = request.into_parts();
    if let Some((response, words)) = refusal(&head) {
        if let Ok(mut stream) = respond.send_response(response, false) {
            let _ = stream.send_data(words, true);
        }
        return;
    }
    let kind = head.headers.get(header::CONTENT_TYPE).cloned();
    let mut tale = Tale(None);
    let answer = match too_large(&head, bridge.limits.header_bytes) {
        Some(status) => Some(Err(status)),
        None => {
            strip(&mut head.headers);
            let options = CallOptions {
                unsaid_is_harmful: !bridge.idempotent,
                attempts_before: attempts_before(&head.headers),
                whole_within: Some(WHOLE_WITHIN),
                ..CallOptions::default()
            };
            bridge.note_service(&head.uri);
            let request = Request::from_parts(head, Body::new(RequestBody(body)));
            unless_reset(&mut respond, call(bridge, request, options, &mut tale)).await
        }
    };
    if let Some(answer) = answer {
        let delivery = Delivery { limits: &bridge.limits, room, unwritten, tale };
        // An error means that the client has gone, or has given the call up.
        let _ = delivery.send(respond, answer, kind).await;
    }
}

async fn call(
    bridge: &Bridge,
    request: Request<Body>,
    options: CallOptions,
    tale: &mut Tale,
) -> Result<Response<SupervisedBody>, Status> {
    let channel = &bridge.channel;
    let submitted = channel.begin(request, options)?.submitted(channel).await?;
    if bridge.tell {
        tale.0 = Some(submitted.call().clone());
    }
    submitted.answer().await
}

/// The answer; none where the client gives the call up before it is there.
async fn unless_reset<T>(
    respond: &mut SendResponse<Bytes>,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut answer = pin!(answer);
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    })
    .await
}
