//! What is known of a method: its kind, its rules, its metrics. Looked up once per call, made once
//! per method.

use crate::{
    config::{Config, MethodRule},
    model::{Address, CallKind, MethodCounts, NotRetried, printable},
    policy::WireTime,
    telemetry::MethodMetrics,
    transport::bound_without_metadata,
};
use arc_swap::ArcSwap;
use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use parking_lot::Mutex;
#[cfg(feature = "bridge")]
use std::sync::atomic::AtomicUsize;
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// So many methods a channel remembers: in metrics, in what it learned of them, in what the log
/// said of them. What comes later is served, counted as `other`, and nothing is kept of it: whoever
/// chooses the names of methods, a stranger behind a proxy say, cannot make anything grow.
const REMEMBERED: usize = 1_000;
/// So long, in bytes, a name may be that is remembered: it stands in each series of each metric.
pub(crate) const LONGEST_NAME: usize = 256;
/// So many methods are known by descriptors that a server sent.
#[cfg(feature = "bridge")]
const TOLD: usize = 10_000;

/// One method of one target.
pub(crate) struct Method {
    /// `pkg.Service/Method`.
    pub(crate) name: Arc<str>,
    /// Where its requests go.
    pub(crate) uri: Uri,
    /// What spans call the server: the target's first address.
    pub(super) server: Address,
    /// What a head without metadata comes to at most.
    pub(crate) plain_head: usize,
    /// What descriptors say it is: a fact, while everything else is somebody's word. A server may
    /// say it when the method is in use.
    described: OnceLock<CallKind>,
    /// What configuration says of it.
    pub(crate) rule: Option<MethodRule>,
    pub(crate) metrics: Arc<MethodMetrics>,
    /// How long its answers take, wherever they come from.
    pub(super) wire_time: Mutex<WireTime>,
    /// Whether it is one of those that are remembered.
    remembered: bool,
    /// What a call of it is where nobody says anything.
    otherwise: CallKind,
    hinted: AtomicBool,
    /// Whether it was told what it costs that nobody says whether it may run twice.
    hinted_harm: AtomicBool,
    /// Whether a call of it was seen to stream.
    streamed: AtomicBool,
    /// Whether it was told that a call of it waited long for its answer, and that nothing ends
    /// that.
    awaited: AtomicBool,
    /// Whether it was told that a typed call's answer stayed open.
    left_open: AtomicBool,
}

/// All methods of one target.
pub(crate) struct Methods {
    authority: Authority,
    scheme: Scheme,
    target: Arc<str>,
    server: Address,
    known: ArcSwap<HashMap<PathAndQuery, Arc<Method>>>,
    described: Mutex<HashMap<String, CallKind>>,
    /// How many of those a server has told.
    #[cfg(feature = "bridge")]
    told: AtomicUsize,
    /// Those of all methods that are not remembered.
    other: OnceLock<Arc<MethodMetrics>>,
}

impl Method {
    /// What a call of it is, where the call itself says `said`.
    pub(crate) fn kind(&self, said: Option<CallKind>) -> CallKind {
        match self.described.get() {
            Some(kind) => *kind,
            None if self.streamed.load(Relaxed) => CallKind::Streaming,
            None => match self.rule.as_ref().and_then(|rule| rule.kind) {
                Some(kind) if kind != CallKind::Auto => kind,
                // `auto` leaves it to the call.
                ruled => said.or(ruled).unwrap_or_else(|| self.undescribed()),
            },
        }
    }

    /// What a call is of which nobody said anything.
    fn undescribed(&self) -> CallKind {
        if self.otherwise == CallKind::Streaming
            && !self.hinted.swap(true, Relaxed)
            && self.remembered
        {
            log_line!(
                info,
                method = %printable(&self.name),
                "nobody said whether this method is unary, and retry_undescribed is false, so its \
                 calls are not retried by policy: give SupervisorBuilder::descriptor_set(..), \
                 `methods:` in the configuration, or CallOptions::new().unary() on the request"
            );
        }
        self.otherwise
    }

