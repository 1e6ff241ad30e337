//! What all facts so far add up to: the state, the counts and the open links that snapshots show.
//!
//! It is a pure fold of the facts, so a snapshot never contradicts the events before it.

use super::troubles::Troubles;
use crate::model::{
    ConnectivityState, DialFailure, EndpointId, EndpointSnapshot, Fact, Health, Incarnation,
    LinkEnd, LinkSnapshot, Snapshot,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What the facts add up to.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) state: ConnectivityState,
    since: Instant,
    incarnation: Incarnation,
    last_error: Option<Arc<str>>,
    dials: u64,
    links: u64,
    retries: u64,
    keepalive_time: Option<Duration>,
    troubles: Troubles,
    /// Every link that was announced and not ended.
    open_links: Vec<OpenLink>,
    /// In the order of their numbers.
    endpoints: Vec<EndpointSummary>,
}

#[derive(Clone, Copy, Debug)]
struct OpenLink {
    incarnation: Incarnation,
    endpoint: EndpointId,
    since: Instant,
    /// Whether it takes no more calls since the peer said GOAWAY.
    draining: bool,
    proven: bool,
    health: Option<Health>,
    suspect: bool,
}

/// What the facts about one endpoint add up to.
#[derive(Clone, Debug)]
struct EndpointSummary {
    id: EndpointId,
    addresses: Arc<str>,
    state: ConnectivityState,
    since: Instant,
    last_error: Option<Arc<str>>,
    next_dial: Option<Instant>,
    ejected_until: Option<Instant>,
    out_since: Option<Instant>,
    failed_dials: u32,
    dial_failure: Option<DialFailure>,
    short_links: u32,
    last_end: Option<LinkEnd>,
}

impl EndpointSummary {
    fn new(id: EndpointId, addresses: Arc<str>, now: Instant) -> Self {
        Self {
            id,
            addresses,
            state: ConnectivityState::Idle,
            since: now,
            last_error: None,
            next_dial: None,
            ejected_until: None,
            out_since: None,
            failed_dials: 0,
            dial_failure: None,
            short_links: 0,
            last_end: None,
        }
    }

    /// A link is up.
    fn connected(&mut self) {
        (self.failed_dials, self.dial_failure, self.out_since) = (0, None, None);
    }

    /// A link was lost.
    fn lost(&mut self, end: &LinkEnd, was_proven: bool) {
        if matches!(end, LinkEnd::HungUp) {
            return;
        }
        self.short_links = if was_proven { 0 } else { self.short_links.saturating_add(1) };
        self.last_end = Some(end.clone());
    }

    /// A link is proven.
    fn proven(&mut self) {
        (self.short_links, self.last_end) = (0, None);
    }

    fn state_changed(&mut self, to: ConnectivityState, cause: &Arc<str>, now: Instant) {
        (self.state, self.since) = (to, now);
        match to {
            ConnectivityState::Ready => self.last_error = None,
            ConnectivityState::TransientFailure => self.last_error = Some(cause.clone()),
            _ => {}
        }
    }
}

impl Summary {
    pub(super) fn new(now: Instant, keepalive_time: Option<Duration>) -> Self {
        Self {
            state: ConnectivityState::Idle,
            since: now,
            incarnation: Incarnation(0),
            last_error: None,
            dials: 0,
            links: 0,
            retries: 0,
            keepalive_time,
            troubles: Troubles::default(),
            // As a rule there is one of each; vectors that grow make room for four.
            open_links: Vec::with_capacity(1),
            endpoints: Vec::with_capacity(1),
        }
    }

