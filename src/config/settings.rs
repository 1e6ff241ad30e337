//! The checked configuration that every other chapter reads.
//!
//! It can only be made by the builder, which checks it: whoever has one need not check a value
//! again.

#[cfg(feature = "tls")]
use super::error::Problem;
use super::{
    balancing::Balancing,
    effective::{Effective, Provenance},
    health::HealthChecks,
    keys::{key_doc, link_key_doc},
    method::MethodRule,
    resolve::{Period, Resolve, Shuffle},
    target::Target,
    tls::TlsConfig,
};
use crate::model::Endpoint;
use crate::policy::{Backoff, EjectionRule, Intensity, RetryPolicy, Schedules, ThrottleRule};
use http::HeaderName;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How a channel behaves. Every key has a default; see [`ConfigBuilder`](super::ConfigBuilder) for
/// how to change them, and `docs/configuration.md` for all keys with their units and reasons.
///
/// ```
/// use std::time::Duration;
/// use tonic_supervisor::Config;
/// let config = Config::builder()
///     .host("queue.internal")
///     .max_retry_attempts(5)
///     .initial_backoff(Duration::from_secs(2))
///     .build()?;
/// assert_eq!(config.host(), "queue.internal");
/// assert_eq!(config.keepalive().timeout(), Duration::from_secs(5));
/// # Ok::<(), tonic_supervisor::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) target: Target,
    pub(crate) balancing: Balancing,
    pub(crate) shuffle: Shuffle,
    pub(crate) choices: usize,
    pub(crate) sticky_header: Option<HeaderName>,
    pub(crate) subset: Option<usize>,
    pub(crate) connections: usize,
    pub(crate) ejection: EjectionRule,
    pub(crate) resolve: Resolve,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) credentials_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) wait_for_ready: bool,
    pub(crate) retry_undescribed: bool,
    pub(crate) refuse_late: bool,
    pub(crate) max_replay_bytes: usize,
    pub(crate) max_request_message_bytes: Option<usize>,
    pub(crate) max_response_message_bytes: Option<usize>,
    pub(crate) max_response_header_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_draining_links: usize,
    pub(crate) request_actors: usize,
    pub(crate) keepalive: Keepalive,
    pub(crate) health: HealthChecks,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_connection_age: Option<Duration>,
    pub(crate) reconnect: Reconnect,
    pub(crate) queue: Queue,
    pub(crate) intensity: Intensity,
    pub(crate) throttle: ThrottleRule,
    pub(crate) methods: Vec<MethodRule>,
    /// What a link may hold of answers that nobody has read, where the builder says so.
    pub(crate) unread_answers: Option<u32>,
    pub(crate) provenance: Provenance,
}

/// When keepalive pings are sent.
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
    pub(crate) refused_max_backoff: Duration,
    pub(crate) jitter: f64,
    pub(crate) spread: Duration,
    pub(crate) stable_after: Duration,
}

/// How many calls may wait for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub(crate) max_calls: usize,
    pub(crate) max_bytes: usize,
}

impl Config {
    /// The rule for a method, named `pkg.Service/Method` with or without a leading slash: its own,
    /// else that of `pkg.Service/*`, else that of `*`.
    pub fn method(&self, name: &str) -> Option<&MethodRule> {
        let name = name.strip_prefix('/').unwrap_or(name);
        self.methods.iter().find(|rule| rule.matches(name))
    }

    /// Where the server is: `target`, or `host` and `port`.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The endpoints that the target names: one of all its addresses under `pick_first`, else one
    /// for each address.
    pub(crate) fn target_endpoints(&self) -> Vec<Endpoint> {
        let addresses = self.target.addresses();
        match self.balancing {
            Balancing::PickFirst => vec![Endpoint::of(addresses)],
            _ => addresses.into_iter().map(Endpoint::from).collect(),
        }
    }

    /// The server's name or address, without scheme or port; empty where the target has none.
    pub fn host(&self) -> &str {
        match &self.target {
            Target::Host { host, .. } => host,
            _ => "",
        }
    }

    /// The server's port; 0 where the target has none.
    pub fn port(&self) -> u16 {
        match &self.target {
            Target::Host { port, .. } => *port,
            _ => 0,
        }
    }

    /// How links are encrypted; none: they are not, the default.
    pub fn tls(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }

    /// The file with the bearer token that every attempt sends; none by default.
    pub fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// When failed attempts are tried again, for methods without a rule of their own: the keys of
    /// `Retries`.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// When keepalive pings are sent.
    pub fn keepalive(&self) -> &Keepalive {
        &self.keepalive
    }

    /// The keepalive time that is used, never below the floor; none: keepalive is off.
    pub fn effective_keepalive_time(&self) -> Option<Duration> {
        self.keepalive.effective_time()
    }

    /// When an endpoint is ejected: the keys below `ejection`.
    pub fn ejection(&self) -> EjectionRule {
        self.ejection
    }

    /// Whether endpoints are ejected: under `pick_first` there is but one.
    pub(crate) fn ejects(&self) -> bool {
        self.ejection.consecutive_failures > 0 && self.balancing != Balancing::PickFirst
    }

    /// The header whose value chooses the server; none by default.
    pub fn sticky_header(&self) -> Option<&str> {
        self.sticky_header.as_ref().map(HeaderName::as_str)
    }

    /// When names are looked up.
    pub fn resolve(&self) -> &Resolve {
        &self.resolve
    }

    /// How servers are asked whether they serve.
    pub fn health(&self) -> &HealthChecks {
        &self.health
    }

    /// When to dial again.
    pub fn reconnect(&self) -> &Reconnect {
        &self.reconnect
    }

