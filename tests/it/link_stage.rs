//! What tests of links begin with: a configuration, a supervised channel, an echo call, and a reader of events.

use std::{future::Future, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Status};
use tonic_supervisor::{
    CallOptions, CallReport, Config, ConfigBuilder, ConnectivityState, Event, EventItem, EventStream, Fact, Snapshot,
    SupervisedChannel, Supervisor, testing::MemoryNetwork, transport::Target,
};

/// Where the tests' servers listen on a network in memory.
pub(crate) const SERVER: &str = "server:50051";
/// A method that every server of the tests answers.
pub(crate) const ECHO: &str = "/test.Echo/Echo";
/// Longer than anything that shall happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The defaults, aimed at [`SERVER`].
pub(crate) fn config() -> ConfigBuilder {
    Config::builder().host("server").port(50_051)
}

/// The defaults, aimed at `target`.
pub(crate) fn config_for(target: &Target) -> ConfigBuilder {
    Config::builder().host(&*target.host).port(target.port)
}

/// A supervisor on a network in memory, with dice that always fall the same.
pub(crate) fn supervise(network: &MemoryNetwork, config: ConfigBuilder) -> Supervisor {
    let config = config.build().expect("a test's configuration is valid");
    Supervisor::builder(config).connector(network.connector()).seed(1).spawn()
}

/// A supervisor on TCP.
pub(crate) fn supervise_tcp(config: ConfigBuilder) -> Supervisor {
    Supervisor::builder(config.build().expect("a test's configuration is valid")).seed(1).spawn()
}

/// One unary call; its answer.
pub(crate) async fn echo(channel: &SupervisedChannel, options: CallOptions) -> Result<String, Status> {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(options);
    channel.unary::<String, String>(ECHO, request).await.map(tonic::Response::into_inner)
}

/// The same, and when it ended.
pub(crate) async fn timed_echo(
    channel: &SupervisedChannel,
    options: CallOptions,
) -> (Duration, Result<String, Status>) {
    let began = Instant::now();
    let answer = echo(channel, options).await;
    (began.elapsed(), answer)
}

/// `count` echo calls, started one after the other, in tasks of their own.
pub(crate) fn echoes(
    channel: &SupervisedChannel,
    options: CallOptions,
    count: usize,
) -> Vec<tokio::task::JoinHandle<(Duration, Result<String, Status>)>> {
    let call = |_| {
        let channel = channel.clone();
        tokio::spawn(async move { timed_echo(&channel, options).await })
    };
    (0..count).map(call).collect()
}

pub(crate) async fn join<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let joined = futures::future::join_all(tasks).await;
    joined.into_iter().map(|result| result.expect("the task does not panic")).collect()
}

/// What happened to a failed call.
pub(crate) fn report(status: &Status) -> &CallReport {
    CallReport::of(status).unwrap_or_else(|| panic!("no report in {status:?}"))
}

/// Whether `time` is `expected`, but for the rounding of timers.
#[track_caller]
pub(crate) fn assert_time(time: Duration, expected: Duration) {
    assert!(time.abs_diff(expected) <= millis(2), "{time:?} instead of {expected:?}");
}

/// Lets everything happen that needs no time.
pub(crate) async fn settle() {
    tokio::time::sleep(millis(1)).await;
}

/// Waits until `ready` holds; bounded, by the clock of the test.
pub(crate) async fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let waiting = async {
        while !ready() {
            tokio::time::sleep(millis(1)).await;
        }
    };
    bounded(what, waiting).await;
}

pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Reads a supervisor's events, and keeps what it has read.
pub(crate) struct Events {
    stream: EventStream,
    pub(crate) snapshot: Snapshot,
    pub(crate) seen: Vec<Event>,
}

impl Events {
    pub(crate) async fn of(supervisor: &Supervisor) -> Self {
        let mut stream = supervisor.events();
        let Some(EventItem::Snapshot(snapshot)) = stream.next().await else { panic!("the snapshot comes first") };
        Self { stream, snapshot: *snapshot, seen: Vec::new() }
    }

    /// The next event; none after the last.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        match bounded("an event", self.stream.next()).await? {
            EventItem::Event(event) => {
                self.seen.push(event.clone());
                Some(event)
            }
            other => panic!("only events follow the snapshot: {other:?}"),
        }
    }

    /// The next event with a fact that is wanted; those before it are kept in `seen`.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Fact) -> bool) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("ended after {:#?}", self.seen));
            if wanted(&event.fact) {
                return event;
            }
        }
    }

    /// The next change to this state.
    pub(crate) async fn until_state(&mut self, state: ConnectivityState) -> Event {
        self.until(|fact| matches!(fact, Fact::StateChanged { to, .. } if *to == state)).await
    }

    /// Reads what is there already; all facts so far.
    pub(crate) async fn facts(&mut self) -> Vec<Fact> {
        while let Some(Some(item)) = futures::FutureExt::now_or_never(self.stream.next()) {
            match item {
                EventItem::Event(event) => self.seen.push(event),
                other => panic!("only events follow the snapshot: {other:?}"),
            }
        }
        self.seen.iter().map(|event| event.fact.clone()).collect()
    }

    /// The states of all changes so far.
    pub(crate) async fn states(&mut self) -> Vec<ConnectivityState> {
        let to = |fact: &Fact| match fact {
            Fact::StateChanged { to, .. } => Some(*to),
            _ => None,
        };
        self.facts().await.iter().filter_map(to).collect()
    }
}
