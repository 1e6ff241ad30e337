//! The supervisor actor: owns the channel's lifecycle. Its thoughts are `policy::Channel` (when to dial, what state to show) and
//! `policy::Restarts` (what to make of failing children). A lost link is a clean end and gets backoff; a panic counts against
//! the restart intensity.

mod children;
mod links;

use super::{
    connection::{ConnectionActor, ConnectionArgs, ConnectionState},
    core::Core,
    hooks::Hooks,
    message::{ConnectionMsg, Door, RequestMsg, SupervisorMsg},
    mutations::Mutation,
    panics::Child,
    root::GivesUp,
    timer::{Timer, Watch},
};
use crate::{
    clock,
    model::{ConnectivityState, Fact, Failure, Incarnation, LinkEnd},
    policy::{Channel, Input, Liveness, Output, Restarts, Schedules},
    transport::{Dial, Link},
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// After the grace, so long for goodbyes to be written before links are cut.
const FAREWELL: Duration = Duration::from_millis(100);

pub(super) struct SupervisorActor;

pub(super) struct SupervisorState {
    core: Arc<Core>,
    channel: Channel,
    restarts: Restarts,
    /// In the order of their incarnations, so that what is done to all of them is done in an order that repeats.
    connections: BTreeMap<ActorId, Connection>,
    request_actors: HashMap<ActorId, usize>,
    /// The link that the channel's state is about; those already replaced are only drained.
    current: Option<Incarnation>,
    /// The link being dialled to take the current one's place (make before break).
    successor: Option<Incarnation>,
    link: Option<Arc<Link>>,
    redial: Option<Timer>,
    grace: Option<Timer>,
    /// The waits for the next request actors.
    restarts_due: Vec<Option<(Timer, Watch)>>,
    calls_waiting: Vec<bool>,
    draining: bool,
    /// Whether the first dial has been asked for: until then it is in the mailbox.
    begun: bool,
    /// Whether failing upward is asked for once the restart intensity is reached.
    linked: bool,
    exhausted: bool,
}

struct Connection {
    incarnation: Incarnation,
    actor: ActorRef<ConnectionMsg>,
    link: Option<Arc<Link>>,
    keepalive_time: Option<Duration>,
    goaway_heard: bool,
    farewell: Option<Timer>,
}

impl Actor for SupervisorActor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = (Arc<Core>, bool);

    async fn pre_start(
        &self,
        me: ActorRef<SupervisorMsg>,
        (core, linked): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let reconnect = &core.config.reconnect;
        let schedules = Schedules {
            idle: reconnect.idle,
            waiting: reconnect.waiting,
            jitter: reconnect.jitter,
            spread: reconnect.spread,
        };
        let shown = core.telemetry.state();
        let channel = match shown {
            ConnectivityState::Idle => Channel::new(schedules),
            // It died while it drained: Shutdown is final, and was said.
            ConnectivityState::Shutdown => Channel::after_shutdown(schedules),
            _ => Channel::after_a_crash(schedules, clock::now()),
        };
        let pace = reconnect.idle.max.max(reconnect.waiting.max);
        let (restarts, shards) = (Restarts::new(core.config.intensity, pace), core.shards());
        core.set_supervisor(me.clone());
        let state = SupervisorState {
            core,
            channel,
            restarts,
            connections: BTreeMap::new(),
            request_actors: HashMap::new(),
            current: None,
            successor: None,
            link: None,
            redial: None,
            grace: None,
            restarts_due: (0..shards).map(|_| None).collect(),
            calls_waiting: vec![false; shards],
            draining: false,
            begun: false,
            linked,
            exhausted: false,
        };
        state.show_crash(shown);
        Ok(state)
    }

    async fn post_start(
        &self,
        me: ActorRef<SupervisorMsg>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        for shard in 0..state.core.shards() {
            state.spawn_request_actor(&me, shard).await?;
        }
        let first = match (state.core.closing(), state.channel.state()) {
            (Some(_), _) => SupervisorMsg::Drain,
            (None, ConnectivityState::Idle) => SupervisorMsg::Connect,
            (None, _) => SupervisorMsg::RedialDue,
        };
        me.cast(first)?;
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (name, begun) = (message.name(), clock::now());
        state.core.panics.strike(Child::Supervisor, name);
        state.begun |= matches!(message, SupervisorMsg::Connect | SupervisorMsg::RedialDue);
        match message {
            SupervisorMsg::Connect => state.step(&me, Input::Connect, "the supervisor was spawned").await,
            SupervisorMsg::LinkUp { incarnation, link, took } => state.link_up(&me, incarnation, link, took).await,
            SupervisorMsg::GoAwayReceived { incarnation, goaway } => state.goaway(&me, incarnation, goaway).await,
            SupervisorMsg::LinkProven(incarnation) => state.proven(&me, incarnation).await,
            SupervisorMsg::LinkRetired(incarnation) => state.retired(&me, incarnation).await,
            SupervisorMsg::RedialDue => {
                // Whoever still has to wait gets another timer.
                state.redial = None;
                state.step(&me, Input::RedialDue, "a redial was due").await;
            }
            SupervisorMsg::RestartDue { shard } => state.spawn_request_actor(&me, shard).await?,
            SupervisorMsg::CallsWaiting { shard, waiting } => {
                state.calls_waiting[shard] = waiting;
                let any = state.calls_waiting.contains(&true);
                state.step(&me, Input::CallsWaiting(any), "calls wait").await;
            }
            SupervisorMsg::ResetBackoff => state.step(&me, Input::ResetBackoff, "asked to reconnect now").await,
            SupervisorMsg::Drain => state.drain(&me).await,
            SupervisorMsg::GraceDue => state.grace_over(),
        }
        state.core.telemetry.handled("supervisor", name, begun);
        state.watch_for_dead_ends()
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, boxed, reason) => {
                let end = boxed.and_then(|mut boxed| boxed.take::<ConnectionState>().ok()?.take_end());
                let reason = reason.unwrap_or_else(|| "stopped".into());
                state.child_ended(&me, cell.get_id(), end, &reason).await;
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                state.child_ended(&me, cell.get_id(), None, &error.to_string()).await;
            }
            _ => {}
        }
        match state.exhausted && state.linked {
            true => Err(Box::new(GivesUp)),
            false => state.watch_for_dead_ends(),
        }
    }
}

