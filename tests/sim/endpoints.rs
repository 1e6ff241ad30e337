//! The laws that hold for each endpoint, checked as events are announced: it is dialled when it was
//! said, its state is the one that was told, and the channel's state is what they add up to.

use crate::{
    events::GRAIN,
    fleet::{List, servers_at},
    listings::Listings,
    script::Script,
    shared::{Shared, now},
    told::Told,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic_supervisor::{
    ConnectivityState::{self, Connecting, Idle, Ready, Shutdown, TransientFailure},
    EndpointId, Fact, Health, Incarnation, Snapshot,
    config::Balancing,
};

/// All endpoints that were ever heard of.
pub(crate) struct Endpoints {
    shared: Shared,
    script: Arc<Script>,
    all: BTreeMap<EndpointId, Told>,
    dials: BTreeMap<Incarnation, Dial>,
    /// The links that are up, with their endpoints.
    links: BTreeMap<Incarnation, EndpointId>,
    /// The links that have answered, or lived long enough.
    proven: BTreeSet<Incarnation>,
    /// The links whose servers' health was said to be good, last.
    healthy: BTreeSet<Incarnation>,
    /// The list that was given last, and by when it must have been applied.
    given: Option<(List, Duration)>,
    /// When, at the latest, an actor that failed is replaced.
    replaced_by: Duration,
    pub(crate) listings: Listings,
    /// How often a link was suspect, or was cleared: it changes where calls go.
    pub(crate) suspicions: usize,
}

#[derive(Clone, Copy)]
struct Dial {
    endpoint: EndpointId,
    at: Duration,
    /// How far it is. A link that came of it is in `links`.
    runs: Runs,
}

#[derive(Clone, Copy, PartialEq)]
enum Runs {
    /// Until then at the latest.
    Until(Duration),
    /// The same, unless its actor is the one that failed.
    Perhaps(Duration),
    /// Its endpoint was removed, or its actor died: it may still be told of, and need not be.
    Forgotten,
    Ended,
}

impl Dial {
    /// When it ends at the latest, if it runs.
    fn by(&self) -> Option<Duration> {
        match self.runs {
            Runs::Until(by) | Runs::Perhaps(by) => Some(by),
            Runs::Forgotten | Runs::Ended => None,
        }
    }
}

impl Endpoints {
    pub(crate) fn new(shared: Shared, script: Arc<Script>) -> Self {
        Self {
            given: script.list.map(|list| (list, now())),
            replaced_by: Duration::ZERO,
            suspicions: 0,
            shared,
            script,
            all: BTreeMap::new(),
            dials: BTreeMap::new(),
            links: BTreeMap::new(),
            proven: BTreeSet::new(),
            healthy: BTreeSet::new(),
            listings: Listings::default(),
        }
    }

    /// The endpoints that there are from the start.
    pub(crate) fn begin(&mut self, snapshot: &Snapshot) {
        for endpoint in &snapshot.endpoints {
            self.list(endpoint.endpoint, Told::new(&endpoint.addresses, false));
        }
    }

    /// Somebody called `reconnect_now`: of each endpoint the dial under way or the next one, one
    /// for each link, and one more, need not wait.
    pub(crate) fn asked_to_reconnect(&mut self) {
        let asked = self.dials_that_may_follow();
        self.all.values_mut().for_each(|told| told.dials_asked_for = asked);
    }

    /// On a request to reconnect, or on a move: one for each link, and one more.
    fn dials_that_may_follow(&self) -> u32 {
        1 + self.script.config.connections() as u32
    }

    /// Another list was given. It is applied at once, unless the supervisor is being replaced.
    pub(crate) fn given(&mut self, list: List) {
        self.given = Some((list, self.replaced_by.max(now())));
    }

    /// How many are listed.
    pub(crate) fn listed(&self) -> usize {
        self.all.values().filter(|told| told.listed).count()
    }

    /// The servers behind an endpoint.
    pub(crate) fn servers(&self, id: EndpointId) -> Vec<usize> {
        self.all.get(&id).map(|told| servers_at(&told.addresses)).unwrap_or_default()
    }

    /// Whether a link has answered, or lived long enough.
    pub(crate) fn is_proven(&self, link: Incarnation) -> bool {
        self.proven.contains(&link)
    }

    /// The links that were told of and not lost.
    pub(crate) fn open_links(&self) -> Vec<Incarnation> {
        self.links.keys().copied().collect()
    }

    /// Takes in a fact, with the channel's state before and after it.
    pub(crate) fn hear(
        &mut self,
        fact: &Fact,
        before: ConnectivityState,
        state: ConnectivityState,
    ) {
        let told_together = matches!(
            fact,
            Fact::EndpointAdded { .. }
                | Fact::EndpointRemoved { .. }
                | Fact::SubchannelChanged { .. }
                | Fact::StateChanged { .. }
        );
        if !told_together {
            self.require_sum(before);
        }
        self.take(fact);
        if matches!(fact, Fact::StateChanged { .. }) {
            self.require_sum(state);
        }
    }

    fn take(&mut self, fact: &Fact) {
        let now = now();
        match fact {
            Fact::EndpointAdded { endpoint, addresses, .. } => self.added(*endpoint, addresses),
            Fact::EndpointRemoved { endpoint, .. } => self.removed(*endpoint),
            Fact::StateChanged { to, .. } => {
                let mut listed = self.all.iter().filter(|(_, told)| told.listed);
                // Of an only endpoint it is its own.
                if let (Some((only, told)), None) = (listed.next(), listed.next())
                    && told.state != *to
                {
                    self.state_is(*only, *to);
                }
            }
            Fact::SubchannelChanged { endpoint, from, to, .. } => {
                let state = self.must_be_listed(*endpoint, fact).map(|told| told.state);
                self.shared.require(state == Some(*from) && from.can_become(*to), || {
                    format!("endpoint {endpoint} went from {from} to {to}, and was {state:?}")
                });
                self.state_is(*endpoint, *to);
            }
            Fact::EndpointEjected { endpoint, .. } => {
                self.must_be_listed(*endpoint, fact);
                self.eject(*endpoint, true);
                self.require_few_ejected();
            }
            Fact::EndpointReturned { endpoint, .. } => {
                let ejected = self.must_be_listed(*endpoint, fact).is_some_and(|told| told.ejected);
                self.shared.require(ejected, || {
                    format!("endpoint {endpoint} returned, and was not ejected")
                });
                self.eject(*endpoint, false);
            }
            Fact::DialStarted { incarnation, endpoint, failures, .. } => {
                self.must_be_listed(*endpoint, fact);
                self.dial_started(*endpoint, *incarnation, *failures, now);
            }
            Fact::DialFailed { incarnation, endpoint, failure, .. } => {
                let counts = self.dial_ended(*incarnation, *endpoint, "failed");
                // A move cuts a dial when the next one has begun.
                let later = self.dials.iter().any(|(dial, it)| {
                    dial > incarnation && it.endpoint == *endpoint && it.by().is_some()
                });
                // One that was forgotten says nothing about its endpoint, which may be back.
                if counts && !later {
                    self.all.get_mut(endpoint).into_iter().for_each(|told| {
                        told.refused = failure.refused;
                    });
                    self.ended(*endpoint, *incarnation);
                    self.way_on(*endpoint, now);
                }
                self.let_leave(*endpoint);
            }
            Fact::LinkEstablished { incarnation, endpoint, .. } => {
                self.must_be_listed(*endpoint, fact);
                self.dial_ended(*incarnation, *endpoint, "is up");
                self.links.insert(*incarnation, *endpoint);
                self.way_on(*endpoint, now);
            }
            Fact::LinkSuspected { .. } | Fact::LinkCleared { .. } => self.suspicions += 1,
            Fact::HealthChanged { incarnation, endpoint, health, .. } => {
                self.must_be_listed(*endpoint, fact);
                self.shared.require(self.links.contains_key(incarnation), || {
                    format!("the health of {incarnation} changed, which is not up")
                });
                match health {
                    Health::Serving | Health::Unsupported => self.healthy.insert(*incarnation),
                    _ => self.healthy.remove(incarnation),
                };
            }
            Fact::BackoffReset { incarnation, .. } => drop(self.proven.insert(*incarnation)),
            Fact::GoAwayReceived { incarnation, endpoint, .. } => {
                self.must_be_known(*endpoint, fact);
                self.ended(*endpoint, *incarnation);
            }
            Fact::KeepaliveLost { endpoint, .. } => self.must_be_known(*endpoint, fact),
            Fact::LinkLost { incarnation, endpoint, .. } => {
                let up = self.links.remove(incarnation);
                self.shared.require(up == Some(*endpoint), || {
                    format!("{incarnation} of endpoint {endpoint} was lost; it was up at {up:?}")
                });
                self.ended(*endpoint, *incarnation);
                self.let_leave(*endpoint);
            }
            Fact::BackoffStarted { endpoint, delay, .. } => {
                self.must_be_listed(*endpoint, fact);
                self.waits(*endpoint, now + *delay);
            }
            Fact::ChildFailed { child, .. } => self.child_failed(child, now),
            Fact::RetryScheduled { endpoint, .. } if *endpoint != EndpointId::default() => {
                self.must_be_known(*endpoint, fact);
            }
            _ => {}
        }
    }

    fn eject(&mut self, id: EndpointId, ejected: bool) {
        self.all.get_mut(&id).into_iter().for_each(|told| told.ejected = ejected);
    }

    /// No more are ejected than may be.
    fn require_few_ejected(&self) {
        let (share, listed) = (self.script.config.ejection().max_share, self.listed());
        let ejected = self.all.values().filter(|told| told.listed && told.ejected).count();
        let most = ((listed as f64 * share) as usize).min(listed.saturating_sub(1));
        self.shared.require(ejected <= most, || format!("{ejected} of {listed} are ejected"));
    }

    fn added(&mut self, id: EndpointId, addresses: &Arc<str>) {
        let moves = self.script.config.balancing() == Balancing::PickFirst;
        let listed = self.all.get(&id).is_some_and(|told| told.listed);
        let former = self.all.get(&id).is_none_or(|told| told.addresses == *addresses);
        if listed && !former && moves {
            return self.moved(id, addresses);
        }
        if let Some(told) = self.all.get_mut(&id).filter(|told| told.listed) {
            let first = !std::mem::replace(&mut told.announced, true);
            return self.shared.require(first, || format!("endpoint {id} was added twice"));
        }
        self.shared
            .require(former || moves, || format!("endpoint {id} is another one than before"));
        self.list(id, Told::new(addresses, true));
    }

    /// Under pick_first the one endpoint has other addresses. A dial may be cut, another may start
    /// at once, and links to a server that it has left serve until others are up.
    fn moved(&mut self, id: EndpointId, addresses: &Arc<str>) {
        let newest = self.dials.last_key_value().map_or(Incarnation::default(), |(dial, _)| *dial);
        let asked = self.dials_that_may_follow();
        for dial in self.dials.values_mut().filter(|dial| dial.endpoint == id) {
            if let Some(by) = dial.by() {
                dial.runs = Runs::Perhaps(by);
            }
        }
        let Some(told) = self.all.get_mut(&id) else { return };
        let now = servers_at(addresses);
        let mut before = servers_at(&std::mem::replace(&mut told.addresses, addresses.clone()));
        before.append(&mut told.left.0);
        let (stay, leave): (Vec<_>, Vec<_>) = before.into_iter().partition(|it| now.contains(it));
        told.left = (leave, newest);
        told.dials_asked_for = asked;
        self.listings.add(now.into_iter().filter(|server| !stay.contains(server)).collect());
        self.let_leave(id);
    }

    /// The servers that an endpoint has left get no more calls once nothing leads to them.
    fn let_leave(&mut self, id: EndpointId) {
        let Some(told) = self.all.get_mut(&id) else { return };
        let up = self.links.iter().any(|(link, of)| *of == id && *link <= told.left.1);
        let dials = |(dial, it): (&Incarnation, &Dial)| {
            it.endpoint == id && *dial <= told.left.1 && it.by().is_some()
        };
        if !up && !self.dials.iter().any(dials) {
            self.listings.remove(std::mem::take(&mut told.left.0));
        }
    }

    fn list(&mut self, id: EndpointId, told: Told) {
        self.listings.add(servers_at(&told.addresses));
        self.all.insert(id, told);
    }

    fn removed(&mut self, id: EndpointId) {
        let Some(told) = self.all.get_mut(&id).filter(|told| told.listed) else {
            return self.shared.violated(format_args!("endpoint {id} was removed and not listed"));
        };
        told.listed = false;
        self.listings.remove(servers_at(&told.addresses));
        self.listings.remove(std::mem::take(&mut told.left.0));
        self.forget_dials(|dial| dial.endpoint == id);
    }

    fn forget_dials(&mut self, which: impl Fn(&Dial) -> bool) {
        let run = |dial: &&mut Dial| dial.by().is_some() && which(dial);
        self.dials.values_mut().filter(run).for_each(|dial| dial.runs = Runs::Forgotten);
    }

    fn must_be_known(&self, id: EndpointId, fact: &Fact) {
        self.shared.require(self.all.contains_key(&id), || {
            format!("{} is about endpoint {id}, which is unknown", fact.name())
        });
    }

    fn must_be_listed(&self, id: EndpointId, fact: &Fact) -> Option<&Told> {
        let told = self.all.get(&id).filter(|told| told.listed);
        self.shared.require(told.is_some(), || {
            format!("{} is about endpoint {id}, which is not listed", fact.name())
        });
        told
    }

    fn state_is(&mut self, id: EndpointId, state: ConnectivityState) {
        let way_on_by = self.dial_under_way(id).unwrap_or_else(now);
        let Some(told) = self.all.get_mut(&id) else { return };
        told.state = state;
        match state {
            TransientFailure => told.failing = true,
            Ready => told.failing = false,
            _ => {}
        }
        // It may be the dial of a successor that becomes the dial. A wait that was announced goes
        // on, whatever is shown meanwhile: an ejected endpoint that returns, say.
        told.way_on_by = way_on_by.max(told.redial_not_before.unwrap_or_default());
    }

    /// By when its dial ends, if one runs.
    fn dial_under_way(&self, id: EndpointId) -> Option<Duration> {
        let of = self.dials.values().filter(|dial| dial.endpoint == id);
        of.filter_map(Dial::by).max()
    }

    fn way_on(&mut self, id: EndpointId, by: Duration) {
        self.all.get_mut(&id).into_iter().for_each(|told| told.way_on_by = by);
    }

    fn ended(&mut self, id: EndpointId, link: Incarnation) {
        self.all.get_mut(&id).into_iter().for_each(|told| told.ended = Some(link));
    }

    fn waits(&mut self, id: EndpointId, until: Duration) {
        let Some(told) = self.all.get_mut(&id) else { return };
        told.way_on_by = until;
        let waited = told.redial_not_before.replace(until).is_some();
        if let Some(ended) = told.ended.take() {
            // After a proven link the next dial is spread, and follows no schedule.
            let counts = !self.proven.contains(&ended);
            let dial = self.dials.get(&ended).filter(|_| counts);
            let from = dial.map(|dial| dial.at);
            // The wait that was on goes on, perhaps shortened: it may count from either.
            told.counts_from = if waited { told.counts_from.min(from) } else { from };
        }
    }

    /// Whether it was under way.
    fn dial_ended(&mut self, dial: Incarnation, id: EndpointId, how: &str) -> bool {
        let known = self.dials.get_mut(&dial);
        let runs = known.as_ref().is_some_and(|it| it.runs != Runs::Ended && it.endpoint == id);
        self.shared.require(runs, || format!("{dial} {how} and was not dialled"));
        let Some(dial) = known else { return false };
        let counts = dial.by().is_some();
        dial.runs = Runs::Ended;
        counts
    }

    fn dial_started(&mut self, id: EndpointId, dial: Incarnation, failures: u32, now: Duration) {
        let runs = |dial: &Dial| dial.endpoint == id && matches!(dial.runs, Runs::Until(_));
        let other = self.dials.values().any(runs);
        self.shared.require(!other, || format!("endpoint {id} is dialled twice at once"));
        let by = now + self.script.config.connect_timeout();
        self.dials.insert(dial, Dial { endpoint: id, at: now, runs: Runs::Until(by) });
        let Some(told) = self.all.get_mut(&id) else { return };
        told.way_on_by = by;
        if let Err(law) = told.may_dial(&self.script, failures, now) {
            self.shared.violated(format_args!("a dial of endpoint {id} {law}"));
        }
    }

    fn child_failed(&mut self, child: &str, now: Duration) {
        let replaced_by = now + self.script.config.reconnect().waiting().max;
        self.replaced_by = replaced_by;
        for told in self.all.values_mut() {
            told.way_on_by = told.way_on_by.max(replaced_by);
        }
        for dial in self.dials.values_mut() {
            if let Some(by) = dial.by() {
                dial.runs = Runs::Perhaps(by);
            }
        }
        if child == "supervisor" {
            // Its successor knows nothing of waits, and dials at once.
            for told in self.all.values_mut() {
                (told.redial_not_before, told.counts_from, told.dialled_at) = (None, None, None);
            }
            self.forget_dials(|_| true);
            self.given.iter_mut().for_each(|(_, by)| *by = replaced_by);
        }
    }

    /// The channel's state is what its endpoints' states add up to.
    fn require_sum(&self, state: ConnectivityState) {
        let listed: Vec<_> = self.all.values().filter(|told| told.listed).collect();
        // Calls go to an ejected one where it is the only one with a link.
        let last_way = |told: &&Told| told.ejected && told.state != Ready;
        if state == Ready && listed.len() > 1 && listed.iter().copied().any(|it| last_way(&it)) {
            return;
        }
        let sum = match &listed[..] {
            _ if matches!(state, Idle | Shutdown) => state,
            [] => TransientFailure,
            [only] => only.state,
            several if several.iter().any(|told| told.state == Ready) => Ready,
            several if several.iter().any(|told| !told.failing) => Connecting,
            _ => TransientFailure,
        };
        self.shared.require(state == sum, || {
            let states: Vec<_> = listed.iter().map(|told| (told.state, told.failing)).collect();
            format!("the channel is {state}, its endpoints add up to {sum}: {states:?}")
        });
    }

    /// Whether an endpoint has a link, and may not be called all the same: its server's health is
    /// watched, and is not said to be good. What is known of it dials nothing, and is no stop.
    fn is_out(&self, id: EndpointId) -> bool {
        let unhealthy = |(link, endpoint): (&Incarnation, &EndpointId)| {
            *endpoint == id && !self.healthy.contains(link)
        };
        self.script.config.health().service().is_some() && self.links.iter().any(unhealthy)
    }

    /// The laws of every moment while it is not shut down.
    pub(crate) fn look(&self, snapshot: &Snapshot, few_for_long: impl Fn(EndpointId) -> bool) {
        let now = now();
        for (id, told) in self.all.iter().filter(|(_, told)| told.listed) {
            let stuck = now > told.way_on_by + GRAIN;
            let out = told.ejected || self.is_out(*id);
            self.shared.require(!stuck || told.state == Ready || out, || {
                format!("stuck: endpoint {id} is {} since {:?}", told.state, told.way_on_by)
            });
            self.shared.require(!stuck || !few_for_long(*id), || {
                format!("stuck: endpoint {id} has too few links since {:?}", told.way_on_by)
            });
        }
        if let Some((list, _)) = self.given.filter(|(_, by)| now > *by + GRAIN * 2) {
            let listed = self.all.values().filter(|told| told.listed);
            let listed: BTreeSet<_> = listed.map(|told| told.addresses.to_string()).collect();
            self.shared.require(listed == list.addresses(self.script.config.balancing()), || {
                format!("{list:?} was given, and {listed:?} are listed")
            });
        }
        let told = self.all.iter().filter(|(_, told)| told.listed);
        let told: Vec<_> = told.map(|(id, told)| (*id, told.state)).collect();
        let shown: Vec<_> = snapshot.endpoints.iter().map(|it| (it.endpoint, it.state)).collect();
        self.shared.require(told == shown, || {
            format!("the snapshot shows the endpoints {shown:?}, the events told {told:?}")
        });
    }
}
