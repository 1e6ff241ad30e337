//! Makes the call, whatever kind its method is: sends the messages, writes each answer as it comes,
//! and says how it ended.

use super::{
    any,
    codec::DynamicCodec,
    describe, details,
    explain::{End, code_name, counted, seconds},
    input::{self, Input},
    json,
    schema::{MethodName, Schema},
    session::{Session, Stop},
};
use crate::CliError;
use futures::stream::{self, BoxStream, StreamExt as _};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use std::{cell::OnceCell, future::pending, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_supervisor::{CallKind, CallOptions, CallReport, Cause, Story, StreamStory, printable};

/// What 64 is added to with `--exit-code grpc` is the status code.
const GRPC_EXIT: u8 = 64;

/// The messages to send, and what is wrong with one that comes later.
struct Requests {
    messages: BoxStream<'static, DynamicMessage>,
    /// In words.
    size: String,
    mistake: oneshot::Receiver<String>,
}

/// Makes a call of the method of this name.
pub(super) async fn invoke(
    session: &Session<'_>,
    mut schema: Schema,
    name: &MethodName,
) -> Result<(), Stop> {
    if let Input::Text(text) = &session.plan.input {
        schema = session.learn(schema, &any::named_in(text)).await;
    }
    let method = &schema.method(name).map_err(CliError::Failed)?;
    let Requests { messages, size, mistake } = requests(session, method).await?;
    let path = describe::path(method);
    let streams = method.is_client_streaming() || method.is_server_streaming();
    let (kind, time) = match streams {
        true => (CallKind::Streaming, session.left()),
        false => (CallKind::Unary, session.left().or_else(|| configured(session, &path))),
    };
    let mut request = Request::new(messages);
    *request.metadata_mut() = session.plan.metadata.clone();
    request.extensions_mut().insert(options(session, kind));
    let time = time.map_or("no deadline".into(), |time| format!("{} s left", seconds(time)));
    session.journal.begin(&path, &format!("is {}: {size}, {time}", describe::kind(method)));

    let mistaken = async {
        match mistake.await {
            Ok(words) => words,
            // All that there was has been read.
            Err(_) => pending().await,
        }
    };
    let told = Told::default();
    let exchange = exchange(session, schema.clone(), method, request, &told);
    let done = tokio::select! {
        biased;
        done = exchange => done,
        words = mistaken => return Err(CliError::Usage(words).into()),
    };
    match done {
        Ok(answers) => {
            session.journal.end(&End::Ok { answers, story: told.story() });
            Ok(())
        }
        Err(Ended::Stop(stop)) => Err(stop),
        Err(Ended::Status(status)) => {
            let mut details = Vec::new();
            for any in details::of(&schema, &status) {
                let (_, known) = session.known(schema.clone(), any).await;
                details.push(details::line(&known));
            }
            Err(failed(session, &path, (&status, told.story()), &details).into())
        }
    }
}

/// The time that the configuration gives a unary call of this method.
fn configured(session: &Session<'_>, path: &str) -> Option<Duration> {
    let config = session.config();
    let own = config.method(path).and_then(|rule| rule.timeout());
    own.unwrap_or_else(|| config.timeout())
}

/// Why the exchange ended.
enum Ended {
    Status(Status),
    Stop(Stop),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// The story of the call, where its answer has begun.
#[derive(Default)]
struct Told {
    whole: OnceCell<Story>,
    stream: OnceCell<StreamStory>,
}

impl Told {
    /// Takes it from an answer's extensions.
    fn take(&self, extensions: &mut http::Extensions) {
        extensions.remove().map(|story| self.whole.set(story));
        extensions.remove().map(|story| self.stream.set(story));
    }

    /// What there is once the call is over.
    fn story(&self) -> Option<&Story> {
        self.whole.get().or_else(|| self.stream.get()?.get())
    }
}

/// How many answers there were.
async fn exchange(
    session: &Session<'_>,
    mut schema: Schema,
    method: &MethodDescriptor,
    request: Request<BoxStream<'static, DynamicMessage>>,
    told: &Told,
) -> Result<usize, Ended> {
    let mut grpc = Grpc::new(session.channel()).max_decoding_message_size(usize::MAX);
    let path = describe::path(method);
    let uri = format!("/{path}").parse().map_err(|_| Status::internal("the method has no path"))?;
    let codec = DynamicCodec(method.output());
    let mut response = grpc.streaming(request, uri, codec).await?;
    told.take(response.extensions_mut());
    let mut answers = response.into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await? {
        count += 1;
        session.journal.step("answer", &counted(answer.bytes, "byte"));
        let message;
        (schema, message) = session.known(schema, answer.message).await;
        let line = json::line(&message).map_err(|why| {
            let why = printable(&why);
            let words = format!("{path}: answer {count} cannot be written as JSON: {why}");
            Ended::Stop(CliError::Failed(words).into())
        })?;
        session.print(line).await.map_err(Ended::Stop)?;
    }
    if count == 0 && !method.is_server_streaming() {
        return Err(Status::internal("the server answered OK, and sent no message").into());
    }
    Ok(count)
}

fn options(session: &Session<'_>, kind: CallKind) -> CallOptions {
    let plan = session.plan;
    let mut options = CallOptions::new().kind(kind).retry(plan.retry).story();
    if let Some(idempotent) = plan.idempotent {
        options = options.idempotent(idempotent);
    }
    if plan.wait {
        options = options.wait_for_ready(true);
    }
    if let Some(left) = session.left() {
        options = options.timeout(left);
    }
    options
}

/// What `-d` has for this method.
async fn requests(session: &Session<'_>, method: &MethodDescriptor) -> Result<Requests, Stop> {
    let (kind, streams) = (method.input(), method.is_client_streaming());
    let (sender, mistake) = oneshot::channel();
    let mut all = match session.plan.input.at_once(&kind) {
        Some(all) => all.map_err(CliError::Usage)?,
        None if streams => {
            let messages = typed(input::stdin(kind), sender);
            return Ok(Requests { messages, size: "standard input".into(), mistake });
        }
        None => whole(input::stdin(kind)).await.map_err(CliError::Usage)?,
    };
    if !streams {
        if all.is_empty() {
            // As if `{}` had been given.
            all.push(DynamicMessage::new(method.input()));
        }
        if all.len() > 1 {
            let words =
                format!("-d has {} messages, and {} takes one", all.len(), describe::path(method));
            return Err(CliError::Usage(words).into());
        }
    }
    let sum = all.iter().map(DynamicMessage::encoded_len).sum();
    let size = match all.len() {
        1 => counted(sum, "byte"),
        count => format!("{count} messages of {} together", counted(sum, "byte")),
    };
    Ok(Requests { messages: stream::iter(all).boxed(), size, mistake })
}

/// All that comes.
async fn whole(mut messages: mpsc::Receiver<input::Read1>) -> Result<Vec<DynamicMessage>, String> {
    let mut all = Vec::new();
    while let Some(message) = messages.recv().await {
        all.push(message?);
        if all.len() > 1 {
            return Ok(all);
        }
    }
    Ok(all)
}

/// What is typed. After a mistake the stream does not end, since that would be for the server to
/// take as the user's own end: the call is given up.
fn typed(
    messages: mpsc::Receiver<input::Read1>,
    mistake: oneshot::Sender<String>,
) -> BoxStream<'static, DynamicMessage> {
    stream::unfold((messages, mistake), |(mut messages, mistake)| async move {
        match messages.recv().await? {
            Ok(message) => Some((message, (messages, mistake))),
            Err(words) => {
                // Whoever would hear of it has given the call up.
                let _ = mistake.send(words);
                pending().await
            }
        }
    })
    .boxed()
}

/// Says how the call failed, and makes the command's end of it.
fn failed(
    session: &Session<'_>,
    path: &str,
    (status, story): (&Status, Option<&Story>),
    details: &[String],
) -> CliError {
    let (code, report) = (status.code(), CallReport::of(status));
    session.journal.end(&End::Failed { code, text: status.message(), report, story });
    let said = match status.message() {
        "" => String::new(),
        words => format!(": {}", printable(words)),
    };
    let first = format!("{}: {}{said}", printable(path), code_name(code));
    let words = [&[first], details].concat().join("\n");
    if session.plan.exit_with_code {
        return CliError::Exit(GRPC_EXIT + code_number(code), words);
    }
    match report.map(|report| &report.outcome.cause) {
        Some(Cause::NotConnected(_)) => CliError::Exit(4, words),
        Some(Cause::Deadline(Some(what))) if what.starts_with("for a link") => {
            CliError::Exit(4, words)
        }
        _ => CliError::Failed(words),
    }
}

/// 0 to 16.
fn code_number(code: Code) -> u8 {
    u8::try_from(i32::from(code)).unwrap_or(2)
}