impl SupervisorState {
    // The machine's steps, and their effects.

    async fn step(&mut self, me: &ActorRef<SupervisorMsg>, input: Input, cause: &str) {
        let cause: Arc<str> = cause.into();
        let now = clock::now();
        let failing = self.channel.last_error().cloned();
        let step = self.channel.on(input, &cause, now, self.core.roll());
        // The change to Connecting is about the link to be.
        let adopted = step.changed.filter(|(_, to)| *to == ConnectivityState::Connecting).and(self.successor);
        if step.output == Output::Dial {
            self.current = Some(self.core.next_incarnation());
        } else if adopted.is_some() {
            self.current = self.successor.take();
        }
        if let Some((from, to)) = step.changed {
            let incarnation = self.current.unwrap_or_default();
            self.core.telemetry.announce(Fact::StateChanged { from, to, cause, incarnation });
        }
        if step.changed.is_some() || failing != self.channel.last_error().cloned() {
            self.show_door();
        }
        match step.output {
            Output::Nothing => {}
            Output::Dial => {
                self.redial = None;
                self.dial(me, self.current.unwrap_or_default()).await;
            }
            Output::DialSuccessor => {
                let incarnation = *self.successor.insert(self.core.next_incarnation());
                self.dial(me, incarnation).await;
            }
            Output::WaitUntil(at) => self.wait(me, at, now),
            Output::HangUp => self.connections.values().for_each(|connection| {
                // One that is dead already has nothing to drain.
                let _ = connection.actor.cast(ConnectionMsg::Drain);
            }),
        }
    }

