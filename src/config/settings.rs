//! The checked configuration: what every other chapter reads. It cannot be built otherwise than through the checks.

#[cfg(feature = "yaml")]
use super::error::ConfigError;
use super::{builder::ConfigBuilder, layers::Layers, method::MethodRule, target::Endpoint, tls::Tls};
use crate::policy::{Backoff, Intensity, RetryPolicy, ThrottleRule};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How a channel behaves. Every key has a default; see [`ConfigBuilder`] for how to change them, and
/// `docs/configuration.md` for all keys with their units and reasons.
///
/// ```
/// use std::time::Duration;
/// use tonic_supervisor::Config;
/// let config = Config::builder().host("queue.internal").max_retry_attempts(5).initial_backoff(Duration::from_secs(2)).build()?;
/// assert_eq!(config.host(), "queue.internal");
/// assert_eq!(config.keepalive().timeout(), Duration::from_secs(5));
/// # Ok::<(), tonic_supervisor::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Option<Tls>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) credentials_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) wait_for_ready: bool,
    pub(crate) wait_for_ready_said: Said,
    pub(crate) max_replay_bytes: usize,
    pub(crate) max_request_message_bytes: Option<usize>,
    pub(crate) max_response_message_bytes: Option<usize>,
    pub(crate) max_response_header_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_draining_links: usize,
    pub(crate) request_actors: usize,
    pub(crate) keepalive: Keepalive,
    pub(crate) reconnect: Reconnect,
    pub(crate) queue: Queue,
    pub(crate) intensity: Intensity,
    pub(crate) throttle: ThrottleRule,
    pub(crate) methods: Vec<MethodRule>,
    pub(crate) warnings: Vec<String>,
}

/// Whether a value was said, by whomever, or is the default. Configurations with the same values
/// are equal either way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said(pub(crate) bool);

impl PartialEq for Said {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// When a silent link is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub(crate) time: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) permit_without_calls: bool,
    pub(crate) floor: Duration,
}

/// When to dial again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnect {
    pub(crate) idle: Backoff,
    pub(crate) waiting: Backoff,
    pub(crate) jitter: f64,
    pub(crate) spread: Duration,
    pub(crate) stable_after: Duration,
}

/// How much the waiting room takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub(crate) max_calls: usize,
    pub(crate) max_bytes: usize,
}

impl Config {
    /// The seed's keepalive time, about which nobody is warned.
    pub(super) const DEFAULT_KEEPALIVE_TIME: Duration = Duration::from_secs(30);

    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// The file at `path`, overruled by the environment (`TONIC_SUPERVISOR_GRPC_...`).
    #[cfg(feature = "yaml")]
    pub fn load(path: impl Into<std::path::PathBuf>) -> Result<Self, ConfigError> {
        Self::builder().file(path).environment().build()
    }

