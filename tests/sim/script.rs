//! A fault script: one simulated life of a supervisor, written down. Drawn from a seed by `draw`,
//! or by hand.
//!
//! ```text
//! Script::quiet(7)
//!     .call(Call::unary(ms(100)).answered([Fate::status(Code::Unavailable)]))
//!     .at(ms(150), Fault::BlackHole)
//!     .at(secs(4), Fault::Mend)
//! ```

pub(crate) use crate::fate::{Ending, Fate};

use crate::fleet::{List, SERVERS, Whom};
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::{
    Child, Config, ConfigBuilder, Mutation, config::Balancing, testing::PanicSpot,
};

/// The host that calls.
pub(crate) const CLIENT: &str = "client";
pub(crate) const PORT: u16 = 50_051;

/// More attempts no call of a script has.
const MOST_ATTEMPTS: u32 = 30;

/// One simulated life.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Of the random numbers of the network and the supervisor.
    pub(crate) seed: u64,
    /// The network's grain: bytes arrive, and faults begin, at multiples of it.
    pub(crate) tick: Duration,
    /// How long bytes take, at least and at most.
    pub(crate) latency: [Duration; 2],
    pub(crate) config: Config,
    /// How many servers there are.
    pub(crate) servers: usize,
    /// The list of them that is given at first. None: none ever is, and the configuration's target
    /// is the first server.
    pub(crate) list: Option<List>,
    /// The hook for call credentials, if there is one.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Vec<Happening>,
    /// When all faults are over. From then on the supervisor has to get well, and every call has to
    /// end.
    pub(crate) healed: Duration,
    pub(crate) end: End,
    /// A bug to commit.
    pub(crate) mutation: Option<Mutation>,
}

/// A fault, or the end of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happening {
    pub(crate) at: Duration,
    pub(crate) whom: Whom,
    pub(crate) fault: Fault,
}

/// How the supervisor ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Shutdown { grace: Duration },
    DropHandles,
}

/// What the hook for call credentials does when it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials {
    pub(crate) after: Duration,
    /// Every so many times it fails.
    pub(crate) fails: u32,
    /// Every so many times it never answers.
    pub(crate) hangs: u32,
    /// Every so many times it panics.
    pub(crate) panics: u32,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) idempotent: bool,
    pub(crate) wait_for_ready: bool,
    pub(crate) timeout: Duration,
    /// Whether the call itself says its timeout; of kind `auto` it may be the configuration's,
    /// which runs only off the wire.
    pub(crate) states_timeout: bool,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) no_retry: bool,
    pub(crate) size: usize,
    /// Whether it has metadata that HTTP/2 forbids.
    pub(crate) odd: bool,
    /// How long the caller waits before it drops the call.
    pub(crate) patience: Option<Duration>,
    /// What the server does with each arrival of this call; it echoes those beyond.
    pub(crate) fates: Vec<Fate>,
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On the channel.
    Unary,
    /// As a message with a reply port.
    Message,
    /// As a message that nobody waits for.
    OneWay,
    /// On the channel, by a client that reads whatever comes; nobody says what it is.
    Auto,
    /// On the channel, with many answers, as is known.
    Stream,
    /// On the channel, with many requests, one every so often, and many answers.
    Chat { every: Duration },
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Bytes and dials are swallowed until the network is mended, and arrive then.
    BlackHole,
    /// Bytes are lost, and dials are refused.
    Partition,
    /// Bytes from the server are lost.
    Deaf,
    /// Bytes to the server are lost.
    Dumb,
    /// The client's bytes are not taken, as when its buffers are full.
    Clog,
    /// Undoes the five above.
    Mend,
    /// Bytes take this long from now on.
    Latency(Duration),
    /// The server's machine dies: its connections close, dials to it hang.
    Crash,
    /// The server's machine starts, anew if it was running.
    Boot,
    Server(ServerFault),
    /// The next handlings of this message panic, or the next tasks of this name.
    Panic(Child, &'static str, u32),
    /// The connector's code panics there the next times.
    Unruly(PanicSpot, u32),
    /// The supervisor is given another list of servers.
    List(List),
    ReconnectNow,
    Shutdown {
        grace: Duration,
    },
    DropHandles,
}

/// Something that the server does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ServerFault {
    /// GOAWAY on every connection, and it closes when its calls are answered.
    GoAway,
    /// GOAWAY on every connection, which is cut in the midst of its calls.
    GoAwayAndCut,
    /// Its port is closed, its connections live on.
    Refuse,
    /// Its port and its connections are closed.
    Kill,
    /// New connections are accepted and hear nothing.
    Mute,
    /// New connections are accepted and closed.
    Slam,
    /// New connections hear that this is HTTP/1.
    Babble,
    /// New connections take no call: each is excluded by a GOAWAY with this code.
    Exclude(u32),
    /// New connections hear GOAWAY as soon as they have answered a call.
    Hasty,
    /// New connections may have so many streams.
    Limit(u32),
    /// Answers take so much longer.
    Slow(Duration),
    /// Every call is answered so.
    Burst(Code),
    /// It says of its health whether it serves, where it is asked.
    HealthSays(bool),
    /// Undoes all of the above, for connections to come.
    Well,
}

