//! What the supervisor does about links: they come up, say GOAWAY, prove themselves, are replaced,
//! and end. What follows is the machine's to say; here is what has to be announced, and in which
//! order.

use super::{super::message::ConnectionMsg, Session, children::Connection};
use crate::{
    clock,
    model::{EndpointId, Fact, GoAway, Incarnation, LinkEnd, StepTimes},
    policy::{Input, RestartDecision, after},
    transport::Link,
};
use std::{sync::Arc, time::Duration};

impl Session {
    pub(super) fn link_up(
        &mut self,
        incarnation: Incarnation,
        link: Arc<Link>,
        (took, steps): (Duration, Box<StepTimes>),
    ) {
        let input = Input::Established(incarnation);
        if self.channel.is_late(input) {
            self.core.telemetry.stale("LinkUp");
            return link.drain();
        }
        self.core.first_dials.lock().succeeded();
        let (endpoint, max_concurrent_streams) = (link.endpoint(), link.peer_limit());
        let (ends, is_over) = (link.peer().ends(), link.end().is_some());
        self.begin_in_doubt(incarnation, endpoint);
        if let Some(connection) = self.connection(incarnation) {
            connection.link = Some(link);
        }
        self.core.telemetry.announce(Fact::LinkEstablished {
            incarnation,
            endpoint,
            took,
            steps,
            max_concurrent_streams,
            ends,
        });
        if is_over {
            // Its end is under way here: it is used for nothing, and takes no other link's place.
            return;
        }
        self.step(input, "the peer's SETTINGS were read");
        self.begin_to_age(incarnation);
        // Its endpoint may have moved meanwhile.
        self.replace_if_gone(incarnation);
        if let Some(connection) = self.connection(incarnation) {
            let _ = connection.actor.cast(ConnectionMsg::Established);
        }
    }

    pub(super) fn connection(&mut self, incarnation: Incarnation) -> Option<&mut Connection> {
        let place = self.connection_at(incarnation)?;
        self.connections.get_mut(place)
    }

    /// Whether a deliberate bug forgets to dial.
    pub(super) fn forgets_dial(&self, cause: &str, endpoint: EndpointId) -> bool {
        let has_links = || self.channel.links().any(|(id, _)| id == endpoint);
        self.core.mutations.forgets_dial(cause, has_links)
    }

    /// A link answered a call, or has lived long enough.
    pub(super) fn proven(&mut self, incarnation: Incarnation) {
        let input = Input::Proven(incarnation);
        if self.channel.is_late(input) {
            // In a shutdown the link may still prove itself: that is not late, and of no use.
            if self.channel.subject() != Some(incarnation) {
                self.core.telemetry.stale("LinkProven");
            }
            return;
        }
        let before = self.channel.is_proven(incarnation);
        self.step(input, "the link is proven");
        if !before {
            self.core.telemetry.announce(Fact::BackoffReset { incarnation });
        }
    }

    /// Its end, or its GOAWAY, may come before the news that a link was proven; how soon the next
    /// dial follows depends on it.
    fn prove_late(&mut self, incarnation: Incarnation, proven: bool) {
        if proven && self.channel.links().any(|(_, link)| link == incarnation) {
            self.proven(incarnation);
        }
    }

    pub(super) fn goaway(&mut self, incarnation: Incarnation, goaway: GoAway) {
        // A link's end overtakes its GOAWAY's message, and has announced it then.
        let Some(connection) = self.connection(incarnation) else {
            return self.core.telemetry.stale("GoAwayReceived");
        };
        connection.goaway_announced = true;
        let proven = connection.is_proven();
        let idle = connection.link.as_ref().is_none_or(|link| link.idle_at_goaway());
        let (endpoint, had) = (connection.endpoint, connection.keepalive_time);
        let cause = goaway.to_string();
        self.announce_goaway((incarnation, endpoint), goaway, had, idle);
        self.prove_late(incarnation, proven);
        self.step(Input::GoAway(incarnation), &cause);
    }