    async fn dial(&mut self, me: &ActorRef<SupervisorMsg>, incarnation: Incarnation) {
        let core = &self.core;
        core.telemetry.announce(Fact::DialStarted { incarnation, failures: self.channel.failures() });
        let keepalive = *core.keepalive.lock();
        let dial = Dial {
            target: core.target(),
            incarnation,
            timeout: core.config.connect_timeout,
            keepalive: keepalive
                .time
                .map(|time| Liveness::new(time, core.config.keepalive.timeout, keepalive.while_idle)),
            window: core.config.max_in_flight,
            #[cfg(feature = "tls")]
            tls: core.tls.clone(),
        };
        let watcher = Arc::new(Hooks(Arc::downgrade(core)));
        let args = ConnectionArgs { core: core.clone(), supervisor: me.clone(), watcher, dial };
        // Starting is local. It fails only if this actor is being stopped, and then there is nothing to dial for.
        // Boxed: the actor's own future, which stays, would have room for it.
        if let Ok((actor, _)) = Box::pin(Actor::spawn_linked(None, ConnectionActor, args, me.get_cell())).await {
            let connection = Connection {
                incarnation,
                actor,
                link: None,
                keepalive_time: keepalive.time,
                goaway_heard: false,
                farewell: None,
            };
            self.connections.insert(connection.actor.get_id(), connection);
        }
    }

    fn wait(&mut self, me: &ActorRef<SupervisorMsg>, at: Instant, now: Instant) {
        let delay = at.saturating_duration_since(now);
        self.core.telemetry.announce(Fact::BackoffStarted {
            delay,
            attempt: self.channel.failures().saturating_sub(1),
            calls_waiting: self.calls_waiting.contains(&true),
        });
        if self.core.mutations.has(Mutation::ForgetRedialTimer) {
            return;
        }
        self.redial = Some(Timer::new(me, delay, || SupervisorMsg::RedialDue));
    }

    /// The watchdog: an actor that nothing would move again fails aloud, and is restarted with a dial.
    fn watch_for_dead_ends(&self) -> Result<(), ActorProcessingErr> {
        let dialling = self.connections.values().any(|connection| Some(connection.incarnation) == self.current);
        match self.begun && self.channel.is_stuck(dialling, self.redial.is_some()) {
            true => Err(format!("a dead end: {} with neither a dial nor a redial due", self.channel.state()).into()),
            false => Ok(()),
        }
    }

    /// Tells the request actors where calls go out.
    fn show_door(&self) {
        self.core.set_link(self.door().link);
        for shard in 0..self.core.shards() {
            self.core.tell_request(shard, RequestMsg::LinkChanged(self.door()));
        }
    }

    fn door(&self) -> Door {
        let ready = self.channel.state() == ConnectivityState::Ready;
        Door { link: self.link.clone().filter(|_| ready), failing: self.channel.last_error().cloned() }
    }

    // The end.

    async fn drain(&mut self, me: &ActorRef<SupervisorMsg>) {
        let until = self.core.closing().and_then(|closing| closing.until);
        if !std::mem::replace(&mut self.draining, true) {
            self.redial = None;
            for shard in 0..self.core.shards() {
                self.core.tell_request(shard, RequestMsg::Drain);
            }
            self.step(me, Input::Shutdown, "the supervisor is shutting down").await;
        }
        if self.connections.is_empty() {
            return me.stop(None);
        }
        if let Some(until) = until {
            let grace = until.saturating_duration_since(clock::now());
            self.grace = Some(Timer::new(me, grace, || SupervisorMsg::GraceDue));
        }
    }

    /// What still runs is answered, links say goodbye, and are cut if they cannot.
    fn grace_over(&mut self) {
        self.core.end_all(self.core.ledger.open(|_| true), Failure::shutdown);
        if self.core.mutations.has(Mutation::LeaveLinksOpen) {
            return;
        }
        for connection in self.connections.values_mut() {
            connection.farewell = Some(Timer::new(&connection.actor, FAREWELL, || ConnectionMsg::HangUp));
        }
    }

    /// A crash of this actor takes the links with it: what is shown must say so.
    fn show_crash(&self, shown: ConnectivityState) {
        let to = self.channel.state();
        self.core.telemetry.links_gone(&LinkEnd::ActorFailed("the supervisor actor failed".into()));
        if shown != to && shown.can_become(to) {
            let cause = "the supervisor actor failed and was restarted".into();
            let incarnation = Incarnation::default();
            self.core.telemetry.announce(Fact::StateChanged { from: shown, to, cause, incarnation });
        }
    }
}
