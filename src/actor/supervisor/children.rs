//! The supervisor's children: how they are started, and what is done about those that ended. A
//! clean end is the link's business, a failure counts against the restart intensity.

use super::{
    super::{
        connection::{ConnectionActor, ConnectionArgs, ConnectionState},
        message::{ConnectionEnd, ConnectionMsg, RequestMsg, SupervisorMsg},
        request::{RequestActor, RequestArgs},
        timer::{Timer, Watch},
    },
    Session,
};
use crate::{
    clock,
    model::{EndpointId, Fact, Incarnation},
    policy::{Input, RestartDecision},
    transport::{FailedDial, Link},
};
use ractor::{Actor, ActorId, ActorRef, SupervisionEvent};
use std::{sync::Arc, time::Duration};

/// What ractor says of an actor whose task was dropped. Nobody but its runtime does that.
const CANCELLED: &str = "actor_task_cancelled";

/// A connection actor.
pub(super) struct Connection {
    pub(super) incarnation: Incarnation,
    pub(super) endpoint: EndpointId,
    pub(super) actor: ActorRef<ConnectionMsg>,
    pub(super) link: Option<Arc<Link>>,
    pub(super) keepalive_time: Option<Duration>,
    pub(super) goaway_announced: bool,
    pub(super) cut: Option<Timer>,
    /// The timer for its greatest age.
    pub(super) age: Option<Timer>,
}

impl Connection {
    /// Whether its link has answered a call.
    pub(super) fn is_proven(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_proven())
    }

    /// Whether its link leads to this endpoint, takes no new calls, and still has some.
    pub(super) fn only_finishes(&self, endpoint: EndpointId) -> bool {
        self.endpoint == endpoint
            && self.link.as_ref().is_some_and(|link| {
                !link.is_accepting() && link.end().is_none() && link.in_flight() > 0
            })
    }
}

/// The place of a request actor.
#[derive(Default)]
pub(super) struct RequestActorSlot {
    actor: Option<ActorId>,
    calls_wait: bool,
    /// The wait for the next actor.
    restart: Option<(Timer, Watch)>,
}

/// A child to be started.
pub(super) enum PendingChild {
    Connection { args: Box<ConnectionArgs>, keepalive_time: Option<Duration> },
    Request(usize),
}

impl PendingChild {
    /// The link to be, if it is a connection.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match self {
            Self::Connection { args, .. } => Some(args.dial.incarnation),
            Self::Request(_) => None,
        }
    }
}

impl Session {
    /// The first dial goes ahead of them: it runs while they are started.
    pub(super) fn add_request_actors(&mut self) {
        let dial = self.pending_children.len().min(1);
        let wanted = self.core.requests.wanted().map(PendingChild::Request);
        self.pending_children.splice(dial..dial, wanted);
    }

    /// Starting is local. It fails only if this actor is being stopped, and then there is nothing
    /// to start anyone for.
    pub(super) async fn start_children(&mut self) {
        for child in std::mem::take(&mut self.pending_children) {
            let myself = self.me.get_cell();
            match child {
                PendingChild::Connection { args, keepalive_time } => {
                    let (incarnation, endpoint) = (args.dial.incarnation, args.dial.id);
                    if let Ok((actor, _)) =
                        Actor::spawn_linked(None, ConnectionActor, *args, myself).await
                    {
                        let (link, goaway_announced, cut, age) = (None, false, None, None);
                        let connection = Connection {
                            incarnation,
                            endpoint,
                            actor,
                            link,
                            keepalive_time,
                            goaway_announced,
                            cut,
                            age,
                        };
                        self.connections.push(connection);
                    }
                }
                PendingChild::Request(shard) => {
                    let args =
                        RequestArgs { core: self.core.clone(), shard, picker: self.picker() };
                    if let Ok((actor, _)) =
                        Actor::spawn_linked(None, RequestActor, args, myself).await
                    {
                        self.shards[shard].actor = Some(actor.get_id());
                        // First it can be found, then it looks into the ledger: so a call is in one
                        // mailbox or the other.
                        self.core.requests.set(shard, actor.clone());
                        let _ = actor.cast(RequestMsg::Adopt);
                    }
                }
            }
        }
    }

    pub(super) fn on_child_event(&mut self, event: SupervisionEvent) {
        match event {
            // The runtime drops its tasks: this actor's, too. That is no failure of a child.
            SupervisionEvent::ActorTerminated(_, _, Some(reason)) if reason == CANCELLED => {}
            SupervisionEvent::ActorTerminated(cell, boxed, reason) => {
                let end =
                    boxed.and_then(|mut boxed| boxed.take::<ConnectionState>().ok()?.take_end());
                let reason = reason.unwrap_or_else(|| "stopped".into());
                self.child_ended(cell.get_id(), end, &reason);
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                self.child_ended(cell.get_id(), None, &error.to_string())
            }
            _ => {}
        }
    }

