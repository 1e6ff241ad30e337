//! Starts the actors of a supervised channel, and sees to it that every call is answered when all is over, whatever ended them.

use super::{core::Core, supervisor::SupervisorActor};
use crate::model::{ConnectivityState, Fact, Failure, Incarnation, LinkEnd};
use ractor::{Actor, ActorCell, SpawnErr, concurrency::JoinHandle};
use std::sync::Arc;

/// Starts the actors of `core`, on their own. Must be called within a tokio runtime.
pub(crate) fn spawn(core: Arc<Core>) {
    tokio::spawn(async move {
        // Boxed: this task, which stays, would have room for it.
        match Box::pin(Actor::spawn(None, SupervisorActor, (core.clone(), false))).await {
            Ok((_, supervisor)) => bury(core, supervisor).await,
            Err(error) => close(&core, Some(error.to_string())),
        }
    });
}

/// Starts the actors of `core` under `parent`.
pub(crate) async fn spawn_linked(core: Arc<Core>, parent: ActorCell) -> Result<(), SpawnErr> {
    let (_, supervisor) = Actor::spawn_linked(None, SupervisorActor, (core.clone(), true), parent).await?;
    tokio::spawn(bury(core, supervisor));
    Ok(())
}

/// Waits for the supervisor actor's end, whatever ends it, and answers what is left.
async fn bury(core: Arc<Core>, supervisor: JoinHandle<()>) {
    let ended = supervisor.await;
    let asked_for = core.closing().is_some();
    let cause = match ended {
        _ if asked_for => None,
        Ok(()) => Some("the actors were stopped from outside, or failed for good".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    close(&core, cause);
}

fn close(core: &Core, cause: Option<String>) {
    let cause: Option<Arc<str>> = cause.map(Into::into);
    core.end_all(core.ledger.close(), |phase| match &cause {
        Some(cause) => Failure::supervision(cause.clone(), phase),
        None => Failure::shutdown(phase),
    });
    let from = core.telemetry.state();
    if from != ConnectivityState::Shutdown {
        core.telemetry.announce(Fact::StateChanged {
            from,
            to: ConnectivityState::Shutdown,
            cause: cause.clone().unwrap_or_else(|| "the supervisor was shut down".into()),
            incarnation: Incarnation::default(),
        });
    }
    let end = cause.as_ref().map_or(LinkEnd::HungUp, |cause| LinkEnd::ActorFailed(cause.to_string()));
    core.telemetry.links_gone(&end);
    core.telemetry.announce(Fact::Closed { cause });
    core.set_closed();
}
