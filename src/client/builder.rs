//! How a supervisor is spawned: its configuration, and what only code can give.
//!
//! A configuration file cannot hold a connector, credentials or descriptors.

use super::{
    descriptors::{self, DescriptorError},
    supervisor::Supervisor,
    token_file::TokenFile,
};
use crate::{
    actor::{self, Core, EndpointSource},
    call::{CallCredentials, Credentials, Propagation, Propagator},
    config::{Balancing, Config, Target},
    model::{CallKind, Endpoint},
    transport::{Connector, GuardedConnector, NetConnector, Resolver},
};
use ractor::{ActorCell, SpawnErr};
use std::{fmt, net::IpAddr, sync::Arc};
use tokio::{runtime, sync::watch};

/// Spawns a [`Supervisor`] with more than its configuration; see [`Supervisor::builder`].
#[must_use = "a builder does nothing until `spawn`"]
pub struct SupervisorBuilder {
    name: Option<String>,
    config: Config,
    connector: Option<Arc<dyn Connector>>,
    credentials: Option<Arc<dyn CallCredentials>>,
    allow_plaintext: bool,
    propagation: Option<Arc<dyn Propagation>>,
    described: Vec<(String, CallKind)>,
    endpoints: Option<watch::Receiver<Arc<[Endpoint]>>>,
    resolver: Option<Arc<dyn Resolver>>,
    rng_seed: Option<u64>,
}

/// What a spawn says that no runtime would run.
const OUTSIDE: &str = "a supervisor needs a tokio runtime to live on, and there is none here: \
                       spawn it in an async fn (under #[tokio::main], say), or after \
                       `let _guard = runtime.enter();`";

