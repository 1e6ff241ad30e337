//! One connection of a scripted server: reads calls over HTTP/2 and sends the script's answers.

use super::{
    Answer, Arrival,
    answer::{Body, Ending},
    health::{answer_question, question},
    server_state::{GoAwaySent, Options, ServerState},
};
use crate::transport::{Io, frame, take_message};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::FuturesUnordered};
use h2::{
    RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::{future::poll_fn, time::Duration};
use tokio::sync::mpsc;
use tonic::Code;

/// Serves one connection until it ends.
pub(super) async fn serve(socket: impl Io, number: usize, state: &ServerState) {
    let Ok(mut connection) = builder(&state.options).handshake::<_, Bytes>(socket).await else {
        return;
    };
    let mut goaway_requests = state.open(number);
    let mut acks: Vec<GoAwaySent> = Vec::new();
    let mut calls = FuturesUnordered::new();
    let (cut, mut cuts) = mpsc::unbounded_channel();
    let age = state.options.goaway_every.map(tokio::time::sleep);
    let mut age = std::pin::pin!(futures::future::OptionFuture::from(age));
    let (mut aged, mut cutting, mut accepted_calls) = (false, false, 0);
    loop {
        tokio::select! {
            biased;
            Some(ack) = goaway_requests.recv() => {
                connection.graceful_shutdown();
                acks.push(ack);
            }
            Some(()) = &mut age, if !aged => {
                aged = true;
                connection.graceful_shutdown();
            }
            Some(()) = calls.next() => {}
            Some(()) = cuts.recv() => cutting = true,
            accepted = poll_fn(|cx| {
                let polled = connection.poll_accept(cx);
                if polled.is_pending() {
                    // All that could be written has been.
                    acks.drain(..).for_each(|ack| ack.send(()).unwrap_or_default());
                    if cutting {
                        return None.into();
                    }
                }
                polled
            }) => {
                let Some(Ok((request, respond))) = accepted else { return };
                calls.push(answer(request, respond, number, cut.clone(), state));
                accepted_calls += 1;
                if state.options.goaway_after_calls == Some(accepted_calls) {
                    connection.graceful_shutdown();
                }
            }
        }
    }
}

fn builder(options: &Options) -> Builder {
    const WINDOW: u32 = 1 << 30;
    const PLENTY: usize = 1 << 20;
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .data_frame_budget(1 << 30)
        .max_concurrent_reset_streams(PLENTY)
        .max_pending_accept_reset_streams(PLENTY);
    if let Some(max) = options.max_concurrent_streams {
        builder.max_concurrent_streams(max);
    }
    builder
}

/// Reads one call, has the script choose the answer, and sends it.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    cut: mpsc::UnboundedSender<()>,
    state: &ServerState,
) {
    let (head, body) = request.into_parts();
    if let Some(method) = question(head.uri.path()).filter(|_| state.is_asked()) {
        // Whoever has given the question up needs no answer.
        return answer_question(method, respond, state).await.unwrap_or_default();
    }
    let mut messages = Messages { body, buffer: BytesMut::new(), broken: false };
    let first = if state.options.answer_at_headers { None } else { messages.next().await };
    if messages.broken {
        return state.note_cancelled();
    }
    let text = |name: &str| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    let arrival = Arrival {
        at: state.created.elapsed(),
        path: head.uri.path().to_owned(),
        grpc_timeout: text("grpc-timeout"),
        previous_attempts: text("grpc-previous-rpc-attempts"),
        metadata: head.headers,
        message: first.clone().unwrap_or_default(),
        connection,
        stream: respond.stream_id().as_u32(),
    };
    let answer = state.ask(arrival);
    let early = match answer.body {
        Body::Echo => false,
        Body::EchoStream => true,
        _ => answer.early || state.options.answer_at_headers,
    };
    let delivery = Delivery { answer: &answer, early, first, cut, messages: &mut messages };
    if delivery.run(&mut respond).await.is_err() {
        state.note_cancelled();
    }
}

