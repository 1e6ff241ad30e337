//! What most tests share: a supervised channel on a network in memory, calls of every kind, and all
//! that was announced. `link_stage` has more for the tests of links.

use parking_lot::Mutex;
use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};
use tonic::{Code, Request, Status};
use tonic_supervisor::{
    CallOptions, CallReport, Cause, Config, ConfigBuilder, Event, EventItem, Fact, Mailbox,
    SupervisedChannel, Supervisor, UnaryCall, UnaryResult, testing::MemoryNetwork,
};

/// Where servers in memory listen.
pub(crate) const ADDRESS: &str = "server:50051";
/// A method that every scripted server answers.
pub(crate) const SAY: &str = "/test.Echo/Say";

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The defaults, aimed at [`ADDRESS`].
pub(crate) fn config() -> ConfigBuilder {
    Config::builder().host("server").port(50_051)
}

/// What protoc would write of a service `Echo` in `package` whose only method, `Say`, is unary or
/// streams its answers.
pub(crate) fn descriptors(package: &str, server_streaming: bool) -> Vec<u8> {
    let method = MethodDescriptorProto {
        name: Some("Say".into()),
        server_streaming: Some(server_streaming),
        ..MethodDescriptorProto::default()
    };
    let service =
        ServiceDescriptorProto { name: Some("Echo".into()), method: vec![method], options: None };
    let file = FileDescriptorProto {
        package: Some(package.into()),
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// A supervisor that dials over `network`, with dice that always fall the same.
pub(crate) fn supervise(network: &MemoryNetwork, config: ConfigBuilder) -> Supervisor {
    let config = config.build().expect("a test's configuration is valid");
    Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn()
}

/// One unary call.
pub(crate) async fn say(
    channel: &SupervisedChannel,
    text: &str,
    options: CallOptions,
) -> Result<String, Status> {
    let mut request = Request::new(text.to_owned());
    request.extensions_mut().insert(options);
    channel.unary::<String, String>(SAY, request).await.map(tonic::Response::into_inner)
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
) -> tokio::task::JoinHandle<Ended> {
    let (channel, text) = (channel.clone(), text.to_owned());
    tokio::spawn(async move { timed(say(&channel, &text, options)).await })
}

/// How long `future` takes, and what it yields.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let output = future.await;
    (began.elapsed(), output)
}

/// What happened to a failed call.
#[track_caller]
pub(crate) fn report(status: &Status) -> &CallReport {
    CallReport::of(status).unwrap_or_else(|| panic!("no report in {status:?}"))
}

/// Why a call failed, in the words of its report.
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

/// Whether `time` is `expected`, but for the rounding of timers.
#[track_caller]
pub(crate) fn assert_time(time: Duration, expected: Duration) {
    assert!(time.abs_diff(expected) <= ms(2), "{time:?} instead of {expected:?}");
}

/// Waits for `future`, but not for ever.
pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(1_000), future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until `ready` holds, looking every millisecond.
pub(crate) async fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let waiting = async {
        while !ready() {
            tokio::time::sleep(ms(1)).await;
        }
    };
    bounded(what, waiting).await;
}

/// All that a supervisor announced since this was made.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    /// Ends, task and all, when the supervisor is closed.
    pub(crate) fn of(supervisor: &Supervisor) -> Self {
        let mut stream = supervisor.events();
        let log = Self(Arc::default());
        let seen = log.0.clone();
        tokio::spawn(async move {
            while let Some(item) = stream.next().await {
                match item {
                    EventItem::Event(event) => seen.lock().push(event),
                    EventItem::Lagged(missed) => panic!("the test missed {missed} events"),
                    _ => {}
                }
            }
        });
        log
    }

    /// What `pick` makes of each fact so far, and when it was announced.
    pub(crate) fn all<T>(&self, pick: impl Fn(&Fact) -> Option<T>) -> Vec<(Duration, T)> {
        self.0
            .lock()
            .iter()
            .filter_map(|event| Some((event.since_spawn, pick(&event.fact)?)))
            .collect()
    }

    /// How many facts are `wanted`.
    pub(crate) fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.0.lock().iter().filter(|event| wanted(&event.fact)).count()
    }

    /// Waits until `times` facts were `wanted`.
    pub(crate) async fn until(&self, what: &str, times: usize, wanted: impl Fn(&Fact) -> bool) {
        eventually(what, || self.count(&wanted) >= times).await;
    }
}
