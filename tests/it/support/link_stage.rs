//! What tests of links have beside the rig: channels on TCP, echo calls by the dozen, and a reader
//! of events one after the other.

pub(crate) use crate::support::rig::{
    ADDRESS, SAY, assert_time, bounded, config, eventually, ms, report, secs, supervise,
};

use crate::support::rig::{Ended, say, start, timed};
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic_supervisor::{
    CallOptions, Config, ConfigBuilder, ConnectivityState, Event, EventItem, EventStream, Fact,
    Snapshot, SupervisedChannel, Supervisor, transport::Endpoint,
};

/// Longer than anything that shall happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// The defaults, aimed at `target`.
pub(crate) fn config_for(target: &Endpoint) -> ConfigBuilder {
    Config::builder().host(target.host()).port(target.port())
}

/// A supervisor on TCP.
pub(crate) fn supervise_tcp(config: ConfigBuilder) -> Supervisor {
    Supervisor::builder(config.build().expect("a test's configuration is valid"))
        .rng_seed(1)
        .spawn()
}

/// One unary call; its answer.
pub(crate) async fn echo(
    channel: &SupervisedChannel,
    options: CallOptions,
) -> Result<String, Status> {
    say(channel, "hello", options).await
}

/// The same, and how long it took.
pub(crate) async fn timed_echo(channel: &SupervisedChannel, options: CallOptions) -> Ended {
    timed(echo(channel, options)).await
}

/// `count` of them, started one after the other, in tasks of their own.
pub(crate) fn echoes(
    channel: &SupervisedChannel,
    options: CallOptions,
    count: usize,
) -> Vec<JoinHandle<Ended>> {
    (0..count).map(|_| start(channel, "hello", options)).collect()
}

pub(crate) async fn join<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let joined = futures::future::join_all(tasks).await;
    joined.into_iter().map(|result| result.expect("the task does not panic")).collect()
}

/// Lets everything happen that needs no time.
pub(crate) async fn settle() {
    tokio::time::sleep(ms(1)).await;
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
        let Some(EventItem::Snapshot(snapshot)) = stream.next().await else {
            panic!("the snapshot comes first")
        };
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