/// The sending of one answer. An error means that the client has given the call up.
struct Delivery<'a> {
    answer: &'a Answer,
    /// Whether to answer without waiting for the request's end.
    early: bool,
    first: Option<Bytes>,
    cut: mpsc::UnboundedSender<()>,
    messages: &'a mut Messages,
}

impl Delivery<'_> {
    async fn run(mut self, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
        let answer = self.answer;
        if !self.early {
            self.first = Some(self.whole_request().await);
        }
        tokio::select! {
            biased;
            reset = poll_fn(|cx| respond.poll_reset(cx)) => return Err(gone(reset)),
            () = pause(answer.after) => {}
        }
        if let (Body::Nothing, ending) = (&answer.body, answer.ending) {
            match ending {
                Ending::Status(code) => {
                    let mut head = head(&answer.headers);
                    head.headers_mut().extend(status(code, &answer.trailers));
                    respond.send_response(head, true)?;
                }
                Ending::Reset(code) => respond.send_reset(code.into()),
                Ending::Hang => return Err(gone(poll_fn(|cx| respond.poll_reset(cx)).await)),
                Ending::Cut => self.cut_connection().await,
            }
            return Ok(());
        }
        let mut stream = respond.send_response(head(&answer.headers), false)?;
        self.send_body(&mut stream).await?;
        match answer.ending {
            Ending::Status(code) => stream.send_trailers(status(code, &answer.trailers))?,
            Ending::Hang => return Err(gone(poll_fn(|cx| stream.poll_reset(cx)).await)),
            Ending::Cut => self.cut_connection().await,
            Ending::Reset(code) => {
                // A reset discards what is still queued, so let the connection write that first.
                tokio::task::yield_now().await;
                stream.send_reset(code.into());
            }
        }
        Ok(())
    }

    /// Has the connection cut, and holds the stream until it is: to drop it sooner would reset it.
    async fn cut_connection(&self) {
        self.cut.send(()).unwrap_or_default();
        std::future::pending().await
    }

    async fn send_body(&mut self, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        match &self.answer.body {
            Body::Nothing => {}
            Body::Echo => stream.send_data(frame(&self.first.take().unwrap_or_default()), false)?,
            Body::Messages(messages) => {
                for message in messages {
                    tokio::select! {
                        biased;
                        reset = poll_fn(|cx| stream.poll_reset(cx)) => return Err(gone(reset)),
                        () = pause(self.answer.every) => stream.send_data(frame(message), false)?,
                    }
                }
            }
            Body::EchoStream => {
                let mut next = self.first.take();
                loop {
                    next = match next {
                        Some(message) => {
                            stream.send_data(frame(&message), false)?;
                            None
                        }
                        None => match self.messages.next().await {
                            None => break,
                            message => message,
                        },
                    };
                }
            }
        }
        Ok(())
    }

    /// The rest of the request, joined to its first message.
    async fn whole_request(&mut self) -> Bytes {
        let mut whole = BytesMut::from(self.first.take().unwrap_or_default());
        while let Some(message) = self.messages.next().await {
            whole.unsplit(message.into());
        }
        whole.freeze()
    }
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn gone(reset: Result<h2::Reason, h2::Error>) -> h2::Error {
    reset.map_or_else(|error| error, Into::into)
}

fn head(headers: &HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().extend(headers.clone());
    response
        .headers_mut()
        .entry("content-type")
        .or_insert(HeaderValue::from_static("application/grpc"));
    response
}

fn status(code: Code, trailers: &HeaderMap) -> HeaderMap {
    let mut trailers = trailers.clone();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    trailers
}

/// The messages of a request body.
struct Messages {
    body: RecvStream,
    buffer: BytesMut,
    /// Whether the request was given up before its end.
    broken: bool,
}

impl Messages {
    /// The next message; `None` when the request has ended or was given up.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = take_message(&mut self.buffer) {
                return Some(message);
            }
            let Ok(chunk) = self.body.data().await? else {
                self.broken = true;
                return None;
            };
            self.body.flow_control().release_capacity(chunk.len()).unwrap_or_default();
            self.buffer.unsplit(chunk.into());
        }
    }
}
