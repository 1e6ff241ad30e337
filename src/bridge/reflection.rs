//! Asks the server what the methods of a service are, so that its unary calls can be told from its
//! streams although nobody here has descriptors.
//!
//! At the first call of a service, in the background: no call waits for it. Of the two versions of
//! the protocol the messages are the same. What the server says is taken for its own methods only.

use crate::{
    call::{LONGEST_NAME, SupervisedBody, spawn},
    client::{SupervisedChannel, encode, kinds_in},
    clock,
    model::{CallKind, CallOptions, printable},
    transport::{PREFIX, message_length},
};
use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http_body::Body as _;
use parking_lot::Mutex;
use prost::Message;
use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    time::{Duration, Instant},
};
use tonic::{Code, Status, body::Body};

/// How long the server has for its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a question that was asked in vain is not asked again.
const PAUSE: Duration = Duration::from_secs(30);
/// How many services are remembered: a client may make up any number of names.
const SERVICES: usize = 1_000;
/// How large an answer may be, and how many methods are taken from it.
const LARGEST: usize = 4 << 20;
const METHODS: usize = 1_000;

/// Which services were asked about.
#[derive(Default)]
pub(super) struct Reflection(Mutex<HashMap<String, Asked>>);

enum Asked {
    /// It is being asked, or has been answered.
    Settled,
    /// It was asked in vain.
    InVain(Instant),
}

impl Asked {
    /// Whether it was asked in vain, so long ago that it may be asked anew.
    fn is_over(&self) -> bool {
        match self {
            Self::Settled => false,
            Self::InVain(at) => clock::now().saturating_duration_since(*at) >= PAUSE,
        }
    }
}

impl Reflection {
    /// A call of this path begins.
    pub(super) fn note(
        self: &std::sync::Arc<Self>,
        channel: &SupervisedChannel,
        path: &PathAndQuery,
    ) {
        let Some((service, method)) = path.path().trim_start_matches('/').split_once('/') else {
            return;
        };
        let calls = channel.calls();
        if method.is_empty() || !self.is_to_be_asked(service) {
            return;
        }
        if calls.method(path).is_described() {
            return self.settle(service, Asked::Settled);
        }
        let (asking, service) = (channel.clone(), service.to_owned());
        let (told, name, shared) = (calls.clone(), service.clone(), self.clone());
        spawn(calls, "Reflection", async move { ask(&asking, &service).await }, move |asked| {
            match asked.unwrap_or_else(|panic| Err(format!("asking panicked: {panic}"))) {
                Ok(kinds) => told.describe_as_told(kinds),
                Err(why) => {
                    log_line!(
                        info,
                        service = %printable(&name),
                        "the server did not say what this service's methods are, so they are of \
                         kind auto: {}",
                        printable(&why)
                    );
                    shared.settle(&name, Asked::InVain(clock::now()));
                }
            }
        });
    }

    /// Whether it is to be asked now; if so, it counts as asked.
    fn is_to_be_asked(&self, service: &str) -> bool {
        let mut services = self.0.lock();
        let due = match services.get(service) {
            Some(asked) => asked.is_over(),
            None => service.len() <= LONGEST_NAME && has_room(&mut services),
        };
        if due {
            services.insert(service.to_owned(), Asked::Settled);
        }
        due
    }

    fn settle(&self, service: &str, asked: Asked) {
        self.0.lock().insert(service.to_owned(), asked);
    }
}

/// Whether one more service may be asked about. Where there are many, those that are asked about in
/// vain make room when they may be asked about anew: they are names that somebody made up.
fn has_room(services: &mut HashMap<String, Asked>) -> bool {
    if services.len() >= SERVICES {
        services.retain(|_, asked| !asked.is_over());
    }
    services.len() < SERVICES
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "4")]
    file_containing_symbol: String,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "7")]
    error: Option<Refusal>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    descriptors: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The kinds of the service's methods, in the server's words.
async fn ask(
    channel: &SupervisedChannel,
    service: &str,
) -> Result<Vec<(String, CallKind)>, String> {
    let mut answer = ask_version("v1", channel, service).await;
    if answer.as_ref().is_err_and(|status| status.code() == Code::Unimplemented) {
        answer = ask_version("v1alpha", channel, service).await;
    }
    let answer = answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
    if let Some(Refusal { code, message }) = answer.error {
        return Err(format!("{:?}: {message}", Code::from(code)));
    }
    let files = answer.files.unwrap_or_default().descriptors;
    let mut kinds = Vec::new();
    for file in &files {
        let room = METHODS - kinds.len();
        kinds.extend(kinds_in(file, service, room).map_err(|error| error.to_string())?);
    }
    if kinds.is_empty() { Err("its answer has no such service".into()) } else { Ok(kinds) }
}

async fn ask_version(
    version: &str,
    channel: &SupervisedChannel,
    service: &str,
) -> Result<Response, Status> {
    let question = encode(&Request { file_containing_symbol: service.to_owned() });
    let mut request = http::Request::new(Body::new(Whole(Some(question))));
    let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
    *request.uri_mut() = path.parse().expect("a path");
    let options = CallOptions::new().kind(CallKind::Streaming).timeout(TIMEOUT);
    let submitted = channel.begin(request, options)?.submitted(channel).await?;
    let answer = submitted.answer().await?;
    let message = first_message(answer.into_body()).await?;
    Response::decode(message).map_err(|error| Status::internal(error.to_string()))
}

async fn first_message(mut body: SupervisedBody) -> Result<Bytes, Status> {
    let mut data = BytesMut::new();
    loop {
        if let Some(length) = message_length(&data)
            && data.len() >= length
        {
            return Ok(data.split_to(length).split_off(PREFIX).freeze());
        }
        if data.len() > LARGEST {
            return Err(Status::out_of_range(format!("its answer has more than {LARGEST} bytes")));
        }
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return Err(Status::internal("it ended without a message")),
            Some(frame) => match frame?.into_data() {
                Ok(more) => data.extend_from_slice(&more),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Err(Status::from_header_map(&trailers)
                        .unwrap_or_else(|| Status::internal("it ended without a status")));
                }
            },
        }
    }
}

/// A body that is one piece.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        std::task::Poll::Ready(self.0.take().map(|data| Ok(http_body::Frame::data(data))))
    }
}