    pub(super) fn fold(&mut self, fact: &Fact, now: Instant) {
        self.troubles.fold(fact, now);
        match fact {
            Fact::StateChanged { to, cause, .. } => {
                // Of an only endpoint the channel's state is its own.
                if let [only] = &mut self.endpoints[..] {
                    only.state_changed(*to, cause, now);
                }
                if *to == ConnectivityState::Idle {
                    // Nothing is waited for but a call.
                    self.endpoints.iter_mut().for_each(|one| one.next_dial = None);
                }
                if *to == ConnectivityState::Shutdown {
                    self.endpoints.iter_mut().for_each(|one| one.state_changed(*to, cause, now));
                }
                self.state = *to;
                self.since = now;
                match to {
                    ConnectivityState::Ready => self.last_error = None,
                    ConnectivityState::TransientFailure => self.last_error = Some(cause.clone()),
                    _ => {}
                }
            }
            Fact::SubchannelChanged { endpoint, to, cause, .. } => {
                self.endpoint(*endpoint)
                    .into_iter()
                    .for_each(|it| it.state_changed(*to, cause, now));
            }
            Fact::EndpointAdded { endpoint, addresses } => {
                self.add(EndpointSummary::new(*endpoint, addresses.clone(), now));
            }
            Fact::EndpointRemoved { endpoint, .. } => {
                self.endpoints.retain(|one| one.id != *endpoint);
            }
            Fact::EndpointEjected { endpoint, ejected_for, .. } => {
                let until = now.checked_add(*ejected_for).unwrap_or(now);
                self.endpoint(*endpoint).into_iter().for_each(|it| it.ejected_until = Some(until));
            }
            Fact::EndpointReturned { endpoint, .. } => {
                self.endpoint(*endpoint).into_iter().for_each(|it| it.ejected_until = None);
            }
            Fact::DialStarted { incarnation, endpoint, .. } => {
                self.dials += 1;
                self.incarnation = *incarnation;
                self.endpoint(*endpoint).into_iter().for_each(|it| it.next_dial = None);
            }
            Fact::LinkEstablished { incarnation, endpoint, .. } => {
                self.links += 1;
                let (incarnation, endpoint) = (*incarnation, *endpoint);
                self.endpoint(endpoint).into_iter().for_each(EndpointSummary::connected);
                self.open_links.push(OpenLink {
                    incarnation,
                    endpoint,
                    since: now,
                    draining: false,
                    proven: false,
                    health: None,
                    suspect: false,
                });
            }
            Fact::GoAwayReceived { incarnation, .. } => {
                self.link(*incarnation).into_iter().for_each(|link| link.draining = true);
            }
            Fact::HealthChanged { incarnation, health, .. } => {
                self.link(*incarnation).into_iter().for_each(|link| link.health = Some(*health));
            }
            Fact::LinkSuspected { incarnation, .. } => {
                self.link(*incarnation).into_iter().for_each(|link| link.suspect = true);
            }
            Fact::LinkCleared { incarnation, .. } => {
                self.link(*incarnation).into_iter().for_each(|link| link.suspect = false);
            }
            Fact::BackoffReset { incarnation } => {
                if let Some(link) = self.link(*incarnation) {
                    link.proven = true;
                    let endpoint = link.endpoint;
                    self.endpoint(endpoint).into_iter().for_each(EndpointSummary::proven);
                }
            }
            Fact::DialFailed { endpoint, failure, .. } => {
                if let Some(one) = self.endpoint(*endpoint) {
                    one.failed_dials = one.failed_dials.saturating_add(1);
                    one.dial_failure = Some(failure.clone());
                    one.out_since.get_or_insert(now);
                }
            }
            Fact::LinkLost { incarnation, endpoint, end, .. } => {
                let was_proven = self.link(*incarnation).is_some_and(|link| link.proven);
                self.open_links.retain(|open| open.incarnation != *incarnation);
                let none_left = self.open_links.iter().all(|open| open.endpoint != *endpoint);
                if let Some(one) = self.endpoint(*endpoint) {
                    one.lost(end, was_proven);
                    if none_left {
                        one.out_since.get_or_insert(now);
                    }
                }
            }
            Fact::BackoffStarted { endpoint, delay, .. } => {
                self.endpoint(*endpoint)
                    .into_iter()
                    .for_each(|it| it.next_dial = Some(now + *delay));
            }
            Fact::RetryScheduled { .. } => self.retries += 1,
            Fact::KeepaliveBackedOff { keepalive_time, .. } => {
                self.keepalive_time = Some(*keepalive_time)
            }
            Fact::DrainStarted { .. } => {
                self.endpoints.iter_mut().for_each(|endpoint| endpoint.next_dial = None)
            }
            _ => {}
        }
    }