impl Script {
    /// A good network, the defaults but for quicker keepalive, and nothing to do for ten seconds.
    pub(crate) fn quiet(seed: u64) -> Self {
        Self {
            seed,
            tick: ms(1),
            latency: [ms(1), ms(3)],
            config: checked(config()),
            servers: 1,
            list: None,
            credentials: None,
            calls: Vec::new(),
            faults: Vec::new(),
            healed: secs(10),
            end: End::Shutdown { grace: secs(1) },
            mutation: None,
        }
    }

    /// The timeout that holds for a call.
    pub(crate) fn timeout_of(&self, call: &Call) -> Duration {
        let configured = self.config.timeout().unwrap_or(Duration::MAX);
        if call.states_timeout { call.timeout } else { configured }
    }

    /// How long a call may take at most until so many attempts have failed. A timeout that it does
    /// not state runs only off the wire, where each attempt may be for `attempt_timeout`.
    pub(crate) fn longest_until(&self, call: &Call, attempts: u32) -> Duration {
        let on_wire = if call.states_timeout {
            Duration::ZERO
        } else {
            call.attempt_timeout.unwrap_or_default()
        };
        self.timeout_of(call) + on_wire * attempts
    }

    /// How long a call may take at all: an answer that has begun ends soon, or with its link.
    pub(crate) fn longest_of(&self, call: &Call) -> Duration {
        let ending = if call.states_timeout { Duration::ZERO } else { secs(60) };
        self.longest_until(call, MOST_ATTEMPTS) + ending
    }

    /// One more call.
    pub(crate) fn call(mut self, call: Call) -> Self {
        self.calls.push(call);
        self
    }

    /// One more fault, of every server if it is a server's.
    pub(crate) fn at(self, at: Duration, fault: Fault) -> Self {
        self.happens(at, Whom::All, fault)
    }

    /// One more fault, of one server.
    pub(crate) fn at_server(self, server: usize, at: Duration, fault: Fault) -> Self {
        self.happens(at, Whom::One(server), fault)
    }

    fn happens(mut self, at: Duration, whom: Whom, fault: Fault) -> Self {
        self.faults.push(Happening { at, whom, fault });
        self.faults.sort_by_key(|happening| happening.at);
        self
    }

    /// The same life with so many servers, which are given as a list, called in turn.
    pub(crate) fn with_servers(mut self, servers: usize, connections: usize) -> Self {
        let config = config().balancing_policy(Balancing::RoundRobin).connections(connections);
        (self.config, self.servers) = (checked(config), servers);
        self.list = Some(List::first(servers));
        self
    }

    /// The same with servers whose health is watched.
    pub(crate) fn watched(mut self, servers: usize) -> Self {
        self = self.with_servers(servers, 1);
        let config = config().balancing_policy(Balancing::RoundRobin).health_service("");
        self.config = checked(config);
        self
    }

    /// The same life with a bug.
    pub(crate) fn with(mut self, mutation: Mutation) -> Self {
        self.mutation = Some(mutation);
        self
    }
}

/// What scripts change of it: the target is the first server, and a dead link is noticed within
/// 4 s.
pub(crate) fn config() -> ConfigBuilder {
    Config::builder()
        .host(SERVERS[0])
        .port(PORT)
        .keepalive_floor(ms(100))
        .keepalive_time(secs(3))
        .keepalive_timeout(secs(1))
}

pub(crate) fn checked(config: ConfigBuilder) -> Config {
    config.build().expect("a script's configuration is valid")
}

impl Call {
    fn new(kind: Kind, at: Duration) -> Self {
        Self {
            at,
            kind,
            idempotent: true,
            wait_for_ready: true,
            timeout: secs(20),
            states_timeout: true,
            attempt_timeout: None,
            no_retry: false,
            size: 16,
            odd: false,
            patience: None,
            fates: Vec::new(),
        }
    }

    pub(crate) fn unary(at: Duration) -> Self {
        Self::new(Kind::Unary, at)
    }

    pub(crate) fn of(kind: Kind, at: Duration) -> Self {
        Self::new(kind, at)
    }

    /// Running it twice does harm.
    pub(crate) fn once(mut self) -> Self {
        self.idempotent = false;
        self
    }

    pub(crate) fn answered(mut self, fates: impl IntoIterator<Item = Fate>) -> Self {
        self.fates = fates.into_iter().collect();
        self
    }

    pub(crate) fn is_unary(&self) -> bool {
        !matches!(self.kind, Kind::Auto | Kind::Stream | Kind::Chat { .. })
    }

    pub(crate) fn is_known_to_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream | Kind::Chat { .. })
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
