//! What is known of an endpoint besides its links: it says that it does not serve, too many calls
//! failed there, or the answer to a keepalive PING is late. It changes which links are picked and
//! which state is shown, never when is dialled: no subchannel hears of it.
//!
//! | a Ready subchannel | shows | its links are picked |
//! |---|---|---|
//! | nothing speaks against it | READY | first |
//! | its peer owes the answer to a PING | READY | after all those |
//! | it was ejected | TRANSIENT_FAILURE | where there is nothing better |
//! | its health is not known yet (gRPC A17) | CONNECTING | never |
//! | it says that it does not serve | TRANSIENT_FAILURE | never |
//!
//! Health and late answers are a link's, an ejection is an endpoint's. An endpoint with several
//! links is as good as the best of them.

use super::{Channel, Record, Stage, Step};
use crate::model::{
    ConnectivityState::{self, Connecting, Ready, TransientFailure},
    EndpointId, Incarnation,
};
use std::sync::Arc;

/// How good a link is to send a call on: the less, the better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing speaks against it.
    #[default]
    Good,
    /// Its peer owes the answer to a keepalive PING.
    Suspect,
    /// Its endpoint was ejected.
    Ejected,
    /// Its peer has not said yet whether it serves.
    Unknown,
    /// Its peer says that it does not serve.
    NotServing,
}

/// News that change the standing of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An endpoint was ejected, or is taken back.
    #[allow(dead_code, reason = "the breaker sends it")]
    Ejected(EndpointId, bool),
    /// What the peer of a link or dial says of its health: `Good`, `Unknown` or `NotServing`.
    Health(Incarnation, Standing),
    /// The peer of a link owes the answer to a PING, or has given it.
    Suspect(Incarnation, bool),
}

/// What is known of one endpoint; of links against which nothing speaks, nothing is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    ejected: bool,
    unhealthy: Vec<(Incarnation, Standing)>,
    suspect: Vec<Incarnation>,
    /// Why it was last ejected, or said not to serve.
    why: Option<Arc<str>>,
}

impl Overlay {
    fn standing(&self, link: Incarnation) -> Standing {
        let unhealthy = self.unhealthy.iter().find(|(of, _)| *of == link).map(|(_, it)| *it);
        let suspect = self.suspect.contains(&link).then_some(Standing::Suspect);
        let ejected = self.ejected.then_some(Standing::Ejected);
        unhealthy.max(suspect).max(ejected).unwrap_or_default()
    }

    fn take(&mut self, news: News, cause: &Arc<str>) {
        let shows_failure = match news {
            News::Ejected(_, ejected) => ejected,
            News::Health(_, standing) => standing == Standing::NotServing,
            News::Suspect(..) => false,
        };
        if shows_failure {
            self.why = Some(cause.clone());
        }
        match news {
            News::Ejected(_, ejected) => self.ejected = ejected,
            News::Health(link, standing) => {
                self.unhealthy.retain(|(of, _)| *of != link);
                if standing != Standing::Good {
                    self.unhealthy.push((link, standing));
                }
            }
            News::Suspect(link, suspect) => {
                self.suspect.retain(|of| *of != link);
                if suspect {
                    self.suspect.push(link);
                }
            }
        }
    }
}

impl Record {
    /// The state that is shown.
    pub(super) fn state(&self) -> ConnectivityState {
        match (self.subchannel.state(), self.best_standing()) {
            (Ready, Standing::Unknown) => Connecting,
            (Ready, Standing::Ejected | Standing::NotServing) => TransientFailure,
            (raw, _) => raw,
        }
    }

    /// Whether one of its links may be picked, if need be.
    pub(super) fn may_be_picked(&self) -> bool {
        self.subchannel.state() == Ready && self.best_standing() <= Standing::Ejected
    }

    /// Why it shows a failure although it has links.
    pub(super) fn why_not(&self) -> Option<&Arc<str>> {
        let by_news = self.subchannel.state() == Ready && self.state() == TransientFailure;
        self.overlay.why.as_ref().filter(|_| by_news)
    }

    fn best_standing(&self) -> Standing {
        let standings = self.subchannel.links().map(|link| self.overlay.standing(link));
        standings.min().unwrap_or_default()
    }

    /// Forgets what was known of links that are gone.
    pub(super) fn forget_lost_links(&mut self) {
        let Self { subchannel, overlay, .. } = self;
        overlay.unhealthy.retain(|(link, _)| subchannel.owns(*link));
        overlay.suspect.retain(|link| subchannel.owns(*link));
    }
}

impl Channel {
    /// Takes news that change what is picked and shown; none if they come late, and are about an
    /// endpoint or a link that is no longer this channel's. `cause` explains them.
    pub fn on_news(&mut self, news: News, cause: &Arc<str>) -> Option<Step> {
        let about = match news {
            News::Ejected(..) => None,
            News::Health(link, _) | News::Suspect(link, _) => Some(link),
        };
        let place = match (news, about) {
            (News::Ejected(endpoint, _), _) => self.place(endpoint).ok()?,
            (_, link) => self.owner(link?)?,
        };
        let (before, mut step) = (self.before(), Step::default());
        if matches!(self.stage, Stage::Shutdown { .. }) {
            return None;
        }
        let from = self.subchannels[place].1.state();
        self.subchannels[place].1.overlay.take(news, cause);
        self.shows(place, from, false, cause, &mut step);
        Some(self.finish(before, about, step))
    }

    /// How good a link is to send a call on.
    pub fn standing(&self, endpoint: EndpointId, link: Incarnation) -> Standing {
        self.place(endpoint)
            .map_or(Standing::Good, |place| self.subchannels[place].1.overlay.standing(link))
    }
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
