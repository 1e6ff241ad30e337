//! What the supervisor does about children that ended: a clean end is the link's business, a failure counts against the restart
//! intensity.

use super::{
    super::{
        connection::ConnectionEnd,
        message::{RequestMsg, SupervisorMsg},
        request::{RequestActor, RequestArgs},
        timer::{Timer, Watch},
    },
    SupervisorState,
};
use crate::{
    clock,
    model::Fact,
    policy::{Input, Verdict},
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};

impl SupervisorState {
    pub(super) async fn child_ended(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        id: ActorId,
        end: Option<ConnectionEnd>,
        words: &str,
    ) {
        if let Some(shard) = self.request_actors.remove(&id) {
            if !self.draining || self.core.closing().is_none() {
                self.request_actor_failed(me, shard, words).await;
            } else {
                self.child_failed("request", words);
                if !self.connections.is_empty() {
                    // Calls in flight still need someone to decide for them.
                    let _ = self.spawn_request_actor(me, shard).await;
                }
            }
            return;
        }
        let Some(connection) = self.connections.remove(&id) else { return };
        match end {
            Some(ConnectionEnd::DialFailed(failure)) => {
                let cause = failure.reason.clone();
                let incarnation = connection.incarnation;
                self.core.telemetry.announce(Fact::DialFailed { incarnation, failure });
                self.current_ended(me, incarnation, Input::DialFailed, &cause).await;
            }
            Some(ConnectionEnd::Lost { end, lived }) => self.link_lost(me, &connection, end, lived).await,
            None => self.connection_failed(me, &connection, words).await,
        }
        if self.draining && self.connections.is_empty() {
            me.stop(None);
        }
    }

    pub(super) async fn request_actor_failed(&mut self, me: &ActorRef<SupervisorMsg>, shard: usize, words: &str) {
        self.calls_waiting[shard] = false;
        let at_once = self.child_failed("request", words) == Verdict::Restart;
        if at_once && self.spawn_request_actor(me, shard).await.is_ok() {
            return;
        }
        // Calls wait for it: the slowest pace is that of a channel with calls waiting.
        let pace = self.core.config.reconnect.waiting.max;
        let due = Timer::new(me, pace, move || SupervisorMsg::RestartDue { shard });
        self.restarts_due[shard] = Some((due, Watch::new(self.core.clone())));
    }

    pub(super) fn child_failed(&mut self, child: &'static str, words: &str) -> Verdict {
        self.core.telemetry.announce(Fact::ChildFailed { child, error: words.into() });
        let verdict = self.restarts.failed(clock::now());
        if verdict == Verdict::Reached {
            self.exhausted = true;
            let (failures, period) = (self.restarts.count(), self.core.config.intensity.period);
            self.core.telemetry.announce(Fact::IntensityReached { failures, period });
        }
        verdict
    }

    /// First the new actor can be found, then it looks into the ledger: so a call is in one mailbox or the other.
    pub(super) async fn spawn_request_actor(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        shard: usize,
    ) -> Result<(), ActorProcessingErr> {
        self.restarts_due[shard] = None;
        let args = RequestArgs { core: self.core.clone(), shard, door: self.door() };
        // Boxed: the actor's own future, which stays, would have room for it.
        let (actor, _) = Box::pin(Actor::spawn_linked(None, RequestActor, args, me.get_cell())).await?;
        self.request_actors.insert(actor.get_id(), shard);
        self.core.set_request_actor(shard, actor.clone());
        actor.cast(RequestMsg::Adopt)?;
        Ok(())
    }
}
