//! What a scripted server answers, and the scripts that choose it.
//!
//! Nothing here does I/O: `serve` sends the answer. So an answer can be cloned for many calls, and
//! a script is any function from an [`Arrival`] to an answer.

use super::Arrival;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tonic::Code;

/// One answer to one call: how long to wait, what to send, how to end.
///
/// ```
/// use std::time::Duration;
/// use tonic_supervisor::testing::Answer;
///
/// let busy = Answer::status(tonic::Code::Unavailable)
///     .text("busy")
///     .pushback("700")
///     .after(Duration::from_millis(20));
/// // Headers, one message, RST_STREAM CANCEL.
/// let half = Answer::message("first part").then_reset(8);
/// # let _ = (busy, half);
/// ```
#[derive(Clone, Debug)]
#[must_use = "an answer does nothing until a server is given it"]
pub struct Answer {
    pub(super) after: Duration,
    pub(super) every: Duration,
    pub(super) early: bool,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) ending: Ending,
    pub(super) trailers: HeaderMap,
}

/// What is sent between the wait and the end.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Not even headers.
    Nothing,
    /// Headers and these messages.
    Messages(Vec<Bytes>),
    /// Headers and the request's messages as one, when it has ended.
    Echo,
    /// Headers, and each request message as it arrives.
    EchoStream,
}

/// How the answer ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Status(Code),
    Reset(u32),
    Hang,
    Cut,
}

impl Answer {
    fn new(body: Body, ending: Ending) -> Self {
        let (after, every) = (Duration::ZERO, Duration::ZERO);
        Self {
            after,
            every,
            early: false,
            headers: HeaderMap::new(),
            body,
            ending,
            trailers: HeaderMap::new(),
        }
    }

    /// OK, with the request's message (of a client stream: all of them, joined).
    pub fn echo() -> Self {
        Self::new(Body::Echo, Ending::Status(Code::Ok))
    }

    /// OK, with this message.
    pub fn message(message: impl Into<Bytes>) -> Self {
        Self::new(Body::Messages(vec![message.into()]), Ending::Status(Code::Ok))
    }

    /// OK, with one message of that many zero bytes.
    pub fn big(len: usize) -> Self {
        Self::message(vec![0; len])
    }

    /// These messages, then this status.
    pub fn stream(messages: impl IntoIterator<Item = impl Into<Bytes>>, code: Code) -> Self {
        let messages = messages.into_iter().map(Into::into).collect();
        Self::new(Body::Messages(messages), Ending::Status(code))
    }

    /// Each message of the request as it arrives, then OK when the request ends.
    pub fn echo_stream() -> Self {
        Self::new(Body::EchoStream, Ending::Status(Code::Ok))
    }

    /// This status in one frame, as servers send errors ("trailers only").
    pub fn status(code: Code) -> Self {
        Self::new(Body::Nothing, Ending::Status(code))
    }

    /// Headers first, then this status in trailers, and no message.
    pub fn headers_then_error(code: Code) -> Self {
        Self::new(Body::Messages(Vec::new()), Ending::Status(code))
    }

    /// Nothing, ever.
    pub fn hang() -> Self {
        Self::new(Body::Nothing, Ending::Hang)
    }

    /// RST_STREAM with this HTTP/2 error code instead of any processing: counted by `refused()`,
    /// not by `handled()`.
    pub fn reset(code: u32) -> Self {
        Self::new(Body::Nothing, Ending::Reset(code))
    }

    /// The call is processed (and counted so), then the connection is cut before a byte of reply.
    pub fn cut_after_processing() -> Self {
        Self::new(Body::Nothing, Ending::Cut)
    }

    /// Waits this long before it sends anything.
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    /// Waits this long before each message of a stream.
    pub fn every(mut self, wait: Duration) -> Self {
        self.every = wait;
        self
    }

    /// Whether to answer without waiting for the request's end, as a server that ends a stream on
    /// its own does. No by default.
    pub fn early(mut self, early: bool) -> Self {
        self.early = early;
        self
    }

    /// Ends with this status instead.
    pub fn then_status(mut self, code: Code) -> Self {
        self.ending = Ending::Status(code);
        self
    }