    /// The links that were announced and not ended yet, and how long they have lived.
    pub(super) fn open_links(&self, now: Instant) -> Vec<(Incarnation, EndpointId, Duration)> {
        self.open_links
            .iter()
            .map(|link| {
                let lived = now.saturating_duration_since(link.since);
                (link.incarnation, link.endpoint, lived)
            })
            .collect()
    }

    /// Each endpoint's addresses and state, where there are several.
    pub(super) fn several(&self) -> Vec<(EndpointId, Arc<str>, ConnectivityState)> {
        let all = self.endpoints.iter().filter(|_| self.endpoints.len() > 1);
        all.map(|one| (one.id, one.addresses.clone(), one.state)).collect()
    }

    /// The endpoints that are ejected.
    pub(super) fn ejected(&self) -> Vec<(EndpointId, Arc<str>)> {
        let ejected = self.endpoints.iter().filter(|one| one.ejected_until.is_some());
        ejected.map(|one| (one.id, one.addresses.clone())).collect()
    }

    /// The endpoints that there are, none of which was announced.
    pub(super) fn list(&mut self, endpoints: &[(EndpointId, Arc<str>)], now: Instant) {
        self.endpoints.clear();
        for (id, addresses) in endpoints {
            self.add(EndpointSummary::new(*id, addresses.clone(), now));
        }
    }

    pub(super) fn show_addresses(&mut self, endpoints: &[(EndpointId, Arc<str>)]) {
        for (id, addresses) in endpoints {
            self.endpoint(*id).into_iter().for_each(|one| one.addresses = addresses.clone());
        }
    }

    fn add(&mut self, endpoint: EndpointSummary) {
        match self.endpoints.binary_search_by_key(&endpoint.id, |one| one.id) {
            // It has other addresses.
            Ok(place) => self.endpoints[place].addresses = endpoint.addresses,
            Err(place) => self.endpoints.insert(place, endpoint),
        }
    }

    fn link(&mut self, incarnation: Incarnation) -> Option<&mut OpenLink> {
        self.open_links.iter_mut().find(|link| link.incarnation == incarnation)
    }

    fn endpoint(&mut self, id: EndpointId) -> Option<&mut EndpointSummary> {
        let place = self.endpoints.binary_search_by_key(&id, |one| one.id).ok()?;
        self.endpoints.get_mut(place)
    }

    fn endpoint_snapshot(&self, endpoint: &EndpointSummary, now: Instant) -> EndpointSnapshot {
        let takes_calls = |link: &&OpenLink| link.endpoint == endpoint.id && !link.draining;
        let link = |link: &OpenLink| LinkSnapshot {
            incarnation: link.incarnation,
            age: now.saturating_duration_since(link.since),
            health: link.health,
            suspect: link.suspect,
            ..LinkSnapshot::default()
        };
        let newest = self.open_links.iter().rfind(takes_calls);
        EndpointSnapshot {
            endpoint: endpoint.id,
            addresses: endpoint.addresses.clone(),
            state: endpoint.state,
            since: now.saturating_duration_since(endpoint.since),
            last_error: endpoint.last_error.clone(),
            next_dial: endpoint.next_dial.map(|at| at.saturating_duration_since(now)),
            ejected_for: endpoint.ejected_until.map(|at| at.saturating_duration_since(now)),
            out_for: endpoint.out_since.map(|since| now.saturating_duration_since(since)),
            failed_dials: endpoint.failed_dials,
            dial_failure: endpoint.dial_failure.clone(),
            short_links: endpoint.short_links,
            last_end: endpoint.last_end.clone(),
            latency: None,
            health: newest.and_then(|link| link.health),
            links: self.open_links.iter().filter(takes_calls).map(link).collect(),
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let next_dial = self.endpoints.iter().filter_map(|endpoint| endpoint.next_dial).min();
        let endpoints = self.endpoints.iter().map(|one| self.endpoint_snapshot(one, now)).collect();
        Snapshot {
            state: self.state,
            since: now.saturating_duration_since(self.since),
            incarnation: self.incarnation,
            last_error: self.last_error.clone(),
            dials: self.dials,
            links: self.links,
            next_dial: next_dial.map(|at| at.saturating_duration_since(now)),
            endpoints,
            retries: self.retries,
            keepalive_time: self.keepalive_time,
            was_connected: self.links > 0,
            ..self.troubles.snapshot(now)
        }
    }
}
