//! Starts the actors of a supervised channel, and sees to it that every call is answered when all
//! is over, whatever ended them: a shutdown, a failure for good, or the end of the runtime they
//! live on.

use super::{core::Core, supervisor::SupervisorActor};
use crate::model::{ConnectivityState, Fact, Failure, Incarnation, LinkEnd, RUNTIME_ENDED};
use ractor::{Actor, ActorCell, SpawnErr, concurrency::JoinHandle};
use std::{sync::Arc, thread::panicking};

/// Starts the actors of `core`, on their own. Must be called within a tokio runtime.
pub(crate) fn spawn(core: Arc<Core>) {
    let guard = EndGuard(core.clone());
    tokio::spawn(async move {
        // Boxed: this task, which stays, would have room for it.
        match Box::pin(Actor::spawn(None, SupervisorActor, (core, false))).await {
            Ok((_, supervisor)) => guard.after(supervisor).await,
            Err(error) => close(&guard.0, Some(error.to_string())),
        }
    });
}

/// Starts the actors of `core` under `parent`.
pub(crate) async fn spawn_linked(core: Arc<Core>, parent: ActorCell) -> Result<(), SpawnErr> {
    let guard = EndGuard(core.clone());
    let (_, supervisor) = Actor::spawn_linked(None, SupervisorActor, (core, true), parent).await?;
    tokio::spawn(guard.after(supervisor));
    Ok(())
}

/// Answers what is left when it is dropped, if nobody has before. A task owns it from its first
/// moment on; so the end of the runtime, which drops all tasks, is heard like any other. That drop
/// spawns nothing and waits for nothing.
struct EndGuard(Arc<Core>);

impl EndGuard {
    /// Waits for the supervisor actor's end, whatever ends it.
    async fn after(self, supervisor: JoinHandle<()>) {
        let cause = match supervisor.await {
            Ok(()) => "the actors were stopped from outside, or failed for good".to_owned(),
            // Nobody else cancels it.
            Err(error) if error.is_cancelled() => RUNTIME_ENDED.to_owned(),
            Err(error) => error.to_string(),
        };
        close(&self.0, Some(cause));
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let cause = if panicking() { "the supervisor's task panicked" } else { RUNTIME_ENDED };
        close(&self.0, Some(cause.to_owned()));
    }
}

/// Ends everything, once. A `cause` counts only where no shutdown was asked for.
fn close(core: &Core, cause: Option<String>) {
    if core.calls.shutdown.is_closed() {
        return;
    }
    let cause: Option<Arc<str>> =
        cause.filter(|_| core.calls.shutdown.drain().is_none()).map(Into::into);
    core.calls.shutdown.set_runtime_gone(cause.as_deref() == Some(RUNTIME_ENDED));
    core.calls.end_all(core.calls.ledger.close(), |phase| match &cause {
        Some(cause) => Failure::supervision(cause.clone(), phase),
        None => Failure::shutdown(phase),
    });
    core.clear_picker();
    let from = core.telemetry.state();
    if from != ConnectivityState::Shutdown {
        core.telemetry.announce(Fact::StateChanged {
            from,
            to: ConnectivityState::Shutdown,
            cause: cause.clone().unwrap_or_else(|| "the supervisor was shut down".into()),
            incarnation: Incarnation::default(),
        });
    }
    let end = match cause.as_deref() {
        None | Some(RUNTIME_ENDED) => LinkEnd::HungUp,
        Some(cause) => LinkEnd::ActorFailed(cause.to_owned()),
    };
    core.telemetry.links_gone(&end);
    core.telemetry.announce(Fact::Closed { cause });
    core.calls.shutdown.set_closed();
}