    fn announce_goaway(
        &self,
        (incarnation, endpoint): (Incarnation, EndpointId),
        goaway: GoAway,
        had: Option<Duration>,
        idle: bool,
    ) {
        let too_many_pings = goaway.is_too_many_pings();
        self.core.telemetry.announce(Fact::GoAwayReceived { incarnation, endpoint, goaway });
        let Some(had) = had.filter(|_| too_many_pings) else { return };
        let mut keepalive = self.core.keepalive.lock();
        keepalive.complained(had, idle);
        let (time, while_idle) = (keepalive.time().unwrap_or(had), keepalive.while_idle());
        drop(keepalive);
        self.core.telemetry.announce(Fact::KeepaliveBackedOff { keepalive_time: time, while_idle });
    }

    pub(super) fn retired(&mut self, incarnation: Incarnation) {
        let proven = self.connection(incarnation).is_some_and(|connection| connection.is_proven());
        self.prove_late(incarnation, proven);
        self.step(Input::GoAway(incarnation), "the link's stream ids are used up");
    }

    /// A successor takes the link's place once it is up, as when asked to reconnect.
    pub(super) fn worn_out(&mut self, incarnation: Incarnation) {
        let cause = "h2 will take few more empty DATA frames on this link";
        self.step(Input::WornOut(incarnation), cause);
    }

    /// The link takes no more calls, or the dial ends. What runs on it goes on.
    pub(super) fn drain_link(&mut self, incarnation: Incarnation) {
        let draining = self.draining;
        // A dial whose actor has not been started is not started any more.
        self.pending_children.retain(|child| child.incarnation() != Some(incarnation));
        let Some(connection) = self.connection(incarnation) else { return };
        match &connection.link {
            // At once: calls go to another link from now on. Where the peer said GOAWAY, the
            // driver has closed it to new calls already.
            Some(link) if !draining => {
                if link.is_accepting() {
                    link.drain();
                }
            }
            // An actor that has ended has nothing to end.
            _ => drop(connection.actor.cast(ConnectionMsg::Drain)),
        }
    }

    /// Ends the oldest links to an endpoint that only finish their calls, where there are more of
    /// them than `max_draining_links`: a peer that says GOAWAY on each link and finishes no call
    /// would keep them all.
    pub(super) fn bound_draining(&mut self, endpoint: EndpointId) {
        let limit = self.core.config.max_draining_links;
        let above = self.draining_links(endpoint).saturating_sub(limit);
        let draining = self.connections.iter().filter(|one| one.only_finishes(endpoint));
        for connection in draining.take(above) {
            connection.link.as_ref().inspect(|link| link.crowded_out(limit));
            // One that has ended already has nothing to end.
            let _ = connection.actor.cast(ConnectionMsg::HangUp);
        }
    }

    pub(super) fn link_lost(&mut self, connection: &Connection, end: LinkEnd, lived: Duration) {
        let (incarnation, endpoint) = (connection.incarnation, connection.endpoint);
        let cause = end.to_string();
        let input = Input::Lost { link: incarnation, goaway: matches!(end, LinkEnd::GoAway(_)) };
        match &end {
            LinkEnd::KeepaliveTimeout => {
                self.core.telemetry.announce(Fact::KeepaliveLost { incarnation, endpoint })
            }
            LinkEnd::GoAway(goaway) if !connection.goaway_announced => {
                let idle = connection.link.as_ref().is_none_or(|link| link.idle_at_goaway());
                let had = connection.keepalive_time;
                self.announce_goaway((incarnation, endpoint), goaway.clone(), had, idle);
            }
            _ => {}
        }
        self.prove_late(incarnation, connection.is_proven());
        if connection.link.is_some() {
            let current =
                self.channel.owns(incarnation) || self.channel.subject() == Some(incarnation);
            let fact = Fact::LinkLost { incarnation, endpoint, end, lived, current };
            self.core.telemetry.announce(fact);
        }
        self.step(input, &cause);
        self.in_use_without_links(endpoint);
    }

    pub(super) fn connection_failed(&mut self, connection: &Connection, error: &str) {
        let decision = self.child_failed("connection", error);
        let end = LinkEnd::ActorFailed(error.into());
        self.link_lost(connection, end, Duration::ZERO);
        if decision != RestartDecision::Restart {
            let at = after(clock::now(), self.core.config.reconnect.idle.max);
            let endpoint = connection.endpoint;
            if let Some(at) = self.channel.hold_until(endpoint, at) {
                self.announce_wait(endpoint, at, clock::now());
                self.arm_redial(clock::now());
            }
        }
    }
}
