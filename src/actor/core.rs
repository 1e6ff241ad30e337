//! What the actors and handles of one supervisor share. It outlives every actor; the last handle's
//! drop begins its end. What is about calls stands in [`Calls`].

use super::{
    message::SupervisorMsg, mutations::Mutations, registry::Registered, requests::RequestActors,
};
use crate::{
    call::{Calls, Credentials, Picker, Propagator},
    clock,
    config::{Balancing, Config, Shuffle},
    model::{Endpoint, EndpointId, Fact, Incarnation, LinksInUse},
    policy::{EndpointList, FirstDials, Keepalive, ListChange, subset},
    telemetry::Telemetry,
    transport::{Connector, Resolver},
};
use parking_lot::Mutex;
use ractor::ActorRef;
use rand::{
    RngExt as _, SeedableRng as _,
    rngs::{SmallRng, StdRng},
    seq::SliceRandom as _,
};
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::sync::watch;

/// Whole lists of endpoints, of which the last counts.
pub(crate) type GivenEndpoints = watch::Receiver<Arc<[Endpoint]>>;

/// Where a channel's endpoints come from.
pub(crate) enum EndpointSource {
    /// The target names them, and they never change.
    Target,
    /// The user gives lists.
    Given(GivenEndpoints),
    /// The target, or whatever the resolver asks, is looked up.
    /// `by_dial`: until the first answer the target itself is dialled, which looks it up as well.
    Resolver { resolver: Arc<dyn Resolver>, by_dial: bool },
}

/// A channel has no more endpoints; a longer list is cut.
const MOST_ENDPOINTS: usize = 10_000;

/// Above this number it is worth a warning that a subset of the endpoints might do.
const MANY_ENDPOINTS: usize = 256;

/// The shared core of one supervisor.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) calls: Arc<Calls>,
    pub(super) requests: Arc<RequestActors>,
    pub(super) connector: Arc<dyn Connector>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<crate::transport::TlsClient>>,
    pub(super) keepalive: Mutex<Keepalive>,
    pub(super) first_dials: Mutex<FirstDials>,
    pub(super) endpoints: Mutex<EndpointList>,
    /// The lists that the user gives; none: the target's endpoints never change.
    given: Option<GivenEndpoints>,
    /// Looks the target's name up; none: the target has none.
    resolver: Option<Arc<dyn Resolver>>,
    /// Whether the one endpoint there is, is the target.
    is_target: bool,
    /// Whether the supervisor was told of a list that it has not taken in yet.
    given_told: AtomicBool,
    warned_of_many: AtomicBool,
    /// Whether the resolver has answered.
    is_resolved: AtomicBool,
    pub(crate) mutations: Mutations,
    pub(crate) registered: Registered,
    rng: Mutex<StdRng>,
    last_incarnation: AtomicU64,
    /// The links that take new calls.
    links: watch::Sender<LinksInUse>,
    /// How many wait for the channel to be Ready, without a call.
    awaiting: AtomicUsize,
}

