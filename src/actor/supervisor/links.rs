//! What the supervisor does about links: they come, say goodbye, prove themselves, are replaced,
//! end.

use super::{super::message::ConnectionMsg, Life, children::Connection};
use crate::{
    clock,
    model::{ConnectivityState, Fact, GoAway, Incarnation, LinkEnd},
    policy::{Input, Verdict, after, pinged_less},
    transport::Link,
};
use std::{sync::Arc, time::Duration};

impl Life {
    pub(super) fn link_up(&mut self, incarnation: Incarnation, link: Arc<Link>, took: Duration) {
        let succeeds = self.successor == Some(incarnation);
        if !(succeeds || self.current == Some(incarnation)) || self.draining {
            self.core.telemetry.stale("LinkUp");
            return link.drain();
        }
        self.core.first_dials.lock().succeeded();
        if let Some(connection) = self.connection(incarnation) {
            connection.link = Some(link.clone());
        }
        let max_concurrent_streams = link.peer_limit();
        self.core.telemetry.announce(Fact::LinkEstablished {
            incarnation,
            took,
            max_concurrent_streams,
        });
        let former = self.link.replace(link);
        if succeeds {
            self.successor = None;
            self.current = Some(incarnation);
            // Calls go to the new link before the old one takes no more.
            self.publish_picker();
            former.inspect(|former| former.drain());
            self.bound_draining();
            return self.step(Input::SuccessorUp, "the link was replaced");
        }
        self.step(Input::Established, "the peer's SETTINGS were read");
    }