    /// The text of a file, and nothing else.
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        Self::builder().yaml(text).build()
    }

    /// The rule for a method, named `pkg.Service/Method` with or without a leading slash: its own, else that of
    /// `pkg.Service/*`, else that of `*`.
    pub fn method(&self, name: &str) -> Option<&MethodRule> {
        let name = name.strip_prefix('/').unwrap_or(name);
        self.methods.iter().find(|rule| rule.matches(name))
    }

    /// Where the server is; `127.0.0.1:50051` by default.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The server's name or address, without scheme or port; empty where the target has none, `127.0.0.1` by default.
    pub fn host(&self) -> &str {
        match &self.endpoint {
            Endpoint::Host { host, .. } => host,
            _ => "",
        }
    }

    /// The server's port; 0 where the target has none, 50051 by default.
    pub fn port(&self) -> u16 {
        match &self.endpoint {
            Endpoint::Host { port, .. } => *port,
            _ => 0,
        }
    }

    /// How links are encrypted; none: they are not, the default.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The file with the bearer token that every attempt sends; none by default.
    pub fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// The time a whole unary call may take that states none of its own: queue, dials, attempts and
    /// waits together. 60 s by default, above `keepalive_time` + `keepalive_timeout`.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The time one attempt may take before it is retried, within [`timeout`](Self::timeout); none by default.
    pub fn attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    /// The time one dial may take, from the name's lookup over the TLS handshake to the server's first SETTINGS; 20 s by default.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The time that call credentials may take for one attempt; 10 s by default.
    pub fn credentials_timeout(&self) -> Duration {
        self.credentials_timeout
    }

    /// When failed attempts are tried again, for methods without a rule of their own; by default the seed's 3 retries
    /// after 1, 2 and 4 s.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Whether calls wait for a link until their deadline (true, the default) or fail while the
    /// channel is failing. Where it was said, and is not the default, they also wait before the
    /// first link while the first dials find a wrong peer.
    pub fn wait_for_ready(&self) -> bool {
        self.wait_for_ready
    }

    /// The largest request, in bytes, that is kept so that it can be sent again; 4 MiB by default.
    pub fn max_replay_bytes(&self) -> usize {
        self.max_replay_bytes
    }

    /// The largest message, in bytes, that a unary call may send; none, the default: the server decides.
    pub fn max_request_message_bytes(&self) -> Option<usize> {
        self.max_request_message_bytes
    }

    /// The largest answer, in bytes, to `SupervisedChannel::unary` and to messages; 4 MiB by default, none: no limit.
    pub fn max_response_message_bytes(&self) -> Option<usize> {
        self.max_response_message_bytes
    }

    /// The largest head of an answer, and the largest trailers, in bytes as HTTP/2 counts them; 16
    /// KiB by default.
    pub fn max_response_header_bytes(&self) -> usize {
        self.max_response_header_bytes
    }

    /// How many calls may be under way on one link, beside the server's own limit; 1,000 by default.
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// How many links may finish their calls beside the one in use; 16 by default.
    pub fn max_draining_links(&self) -> usize {
        self.max_draining_links
    }

    /// How many actors share the calls; 1 by default, which keeps their order.
    pub fn request_actors(&self) -> usize {
        self.request_actors
    }

    /// When a silent link is asked for a sign of life.
    pub fn keepalive(&self) -> &Keepalive {
        &self.keepalive
    }

    /// The keepalive time that is used, never below the floor; none: keepalive is off.
    pub fn effective_keepalive_time(&self) -> Option<Duration> {
        self.keepalive.effective_time()
    }

    /// When to dial again.
    pub fn reconnect(&self) -> &Reconnect {
        &self.reconnect
    }

    /// How much the waiting room takes.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How many failures of actors in which time are restarted at once; 5 in 10 s by default.
    pub fn intensity(&self) -> Intensity {
        self.intensity
    }

    /// How retries after statuses from the server are throttled; by default each is a debt, of
    /// which a call repays 0.2 and a second 10.
    pub fn retry_throttle(&self) -> ThrottleRule {
        self.throttle
    }

    /// The rules for methods, the narrowest first: methods, then services, then `*`.
    pub fn methods(&self) -> &[MethodRule] {
        &self.methods
    }

    /// What is allowed but probably not meant, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Default for Config {
    fn default() -> Self {
        super::check::config(Layers::default()).expect("defaults keep the rules")
    }
}

impl Keepalive {
    /// The time as configured; none: keepalive is off. 30 s by default.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }

    /// The time that is used, never below [`floor`](Self::floor).
    pub fn effective_time(&self) -> Option<Duration> {
        self.time.map(|time| time.max(self.floor))
    }

    /// How long to wait for the sign of life before the link is taken for dead; 5 s by default.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether links without calls are asked too; true by default.
    pub fn permit_without_calls(&self) -> bool {
        self.permit_without_calls
    }

    /// The shortest time that is used (gRPC A8); 10 s by default.
    pub fn floor(&self) -> Duration {
        self.floor
    }
}

impl Reconnect {
    /// The waits while no call waits: 1.0 x 1.6 up to 10 s by default.
    pub fn idle(&self) -> Backoff {
        self.idle
    }

    /// The waits while calls wait: 0.05 x 2 up to 1 s by default.
    pub fn waiting(&self) -> Backoff {
        self.waiting
    }

    /// The share by which every wait varies; 0.2 by default.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The first dial after losing a proven link comes at a random moment within this time; 20 ms by default.
    pub fn spread(&self) -> Duration {
        self.spread
    }

    /// A link that lived this long is proven, and the waits start over; 10 s by default.
    pub fn stable_after(&self) -> Duration {
        self.stable_after
    }
}

impl Queue {
    /// How many calls may be open, waiting or under way; 100,000 by default.
    pub fn max_calls(&self) -> usize {
        self.max_calls
    }

    /// How many bytes of requests may wait; 64 MiB by default.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}