    /// Ends with RST_STREAM of this HTTP/2 error code instead, when all before it has left.
    pub fn then_reset(mut self, code: u32) -> Self {
        self.ending = Ending::Reset(code);
        self
    }

    /// Never ends.
    pub fn then_hang(mut self) -> Self {
        self.ending = Ending::Hang;
        self
    }

    /// Ends with the connection cut, when all before it has left.
    pub fn then_cut(mut self) -> Self {
        self.ending = Ending::Cut;
        self
    }

    /// The status message (percent-encode it yourself).
    pub fn text(self, text: &str) -> Self {
        self.trailer("grpc-message", text)
    }

    /// `grpc-retry-pushback-ms`, as it stands: "700", "-1" or nonsense.
    pub fn pushback(self, milliseconds: &str) -> Self {
        self.trailer("grpc-retry-pushback-ms", milliseconds)
    }

    /// `google.rpc.RetryInfo` in `grpc-status-details-bin`: the client is asked to wait this long.
    pub fn retry_info(mut self, wait: Duration) -> Self {
        let details = crate::transport::details_with_retry_info(wait);
        let mut fields = HeaderMap::new();
        let status = tonic::Status::with_details(Code::Unknown, "", details.into());
        status.add_header(&mut fields).expect("base64 is a header value");
        let name = HeaderName::from_static("grpc-status-details-bin");
        self.trailers.extend(fields.remove(&name).map(|value| (name, value)));
        self
    }

    /// One more trailer.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        append(&mut self.trailers, name, value);
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        append(&mut self.headers, name, value);
        self
    }

    /// Whether the server refuses the call instead of processing it.
    pub(super) fn refuses(&self) -> bool {
        matches!((&self.body, &self.ending), (Body::Nothing, Ending::Reset(_)))
    }
}

fn append(map: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
    map.append(name, HeaderValue::from_str(value).expect("a header value"));
}

/// Chooses the answer to each call. Any `Fn(&Arrival) -> Answer` is one.
///
/// ```
/// use tonic_supervisor::testing::{Answer, Script};
///
/// let flaky = Script::fail_times(2, tonic::Code::Unavailable);
/// let picky = Script::new(|call| match call.message.len() {
///     0..=1024 => Answer::echo(),
///     _ => Answer::status(tonic::Code::ResourceExhausted),
/// });
/// # let _ = (flaky, picky);
/// ```
#[derive(Clone)]
pub struct Script(Arc<dyn Fn(&Arrival) -> Answer + Send + Sync>);

impl Script {
    /// Asks `choose` for the answer to each call.
    pub fn new(choose: impl Fn(&Arrival) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(choose))
    }

    /// Answers OK with the request's message. What a server does of its own accord.
    pub fn echo() -> Self {
        Answer::echo().into()
    }

    /// Answers each call with this status.
    pub fn always(code: Code) -> Self {
        Answer::status(code).into()
    }

    /// Answers the first `times` calls with this status, and the rest with an echo.
    pub fn fail_times(times: usize, code: Code) -> Self {
        Self::sequence(vec![Answer::status(code); times], Answer::echo())
    }

    /// Answers the first calls with `first`, in order, and the rest with `rest`.
    pub fn sequence(first: Vec<Answer>, rest: Answer) -> Self {
        let next = AtomicUsize::new(0);
        Self::new(move |_| first.get(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(&rest).clone())
    }

    /// Echoes each call after this long.
    pub fn delay(wait: Duration) -> Self {
        Answer::echo().after(wait).into()
    }

    /// Answers each call with this status and this `grpc-retry-pushback-ms`.
    pub fn pushback(code: Code, milliseconds: &str) -> Self {
        Answer::status(code).pushback(milliseconds).into()
    }

    /// Never answers.
    pub fn hang() -> Self {
        Answer::hang().into()
    }

    pub(super) fn answer(&self, arrival: &Arrival) -> Answer {
        (self.0)(arrival)
    }
}

impl From<Answer> for Script {
    /// The same answer to each call.
    fn from(answer: Answer) -> Self {
        Self::new(move |_| answer.clone())
    }
}

impl<F: Fn(&Arrival) -> Answer + Send + Sync + 'static> From<F> for Script {
    fn from(choose: F) -> Self {
        Self::new(choose)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}
