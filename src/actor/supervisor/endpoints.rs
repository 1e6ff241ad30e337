//! The supervisor's endpoints: lists of them that are given, and where calls go out with the links
//! that there are.

use super::{
    super::{core::Core, message::RequestMsg},
    Session,
};
use crate::{
    call::{By, Member, NoLink, Picker, Several},
    clock,
    config::Balancing,
    model::{Address, ConnectivityState, Endpoint, EndpointId, Fact, Incarnation},
    policy::{Input, ListChange, Moved, NO_ENDPOINTS, Standing, Step, key_of},
    transport::Link,
};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The links that may be picked, what fail-fast calls fail with, and what calls are told that wait.
pub(super) type WhereCallsGo = (Vec<(Incarnation, Standing)>, Option<Arc<str>>, Option<Arc<str>>);

/// Tells the supervisor when another list is given. Ends when it is dropped, and with whoever gives
/// lists: the last one holds on.
pub(super) struct GivenWatch(AbortHandle);

impl GivenWatch {
    pub(super) fn new(core: &Arc<Core>) -> Option<Self> {
        let mut given = core.given()?;
        // What is there now is taken in by whoever begins.
        given.mark_unchanged();
        let core = Arc::downgrade(core);
        let watching = async move {
            while given.changed().await.is_ok() {
                let Some(core) = core.upgrade() else { return };
                core.tell_of_given();
            }
        };
        Some(Self(tokio::spawn(watching).abort_handle()))
    }
}

