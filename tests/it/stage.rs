//! What the tests of the whole path share: a scripted server on a network in memory, a supervisor
//! that dials it, and all that was announced. Time is tokio's, paused, so that every time is exact.

use std::time::Duration;
use tokio::sync::watch;
use tonic::{Request, Status};
use tonic_supervisor::{
    CallOptions, CallReport, Config, ConfigBuilder, Event, EventItem, Fact, SupervisedChannel,
    Supervisor,
    testing::{MemoryNetwork, ScriptedServer},
};

/// Where the default configuration dials.
pub(crate) const ADDRESS: &str = "127.0.0.1:50051";
/// A method of the scripted server; it echoes until told otherwise.
pub(crate) const ECHO: &str = "/stage.Echo/Say";
/// No wait of a test is longer.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// A server, and a supervisor that has begun to dial it.
pub(crate) struct Stage {
    pub(crate) network: MemoryNetwork,
    pub(crate) server: ScriptedServer,
    pub(crate) supervisor: Supervisor,
}

/// A stage whose supervisor is configured so.
pub(crate) async fn stage(config: ConfigBuilder) -> Stage {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervised(config, &network);
    Stage { network, server, supervisor }
}

/// A supervisor that dials over `network`.
pub(crate) fn supervised(config: ConfigBuilder, network: &MemoryNetwork) -> Supervisor {
    spawned(config.build().expect("a valid configuration"), network)
}

/// The same, which knows methods by these descriptors.
pub(crate) fn described(config: ConfigBuilder, network: &MemoryNetwork, set: &[u8]) -> Supervisor {
    let config = config.build().expect("a valid configuration");
    let builder = Supervisor::builder(config).connector(network.connector()).rng_seed(1);
    builder.descriptor_set(set).expect("a descriptor set").spawn()
}

/// The same, from a configuration that is checked already.
pub(crate) fn spawned(config: Config, network: &MemoryNetwork) -> Supervisor {
    Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn()
}

impl Stage {
    /// The times at which calls arrived at the server.
    pub(crate) fn arrivals_at(&self) -> Vec<Duration> {
        self.server.arrivals().iter().map(|arrival| millis(arrival.at)).collect()
    }

    /// The header `grpc-previous-rpc-attempts` of each call that arrived at the server.
    pub(crate) fn previous_attempts(&self) -> Vec<Option<String>> {
        self.server.arrivals().into_iter().map(|arrival| arrival.previous_attempts).collect()
    }
}

/// One unary call.
pub(crate) async fn echo(channel: &SupervisedChannel, text: &str) -> Result<String, Status> {
    echo_with(channel, text, CallOptions::new()).await
}

/// One unary call with options.
pub(crate) async fn echo_with(
    channel: &SupervisedChannel,
    text: &str,
    options: CallOptions,
) -> Result<String, Status> {
    let mut request = Request::new(text.to_owned());
    request.extensions_mut().insert(options);
    channel.unary::<String, String>(ECHO, request).await.map(tonic::Response::into_inner)
}

/// The story of a call that failed.
pub(crate) fn report(status: &Status) -> &CallReport {
    CallReport::of(status).expect("a supervised call's error has its report")
}

/// Whole milliseconds: tokio's timers know no finer time.
pub(crate) fn millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

/// Times given in seconds.
pub(crate) fn seconds(times: &[f64]) -> Vec<Duration> {
    times.iter().map(|time| Duration::from_secs_f64(*time)).collect()
}

/// How long `future` takes, in whole milliseconds, and what it yields.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let started = tokio::time::Instant::now();
    let output = future.await;
    (millis(started.elapsed()), output)
}

/// Every event of a supervisor since this was made.
pub(crate) struct Events(watch::Receiver<Seen>);

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    missed: u64,
}

impl Events {
    pub(crate) fn of(supervisor: &Supervisor) -> Self {
        let mut stream = supervisor.events();
        let (seen, all) = watch::channel(Seen::default());
        tokio::spawn(async move {
            while let Some(item) = stream.next().await {
                seen.send_modify(|seen| match item {
                    EventItem::Event(event) => seen.events.push(event),
                    EventItem::Lagged(missed) => seen.missed += missed,
                    _ => {}
                });
            }
        });
        Self(all)
    }

    /// Waits until `wanted` was announced `times` times; when that was, since the supervisor was
    /// spawned.
    pub(crate) async fn nth(&self, times: usize, wanted: impl Fn(&Fact) -> bool) -> Duration {
        let mut all = self.0.clone();
        let find = |seen: &Seen| {
            let found = seen.events.iter().filter(|event| wanted(&event.fact)).nth(times - 1);
            found.map(|event| millis(event.since_spawn))
        };
        let found = tokio::time::timeout(LONG, all.wait_for(|seen| find(seen).is_some())).await;
        find(&found.expect("announced in time").expect("announced before the end"))
            .expect("just seen")
    }

    /// The same, for the first time.
    pub(crate) async fn first(&self, wanted: impl Fn(&Fact) -> bool) -> Duration {
        self.nth(1, wanted).await
    }

    /// What `pick` makes of the facts so far.
    pub(crate) async fn all<T>(&self, pick: impl Fn(&Fact) -> Option<T>) -> Vec<T> {
        // Lets the reader catch up.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let seen = self.0.borrow();
        assert_eq!(seen.missed, 0, "the test reads too slowly");
        seen.events.iter().filter_map(|event| pick(&event.fact)).collect()
    }
}