    /// Says once what it costs that nobody said whether a call may run twice.
    pub(super) fn hint_not_idempotent(&self) {
        if !self.hinted_harm.swap(true, Relaxed) && self.remembered {
            log_line!(
                warn,
                method = %printable(&self.name),
                "nobody said whether a call of this method may run twice, so a call that the \
                 server may have acted on is not retried: it fails when its link is lost, or the \
                 server answers UNAVAILABLE; where running it twice does no harm, say \
                 `idempotent: true` in `methods:`"
            );
        }
    }

    /// Whether anybody described it: descriptors, or the configuration.
    #[cfg(feature = "bridge")]
    pub(crate) fn is_described(&self) -> bool {
        self.described.get().is_some() || self.is_ruled()
    }

    /// Says more of why a call was not retried, where the method knows.
    pub(super) fn refine(&self, reason: NotRetried) -> NotRetried {
        let said = self.described.get().is_some() || self.streamed.load(Relaxed) || self.is_ruled();
        reason.of_undescribed(!said && self.otherwise == CallKind::Streaming)
    }

    /// Whether the configuration says what it is.
    fn is_ruled(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.kind.is_some())
    }

    /// Whether descriptors say that it is unary.
    pub(crate) fn is_certainly_unary(&self) -> bool {
        self.described.get() == Some(&CallKind::Unary)
    }

    /// A call of it streams: from now on the method is streaming, unless descriptors know better.
    /// `said`: somebody said that it is unary.
    pub(crate) fn streams(&self, said: bool) {
        if self.streamed.swap(true, Relaxed) || !self.remembered {
            return;
        }
        match said {
            true => log_line!(
                warn,
                method = %printable(&self.name),
                "this method is said to be unary, but its answer goes on after its first message: \
                 it is passed on as it comes, without the configured timeout, and later calls are \
                 taken for streams; say `kind: streaming` in `methods:`, or give \
                 descriptor_set(..)"
            ),
            false => log_line!(
                info,
                method = %printable(&self.name),
                "a call of this method was seen to stream, so its calls are not retried by policy \
                 from now on; where it is unary, give descriptor_set(..)"
            ),
        }
    }

    /// Whether it was told already that a call waits long for its answer.
    pub(crate) fn is_known_to_wait(&self) -> bool {
        self.awaited.load(Relaxed)
    }

    /// Says once that a call of kind `auto` waits long for its answer.
    pub(crate) fn warn_awaited(&self, wait: Duration) {
        if !self.awaited.swap(true, Relaxed) && self.remembered {
            log_line!(
                warn,
                method = %printable(&self.name),
                "a call of this method has waited {} s for its answer, and nothing ends that: \
                 nobody said whether the method is unary, so `timeout` does not bound it on the \
                 wire; give descriptor_set(..), `kind` in `methods:`, `attempt_timeout`, or a \
                 deadline",
                wait.as_secs()
            );
        }
    }

    /// Says once that a call that takes one message waits for an answer's end.
    pub(crate) fn warn_left_open(&self) {
        if !self.left_open.swap(true, Relaxed) && self.remembered {
            log_line!(
                warn,
                method = %printable(&self.name),
                "the answer to this unary call is still open 1 s after its message: the call waits \
                 for the status, and ends at its deadline; if the method streams, use a generated \
                 client"
            );
        }
    }
}

impl Methods {
    pub(crate) fn new(
        authority: Authority,
        scheme: Scheme,
        target: Arc<str>,
        server: Address,
    ) -> Self {
        Self {
            authority,
            scheme,
            target,
            server,
            known: ArcSwap::default(),
            described: Mutex::default(),
            #[cfg(feature = "bridge")]
            told: AtomicUsize::new(0),
            other: OnceLock::new(),
        }
    }