impl Drop for GivenWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// The first steps: what is listed is dialled.
    pub(super) fn begin_with_list(&mut self) {
        // Another list may have come since the supervisor was spawned, and its endpoints shown.
        let change = self.core.take_given();
        let listed = self.core.listed();
        self.core.telemetry.list(&listed);
        let ids: Vec<_> = listed.iter().map(|(id, _)| *id).collect();
        let added = if ids.len() > 1 { listed } else { change.added.clone() };
        let announced = ListChange { added, ..change };
        self.announce_list(&announced, false);
        let empty = ids.is_empty() && self.core.has_list();
        let cause = if empty { NO_ENDPOINTS } else { "the supervisor was spawned" };
        if self.core.has_list() {
            self.take_step(cause, |channel, cause, now, random| {
                Some(channel.on_list(ids, [], cause, now, random))
            });
        }
        self.step(Input::Connect, cause);
    }

    /// A list was given: endpoints that are new are dialled, links of those that it lacks drain.
    pub(super) fn endpoints_given(&mut self) {
        self.core.given_heard();
        if self.draining {
            return;
        }
        let change = self.core.take_given();
        let empty = self.core.listed().is_empty();
        let cause = if empty { NO_ENDPOINTS } else { "another list of endpoints was given" };
        self.apply(change, false, cause);
    }

    /// Takes a list into use. `first`: nothing but the target's own name was listed before.
    pub(super) fn apply(&mut self, change: ListChange, first: bool, cause: &str) {
        if change == ListChange::default() {
            return;
        }
        // Who may not be ejected any more is in use before others are gone.
        self.watch_listed();
        self.announce_list(&change, first);
        self.core.telemetry.show_addresses(&self.core.listed());
        self.core.warn_of_many();
        let ids = |of: &[(EndpointId, Endpoint)]| of.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let (mut added, mut removed) = (ids(&change.added), ids(&change.removed));
        self.core.mutations.misapply(&mut added, &mut removed);
        self.in_doubt.retain(|endpoint| !removed.contains(endpoint));
        if !(added.is_empty() && removed.is_empty()) {
            self.take_step(cause, |channel, cause, now, random| {
                Some(channel.on_list(added, removed, cause, now, random))
            });
        }
        if let Some(moved) = change.moved {
            self.moved(&moved, first, cause);
        }
        self.replace_unanswered(cause);
    }

    /// The one endpoint has other addresses. A dial is cut and a wait ends only if that may help,
    /// and once in a while: however often addresses change, a dial must have the time that it
    /// takes.
    fn moved(&mut self, moved: &Moved, first: bool, cause: &str) {
        let (now, pace) = (clock::now(), self.core.config.resolve.min_interval);
        let lately = self.moved.is_some_and(|at| now.saturating_duration_since(at) < pace);
        let lacks = |one: &Endpoint, other: &Endpoint| {
            one.addresses().iter().any(|address| !other.addresses().contains(address))
        };
        let helps = match self.channel.state() {
            // The first dial looks the name up by itself: it has what the first answer has.
            ConnectivityState::Connecting if first => false,
            ConnectivityState::Connecting => lacks(&moved.before, &moved.now),
            _ => lacks(&moved.now, &moved.before),
        };
        if helps && !lately {
            self.moved = Some(now);
            self.step(Input::Moved, cause);
        }
        let links: Vec<_> = self.channel.links().map(|(_, link)| link).collect();
        links.into_iter().for_each(|link| self.replace_if_gone(link));
    }

    /// Where a link leads to an address that is not its endpoint's any more, another takes its
    /// place.
    pub(super) fn replace_if_gone(&mut self, incarnation: Incarnation) {
        let Some(link) = self.link(incarnation) else { return };
        let endpoints = self.core.endpoints.lock();
        let Some(endpoint) = endpoints.get(link.endpoint()) else { return };
        let listed = |address: &Address| endpoint.addresses().contains(address);
        let gone = !listed(&link.peer().listed) && !listed(link.peer().address());
        drop(endpoints);
        if gone {
            self.step(Input::WornOut(incarnation), "its address is listed no more");
        }
    }

    pub(super) fn announce_list(&self, change: &ListChange, first: bool) {
        for (endpoint, of) in change.added.iter().cloned() {
            let addresses = of.to_string().into();
            self.core.telemetry.announce(Fact::EndpointAdded { endpoint, addresses });
        }
        if let Some(moved) = change.moved.as_ref().filter(|_| !first) {
            let (endpoint, addresses) = (moved.id, moved.now.to_string().into());
            self.core.telemetry.announce(Fact::EndpointAdded { endpoint, addresses });
        }
        for (endpoint, of) in change.removed.iter().cloned() {
            let addresses = of.to_string().into();
            self.core.telemetry.announce(Fact::EndpointRemoved { endpoint, addresses });
        }
    }

    /// Tells of the states that a step changed.
    pub(super) fn announce_changes(&self, step: &Step, cause: &Arc<str>) {
        for (endpoint, from, to) in step.endpoints.iter().copied() {
            let (cause, addresses) = (cause.clone(), self.core.addresses_of(endpoint));
            let fact = Fact::SubchannelChanged { endpoint, addresses, from, to, cause };
            self.core.telemetry.announce(fact);
        }
        if let Some((from, to)) = step.changed {
            let (cause, incarnation) = (step.cause.as_ref().unwrap_or(cause).clone(), step.about);
            self.core.telemetry.announce(Fact::StateChanged { from, to, cause, incarnation });
        }
    }

    /// What the picker is made of.
    pub(super) fn where_calls_go(&self) -> WhereCallsGo {
        let links: Vec<_> = self.links_to_pick().collect();
        let why = links.is_empty().then(|| self.channel.why_no_link()).flatten();
        (links, self.channel.last_error(), why)
    }

    /// Tells everybody where calls go out.
    pub(super) fn publish_picker(&self) {
        let picker = self.picker();
        self.core.show_picker(picker.clone());
        self.core.requests.tell_all(|| RequestMsg::PickerChanged(picker.clone()));
    }

    /// The links that calls may go out on, and how good they are, in the order of the endpoints.
    pub(super) fn links_to_pick(&self) -> impl Iterator<Item = (Incarnation, Standing)> {
        let standing = |(endpoint, link)| (link, self.channel.standing(endpoint, link));
        self.channel.links().map(standing).filter(|(_, standing)| *standing <= Standing::Ejected)
    }

    pub(super) fn picker(&self) -> Picker {
        let links = self.links_to_pick();
        let links = links.filter_map(|(link, it)| Some((it, self.link(link)?.clone())));
        let links: Vec<(Standing, Arc<Link>)> = links.collect();
        let Some(best) = links.iter().map(|(standing, _)| *standing).min() else {
            return Picker::None(NoLink {
                failing: self.channel.last_error(),
                why: self.channel.why_no_link(),
            });
        };
        // An ejected endpoint is better than none, and only than that.
        let worst = best.max(Standing::Suspect);
        let of = |wanted: &dyn Fn(Standing, &Link) -> bool| -> Vec<Arc<Link>> {
            let links = links.iter().filter(|(standing, link)| wanted(*standing, link));
            links.map(|(_, link)| link.clone()).collect()
        };
        let in_use = of(&|standing, _| standing <= worst);
        let on_probation = of(&|standing, link| {
            let on_probation =
                || self.watched.as_ref().is_some_and(|it| it.is_on_probation(link.endpoint()));
            standing == Standing::Ejected && on_probation()
        });
        // Of several endpoints each call is counted, also while there is a link to only one.
        let counts = self.watched.is_some() && !self.channel.has_one_endpoint();
        if let ([link], [], false) = (&in_use[..], &on_probation[..], counts) {
            return Picker::One(link.clone());
        }
        let about = |link: &Link| {
            let endpoint = link.endpoint();
            let stats = self.watched.as_ref().and_then(|it| it.stats(endpoint));
            (stats, self.sticky_key(endpoint))
        };
        let standings = [Standing::Good, Standing::Suspect, Standing::Ejected];
        let tiers = standings
            .into_iter()
            .filter(|standing| *standing <= worst)
            .map(|standing| Member::group(&of(&|one, _| one == standing), about));
        let choices = self.core.config.choices;
        let by = match self.core.config.balancing {
            Balancing::PickFirst | Balancing::RoundRobin => By::Turn,
            Balancing::LeastRequest => By::Streams(choices),
            Balancing::PeakEwma => By::Time(choices),
        };
        // Channels that were started together do not all begin with the same endpoint.
        let first = match in_use.len() {
            ..2 => 0,
            links => (self.core.random() * links as f64) as usize,
        };
        let tiers = tiers.filter(|members| !members.is_empty());
        let on_probation = Member::group(&on_probation, about);
        Picker::Many(Arc::new(Several::new(by, tiers, on_probation, first)))
    }

    /// What the ranks of an endpoint are made of, where some header chooses it.
    fn sticky_key(&self, endpoint: EndpointId) -> u64 {
        if self.core.config.sticky_header.is_none() {
            return 0;
        }
        let key = self.core.endpoints.lock().get(endpoint).map(Endpoint::key);
        let text: Vec<_> = key.iter().flatten().map(Address::to_string).collect();
        key_of(text.join(",").as_bytes())
    }

    /// The link of a connection actor, once it is up.
    pub(super) fn link(&self, incarnation: Incarnation) -> Option<&Arc<Link>> {
        let place = self.connection_at(incarnation)?;
        self.connections[place].link.as_ref()
    }

    /// Where a connection actor stands: they are in the order of their incarnations.
    pub(super) fn connection_at(&self, incarnation: Incarnation) -> Option<usize> {
        self.connections.binary_search_by_key(&incarnation, |one| one.incarnation).ok()
    }
}