    fn child_ended(&mut self, id: ActorId, mut end: Option<ConnectionEnd>, words: &str) {
        if let Some(shard) = self.shard_of(id) {
            return self.request_actor_failed(shard, words);
        }
        let Some(at) =
            self.connections.iter().position(|connection| connection.actor.get_id() == id)
        else {
            return;
        };
        if let Some(ConnectionEnd::Lost { news, .. }) = &mut end
            && let Some((link, took, steps)) = news.take()
            && self.connections[at].link.is_none()
        {
            // Its end has overtaken the news that it was up.
            self.link_up(self.connections[at].incarnation, link, (took, steps));
        }
        let connection = self.connections.remove(at);
        match end {
            Some(ConnectionEnd::DialFailed(FailedDial { failure, wrong_peer, steps })) => {
                let (cause, refused) = (failure.to_string(), failure.refused);
                let (incarnation, endpoint) = (connection.incarnation, connection.endpoint);
                let fact = Fact::DialFailed { incarnation, endpoint, failure, steps };
                self.core.telemetry.announce(fact);
                let failed = if refused { Input::DialRefused } else { Input::DialFailed };
                self.step(failed(incarnation), &cause);
                // Only a wrong peer is of interest; the list may be long.
                let listed = if wrong_peer { self.core.listed() } else { Vec::new() };
                let listed: Vec<_> = listed.into_iter().map(|(id, _)| id).collect();
                if self.core.first_dials.lock().failed(endpoint, wrong_peer, &listed) {
                    self.tell_of_wrong_peer(cause.into());
                }
            }
            Some(ConnectionEnd::Lost { end, lived, .. }) => self.link_lost(&connection, end, lived),
            None => self.connection_failed(&connection, words),
        }
        if self.draining && self.connections.is_empty() {
            self.me.stop(None);
        }
    }

    fn tell_of_wrong_peer(&self, cause: Arc<str>) {
        self.core.requests.tell_all(|| RequestMsg::WrongPeer(cause.clone()));
    }

    fn shard_of(&self, actor: ActorId) -> Option<usize> {
        self.shards.iter().position(|shard| shard.actor == Some(actor))
    }

    fn request_actor_failed(&mut self, shard: usize, words: &str) {
        self.shards[shard] = RequestActorSlot::default();
        let at_once = self.child_failed("request", words) == RestartDecision::Restart;
        if self.draining && self.connections.is_empty() {
            // No call is in flight that needs someone to decide for it.
            return;
        }
        if at_once {
            return self.pending_children.push(PendingChild::Request(shard));
        }
        // Calls wait for it: the slowest pace is that of a channel with calls waiting.
        let pace = self.core.config.reconnect.waiting.max;
        let due = Timer::new(&self.core, &self.me, pace, SupervisorMsg::RestartDue { shard });
        self.shards[shard].restart = Some((due, Watch::new(self.core.clone())));
    }

    /// A call needs a request actor and there was none. Only once: one that ends has a successor
    /// without being asked for.
    pub(super) fn request_actor_wanted(&mut self, shard: usize) {
        if !self.core.requests.is_started(shard) {
            self.pending_children.push(PendingChild::Request(shard));
        }
    }

    pub(super) fn restart_due(&mut self, shard: usize) {
        if self.shards[shard].restart.take().is_some() {
            self.pending_children.push(PendingChild::Request(shard));
        }
    }

    pub(super) fn calls_waiting(&mut self, actor: ActorId, waiting: bool) {
        // One that has ended has no successor's calls in mind.
        let Some(shard) = self.shard_of(actor) else {
            return self.core.telemetry.stale("CallsWaiting");
        };
        let before = self.calls_wait();
        self.shards[shard].calls_wait = waiting;
        let now = self.calls_wait();
        if before != now {
            self.step(Input::CallsWaiting(now), "calls wait");
        }
        if waiting && self.channel.is_idle() {
            self.leave_idle("a call came");
        } else if now && !before {
            self.look_up_for_calls();
        }
    }

    /// Whether calls wait at any request actor.
    pub(super) fn calls_wait(&self) -> bool {
        self.shards.iter().any(|shard| shard.calls_wait)
    }

    pub(super) fn child_failed(&mut self, child: &'static str, words: &str) -> RestartDecision {
        self.core.telemetry.announce(Fact::ChildFailed { child, error: words.into() });
        let decision = self.restarts.failed(clock::now());
        if decision == RestartDecision::Reached {
            self.exhausted = true;
            let (failures, period) = (self.restarts.count(), self.core.config.intensity.period);
            self.core.telemetry.announce(Fact::IntensityReached { failures, period });
        }
        decision
    }
}