impl Core {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(
        name: Option<String>,
        config: Config,
        connector: Arc<dyn Connector>,
        credentials: Option<Credentials>,
        propagation: Option<Propagator>,
        endpoints: EndpointSource,
        rng_seed: Option<u64>,
    ) -> Self {
        let (given, resolver) = match endpoints {
            EndpointSource::Target => (None, None),
            EndpointSource::Given(lists) => (Some(lists), None),
            EndpointSource::Resolver { resolver, by_dial } => (None, Some((resolver, by_dial))),
        };
        let unknown = matches!(resolver, Some((_, false)));
        let is_target = given.is_none() && !unknown && config.balancing == Balancing::PickFirst;
        let target: Arc<str> = config.target().to_string().into();
        let name = name.unwrap_or_else(|| target.to_string());
        let canonical: Arc<str> = config.target().canonical().into();
        let security = if config.tls().is_some() { "privacy_and_integrity" } else { "none" };
        let time = config.effective_keepalive_time();
        let config = Arc::new(config);
        let telemetry = Arc::new(Telemetry::new(target, canonical, security, time));
        let requests = Arc::new(RequestActors::new(config.request_actors));
        let queue = requests.clone();
        let mut rng =
            rng_seed.map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64);
        let dice = dice(&config, &mut rng);
        let calls =
            Calls::new(config.clone(), telemetry.clone(), credentials, propagation, queue, dice);
        let while_idle = config.keepalive.permit_without_calls;
        let list = given.as_ref().map(|given| given.borrow().clone());
        let list = match list {
            Some(list) => list.to_vec(),
            None if unknown => Vec::new(),
            None => config.target_endpoints(),
        };
        let mut endpoints = EndpointList::default();
        take(&mut endpoints, &config, list, false, &mut rng);
        telemetry.list(endpoints.listed());
        Self {
            calls: Arc::new(calls),
            keepalive: Mutex::new(Keepalive::new(time, while_idle)),
            first_dials: Mutex::default(),
            endpoints: Mutex::new(endpoints),
            given,
            resolver: resolver.map(|(resolver, _)| resolver),
            is_target,
            given_told: AtomicBool::new(false),
            warned_of_many: AtomicBool::new(false),
            is_resolved: AtomicBool::new(false),
            mutations: Mutations::default(),
            registered: Registered::new(&name),
            rng: Mutex::new(rng),
            last_incarnation: AtomicU64::new(0),
            links: watch::Sender::default(),
            awaiting: AtomicUsize::new(0),
            #[cfg(feature = "tls")]
            tls: config.tls().map(|tls| {
                Arc::new(crate::transport::TlsClient::new(tls.clone(), config.target()))
            }),
            requests,
            connector,
            config,
            telemetry,
        }
    }

    /// From now on it is among the supervisors of this process.
    pub(crate) fn register(self: &Arc<Self>) {
        self.registered.show(self);
    }

    /// A random number in `0.0..1.0`.
    pub(super) fn random(&self) -> f64 {
        self.rng.lock().random()
    }

    /// For what a request actor leaves to chance.
    pub(super) fn dice(&self) -> SmallRng {
        dice(&self.config, &mut self.rng.lock())
    }

    /// The last link or dial there was: it outlives the actor that made it.
    pub(super) fn last_incarnation(&self) -> Incarnation {
        Incarnation(self.last_incarnation.load(Relaxed))
    }

    pub(super) fn set_last_incarnation(&self, last: Incarnation) {
        self.last_incarnation.store(last.0, Relaxed);
    }

    /// The endpoints that are listed now.
    pub(super) fn listed(&self) -> Vec<(EndpointId, Endpoint)> {
        self.endpoints.lock().listed().to_vec()
    }

    /// The addresses of an endpoint that is listed, as events have them.
    pub(super) fn addresses_of(&self, id: EndpointId) -> Arc<str> {
        self.endpoints.lock().get(id).map_or_else(String::new, Endpoint::to_string).into()
    }

    /// What failures call an endpoint: the target, if it is all there is.
    pub(super) fn name_of(&self, endpoint: &Endpoint) -> Arc<str> {
        if self.is_target {
            return self.config.target().to_string().into();
        }
        match endpoint.addresses() {
            [] => "an endpoint without addresses".into(),
            _ => endpoint.to_string().into(),
        }
    }

    /// The lists that the user gives, if any.
    pub(super) fn given(&self) -> Option<GivenEndpoints> {
        self.given.clone()
    }

    /// Tells the supervisor that another list was given, unless it has not taken in the last yet.
    pub(super) fn tell_of_given(&self) {
        if !self.given_told.swap(true, AcqRel) {
            self.tell_supervisor(SupervisorMsg::EndpointsGiven);
        }
    }

    /// From now on the supervisor is to be told of the next list. It looks at the list afterwards:
    /// so each list is either seen by it, or told of.
    pub(super) fn given_heard(&self) {
        self.given_told.store(false, Release);
    }

    /// Says once that there are many endpoints, all of which are connected to.
    pub(super) fn warn_of_many(&self) {
        let many = self.endpoints.lock().listed().len();
        let all = self.config.subset.is_none();
        if all && many > MANY_ENDPOINTS && !self.warned_of_many.swap(true, Relaxed) {
            let target = self.config.target();
            log_line!(
                warn, %target, endpoints = many,
                "this channel connects to {many} endpoints: grpc.balancing.subset limits that"
            );
        }
    }

    /// Takes in the list that was given last; what it changes.
    pub(super) fn take_given(&self) -> ListChange {
        let Some(given) = &self.given else { return ListChange::default() };
        let list = given.borrow().clone();
        self.take_list(list.to_vec(), false)
    }

    /// Takes a list of endpoints in the place of the former one; what it changes. `shuffle`: the
    /// order of a name's addresses means nothing, unless the configuration says that it does.
    pub(super) fn take_list(&self, list: Vec<Endpoint>, shuffle: bool) -> ListChange {
        take(&mut self.endpoints.lock(), &self.config, list, shuffle, &mut self.rng.lock())
    }

    /// What looks the channel's name up, if it has one.
    pub(super) fn resolver(&self) -> Option<Arc<dyn Resolver>> {
        self.resolver.clone()
    }

    /// By what a dial that looks the name up itself shuffles what it finds; none: it does not.
    pub(super) fn shuffle_seed(&self) -> Option<u64> {
        let shuffles = match self.config.shuffle {
            Shuffle::Always => true,
            Shuffle::Auto => self.resolver.is_some(),
            Shuffle::Never => false,
        };
        shuffles.then(|| self.rng.lock().random())
    }

    /// Notes that the resolver has answered; whether it had before.
    pub(super) fn set_resolved(&self) -> bool {
        self.is_resolved.swap(true, Relaxed)
    }

    /// Whether there is a list of endpoints, or the target to be dialled in its place.
    pub(super) fn has_list(&self) -> bool {
        let resolved = self.is_resolved.load(Relaxed) || self.resolver.is_none();
        resolved || !self.listed().is_empty()
    }

    /// Whether the name has been looked up, or there is none.
    pub(super) fn is_resolved(&self) -> bool {
        self.is_resolved.load(Relaxed)
    }

    pub(super) fn set_supervisor(&self, actor: ActorRef<SupervisorMsg>) {
        self.requests.set_supervisor(actor);
    }

    /// Tells the supervisor. A message lost to its failure is made good when it starts over.
    pub(crate) fn tell_supervisor(&self, message: SupervisorMsg) {
        self.requests.tell_supervisor(message);
    }

    /// Shows where calls go out to whoever wants to look at it.
    pub(super) fn show_picker(&self, picker: Picker) {
        let links = LinksInUse::of(picker.links().map(|link| link.incarnation()));
        // In a drain the last links stay to be seen: calls are told whether they had room.
        let draining = self.calls.shutdown.drain().is_some();
        if !links.is_empty() || !draining || !self.calls.shows_links() {
            self.calls.show_picker(picker);
        }
        self.show_links(links);
    }

    /// All is over: no link is shown any more.
    pub(super) fn clear_picker(&self) {
        self.calls.show_picker(Picker::default());
        self.show_links(LinksInUse::default());
    }

    fn show_links(&self, links: LinksInUse) {
        self.links.send_if_modified(|shown| std::mem::replace(shown, links.clone()) != links);
    }

    /// The links that take new calls, and every later set of them.
    pub(crate) fn watch_links(&self) -> watch::Receiver<LinksInUse> {
        self.links.subscribe()
    }

    /// Somebody waits for the channel to be Ready, until what is returned is dropped: that is as
    /// good as a call.
    pub(crate) fn await_ready(&self) -> impl Drop {
        self.awaiting.fetch_add(1, Relaxed);
        Awaiting(&self.awaiting)
    }

    /// Whether somebody does.
    pub(super) fn awaits_ready(&self) -> bool {
        self.awaiting.load(Relaxed) > 0
    }

    /// Asks for a drain; of several, the shortest grace holds.
    pub(crate) fn begin_drain(&self, grace: Option<Duration>) {
        let shutdown = &self.calls.shutdown;
        let until = grace.and_then(|grace| clock::now().checked_add(grace));
        if shutdown.begin(until) && !shutdown.is_closed() {
            self.telemetry.announce(Fact::DrainStarted { grace });
        }
        self.tell_supervisor(SupervisorMsg::Drain);
    }
}

