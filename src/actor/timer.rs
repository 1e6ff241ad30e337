//! Timers: a message that is sent later, unless the timer is dropped before; and a watch that ends
//! overdue calls while the actor that would do so is being replaced.

use super::{core::Core, message::Named};
use crate::call;
use crate::call::Child;
use crate::unwind::caught;
use ractor::{ActorRef, Message};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::AbortHandle};

/// Ends when it is dropped. ractor's own timer is a task that sleeps on, with the actor's address
/// in hand, after the actor is gone.
pub(super) struct Timer(Option<AbortHandle>);

impl Timer {
    /// Sends `message` to `actor` after `delay`.
    pub(super) fn new<M: Message + Named>(
        core: &Core,
        actor: &ActorRef<M>,
        delay: Duration,
        message: M,
    ) -> Self {
        if core.mutations.forgets(message.name()) {
            return Self(None);
        }
        let actor = actor.clone();
        let rung = move |_| {
            // A dead actor needs no message.
            let _ = actor.send_message(message);
        };
        Self(Some(call::spawn_on(&Handle::current(), tokio::time::sleep(delay), rung)))
    }

    /// Whether its message will come.
    pub(super) fn is_running(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// How late a call may end after its deadline while its actor is dead.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// Ends calls at their deadlines while the actor that would do so waits to be replaced. Ends when
/// it is dropped.
pub(super) struct Watch(AbortHandle);

impl Watch {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let watching = async move {
            loop {
                // One look that fails is no reason not to look again.
                let looked = caught(|| {
                    core.calls.panics.inject(Child::Task, "Watch");
                    core.calls.end_overdue();
                });
                if let Err(error) = looked {
                    log_line!(error, %error, "ending overdue calls failed");
                }
                tokio::time::sleep(WATCH_EVERY).await;
            }
        };
        Self(tokio::spawn(watching).abort_handle())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