impl SupervisorBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            name: None,
            config,
            connector: None,
            credentials: None,
            allow_plaintext: false,
            propagation: None,
            described: Vec::new(),
            endpoints: None,
            resolver: None,
            rng_seed: None,
        }
    }

    /// What pages and commands call the channel. Default: its target. Where another supervisor of
    /// this process has the name, a number is put behind it: `orders-2`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Tells which methods are unary and which stream: give it what `file_descriptor_set_path` of
    /// tonic's build crates wrote. May be called once for each set; of two that name the same
    /// method, the later one holds.
    ///
    /// Calls of a method that descriptors call unary are retried until their status is known
    /// ([`CallKind::Unary`](crate::CallKind)). Descriptors go before everything else that says what
    /// kind a call is.
    ///
    /// ```
    /// # #[cfg(feature = "agent-queue")]
    /// # async fn example() -> Result<(), tonic_supervisor::DescriptorError> {
    /// # use tonic_supervisor::{Config, Supervisor, agent_queue::DESCRIPTORS};
    /// let builder = Supervisor::builder(Config::default()).descriptor_set(DESCRIPTORS)?;
    /// let supervisor = builder.spawn();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The bytes are not an encoded `FileDescriptorSet`.
    pub fn descriptor_set(mut self, encoded: &[u8]) -> Result<Self, DescriptorError> {
        self.described.extend(descriptors::kinds(encoded)?);
        Ok(self)
    }

    /// Opens byte streams with `connector` instead of dialling the target. TLS, where configured,
    /// is spoken over them. A name is given to it as it is, and not looked up: under `round_robin`
    /// it is one server then, unless there is a [`resolver`](Self::resolver).
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Adds what `credentials` give to the metadata of every attempt of every call. Needs TLS, or
    /// [`allow_plaintext`](Self::allow_plaintext): without either, calls fail with UNAUTHENTICATED
    /// and the hook is never asked. It goes before `credentials.token_file`.
    pub fn call_credentials(mut self, credentials: impl CallCredentials) -> Self {
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// Whether call credentials may go out in clear, where TLS is not configured: to a Unix socket,
    /// to a proxy on this machine, or through a [`connector`](Self::connector) that encrypts by
    /// itself. On a network anyone can read them. Default: false.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Puts the current trace into the headers of every attempt of every call, under names such as
    /// `traceparent`: the server's span then hangs below the attempt that reached it.
    /// `examples/otel.rs` is such a hook over OpenTelemetry's own propagator. Default: nothing is
    /// added, and what callers give goes to the server as it is.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tonic_supervisor::{AttemptInfo, Config, Supervisor};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let hook = |attempt: &AttemptInfo, headers: &mut HeaderMap| {
    ///     // The attempt's span is current.
    ///     let span = tracing::Span::current();
    ///     headers.insert("x-attempt", attempt.attempt.into());
    ///     # drop(span);
    /// };
    /// let supervisor = Supervisor::builder(Config::default()).propagation(hook).spawn();
    /// # drop(supervisor);
    /// # }
    /// ```
    pub fn propagation(mut self, propagation: impl Propagation) -> Self {
        self.propagation = Some(Arc::new(propagation));
        self
    }

    /// Takes the endpoints from lists of yours, for discovery of your own: whole lists, of which
    /// the last counts. An endpoint that a list lacks gets no new calls, and its links close when
    /// those they have are over; an empty list means that there is none, and calls wait. When the
    /// sender is dropped, the last list holds on.
    ///
    /// The target of the configuration stays what calls are addressed to (`:authority`), what
    /// certificates are for, and what metrics call the channel; it is not dialled.
    ///
    /// ```
    /// use tokio::sync::watch;
    /// use tonic_supervisor::{Address, Config, Endpoint, Supervisor, config::Balancing};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tonic_supervisor::ConfigError> {
    /// let first = Endpoint::from(Address::new("10.0.0.7", 50051));
    /// let (lists, given) = watch::channel([first].into());
    /// let config = Config::builder().balancing_policy(Balancing::RoundRobin).build()?;
    /// let supervisor = Supervisor::builder(config).endpoints(given).spawn();
    /// let more = ["10.0.0.7", "10.0.0.8"].map(|host| Endpoint::from(Address::new(host, 50051)));
    /// lists.send_replace(more.into());
    /// # drop(supervisor);
    /// # Ok(()) }
    /// ```
    pub fn endpoints(mut self, lists: watch::Receiver<Arc<[Endpoint]>>) -> Self {
        self.endpoints = Some(lists);
        self
    }

    /// Looks the servers up with `resolver` instead of taking them from the target: at the start,
    /// at times, and when links are lost; see the keys below `resolve`. Goes before
    /// [`endpoints`](Self::endpoints).
    ///
    /// The target of the configuration stays what calls are addressed to (`:authority`), what
    /// certificates are for, and what metrics call the channel; it is not dialled.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// How many bytes of answers that nobody has read a link may hold, over all its calls; one call
    /// holds at most 2 MiB. Default: 5 MiB, which is right where whoever makes calls reads the
    /// answers. Where calls are made for others, three that read nothing would stop all the rest,
    /// so give it more, as the command `proxy` does. At most 2 GiB.
    pub fn unread_answers(mut self, bytes: usize) -> Self {
        const MOST: u32 = (1 << 31) - 1;
        let bytes = u32::try_from(bytes).unwrap_or(MOST);
        // Below what HTTP/2 begins with there is nothing to set.
        self.config.unread_answers = Some(bytes.clamp(1 << 16, MOST));
        self
    }

    /// Seeds the random numbers for jitter and spread, for tests that must repeat. By default the
    /// seed is random.
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.rng_seed = Some(seed);
        self
    }

    /// Starts supervising; see [`Supervisor::spawn`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as [`Supervisor::spawn`] does.
    #[track_caller]
    pub fn spawn(self) -> Supervisor {
        assert!(runtime::Handle::try_current().is_ok(), "{OUTSIDE}");
        let core = self.core();
        actor::spawn(core.clone());
        Supervisor::over(core)
    }

    /// Starts supervising under an actor; see [`Supervisor::spawn_linked`].
    ///
    /// # Errors
    ///
    /// There is no tokio runtime here, or `supervisor` has ended.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`Supervisor::spawn_linked`].
    pub async fn spawn_linked(self, supervisor: ActorCell) -> Result<Supervisor, SpawnErr> {
        if runtime::Handle::try_current().is_err() {
            return Err(SpawnErr::StartupFailed(OUTSIDE.into()));
        }
        let core = self.core();
        actor::spawn_linked(core.clone(), supervisor).await?;
        Ok(Supervisor::over(core))
    }

    fn core(self) -> Arc<Core> {
        for warning in self.config.warnings() {
            log_line!(warn, "{warning}");
        }
        // Where a connector of the caller's goes is not known here.
        let own = self.connector.is_none() && self.endpoints.is_none() && self.resolver.is_none();
        let stays = own && self.config.target().is_on_this_machine();
        let mut named = EndpointSource::Target;
        let connector: Arc<dyn Connector> = match self.connector {
            Some(connector) => Arc::new(GuardedConnector(connector)),
            None => {
                let connector = NetConnector::default();
                named = name(&self.config, &connector);
                Arc::new(connector)
            }
        };
        let endpoints = match (self.resolver, self.endpoints) {
            (Some(resolver), _) => EndpointSource::Resolver { resolver, by_dial: false },
            (None, Some(lists)) => EndpointSource::Given(lists),
            (None, None) => named,
        };
        let credentials = match (self.credentials, self.config.token_file()) {
            (Some(hook), _) => Some(Credentials { hook, allow_plaintext: self.allow_plaintext }),
            (None, Some(path)) => {
                let hook = Arc::new(TokenFile::new(path));
                Some(Credentials { hook, allow_plaintext: self.allow_plaintext || stays })
            }
            (None, None) => None,
        };
        let core = Core::new(
            self.name,
            self.config,
            connector,
            credentials,
            self.propagation.map(Propagator::new),
            endpoints,
            self.rng_seed,
        );
        core.calls.describe(self.described);
        let core = Arc::new(core);
        core.register();
        core
    }
}

/// The target's servers, which are looked up where it is a name. A connector of the user's is given
/// the name.
fn name(config: &Config, connector: &NetConnector) -> EndpointSource {
    match config.target() {
        Target::Host { host, port } if host.parse::<IpAddr>().is_err() && !host.contains('%') => {
            let resolver = Arc::new(connector.resolver(host, *port));
            let by_dial = config.balancing() == Balancing::PickFirst;
            EndpointSource::Resolver { resolver, by_dial }
        }
        _ => EndpointSource::Target,
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("config", &self.config)
            .field("rng_seed", &self.rng_seed)
            .finish_non_exhaustive()
    }
}