    /// The method that `path` names.
    pub(crate) fn get(&self, path: &PathAndQuery, config: &Config) -> Arc<Method> {
        if let Some(method) = self.known.load().get(path) {
            return method.clone();
        }
        let described = self.described.lock();
        // Another call of it may have been here first.
        if let Some(method) = self.known.load().get(path) {
            return method.clone();
        }
        // A query is no part of a method's name: with another one it would be one more method.
        let may_be = path.path().len() <= LONGEST_NAME && path.query().is_none();
        let remembered = may_be && self.known.load().len() < REMEMBERED;
        let method = Arc::new(self.learn(path, config, &described, remembered));
        if remembered {
            self.known.rcu(|known| {
                let mut known = HashMap::clone(known);
                known.insert(path.clone(), method.clone());
                known
            });
        }
        method
    }

    /// Where requests of this path go.
    pub(super) fn uri(&self, path: &PathAndQuery) -> Uri {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.clone())
            .build()
            .expect("made of checked parts")
    }

    fn learn(
        &self,
        path: &PathAndQuery,
        config: &Config,
        described: &HashMap<String, CallKind>,
        remembered: bool,
    ) -> Method {
        let name: Arc<str> = path.path().trim_start_matches('/').into();
        let rule = config.method(&name).cloned();
        let made = |label: Arc<str>| Arc::new(MethodMetrics::new(label, self.target.clone()));
        let metrics = match remembered {
            true => made(name.clone()),
            false => self.other.get_or_init(|| self.forget(made)).clone(),
        };
        let uri = self.uri(path);
        Method {
            described: described.get(&*name).map_or_else(OnceLock::new, |kind| (*kind).into()),
            metrics,
            wire_time: Mutex::default(),
            remembered,
            otherwise: config.undescribed_kind(),
            hinted: AtomicBool::new(false),
            hinted_harm: AtomicBool::new(false),
            streamed: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            left_open: AtomicBool::new(false),
            name,
            plain_head: bound_without_metadata(&uri),
            uri,
            server: self.server.clone(),
            rule,
        }
    }

    /// The first method came that is not remembered.
    fn forget(&self, made: impl FnOnce(Arc<str>) -> Arc<MethodMetrics>) -> Arc<MethodMetrics> {
        log_line!(
            warn,
            target = %self.target,
            "{REMEMBERED} methods were called, which is as many as a channel remembers, or one \
             whose name has a query or more than {LONGEST_NAME} bytes: such are served, and \
             counted as `other`"
        );
        made("other".into())
    }

    /// The numbers of each method that was called, by name.
    pub(crate) fn counts(&self) -> Vec<MethodCounts> {
        let known = self.known.load();
        let others = self.other.get().map(|other| other.read());
        let mut counts: Vec<_> = known.values().map(|method| method.metrics.read()).collect();
        counts.sort_unstable_by(|a, b| a.method.cmp(&b.method));
        counts.extend(others);
        counts
    }

    /// How many calls of all methods ended so far: with OK, and otherwise.
    #[cfg(feature = "admin")]
    pub(crate) fn ended(&self) -> (u64, u64) {
        let known = self.known.load();
        let all = known.values().map(|method| &method.metrics).chain(self.other.get());
        all.map(|one| one.ended()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Learns the kinds of methods, as descriptors say them. Of two that name the same method the
    /// later one holds, until the method is in use.
    pub(crate) fn describe(&self, kinds: impl IntoIterator<Item = (String, CallKind)>) {
        let mut described = self.described.lock();
        described.extend(kinds);
        for method in self.known.load().values() {
            if let Some(kind) = described.get(&*method.name)
                && method.described.set(*kind).is_ok()
            {
                // What was learned before may have been wrong.
                method.streamed.store(false, Relaxed);
            }
        }
    }

    /// The same in a server's words, which are taken as far as there is room.
    #[cfg(feature = "bridge")]
    pub(crate) fn describe_as_told(&self, kinds: Vec<(String, CallKind)>) {
        let room = TOLD.saturating_sub(self.told.fetch_add(kinds.len(), Relaxed));
        self.describe(kinds.into_iter().take(room));
    }
}

#[cfg(test)]
#[path = "method_tests.rs"]
mod tests;
