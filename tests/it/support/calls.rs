//! Calls of every kind, and what they ended with.

use super::{bounded, timed};
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Code, Request, Response, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_supervisor::{
    CallOptions, CallReport, Cause, Mailbox, SupervisedChannel, Supervisor, UnaryCall, UnaryResult,
};

/// A method that every scripted server answers.
pub(crate) const SAY: &str = "/test.Echo/Say";

/// [`SAY`], as generated code names it.
pub(crate) fn path() -> PathAndQuery {
    PathAndQuery::from_static(SAY)
}

/// The codec of calls whose messages are texts.
pub(crate) fn codec() -> ProstCodec<String, String> {
    ProstCodec::default()
}

/// A request with a text and options.
pub(crate) fn request(text: &str, options: CallOptions) -> Request<String> {
    let mut request = Request::new(text.to_owned());
    request.extensions_mut().insert(options);
    request
}

/// One unary call of [`SupervisedChannel::unary`].
pub(crate) async fn say(
    channel: &SupervisedChannel,
    text: &str,
    options: CallOptions,
) -> Result<String, Status> {
    let request = request(text, options);
    channel.unary::<String, String>(SAY, request).await.map(Response::into_inner)
}

/// The same, without options.
pub(crate) async fn echo(channel: &SupervisedChannel, text: &str) -> Result<String, Status> {
    say(channel, text, CallOptions::new()).await
}

/// The same, without a text either.
pub(crate) async fn call_empty(supervisor: &Supervisor) -> Result<(), Status> {
    supervisor.channel().unary::<(), ()>(SAY, Request::new(())).await.map(drop)
}

/// One unary call, as generated code makes it.
pub(crate) async fn generated_unary(
    channel: &SupervisedChannel,
    options: CallOptions,
) -> Result<String, Status> {
    let answer = Grpc::new(channel.clone()).unary(request("hello", options), path(), codec()).await;
    answer.map(Response::into_inner)
}

/// One server-streaming call, as generated code makes it, up to its answer's head.
pub(crate) async fn generated_stream(
    channel: &SupervisedChannel,
    options: CallOptions,
) -> Result<Streaming<String>, Status> {
    let request = request("hello", options);
    let answer = Grpc::new(channel.clone()).server_streaming(request, path(), codec()).await;
    answer.map(Response::into_inner)
}

/// One unary call as a message; the reply port's other end.
pub(crate) fn post(
    mailbox: &Mailbox,
    text: &str,
    options: CallOptions,
) -> oneshot::Receiver<UnaryResult> {
    let (reply, answer) = oneshot::channel();
    let call = UnaryCall::new(SAY, &text.to_owned(), reply.into()).with_options(options);
    mailbox.send_message(call).expect("a mailbox takes every message");
    answer
}

/// The text of an answer that came as a message.
pub(crate) fn said(answer: UnaryResult) -> Result<String, Status> {
    answer?.decode()
}

/// How a call ended: with what, and how long it took.
pub(crate) type Ended = (Duration, Result<String, Status>);

/// Runs a call in a task of its own.
pub(crate) fn start(
    channel: &SupervisedChannel,
    text: &str,
    options: CallOptions,
) -> JoinHandle<Ended> {
    let (channel, text) = (channel.clone(), text.to_owned());
    tokio::spawn(async move { timed(say(&channel, &text, options)).await })
}

/// `count` of them, started one after the other.
pub(crate) fn start_many(
    channel: &SupervisedChannel,
    options: CallOptions,
    count: usize,
) -> Vec<JoinHandle<Ended>> {
    (0..count).map(|_| start(channel, "hello", options)).collect()
}

/// Waits until every task has ended.
pub(crate) async fn join<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let joined = bounded("every task ends", futures::future::join_all(tasks)).await;
    joined.into_iter().map(|result| result.expect("the task does not panic")).collect()
}

/// What happened to a failed call.
#[track_caller]
pub(crate) fn report(status: &Status) -> &CallReport {
    CallReport::of(status).unwrap_or_else(|| panic!("no report in {status:?}"))
}

/// Why a call failed, as its report has it.
#[track_caller]
pub(crate) fn cause(status: &Status) -> &Cause {
    &report(status).outcome.cause
}

/// The call ended with CANCELLED, because of a shutdown.
#[track_caller]
pub(crate) fn assert_shut_down<T: std::fmt::Debug>(answer: &Result<T, Status>) {
    let status = answer.as_ref().expect_err("ended by the shutdown");
    assert_eq!((status.code(), cause(status)), (Code::Cancelled, &Cause::Shutdown));
}
