//! The connection actor: one link, from its dial to its end. It owns the task that dials and then
//! drives the connection, passes on what that notices, and ends when the link does; a redial is
//! another actor.

use super::{
    core::Core,
    handling::Handling,
    health,
    link_events::LinkEvents,
    link_task::dial_and_drive,
    message::{ConnectionEnd, ConnectionMsg, NewLink, SupervisorMsg},
    timer::Timer,
};
use crate::{
    call::Child,
    clock,
    model::{Incarnation, LinkEnd, StepTimes},
    transport::{Dial, Link, LinkListener},
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{
    future::{Future, ready},
    sync::Arc,
    time::Instant,
};
use tokio::task::AbortHandle;

pub(super) struct ConnectionActor;

pub(super) struct ConnectionArgs {
    pub(super) core: Arc<Core>,
    pub(super) supervisor: ActorRef<SupervisorMsg>,
    pub(super) dial: Dial,
    /// Whether the server has not answered on the last link: it is asked at once.
    pub(super) in_doubt: bool,
}

pub(super) struct ConnectionState {
    core: Arc<Core>,
    supervisor: ActorRef<SupervisorMsg>,
    incarnation: Incarnation,
    started: Instant,
    /// The dial, then the driver: it ends with this actor.
    task: AbortHandle,
    link: Option<Arc<Link>>,
    /// The link, until the supervisor has heard of it.
    news: Option<NewLink>,
    events: Arc<dyn LinkListener>,
    stable: Option<Timer>,
    in_doubt: bool,
    /// The questions about the server's health, for as long as the link takes new calls.
    questions: Option<AbortHandle>,
    end: Option<ConnectionEnd>,
}

impl ConnectionState {
    /// How it ended, for the supervisor.
    pub(super) fn take_end(&mut self) -> Option<ConnectionEnd> {
        self.end.take()
    }
}

impl Actor for ConnectionActor {
    type Msg = ConnectionMsg;
    type State = ConnectionState;
    type Arguments = ConnectionArgs;

    async fn pre_start(
        &self,
        me: ActorRef<ConnectionMsg>,
        args: ConnectionArgs,
    ) -> Result<ConnectionState, ActorProcessingErr> {
        let ConnectionArgs { core, supervisor, dial, in_doubt } = args;
        let incarnation = dial.incarnation;
        let events: Arc<dyn LinkListener> = Arc::new(LinkEvents {
            core: Arc::downgrade(&core),
            incarnation,
            connection: me.clone(),
        });
        Ok(ConnectionState {
            task: dial_and_drive(&core, dial, events.clone(), me),
            core,
            supervisor,
            incarnation,
            started: clock::now(),
            link: None,
            news: None,
            events,
            stable: None,
            in_doubt,
            questions: None,
            end: None,
        })
    }

    /// Nothing waits here: the actor's future has no room for messages.
    fn handle(
        &self,
        me: ActorRef<ConnectionMsg>,
        message: ConnectionMsg,
        state: &mut ConnectionState,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        let handling = Handling::begin(&state.core, Child::Connection, &message);
        match message {
            ConnectionMsg::Dialled(dialled) => match *dialled {
                Ok((link, steps)) => state.link_up(link, steps),
                Err(failure) => state.finish(&me, ConnectionEnd::DialFailed(failure)),
            },
            ConnectionMsg::Established => state.established(&me),
            ConnectionMsg::GoAwayReceived(goaway) => {
                let incarnation = state.incarnation;
                state.tell(SupervisorMsg::GoAwayReceived { incarnation, goaway });
            }
            ConnectionMsg::Shut => state.stop_asking(),
            ConnectionMsg::StableDue => state.tell(SupervisorMsg::LinkProven(state.incarnation)),
            ConnectionMsg::Ended(end) => state.lost(&me, end),
            ConnectionMsg::Drain => match &state.link {
                Some(link) => {
                    link.drain();
                }
                None => state.lost(&me, LinkEnd::HungUp),
            },
            ConnectionMsg::HangUp => {
                // The link may know better why.
                let known = state.link.as_ref().and_then(|link| link.end());
                state.lost(&me, known.map_or(LinkEnd::HungUp, |end| (*end).clone()));
            }
        }
        handling.end(&state.core);
        ready(Ok(()))
    }
}

impl ConnectionState {
    /// Only the news: whatever else is started here would be run before the supervisor.
    fn link_up(&mut self, link: Arc<Link>, steps: Box<StepTimes>) {
        let took = clock::now().saturating_duration_since(self.started);
        self.started = clock::now();
        self.link = Some(link.clone());
        self.news = Some((link.clone(), took, steps.clone()));
        self.tell(SupervisorMsg::LinkUp { incarnation: self.incarnation, link, took, steps });
    }

    /// The supervisor knows of the link: now it can be told of its health.
    fn established(&mut self, me: &ActorRef<ConnectionMsg>) {
        self.news = None;
        let Some(link) = &self.link else { return };
        let stable_after = self.core.config.reconnect.stable_after;
        self.stable = Some(Timer::new(&self.core, me, stable_after, ConnectionMsg::StableDue));
        let events = self.events.clone();
        self.questions = health::ask(&self.core, link, &self.supervisor, self.in_doubt, events);
    }

    fn stop_asking(&mut self) {
        self.questions.take().inspect(AbortHandle::abort);
    }

    fn tell(&self, message: SupervisorMsg) {
        // A dead supervisor takes this actor with it.
        let _ = self.supervisor.cast(message);
    }

    fn lost(&mut self, me: &ActorRef<ConnectionMsg>, end: LinkEnd) {
        let lived = clock::now().saturating_duration_since(self.started);
        let news = self.news.take();
        self.finish(me, ConnectionEnd::Lost { end, lived, news });
    }

    /// A clean stop: what comes next is the supervisor's backoff, not its restart intensity.
    fn finish(&mut self, me: &ActorRef<ConnectionMsg>, end: ConnectionEnd) {
        self.end.get_or_insert(end);
        if let Some(link) = &self.link {
            link.hung_up();
        }
        self.task.abort();
        self.stop_asking();
        me.stop(None);
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        // After a panic or a kill nobody else would say why.
        if let Some(link) = &self.link {
            link.actor_failed("it ended without a word");
        }
        self.task.abort();
        self.stop_asking();
    }
}
