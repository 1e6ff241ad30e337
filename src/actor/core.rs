//! What all actors and handles of one supervisor share. It outlives every actor; the last handle's
//! drop begins its end.

use super::{
    call::Call,
    credentials::Credentials,
    inbox::Inbox,
    ledger::Ledger,
    message::{Door, RequestMsg, SupervisorMsg},
    method::{Method, Methods},
    mutations::Mutations,
    panics::Panics,
};
use crate::{
    clock,
    config::{self, Config},
    model::{CallId, Fact, Failure, Incarnation, Phase, RUNTIME_ENDED},
    policy::{FirstDials, Throttle, earliest},
    telemetry::Telemetry,
    transport::{Connector, Link, Target},
};
use arc_swap::ArcSwapOption;
use http::uri::{Authority, PathAndQuery, Scheme};
use parking_lot::Mutex;
use ractor::{ActorRef, Message};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{SetOnce, watch},
};

/// The shared core of one supervisor.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<crate::transport::Tls>>,
    pub(crate) telemetry: Telemetry,
    pub(crate) ledger: Ledger,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) keepalive: Mutex<KeepaliveNow>,
    pub(crate) first_dials: Mutex<FirstDials>,
    pub(crate) panics: Panics,
    pub(crate) mutations: Mutations,
    /// Where the actors live.
    pub(crate) runtime: Handle,
    methods: Methods,
    dice: Mutex<StdRng>,
    incarnations: AtomicU64,
    pub(super) ports_open: AtomicUsize,
    link: ArcSwapOption<Link>,
    /// Why there is no link, while none has been Ready since.
    why_no_link: Mutex<Option<Arc<str>>>,
    incarnation: watch::Sender<Option<Incarnation>>,
    supervisor: OnceLock<ActorRef<SupervisorMsg>>,
    requests: Box<[ArcSwapOption<ActorRef<RequestMsg>>]>,
    inboxes: Box<[Inbox]>,
    pub(super) closing: Mutex<Option<Closing>>,
    /// Set before the ledger is closed.
    pub(super) runtime_gone: AtomicBool,
    closed: SetOnce<()>,
}

/// Keepalive as this target tolerates it (gRPC A8): remembered over links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepaliveNow {
    pub(crate) time: Option<Duration>,
    pub(crate) while_idle: bool,
}

/// A drain that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// Until when what runs may go on; none: until it ends.
    pub(crate) until: Option<Instant>,
}