/// Dice of their own for whoever picks. Where nothing is left to chance, no chance is used up.
fn dice(config: &Config, rng: &mut StdRng) -> SmallRng {
    SmallRng::seed_from_u64(match config.balancing {
        Balancing::PickFirst | Balancing::RoundRobin => 0,
        Balancing::LeastRequest | Balancing::PeakEwma => rng.random(),
    })
}

/// One that waits for the channel to be Ready.
struct Awaiting<'a>(&'a AtomicUsize);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Takes a list in the place of the former one. Under `pick_first` all addresses are one endpoint,
/// whose dials race them; otherwise it may be that not all are to be used.
fn take(
    endpoints: &mut EndpointList,
    config: &Config,
    mut list: Vec<Endpoint>,
    shuffle: bool,
    rng: &mut StdRng,
) -> ListChange {
    // What a resolver or a user gives has no other limit.
    list.truncate(MOST_ENDPOINTS);
    if config.balancing != Balancing::PickFirst {
        if let Some(size) = config.subset {
            list = subset(list, size, endpoints.seed(|| rng.random()));
        }
        return endpoints.update(&list);
    }
    let addresses = list.iter().flat_map(|endpoint| endpoint.addresses());
    let mut list: Vec<Endpoint> = addresses.cloned().map(Endpoint::from).collect();
    if config.shuffle == Shuffle::Always || (config.shuffle == Shuffle::Auto && shuffle) {
        list.shuffle(rng);
    }
    endpoints.update_one(&list)
}
