//! What the supervisor makes of news about its links' servers: how healthy they are, and whether
//! one owes an answer. It changes which links are picked and what is shown, and nothing else; but
//! where no link is left for calls, another is dialled to each server that does not answer.

use super::Session;
use crate::{
    model::{EndpointId, Fact, Health, Incarnation},
    policy::{Input, News, Standing, standing_of},
};
use std::sync::Arc;

impl Session {
    /// A link that comes up is not used before its server has said that it serves, where it is
    /// asked on a watch, or where it has not answered on its last link. Where another link to it is
    /// in use, it has said so there: one that is replaced goes without a gap.
    pub(super) fn begin_in_doubt(&mut self, incarnation: Incarnation, endpoint: EndpointId) {
        let asked = self.core.config.health.service.is_some();
        let serves =
            |(id, link)| id == endpoint && self.channel.standing(id, link) <= Standing::Ejected;
        let in_doubt = self.in_doubt.contains(&endpoint);
        if in_doubt || (asked && !self.channel.links().any(serves)) {
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
            Health::Unanswered => drop(self.in_doubt.insert(endpoint)),
            Health::Serving | Health::NotServing | Health::Unsupported => {
                self.in_doubt.remove(&endpoint);
            }
            // The server has said nothing.
            Health::Unknown | Health::WatchBroken => {}
        }
        self.news(News::Health(incarnation, standing_of(health)), cause);
        self.replace_unanswered(cause);
    }

    /// Where no link is left that calls could go out on, those are replaced whose servers do not
    /// answer: a proxy may answer for a server that is gone, and find it again for a new link.
    pub(super) fn replace_unanswered(&mut self, cause: &str) {
        if self.in_doubt.is_empty() || self.links_to_pick().next().is_some() {
            return;
        }
        let unanswered = self.channel.links().filter(|(id, link)| {
            self.in_doubt.contains(id) && self.channel.standing(*id, *link) == Standing::NotServing
        });
        for link in unanswered.map(|(_, link)| link).collect::<Vec<_>>() {
            self.step(Input::WornOut(link), cause);
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
