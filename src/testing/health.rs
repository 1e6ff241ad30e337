//! A scripted server's health: what it answers to `grpc.health.v1.Health`, beside its script.

use super::server_state::ServerState;
use crate::transport::frame;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use std::{future::poll_fn, time::Duration};
use tonic::Code;

/// What a [`ScriptedServer`](super::ScriptedServer) answers to questions about its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthAnswer {
    /// SERVING.
    Serving,
    /// NOT_SERVING.
    NotServing,
    /// UNIMPLEMENTED: it does not know the service. A watch that is open goes on without a word.
    Unimplemented,
    /// Nothing, ever.
    Hangs,
    /// This status; it ends a watch that is open.
    Fails(Code),
}

impl HealthAnswer {
    /// The message, if there is one: `HealthCheckResponse { status }`.
    fn message(self) -> Option<Bytes> {
        let status = match self {
            Self::Serving => 1,
            Self::NotServing => 2,
            _ => return None,
        };
        Some(frame(&[8, status]))
    }

    fn code(self) -> Option<Code> {
        match self {
            Self::Unimplemented => Some(Code::Unimplemented),
            Self::Fails(code) => Some(code),
            _ => None,
        }
    }
}

/// Whether a call of this path asks for the server's health, and how: `Watch` or `Check`.
pub(super) fn question(path: &str) -> Option<&str> {
    path.strip_prefix("/grpc.health.v1.Health/")
}

/// Answers a question until its end. An error means that the client has given it up.
pub(super) async fn answer_question(
    method: &str,
    mut respond: SendResponse<Bytes>,
    state: &ServerState,
) -> Result<(), h2::Error> {
    let mut health = state.health.subscribe();
    let now = (*health.borrow_and_update()).unwrap_or(HealthAnswer::Unimplemented);
    if let Some(code) = now.code() {
        let mut head = head();
        head.headers_mut().extend(trailers(code));
        return respond.send_response(head, true).map(drop);
    }
    let Some(mut message) = now.message() else {
        return Err(poll_fn(|cx| respond.poll_reset(cx)).await.map_or_else(|e| e, Into::into));
    };
    let mut stream = respond.send_response(head(), false)?;
    loop {
        stream.send_data(message, false)?;
        if method == "Check" {
            return stream.send_trailers(trailers(Code::Ok));
        }
        message = loop {
            tokio::select! {
                biased;
                reset = poll_fn(|cx| stream.poll_reset(cx)) => {
                    return Err(reset.map_or_else(|error| error, Into::into));
                }
                // The server holds the sender for as long as it runs.
                changed = health.changed() => if changed.is_err() { return Ok(()) },
            }
            let now = *health.borrow_and_update();
            match now {
                Some(HealthAnswer::Fails(code)) => return stream.send_trailers(trailers(code)),
                Some(now) if now.message().is_some() => break now.message().unwrap_or_default(),
                _ => {}
            }
        };
    }
}

impl ServerState {
    /// A question about the server's health came; whether it is answered apart from the script.
    pub(super) fn is_asked(&self) -> bool {
        let answers = self.health.borrow().is_some();
        if answers {
            self.asked.lock().push(self.created.elapsed());
        }
        answers
    }

    /// When each question about the server's health came.
    pub(super) fn asked(&self) -> Vec<Duration> {
        self.asked.lock().clone()
    }
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

fn trailers(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    trailers
}