    pub(super) fn connection(&mut self, incarnation: Incarnation) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.incarnation == incarnation)
    }

    pub(super) fn proven(&mut self, incarnation: Incarnation) {
        if self.current != Some(incarnation) {
            return self.core.telemetry.stale("LinkProven");
        }
        if !self.channel.is_proven() {
            self.step(Input::Proven, "the link is proven");
            if self.channel.is_proven() {
                self.core.telemetry.announce(Fact::BackoffReset { incarnation });
            }
        }
    }

    pub(super) fn goaway(&mut self, incarnation: Incarnation, goaway: GoAway) {
        // A link's end overtakes its GOAWAY's message, and has told it then.
        let Some(connection) = self.connection(incarnation) else {
            return self.core.telemetry.stale("GoAwayReceived");
        };
        connection.goaway_heard = true;
        let proven = connection.is_proven();
        let idle = connection.link.as_ref().is_none_or(|link| link.idle_at_goaway());
        let had = connection.keepalive_time;
        let cause = goaway.to_string();
        self.hear_goaway(incarnation, goaway, had, idle);
        self.prove_late(incarnation, proven);
        self.replace(incarnation, &cause);
    }

    /// A link's end may overtake the word that it was proven; what comes next depends on that.
    fn prove_late(&mut self, incarnation: Incarnation, proven: bool) {
        if proven && self.current == Some(incarnation) {
            self.proven(incarnation);
        }
    }

    pub(super) fn hear_goaway(
        &self,
        incarnation: Incarnation,
        goaway: GoAway,
        had: Option<Duration>,
        idle: bool,
    ) {
        let too_many_pings = goaway.is_too_many_pings();
        self.core.telemetry.announce(Fact::GoAwayReceived { incarnation, goaway });
        if let Some(had) = had.filter(|_| too_many_pings) {
            self.ping_less(had, idle);
        }
    }

    pub(super) fn retired(&mut self, incarnation: Incarnation) {
        let connection = self.connection(incarnation);
        let proven = connection.as_ref().is_some_and(|connection| connection.is_proven());
        if let Some(connection) = connection {
            let _ = connection.actor.cast(ConnectionMsg::Drain);
        }
        self.prove_late(incarnation, proven);
        self.replace(incarnation, "the link's stream ids are used up");
    }

    /// A successor takes the link's place once it is up, as when asked to reconnect.
    pub(super) fn worn_out(&mut self, incarnation: Incarnation) {
        if self.current == Some(incarnation) && self.channel.state() == ConnectivityState::Ready {
            self.step(Input::ResetBackoff, "h2 will take few more empty DATA frames on this link");
        }
    }

    /// The link finishes what it has; a successor is dialled.
    pub(super) fn replace(&mut self, incarnation: Incarnation, cause: &str) {
        if self.current == Some(incarnation) && self.channel.state() == ConnectivityState::Ready {
            self.link = None;
            self.step(Input::GoAway, cause);
            self.current = self.current.filter(|current| *current != incarnation);
            self.bound_draining();
        }
    }

    /// Ends the oldest links that only finish their calls, where there are more of them than
    /// `max_draining_links`: a peer that says GOAWAY on each link and finishes no call would keep
    /// them all.
    fn bound_draining(&mut self) {
        let limit = self.core.config.max_draining_links;
        let draining = |connection: &&Connection| {
            let link = connection.link.as_ref();
            link.is_some_and(|link| {
                !link.is_accepting() && link.end().is_none() && link.in_flight() > 0
            })
        };
        let above = self.connections.iter().filter(draining).count().saturating_sub(limit);
        for connection in self.connections.iter().filter(draining).take(above) {
            connection.link.as_ref().inspect(|link| link.crowded_out(limit));
            // One that is dead already has nothing to end.
            let _ = connection.actor.cast(ConnectionMsg::HangUp);
        }
    }

    /// gRPC A8: twice the time of the link that was complained of; complaints of links of one age
    /// do not add up. One that comes while no call is open ends pings without calls, too.
    pub(super) fn ping_less(&self, had: Duration, idle: bool) {
        let mut keepalive = self.core.keepalive.lock();
        let configured = self.core.config.effective_keepalive_time();
        let time = keepalive.time.unwrap_or(had).max(pinged_less(had, configured));
        keepalive.time = Some(time);
        keepalive.while_idle &= !idle;
        let while_idle = keepalive.while_idle;
        drop(keepalive);
        self.core.telemetry.announce(Fact::KeepaliveBackedOff { keepalive_time: time, while_idle });
    }

    pub(super) fn link_lost(&mut self, connection: &Connection, end: LinkEnd, lived: Duration) {
        let incarnation = connection.incarnation;
        let cause = end.to_string();
        let mut input = Input::Lost;
        match &end {
            LinkEnd::KeepaliveTimeout => {
                self.core.telemetry.announce(Fact::KeepaliveLost { incarnation })
            }
            LinkEnd::GoAway(goaway) => {
                input = Input::GoAway;
                if !connection.goaway_heard {
                    let idle = connection.link.as_ref().is_none_or(|link| link.idle_at_goaway());
                    self.hear_goaway(incarnation, goaway.clone(), connection.keepalive_time, idle);
                }
            }
            _ => {}
        }
        self.prove_late(incarnation, connection.is_proven());
        if connection.link.is_some() {
            let current = self.current == Some(incarnation);
            self.core.telemetry.announce(Fact::LinkLost { incarnation, end, lived, current });
        }
        self.current_ended(incarnation, input, &cause);
    }

    pub(super) fn connection_failed(&mut self, connection: &Connection, words: &str) {
        let verdict = self.child_failed("connection", words);
        let end = LinkEnd::ActorFailed(words.into());
        self.link_lost(connection, end, Duration::ZERO);
        if verdict != Verdict::Restart && self.current.is_none() {
            let at = after(clock::now(), self.core.config.reconnect.idle.max);
            if let Some(at) = self.channel.hold_until(at) {
                self.wait(at, clock::now());
            }
        }
    }

    pub(super) fn current_ended(&mut self, incarnation: Incarnation, input: Input, cause: &str) {
        if self.successor == Some(incarnation) {
            self.successor = None;
            return self.step(Input::SuccessorFailed, cause);
        }
        if self.current != Some(incarnation) {
            return;
        }
        self.link = None;
        let input = match self.channel.state() {
            ConnectivityState::Connecting => Input::DialFailed,
            _ => input,
        };
        self.step(input, cause);
        self.current = self.current.filter(|current| *current != incarnation);
    }
}
