//! What the actors and handles of one supervisor share. It outlives every actor; the last handle's
//! drop begins its end. What is about calls stands in [`Calls`].

use super::{message::SupervisorMsg, mutations::Mutations, requests::RequestActors};
use crate::{
    call::{Calls, Credentials, Picker},
    clock,
    config::{Balancing, Config},
    model::{Endpoint, EndpointId, Fact, Incarnation, LinksInUse},
    policy::{EndpointList, FirstDials, Keepalive, ListChange},
    telemetry::Telemetry,
    transport::Connector,
};
use parking_lot::Mutex;
use ractor::ActorRef;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Whole lists of endpoints, of which the last counts.
pub(crate) type GivenEndpoints = watch::Receiver<Arc<[Endpoint]>>;

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
    pub(crate) mutations: Mutations,
    rng: Mutex<StdRng>,
    last_incarnation: AtomicU64,
    /// The links that take new calls.
    links: watch::Sender<LinksInUse>,
    supervisor: OnceLock<ActorRef<SupervisorMsg>>,
}

impl Core {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(
        config: Config,
        connector: Arc<dyn Connector>,
        credentials: Option<Credentials>,
        given: Option<GivenEndpoints>,
        rng_seed: Option<u64>,
    ) -> Self {
        let target: Arc<str> = config.target().to_string().into();
        let canonical: Arc<str> = config.target().canonical().into();
        let security = if config.tls().is_some() { "privacy_and_integrity" } else { "none" };
        let time = config.effective_keepalive_time();
        let config = Arc::new(config);
        let telemetry = Arc::new(Telemetry::new(target, canonical, security, time));
        let requests = Arc::new(RequestActors::new(config.request_actors));
        let queue = requests.clone();
        let calls = Calls::new(config.clone(), telemetry.clone(), credentials, queue);
        let while_idle = config.keepalive.permit_without_calls;
        let list = given.as_ref().map(|given| given.borrow().clone());
        let list = list.unwrap_or_else(|| config.target_endpoints().into());
        let mut endpoints = EndpointList::default();
        endpoints.update(&one_if_pick_first(&config, list));
        telemetry.list(endpoints.listed());
        let rng =
            rng_seed.map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64);
        Self {
            calls: Arc::new(calls),
            keepalive: Mutex::new(Keepalive::new(time, while_idle)),
            first_dials: Mutex::default(),
            endpoints: Mutex::new(endpoints),
            given,
            mutations: Mutations::default(),
            rng: Mutex::new(rng),
            last_incarnation: AtomicU64::new(0),
            links: watch::Sender::default(),
            supervisor: OnceLock::new(),
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

    /// A random number in `0.0..1.0`.
    pub(super) fn random(&self) -> f64 {
        self.rng.lock().random()
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
        match self.config.target_endpoints().as_slice() {
            [_] if self.given.is_none() => self.config.target().to_string().into(),
            _ if endpoint.addresses().is_empty() => "an endpoint without addresses".into(),
            _ => endpoint.to_string().into(),
        }
    }

    /// The lists that the user gives, if any.
    pub(super) fn given(&self) -> Option<GivenEndpoints> {
        self.given.clone()
    }

    /// Takes in the list that was given last; what it changes.
    pub(super) fn take_given(&self) -> ListChange {
        let Some(given) = &self.given else { return ListChange::default() };
        let list = given.borrow().clone();
        self.endpoints.lock().update(&one_if_pick_first(&self.config, list))
    }

    pub(super) fn set_supervisor(&self, actor: ActorRef<SupervisorMsg>) {
        let _ = self.supervisor.set(actor);
    }

    /// Tells the supervisor. A message lost to its failure is made good when it starts over.
    pub(crate) fn tell_supervisor(&self, message: SupervisorMsg) {
        if let Some(supervisor) = self.supervisor.get() {
            let _ = supervisor.send_message(message);
        }
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

/// Under `pick_first` all addresses are one endpoint, whose dials race them.
fn one_if_pick_first(config: &Config, list: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
    if config.balancing != Balancing::PickFirst || list.len() < 2 {
        return list;
    }
    let all = list.iter().flat_map(|endpoint| endpoint.addresses().iter().cloned());
    [Endpoint::of(all)].into()
}