    /// How many calls may wait for a link.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How many failures of actors in which time are restarted at once: `intensity.restarts` and
    /// `intensity.period`.
    pub fn intensity(&self) -> Intensity {
        self.intensity
    }

    /// How retries after statuses from the server are throttled: the keys below `retry_throttle`.
    pub fn retry_throttle(&self) -> ThrottleRule {
        self.throttle
    }

    /// The rules for methods, the narrowest first: methods, then services, then `*`.
    pub fn methods(&self) -> &[MethodRule] {
        &self.methods
    }

    /// Every key with its effective value and where that comes from; then what was set for methods,
    /// the narrowest pattern first.
    ///
    /// ```
    /// use tonic_supervisor::Config;
    /// let config = Config::builder().max_in_flight(100).build()?;
    /// let lines: Vec<String> = config.effective().iter().map(|one| one.to_string()).collect();
    /// let line = "grpc.max_in_flight is 100 (builder method max_in_flight(..))";
    /// assert!(lines.contains(&line.into()));
    /// assert!(lines.contains(&"grpc.max_backoff is 10.0 (default)".into()));
    /// # Ok::<(), tonic_supervisor::ConfigError>(())
    /// ```
    pub fn effective(&self) -> Vec<Effective> {
        self.provenance.effective(&self.methods)
    }

    /// A problem with the value of the key at `path`.
    #[cfg(feature = "tls")]
    pub(crate) fn problem_with(&self, path: &str, rule: &str) -> Problem {
        self.provenance.problem_with(path, rule)
    }

    /// What is allowed but probably not intended, one sentence each. A supervisor logs them when it
    /// starts.
    pub fn warnings(&self) -> &[String] {
        &self.provenance.warnings
    }

    /// What the author of a configuration should know, one sentence each; never logged.
    pub fn notes(&self) -> &[String] {
        &self.provenance.notes
    }
}

impl HealthChecks {
    /// The service whose health is watched (`health.service`); an empty text is the server as a
    /// whole.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }
}

impl Keepalive {
    /// The time that is used, never below [`floor`](Self::floor).
    pub fn effective_time(&self) -> Option<Duration> {
        self.time.map(|time| time.max(self.floor))
    }
}

impl Reconnect {
    /// The waits while no call waits: `reconnect.initial_backoff`, `reconnect.backoff_multiplier`
    /// and `reconnect.max_backoff`.
    pub fn idle(&self) -> Backoff {
        self.idle
    }

    /// The waits while calls wait: `reconnect.waiting_initial_backoff`,
    /// `reconnect.waiting_backoff_multiplier` and `reconnect.waiting_max_backoff`.
    pub fn waiting(&self) -> Backoff {
        self.waiting
    }

    /// The wait while calls wait, before its jitter, after the `n`th dial in a row that failed,
    /// counted from 0, if that one was refused. Nobody listens there, so the server may be about to
    /// start: for the first 27 dials no wait is much longer than `reconnect.refused_max_backoff`.
    pub fn refused_delay(&self, n: u32) -> Duration {
        self.schedules().while_refused(n)
    }

    pub(crate) fn schedules(&self) -> Schedules {
        Schedules {
            idle: self.idle,
            waiting: self.waiting,
            refused_max: self.refused_max_backoff,
            jitter: self.jitter,
            spread: self.spread,
        }
    }
}

/// The getters of single keys, with the documentation that the table of keys has.
macro_rules! getters {
    ($docs:ident: $($of:ident { $($name:ident: $type:ty = $key:ident;)+ })+) => {
        $(impl $of {$(
            #[doc = $docs!($key)]
            pub fn $name(&self) -> $type {
                self.$name
            }
        )+})+
    };
}

getters! {
    key_doc:
    Config {
        timeout: Option<Duration> = timeout;
        attempt_timeout: Option<Duration> = attempt_timeout;
        connect_timeout: Duration = connect_timeout;
        credentials_timeout: Duration = credentials_timeout;
        wait_for_ready: bool = wait_for_ready;
        retry_undescribed: bool = retry_undescribed;
        refuse_late: bool = refuse_late;
        max_replay_bytes: usize = max_replay_bytes;
        max_request_message_bytes: Option<usize> = max_request_message_bytes;
        max_response_message_bytes: Option<usize> = max_response_message_bytes;
        max_response_header_bytes: usize = max_response_header_bytes;
        balancing: Balancing = balancing_policy;
        shuffle: Shuffle = balancing_shuffle;
        choices: usize = balancing_choices;
        subset: Option<usize> = balancing_subset;
        connections: usize = connections;
        max_in_flight: usize = max_in_flight;
        max_draining_links: usize = max_draining_links;
        request_actors: usize = request_actors;
    }
    Resolve {
        period: Period = resolve_period;
        min_interval: Duration = resolve_min_interval;
        absent: u32 = resolve_absent;
    }
    Keepalive {
        time: Option<Duration> = keepalive_time;
        timeout: Duration = keepalive_timeout;
        permit_without_calls: bool = keepalive_permit_without_calls;
        floor: Duration = keepalive_floor;
    }
    Reconnect {
        refused_max_backoff: Duration = reconnect_refused_max_backoff;
        jitter: f64 = reconnect_jitter;
        spread: Duration = reconnect_spread;
        stable_after: Duration = reconnect_stable_after;
    }
    Queue {
        max_calls: usize = queue_max_calls;
        max_bytes: usize = queue_max_bytes;
    }
}

getters! {
    link_key_doc:
    Config {
        idle_timeout: Option<Duration> = idle_timeout;
        max_connection_age: Option<Duration> = max_connection_age;
    }
    HealthChecks {
        probe_period: Option<Duration> = health_probe_period;
        probe_timeout: Duration = health_probe_timeout;
        probe_failures: u32 = health_probe_failures;
    }
}
