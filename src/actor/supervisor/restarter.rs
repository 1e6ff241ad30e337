//! Restarts the supervisor actor in place when it fails, as a supervisor of its own would. Its
//! children end with the session that failed, and the calls wait in the ledger for the next one.

use super::{
    super::{
        core::Core,
        handling::Handling,
        message::SupervisorMsg,
        timer::{Timer, Watch},
    },
    Session,
};
use crate::{
    call::Child,
    clock,
    model::{ConnectivityState, Fact, Incarnation, LinkEnd},
    policy::{RestartDecision, Restarts},
    unwind::caught,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::{future::Future, sync::Arc};

pub(in crate::actor) struct SupervisorActor;

/// What outlives a failure.
pub(in crate::actor) struct Restarter {
    core: Arc<Core>,
    /// Whether a failure past the restart intensity goes upward.
    linked: bool,
    restarts: Restarts,
    /// None until `Begin` is handled. Messages that come before are a former session's, and
    /// dropped.
    session: Option<Session>,
    /// The wait for the next session.
    slow_restart: Option<(Timer, Watch)>,
    /// Whether the channel's series of metrics have begun.
    counted: bool,
}

enum Event {
    Message(SupervisorMsg),
    OfChild(SupervisionEvent),
}

impl Actor for SupervisorActor {
    type Msg = SupervisorMsg;
    type State = Restarter;
    type Arguments = (Arc<Core>, bool);

    async fn pre_start(
        &self,
        me: ActorRef<SupervisorMsg>,
        (core, linked): Self::Arguments,
    ) -> Result<Restarter, ActorProcessingErr> {
        core.set_supervisor(me);
        let restarts = Restarts::new(core.config.intensity, core.config.reconnect.waiting.max);
        let (session, slow_restart, counted) = (None, None, false);
        Ok(Restarter { core, linked, restarts, session, slow_restart, counted })
    }

    async fn post_start(
        &self,
        me: ActorRef<SupervisorMsg>,
        _: &mut Restarter,
    ) -> Result<(), ActorProcessingErr> {
        Ok(me.cast(SupervisorMsg::Begin)?)
    }

    fn handle(
        &self,
        me: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        restarter: &mut Restarter,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        restarter.handle(me, Event::Message(message))
    }

    fn handle_supervisor_evt(
        &self,
        me: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        restarter: &mut Restarter,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        restarter.handle(me, Event::OfChild(event))
    }
}

impl Restarter {
    /// Handles the event before there is a future, which would keep room for it as long as the
    /// actor lives, several times over; only the children's start takes an `await`.
    fn handle(
        &mut self,
        me: ActorRef<SupervisorMsg>,
        event: Event,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        let handled = self.handle_event(&me, event);
        async move {
            handled?;
            self.start_children_and_check(&me).await?;
            self.begin_series();
            Ok(())
        }
    }

    fn handle_event(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        event: Event,
    ) -> Result<(), ActorProcessingErr> {
        // After a panic the session, which may be left half changed, is thrown away whole.
        match caught(|| self.take(me, event)) {
            Ok(())
                if self.linked
                    && self.session.as_ref().is_some_and(|session| session.exhausted) =>
            {
                Err("the actors of a supervised channel keep failing, past their restart intensity"
                    .into())
            }
            Ok(()) => Ok(()),
            Err(words) => self.failed(me, &words),
        }
    }

    fn take(&mut self, me: &ActorRef<SupervisorMsg>, event: Event) {
        match (&mut self.session, event) {
            (None, Event::Message(SupervisorMsg::Begin)) => {
                let _ = Handling::begin(&self.core, Child::Supervisor, &SupervisorMsg::Begin);
                self.slow_restart = None;
                self.session = Some(Session::begin(self.core.clone(), me.clone()));
            }
            (None, _) => {}
            (Some(session), Event::Message(message)) => session.handle(message),
            (Some(session), Event::OfChild(event)) => session.on_child_event(event),
        }
    }

    /// What follows an event: children to be started are, and the watchdog looks.
    async fn start_children_and_check(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if !session.pending_children.is_empty() {
            // Boxed: the actor's own future, which stays, would have room for it.
            Box::pin(session.start_children()).await;
        }
        match session.check_progress() {
            Some(error) => self.failed(me, &error),
            None => Ok(()),
        }
    }

    /// There are seventy of them, so the first dial does not wait for them.
    fn begin_series(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.core.telemetry.begin_series();
        }
    }

    fn failed(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        self.session = None;
        end_children(me);
        self.show_failure();
        self.core
            .telemetry
            .announce(Fact::ChildFailed { child: "supervisor", error: error.into() });
        let decision = self.restarts.failed(clock::now());
        if decision == RestartDecision::Restart {
            return Ok(me.cast(SupervisorMsg::Begin)?);
        }
        if decision == RestartDecision::Reached {
            let (failures, period) = (self.restarts.count(), self.core.config.intensity.period);
            self.core.telemetry.announce(Fact::IntensityReached { failures, period });
        }
        if self.linked {
            return Err(format!("the supervisor actor keeps failing: {error}").into());
        }
        // Calls wait for it: the slowest pace is that of a channel with calls waiting.
        let pace = self.core.config.reconnect.waiting.max;
        self.slow_restart = Some((
            Timer::new(&self.core, me, pace, SupervisorMsg::Begin),
            Watch::new(self.core.clone()),
        ));
        Ok(())
    }

    /// The links are gone: what is shown must say so.
    fn show_failure(&self) {
        let telemetry = &self.core.telemetry;
        telemetry.links_gone(&LinkEnd::ActorFailed("the supervisor actor failed".into()));
        let (from, to) = (telemetry.state(), ConnectivityState::TransientFailure);
        let cause: Arc<str> = "the supervisor actor failed".into();
        if from != ConnectivityState::Shutdown {
            telemetry.endpoints_failed(&cause);
            telemetry.ejections_ended();
        }
        if from.can_become(to) {
            let incarnation = Incarnation::default();
            telemetry.announce(Fact::StateChanged { from, to, cause, incarnation });
        }
    }
}

/// As ractor does for an actor that dies: they are killed, and their ends are nobody's business any
/// more.
fn end_children(me: &ActorRef<SupervisorMsg>) {
    let mut children = me.get_children();
    children.sort_by_key(ActorCell::get_id);
    for child in children {
        child.unlink(me.get_cell());
        child.kill();
    }
}
