//! What all facts so far add up to: the state, the counts and the open links that snapshots show.
//!
//! It is a pure fold of the facts, so a snapshot never contradicts the events before it.

use crate::model::{ConnectivityState, Fact, Incarnation, Snapshot};
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
    next_dial: Option<Instant>,
    keepalive_time: Option<Duration>,
    open_links: Vec<(Incarnation, Instant)>,
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
            next_dial: None,
            keepalive_time,
            open_links: Vec::new(),
        }
    }

    pub(super) fn fold(&mut self, fact: &Fact, now: Instant) {
        match fact {
            Fact::StateChanged { to, cause, .. } => {
                self.state = *to;
                self.since = now;
                match to {
                    ConnectivityState::Ready => self.last_error = None,
                    ConnectivityState::TransientFailure => self.last_error = Some(cause.clone()),
                    _ => {}
                }
            }
            Fact::DialStarted { incarnation, .. } => {
                self.dials += 1;
                self.incarnation = *incarnation;
                self.next_dial = None;
            }
            Fact::LinkEstablished { incarnation, .. } => {
                self.links += 1;
                self.open_links.push((*incarnation, now));
            }
            Fact::LinkLost { incarnation, .. } => {
                self.open_links.retain(|(open, _)| open != incarnation)
            }
            Fact::BackoffStarted { delay, .. } => self.next_dial = Some(now + *delay),
            Fact::RetryScheduled { .. } => self.retries += 1,
            Fact::KeepaliveBackedOff { keepalive_time, .. } => {
                self.keepalive_time = Some(*keepalive_time)
            }
            Fact::DrainStarted { .. } => self.next_dial = None,
            _ => {}
        }
    }

    /// The links that were announced and not ended yet, and how long they have lived.
    pub(super) fn open_links(&self, now: Instant) -> Vec<(Incarnation, Duration)> {
        self.open_links
            .iter()
            .map(|(link, since)| (*link, now.saturating_duration_since(*since)))
            .collect()
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            state: self.state,
            since: now.saturating_duration_since(self.since),
            incarnation: self.incarnation,
            last_error: self.last_error.clone(),
            dials: self.dials,
            links: self.links,
            next_dial: self.next_dial.map(|at| at.saturating_duration_since(now)),
            retries: self.retries,
            keepalive_time: self.keepalive_time,
            ..Snapshot::default()
        }
    }
}
