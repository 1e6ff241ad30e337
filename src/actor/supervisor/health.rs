//! What the supervisor makes of news about its links' servers: how healthy they are, and whether
//! one owes an answer. It changes which links are picked and what is shown, and nothing else; but
//! where a server that is the only one does not answer, another link to it is dialled.

use super::Session;
use crate::{
    model::{EndpointId, Fact, Health, Incarnation},
    policy::{Input, News, Standing, standing_of},
};
use std::sync::Arc;

impl Session {
    /// A link that comes up is not used before its server has said that it serves, where it is
    /// asked on a watch, or where it has not answered on its last link.
    pub(super) fn begin_in_doubt(&mut self, incarnation: Incarnation, endpoint: EndpointId) {
        let asked = &self.core.config.health;
        if asked.service.is_some() || self.in_doubt.contains(&endpoint) {
            self.news(News::Health(incarnation, Standing::Unknown), "its health is not known yet");
        }
    }

    pub(super) fn health_heard(
        &mut self,
        incarnation: Incarnation,
        health: Health,
        cause: &Arc<str>,
    ) {
        // One that drains is of no interest any more.
        if !self.channel.owns(incarnation) {
            return self.core.telemetry.stale("HealthHeard");
        }
        let Some(link) = self.link(incarnation) else { return };
        let endpoint = link.endpoint();
        let fact = Fact::HealthChanged { incarnation, endpoint, health, cause: cause.clone() };
        self.core.telemetry.announce(fact);
        match health {
            Health::Unanswered => self.in_doubt.insert(endpoint),
            _ => self.in_doubt.remove(&endpoint),
        };
        self.news(News::Health(incarnation, standing_of(health)), cause);
        // A proxy may answer for a server that is gone: perhaps it finds it again for a new link.
        if health == Health::Unanswered && self.channel.has_one_endpoint() {
            self.step(Input::WornOut(incarnation), cause);
        }
    }

    pub(super) fn link_suspect(&mut self, incarnation: Incarnation, suspect: bool) {
        if !self.channel.owns(incarnation) {
            return self.core.telemetry.stale("LinkSuspect");
        }
        let Some(link) = self.link(incarnation) else { return };
        let endpoint = link.endpoint();
        let (fact, cause) = match suspect {
            true => (Fact::LinkSuspected { incarnation, endpoint }, "its peer owes an answer"),
            false => (Fact::LinkCleared { incarnation, endpoint }, "its peer has been heard"),
        };
        self.core.telemetry.announce(fact);
        self.news(News::Suspect(incarnation, suspect), cause);
    }
}