impl Core {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(
        config: Config,
        connector: Arc<dyn Connector>,
        credentials: Option<Credentials>,
        seed: Option<u64>,
    ) -> Self {
        let authority = Authority::try_from(config.target().authority())
            .expect("the configuration takes only hosts that can stand in an authority");
        let target: Arc<str> = config.target().to_string().into();
        let canonical: Arc<str> = config.target().canonical().into();
        let security = if config.tls().is_some() { "privacy_and_integrity" } else { "none" };
        let time = config.effective_keepalive_time();
        let shards = config.request_actors;
        Self {
            telemetry: Telemetry::new(target, canonical.clone(), security, time),
            ledger: Ledger::default(),
            throttle: Mutex::new(Throttle::new(config.throttle, clock::now())),
            keepalive: Mutex::new(KeepaliveNow {
                time,
                while_idle: config.keepalive.permit_without_calls,
            }),
            first_dials: Mutex::default(),
            panics: Panics::default(),
            mutations: Mutations::default(),
            runtime: Handle::current(),
            methods: Methods::new(
                authority,
                config.tls().map_or(Scheme::HTTP, |_| Scheme::HTTPS),
                canonical,
            ),
            dice: Mutex::new(
                seed.map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64),
            ),
            incarnations: AtomicU64::new(0),
            ports_open: AtomicUsize::new(0),
            link: ArcSwapOption::empty(),
            why_no_link: Mutex::new(None),
            incarnation: watch::Sender::default(),
            supervisor: OnceLock::new(),
            requests: (0..shards).map(|_| ArcSwapOption::empty()).collect(),
            inboxes: (0..shards).map(|_| Inbox::default()).collect(),
            closing: Mutex::new(None),
            runtime_gone: AtomicBool::new(false),
            closed: SetOnce::new(),
            #[cfg(feature = "tls")]
            tls: config
                .tls()
                .map(|tls| Arc::new(crate::transport::Tls::new(tls.clone(), config.target()))),
            connector,
            credentials,
            config,
        }
    }

    /// A die in `0.0..1.0`.
    pub(crate) fn roll(&self) -> f64 {
        self.dice.lock().random()
    }

    pub(crate) fn next_incarnation(&self) -> Incarnation {
        Incarnation(self.incarnations.fetch_add(1, Relaxed) + 1)
    }

    /// What to dial.
    pub(crate) fn target(&self) -> Target {
        let keepalive = self.keepalive.lock().time;
        let (host, port) = match self.config.target() {
            config::Target::Host { host, port } => (host.as_str().into(), *port),
            whole => (whole.to_string().into(), 0),
        };
        Target { host, port, user_timeout: keepalive.map(|_| self.config.keepalive.timeout) }
    }

    pub(crate) fn method(&self, path: &PathAndQuery) -> Arc<Method> {
        self.methods.get(path, &self.config)
    }

    pub(crate) fn describe(&self, descriptor_set: &[u8]) -> Result<usize, prost::DecodeError> {
        self.methods.describe(descriptor_set)
    }

    // --- mailboxes
    // -------------------------------------------------------------------------------

    pub(crate) fn set_supervisor(&self, actor: ActorRef<SupervisorMsg>) {
        let _ = self.supervisor.set(actor);
    }

    pub(crate) fn set_request_actor(&self, shard: usize, actor: ActorRef<RequestMsg>) {
        self.requests[shard].store(Some(Arc::new(actor)));
    }

    pub(crate) fn shards(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn shard_of(&self, call: CallId) -> usize {
        call.0 as usize % self.requests.len()
    }

    /// Tells the supervisor. A message lost to its failure is made good when it starts over.
    pub(crate) fn tell_supervisor(&self, message: SupervisorMsg) {
        tell(self.supervisor.get(), message);
    }

    /// Where a request actor finds new calls.
    pub(super) fn inbox(&self, shard: usize) -> &Inbox {
        &self.inboxes[shard]
    }

    /// Gives a new call to its request actor.
    pub(super) fn hand_in(&self, call: Arc<Call>) {
        let shard = self.shard_of(call.id);
        if self.inboxes[shard].push(call) {
            self.tell_request(shard, RequestMsg::Submit);
        }
    }

    /// Tells a call's request actor. A message lost to its death is made good by adoption from the
    /// ledger.
    pub(crate) fn tell_request(&self, shard: usize, message: RequestMsg) {
        tell(self.requests[shard].load().as_deref(), message);
    }

    /// The link in use or why there is none, for whoever wants to look at it.
    pub(super) fn set_door(&self, Door { link, why, .. }: Door) {
        *self.why_no_link.lock() = why;
        let incarnation = link.as_ref().map(|link| link.incarnation());
        // In a drain the last link stays to be seen: calls are told whether it had room.
        if link.is_some() || self.closing().is_none() {
            self.link.store(link);
        }
        self.incarnation
            .send_if_modified(|shown| std::mem::replace(shown, incarnation) != incarnation);
    }

    /// All is over: no link is shown any more.
    pub(super) fn clear_door(&self) {
        self.link.store(None);
        self.incarnation.send_if_modified(|shown| shown.take().is_some());
    }

    /// Why there is no link that takes calls, for a call that waits for one.
    pub(super) fn why_no_link(&self) -> String {
        if let Some(end) = self.link().and_then(|link| link.ending()) {
            return end.to_string();
        }
        match &*self.why_no_link.lock() {
            Some(why) => why.to_string(),
            None => "connecting, and no dial has failed yet".into(),
        }
    }

    /// The incarnation of the link in use, and every later one.
    pub(crate) fn watch_incarnation(&self) -> watch::Receiver<Option<Incarnation>> {
        self.incarnation.subscribe()
    }

    /// The link in use.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.load_full()
    }

    /// How many streams are open on the link in use.
    pub(crate) fn streams(&self) -> usize {
        self.link().map_or(0, |link| link.in_flight())
    }

    // --- the end
    // -------------------------------------------------------------------------------

    /// Asks for a drain; of several, the shortest grace holds.
    pub(crate) fn begin_drain(&self, grace: Option<Duration>) {
        let until = grace.and_then(|grace| clock::now().checked_add(grace));
        let mut closing = self.closing.lock();
        let first = closing.is_none();
        let until = closing.map_or(until, |before| earliest(before.until, until));
        *closing = Some(Closing { until });
        drop(closing);
        if first && !self.is_closed() {
            self.telemetry.announce(Fact::DrainStarted { grace });
        }
        self.tell_supervisor(SupervisorMsg::Drain);
    }

    /// The drain under way.
    pub(crate) fn closing(&self) -> Option<Closing> {
        *self.closing.lock()
    }

    /// What a call ends with that comes when all is over.
    pub(crate) fn too_late(&self, phase: Phase) -> Failure {
        match self.runtime_gone.load(Relaxed) {
            true => Failure::supervision(RUNTIME_ENDED.into(), phase),
            false => Failure::shutdown(phase),
        }
    }

    /// Whether the runtime takes no more tasks: it ends with all that runs on it.
    pub(super) fn runtime_has_ended(&self) -> bool {
        // A task that waits for ever, and that nobody has aborted yet, is over only there.
        let probe = self.runtime.spawn(std::future::pending::<()>());
        let ended = probe.is_finished();
        probe.abort();
        ended
    }

    pub(crate) fn set_closed(&self) {
        let _ = self.closed.set(());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    /// Waits until everything is over. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.closed.wait().await;
    }
}

fn tell<M: Message>(actor: Option<&ActorRef<M>>, message: M) {
    if let Some(actor) = actor {
        // An error means that the actor is dead; whoever follows it is told what matters.
        let _ = actor.send_message(message);
    }
}
