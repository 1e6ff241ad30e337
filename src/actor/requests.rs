//! The request actors as everybody else sees them: a mailbox for each part of the calls.
//!
//! A call belongs to one of them by its number. A message lost to an actor's death is made good by
//! its successor, which looks into the ledger.

use super::{inbox::Inbox, message::RequestMsg};
use crate::{
    call::{Call, CallQueue},
    model::CallId,
};
use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use std::sync::Arc;

/// The mailboxes of one supervisor's request actors.
pub(crate) struct RequestActors {
    actors: Box<[ArcSwapOption<ActorRef<RequestMsg>>]>,
    inboxes: Box<[Inbox]>,
}

impl RequestActors {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            actors: (0..shards).map(|_| ArcSwapOption::empty()).collect(),
            inboxes: (0..shards).map(|_| Inbox::default()).collect(),
        }
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
        if self.inboxes[shard].push(call) {
            self.tell(shard, RequestMsg::Submit);
        }
    }

    fn cancelled(&self, call: &Call) {
        self.tell(self.shard_of(call.id), RequestMsg::Cancel(call.id));
    }

    fn attempt_failed(&self, call: Arc<Call>) {
        self.tell(self.shard_of(call.id), RequestMsg::AttemptFailed(call));
    }

    fn credentials_fetched(&self, call: Arc<Call>) {
        self.tell(self.shard_of(call.id), RequestMsg::CredentialsFetched(call));
    }
}
