//! The request actors as everybody else sees them: a mailbox for each part of the calls.
//!
//! A call belongs to one of them by its number. A message lost to an actor's death is made good by
//! its successor, which looks into the ledger. The first call of each part that has to wait, or
//! that somebody has to decide about, has its actor started: a quiet channel does without, which
//! saves a quarter of its own memory.

use super::{
    inbox::Inbox,
    message::{RequestMsg, SupervisorMsg},
};
use crate::{
    call::{Call, CallQueue},
    model::CallId,
};
use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use std::sync::{Arc, OnceLock};

/// The mailboxes of one supervisor's request actors.
pub(crate) struct RequestActors {
    /// None: no call has needed it so far.
    actors: Box<[ArcSwapOption<ActorRef<RequestMsg>>]>,
    inboxes: Box<[Inbox]>,
    /// Who starts them.
    supervisor: OnceLock<ActorRef<SupervisorMsg>>,
}

impl RequestActors {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            actors: (0..shards).map(|_| ArcSwapOption::empty()).collect(),
            inboxes: (0..shards).map(|_| Inbox::default()).collect(),
            supervisor: OnceLock::new(),
        }
    }

    /// From now on this actor starts them. It looks for calls that came before.
    pub(super) fn set_supervisor(&self, actor: ActorRef<SupervisorMsg>) {
        let _ = self.supervisor.set(actor);
    }

    /// Tells the supervisor. A message lost to its failure is made good when it starts over.
    pub(super) fn tell_supervisor(&self, message: SupervisorMsg) {
        if let Some(supervisor) = self.supervisor.get() {
            let _ = supervisor.send_message(message);
        }
    }

    /// Those that were started, and those for which calls came that nobody has taken in.
    pub(super) fn wanted(&self) -> impl Iterator<Item = usize> {
        let wanted = |shard| self.is_started(shard) || !self.inboxes[shard].is_empty();
        (0..self.shards()).filter(move |shard| wanted(*shard))
    }

    /// Whether there was an actor for `shard`, which may be dead and have no successor yet.
    pub(super) fn is_started(&self, shard: usize) -> bool {
        self.actors[shard].load().is_some()
    }

    /// From now on this actor has the calls of `shard`.
    pub(super) fn set(&self, shard: usize, actor: ActorRef<RequestMsg>) {
        self.actors[shard].store(Some(Arc::new(actor)));
    }

    /// How many there are.
    pub(super) fn shards(&self) -> usize {
        self.actors.len()
    }

    /// Whose a call is.
    pub(super) fn shard_of(&self, call: CallId) -> usize {
        call.0 as usize % self.actors.len()
    }

    /// Where a request actor finds new calls.
    pub(super) fn inbox(&self, shard: usize) -> &Inbox {
        &self.inboxes[shard]
    }

    /// Sends a message to one of them.
    pub(super) fn tell(&self, shard: usize, message: RequestMsg) {
        if let Some(actor) = self.actors[shard].load().as_deref() {
            // An error means that the actor is dead; its successor adopts what it had.
            let _ = actor.send_message(message);
        }
    }

    /// Sends a message to each.
    pub(super) fn tell_all(&self, message: impl Fn() -> RequestMsg) {
        (0..self.shards()).for_each(|shard| self.tell(shard, message()));
    }
}

impl CallQueue for RequestActors {
    fn is_at_rest(&self, call: &Call) -> bool {
        self.inboxes[self.shard_of(call.id)].is_at_rest()
    }

    fn submitted(&self, call: Arc<Call>) {
        let shard = self.shard_of(call.id);
        // One message tells of all calls that came since the last.
        if !self.inboxes[shard].push(call) {
            return;
        }
        // An actor that begins is set here before it empties its inbox: so a call that finds none
        // is found by it, or is told of.
        match self.is_started(shard) {
            true => self.tell(shard, RequestMsg::Submit),
            false => self.tell_supervisor(SupervisorMsg::RequestActorWanted { shard }),
        }
    }

    fn cancelled(&self, call: &Call) {
        self.tell(self.shard_of(call.id), RequestMsg::Cancel(call.id));
    }

    fn attempt_failed(&self, call: Arc<Call>) {
        let shard = self.shard_of(call.id);
        if self.is_started(shard) {
            self.inboxes[shard].attempt_failed();
        }
        self.tell_of(call, RequestMsg::AttemptFailed);
    }

    fn credentials_fetched(&self, call: Arc<Call>) {
        self.tell_of(call, RequestMsg::CredentialsFetched);
    }
}

impl RequestActors {
    /// Tells a call's actor of it. One that begins finds in the ledger what became of its calls, so
    /// where there is none yet it is enough that it begins.
    fn tell_of(&self, call: Arc<Call>, message: fn(Arc<Call>) -> RequestMsg) {
        match self.shard_of(call.id) {
            shard if self.is_started(shard) => self.tell(shard, message(call)),
            _ => self.submitted(call),
        }
    }
}
