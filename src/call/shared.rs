//! What all calls of one supervisor share. It outlives every actor, so that a call can end
//! whatever became of them.

use super::{
    credentials::Credentials,
    head::{LastTimeout, complete_plain, head},
    ledger::Ledger,
    method::{Method, Methods},
    panics::Panics,
    picker::Picker,
    propagation::Propagator,
    queue::CallQueue,
    shutdown::Shutdown,
};
use crate::{
    clock,
    config::Config,
    model::{CallKind, MethodCounts},
    policy::{Spells, Throttle},
    telemetry::Telemetry,
};
use arc_swap::ArcSwap;
use http::{
    HeaderMap,
    uri::{Authority, PathAndQuery, Scheme},
};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// The calls of one supervisor.
pub(crate) struct Calls {
    pub(crate) config: Arc<Config>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) credentials: Option<Credentials>,
    /// Puts traces into headers.
    pub(crate) propagation: Option<Propagator>,
    pub(crate) ledger: Ledger,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) shutdown: Shutdown,
    pub(crate) panics: Panics,
    /// The supervisor's runtime.
    pub(crate) runtime: Handle,
    pub(crate) queue: Arc<dyn CallQueue>,
    /// How many calls have a reply port.
    pub(crate) ports_open: AtomicUsize,
    /// For what picking leaves to chance where a call begins on its caller's thread.
    pub(super) dice: Mutex<SmallRng>,
    pub(super) last_timeout: LastTimeout,
    methods: Methods,
    pub(super) picker: ArcSwap<Picker>,
    /// For how long no link was shown.
    without_link: Mutex<Spells>,
}

impl Calls {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(
        config: Arc<Config>,
        telemetry: Arc<Telemetry>,
        credentials: Option<Credentials>,
        propagation: Option<Propagator>,
        queue: Arc<dyn CallQueue>,
        dice: SmallRng,
    ) -> Self {
        let authority = Authority::try_from(config.target().authority())
            .expect("the configuration takes only hosts that can stand in an authority");
        let scheme = config.tls().map_or(Scheme::HTTP, |_| Scheme::HTTPS);
        let mut without_link = Spells::default();
        without_link.set(true, clock::now());
        let target = config.target();
        let (canonical, server) = (target.canonical().into(), target.to_address());
        let methods = Methods::new(authority, scheme, canonical, server);
        Self {
            throttle: Mutex::new(Throttle::new(config.throttle, clock::now())),
            ledger: Ledger::default(),
            shutdown: Shutdown::default(),
            panics: Panics::default(),
            runtime: Handle::current(),
            ports_open: AtomicUsize::new(0),
            dice: Mutex::new(dice),
            last_timeout: LastTimeout::default(),
            picker: ArcSwap::default(),
            without_link: Mutex::new(without_link),
            config,
            telemetry,
            credentials,
            propagation,
            queue,
            methods,
        }
    }

    pub(crate) fn method(&self, path: &PathAndQuery) -> Arc<Method> {
        self.methods.get(path, &self.config)
    }

    /// The head of a request of this crate's own, which is no call of anybody's. With a `timeout`
    /// the peer is told of it.
    pub(crate) fn question(
        &self,
        path: &'static str,
        timeout: Option<Duration>,
    ) -> http::Request<()> {
        let uri = self.methods.uri(&PathAndQuery::from_static(path));
        let headers = complete_plain(HeaderMap::new(), timeout.is_some());
        head(&uri, headers, timeout, 0, &self.last_timeout)
    }

    /// The numbers of each method that was called.
    pub(crate) fn counts(&self) -> Vec<MethodCounts> {
        self.methods.counts()
    }

    /// How many calls ended so far: with OK, and otherwise.
    #[cfg(feature = "admin")]
    pub(crate) fn ended(&self) -> (u64, u64) {
        self.methods.ended()
    }

    /// What descriptors say of methods.
    pub(crate) fn describe(&self, kinds: Vec<(String, CallKind)>) {
        self.methods.describe(kinds);
    }

    /// What a server says of them.
    #[cfg(feature = "bridge")]
    pub(crate) fn describe_as_told(&self, kinds: Vec<(String, CallKind)>) {
        self.methods.describe_as_told(kinds);
    }

    /// Shows where calls go out now to whoever wants to look at it, or to explain a wait.
    pub(crate) fn show_picker(&self, picker: Picker) {
        self.without_link.lock().set(matches!(picker, Picker::None(_)), clock::now());
        self.picker.store(Arc::new(picker));
    }

    /// Where calls go out, as it was shown last.
    pub(crate) fn picker(&self) -> Arc<Picker> {
        self.picker.load_full()
    }

    /// For how long no link was shown, until `now`.
    pub(crate) fn without_link(&self, now: Instant) -> Duration {
        self.without_link.lock().total(now)
    }

    /// Whether a link is shown.
    pub(crate) fn shows_links(&self) -> bool {
        self.picker.load().links().next().is_some()
    }

    /// Whether the runtime takes no more tasks: it ends with all that runs on it.
    pub(crate) fn runtime_has_ended(&self) -> bool {
        // A task that waits for ever, and that nobody has aborted yet, is over only there.
        let probe = self.runtime.spawn(std::future::pending::<()>());
        let ended = probe.is_finished();
        probe.abort();
        ended
    }
}
