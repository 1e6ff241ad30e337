//! The root actor: keeps one supervisor actor alive, and sees to it that every call is answered when all is over.
//!
//! Spawned on its own it respawns the supervisor for ever, past the restart intensity at the slowest pace. Linked under a
//! user's supervisor it then fails, so that the failure goes upward as in OTP.

use super::{
    core::Core,
    message::RootMsg,
    supervisor::SupervisorActor,
    timer::{Timer, Watch},
};
use crate::{
    clock,
    model::{ConnectivityState, Fact, Failure, Incarnation, LinkEnd},
    policy::{Restarts, Verdict},
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent, concurrency::JoinHandle};
use std::sync::Arc;

struct RootActor;

/// A linked supervisor's last word when its children reached the restart intensity: the failure goes upward, as in OTP.
#[derive(Debug)]
pub(super) struct GivesUp;

impl std::fmt::Display for GivesUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the actors of a supervised channel keep failing, past their restart intensity")
    }
}

impl std::error::Error for GivesUp {}

struct RootState {
    core: Arc<Core>,
    restarts: Restarts,
    linked: bool,
    /// The wait for the next supervisor actor.
    respawn: Option<(Timer, Watch)>,
}

/// Starts the actors of `core`, on their own. Must be called within a tokio runtime.
pub(crate) fn spawn(core: Arc<Core>) {
    tokio::spawn(async move {
        match Actor::spawn(None, RootActor, (core.clone(), false)).await {
            Ok((_, root)) => bury(core, root).await,
            Err(error) => close(&core, Some(error.to_string())),
        }
    });
}

/// Starts the actors of `core` under `supervisor`.
pub(crate) async fn spawn_linked(core: Arc<Core>, supervisor: ActorCell) -> Result<(), SpawnErr> {
    let (_, root) = Actor::spawn_linked(None, RootActor, (core.clone(), true), supervisor).await?;
    tokio::spawn(bury(core, root));
    Ok(())
}

/// Waits for the root's end, whatever ends it, and answers what is left.
async fn bury(core: Arc<Core>, root: JoinHandle<()>) {
    let ended = root.await;
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

impl Actor for RootActor {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = (Arc<Core>, bool);

    async fn pre_start(
        &self,
        _: ActorRef<RootMsg>,
        (core, linked): Self::Arguments,
    ) -> Result<RootState, ActorProcessingErr> {
        let restarts = Restarts::new(core.config.intensity, core.config.reconnect.waiting.max);
        Ok(RootState { core, restarts, linked, respawn: None })
    }

    async fn post_start(&self, me: ActorRef<RootMsg>, state: &mut RootState) -> Result<(), ActorProcessingErr> {
        state.spawn_supervisor(&me).await
    }

    async fn handle(&self, me: ActorRef<RootMsg>, _: RootMsg, state: &mut RootState) -> Result<(), ActorProcessingErr> {
        state.spawn_supervisor(&me).await
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(_, Some(_), _) if state.core.closing().is_some() => {
                me.stop(None);
                Ok(())
            }
            SupervisionEvent::ActorTerminated(_, _, reason) => {
                state.supervisor_failed(&me, &reason.unwrap_or_else(|| "stopped from outside".into())).await
            }
            SupervisionEvent::ActorFailed(_, error) if error.is::<GivesUp>() => Err(error),
            SupervisionEvent::ActorFailed(_, error) => state.supervisor_failed(&me, &error.to_string()).await,
            _ => Ok(()),
        }
    }
}

impl RootState {
    async fn spawn_supervisor(&mut self, me: &ActorRef<RootMsg>) -> Result<(), ActorProcessingErr> {
        self.respawn = None;
        let args = (self.core.clone(), self.linked);
        // Boxed: the actor's own future, which stays, would have room for it.
        Box::pin(Actor::spawn_linked(None, SupervisorActor, args, me.get_cell())).await?;
        Ok(())
    }

    async fn supervisor_failed(&mut self, me: &ActorRef<RootMsg>, words: &str) -> Result<(), ActorProcessingErr> {
        self.core.telemetry.announce(Fact::ChildFailed { child: "supervisor", error: words.into() });
        let verdict = self.restarts.failed(clock::now());
        if verdict == Verdict::Restart {
            return self.spawn_supervisor(me).await;
        }
        if verdict == Verdict::Reached {
            let (failures, period) = (self.restarts.count(), self.core.config.intensity.period);
            self.core.telemetry.announce(Fact::IntensityReached { failures, period });
        }
        if self.linked {
            return Err(format!("the supervisor actor keeps failing: {words}").into());
        }
        // Calls wait for it: the slowest pace is that of a channel with calls waiting.
        let pace = self.core.config.reconnect.waiting.max;
        self.respawn = Some((Timer::new(me, pace, || RootMsg::RespawnDue), Watch::new(self.core.clone())));
        Ok(())
    }
}
