//! A message that comes later, unless its owner goes first.

use ractor::{ActorRef, Message};
use std::time::Duration;
use tokio::task::AbortHandle;

/// Ends when it is dropped. ractor's own timer is a task that sleeps on, with the actor's address in hand, after the actor is gone.
pub(super) struct Timer(AbortHandle);

impl Timer {
    /// Sends `message` to `actor` after `delay`.
    pub(super) fn new<M: Message>(
        actor: &ActorRef<M>,
        delay: Duration,
        message: impl FnOnce() -> M + Send + 'static,
    ) -> Self {
        Self(actor.send_after(delay, message).abort_handle())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
