//! The supervisor actor: owns the channel's lifecycle. Its thoughts are `policy::Channel` (when to dial, what state to show) and
//! `policy::Restarts` (what to make of failing children). A lost link is a clean end and gets backoff; a panic counts against
//! the restart intensity.

use super::{
    connection::{ConnectionActor, ConnectionArgs, ConnectionEnd, ConnectionState},
    core::Core,
    hooks::Hooks,
    message::{ConnectionMsg, Door, RequestMsg, SupervisorMsg},
    panics::Child,
    request::{RequestActor, RequestArgs},
    timer::Timer,
};
use crate::{
    clock,
    model::{ConnectivityState, Fact, Failure, GoAway, Incarnation, LinkEnd},
    policy::{Channel, Input, Liveness, Output, Restarts, Schedules, Verdict},
    transport::{Dial, Link},
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::{
    collections::HashMap,
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
    connections: HashMap<ActorId, Connection>,
    request_actors: HashMap<ActorId, usize>,
    /// The link that the channel's state is about; those already replaced are only drained.
    current: Option<Incarnation>,
    link: Option<Arc<Link>>,
    redial: Option<Timer>,
    grace: Option<Timer>,
    restarts_due: Vec<Option<Timer>>,
    calls_waiting: Vec<bool>,
    draining: bool,
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
    type Arguments = Arc<Core>;

    async fn pre_start(
        &self,
        me: ActorRef<SupervisorMsg>,
        core: Arc<Core>,
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
            _ => Channel::after_a_crash(schedules, clock::now()),
        };
        let pace = reconnect.idle.max.max(reconnect.waiting.max);
        let (restarts, shards) = (Restarts::new(core.config.intensity, pace), core.shards());
        core.set_supervisor(me.clone());
        let state = SupervisorState {
            core,
            channel,
            restarts,
            connections: HashMap::new(),
            request_actors: HashMap::new(),
            current: None,
            link: None,
            redial: None,
            grace: None,
            restarts_due: (0..shards).map(|_| None).collect(),
            calls_waiting: vec![false; shards],
            draining: false,
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
        state.core.panics.strike(Child::Supervisor, message.name());
        match message {
            SupervisorMsg::Connect => state.step(&me, Input::Connect, "the supervisor was spawned").await,
            SupervisorMsg::LinkUp { incarnation, link, took } => state.link_up(&me, incarnation, link, took).await,
            SupervisorMsg::GoAwayReceived { incarnation, goaway } => state.goaway(&me, incarnation, goaway).await,
            SupervisorMsg::LinkProven(incarnation) => state.proven(&me, incarnation).await,
            SupervisorMsg::LinkRetired(incarnation) => state.retired(&me, incarnation).await,
            SupervisorMsg::RedialDue => state.step(&me, Input::RedialDue, "a redial was due").await,
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
        Ok(())
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
        Ok(())
    }
}

impl SupervisorState {
    // --- the machine's steps and their effects -----------------------------------------------------------------------

    async fn step(&mut self, me: &ActorRef<SupervisorMsg>, input: Input, cause: &str) {
        let cause: Arc<str> = cause.into();
        let now = clock::now();
        let failing = self.channel.last_error().cloned();
        let step = self.channel.on(input, &cause, now, self.core.roll());
        if let Some((from, to)) = step.changed {
            let incarnation = self.current.unwrap_or_default();
            self.core.telemetry.announce(Fact::StateChanged { from, to, cause, incarnation });
        }
        if step.changed.is_some() || failing != self.channel.last_error().cloned() {
            self.show_door();
        }
        match step.output {
            Output::Nothing => {}
            Output::Dial => self.dial(me).await,
            Output::WaitUntil(at) => self.wait(me, at, now),
            Output::HangUp => self.connections.values().for_each(|connection| {
                // One that is dead already has nothing to drain.
                let _ = connection.actor.cast(ConnectionMsg::Drain);
            }),
        }
    }

    async fn dial(&mut self, me: &ActorRef<SupervisorMsg>) {
        self.redial = None;
        let core = &self.core;
        let incarnation = core.next_incarnation();
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
        };
        let watcher = Arc::new(Hooks(Arc::downgrade(core)));
        let args = ConnectionArgs { core: core.clone(), supervisor: me.clone(), watcher, dial };
        self.current = Some(incarnation);
        // Starting is local. It fails only if this actor is being stopped, and then there is nothing to dial for.
        if let Ok((actor, _)) = Actor::spawn_linked(None, ConnectionActor, args, me.get_cell()).await {
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
        self.redial = Some(Timer::new(me, delay, || SupervisorMsg::RedialDue));
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

    // --- links -------------------------------------------------------------------------------------------------------

    async fn link_up(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        incarnation: Incarnation,
        link: Arc<Link>,
        took: Duration,
    ) {
        if let Some(connection) = self.connection(incarnation) {
            connection.link = Some(link.clone());
        }
        if self.current != Some(incarnation) || self.draining {
            return link.drain();
        }
        let max_concurrent_streams = link.peer_limit();
        self.core.telemetry.announce(Fact::LinkEstablished { incarnation, took, max_concurrent_streams });
        self.link = Some(link);
        self.step(me, Input::Established, "the peer's SETTINGS were read").await;
    }

    fn connection(&mut self, incarnation: Incarnation) -> Option<&mut Connection> {
        self.connections.values_mut().find(|connection| connection.incarnation == incarnation)
    }

    async fn proven(&mut self, me: &ActorRef<SupervisorMsg>, incarnation: Incarnation) {
        if self.current == Some(incarnation) && !self.channel.is_proven() {
            self.step(me, Input::Proven, "the link is proven").await;
            if self.channel.is_proven() {
                self.core.telemetry.announce(Fact::BackoffReset { incarnation });
            }
        }
    }

    async fn goaway(&mut self, me: &ActorRef<SupervisorMsg>, incarnation: Incarnation, goaway: GoAway) {
        // A link's end overtakes its GOAWAY's message, and has told it then.
        let Some(connection) = self.connection(incarnation) else { return };
        connection.goaway_heard = true;
        let idle = connection.link.as_ref().is_none_or(|link| link.in_flight() == 0);
        let had = connection.keepalive_time;
        let cause = goaway.to_string();
        self.hear_goaway(incarnation, goaway, had, idle);
        self.replace(me, incarnation, &cause).await;
    }

    fn hear_goaway(&self, incarnation: Incarnation, goaway: GoAway, had: Option<Duration>, idle: bool) {
        let too_many_pings = goaway.is_too_many_pings();
        self.core.telemetry.announce(Fact::GoAwayReceived { incarnation, goaway });
        if let Some(had) = had.filter(|_| too_many_pings) {
            self.ping_less(had, idle);
        }
    }

    async fn retired(&mut self, me: &ActorRef<SupervisorMsg>, incarnation: Incarnation) {
        if let Some(connection) = self.connection(incarnation) {
            let _ = connection.actor.cast(ConnectionMsg::Drain);
        }
        self.replace(me, incarnation, "the link's stream ids are used up").await;
    }

    /// The link finishes what it has; a successor is dialled.
    async fn replace(&mut self, me: &ActorRef<SupervisorMsg>, incarnation: Incarnation, cause: &str) {
        if self.current == Some(incarnation) && self.channel.state() == ConnectivityState::Ready {
            self.link = None;
            self.step(me, Input::GoAway, cause).await;
            self.current = self.current.filter(|current| *current != incarnation);
        }
    }

    /// gRPC A8: twice the time of the link that was complained of; complaints of links of one age do not add up. One that comes
    /// while no call is open ends pings without calls, too.
    fn ping_less(&self, had: Duration, idle: bool) {
        let mut keepalive = self.core.keepalive.lock();
        let time = keepalive.time.unwrap_or(had).max(had.saturating_mul(2));
        keepalive.time = Some(time);
        keepalive.while_idle &= !idle;
        let while_idle = keepalive.while_idle;
        drop(keepalive);
        self.core.telemetry.announce(Fact::KeepaliveBackedOff { keepalive_time: time, while_idle });
    }

    // --- children ----------------------------------------------------------------------------------------------------

    async fn child_ended(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        id: ActorId,
        end: Option<ConnectionEnd>,
        words: &str,
    ) {
        if let Some(shard) = self.request_actors.remove(&id) {
            if !self.draining || self.core.closing().is_none() {
                self.request_actor_failed(me, shard, words).await;
            } else {
                self.child_failed("request", words);
                if !self.connections.is_empty() {
                    // Calls in flight still need someone to decide for them.
                    let _ = self.spawn_request_actor(me, shard).await;
                }
            }
            return;
        }
        let Some(connection) = self.connections.remove(&id) else { return };
        match end {
            Some(ConnectionEnd::DialFailed(failure)) => {
                let cause = failure.reason.clone();
                let incarnation = connection.incarnation;
                self.core.telemetry.announce(Fact::DialFailed { incarnation, failure });
                self.current_ended(me, incarnation, Input::DialFailed, &cause).await;
            }
            Some(ConnectionEnd::Lost { end, lived }) => self.link_lost(me, &connection, end, lived).await,
            None => self.connection_failed(me, &connection, words).await,
        }
        if self.draining && self.connections.is_empty() {
            me.stop(None);
        }
    }

    async fn link_lost(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        connection: &Connection,
        end: LinkEnd,
        lived: Duration,
    ) {
        let incarnation = connection.incarnation;
        let cause = end.to_string();
        let mut input = Input::Lost;
        match &end {
            LinkEnd::KeepaliveTimeout => self.core.telemetry.announce(Fact::KeepaliveLost { incarnation }),
            LinkEnd::GoAway(goaway) => {
                input = Input::GoAway;
                if !connection.goaway_heard {
                    let idle = connection.link.as_ref().is_none_or(|link| link.in_flight() == 0);
                    self.hear_goaway(incarnation, goaway.clone(), connection.keepalive_time, idle);
                }
            }
            _ => {}
        }
        if connection.link.is_some() {
            let current = self.current == Some(incarnation);
            self.core.telemetry.announce(Fact::LinkLost { incarnation, end, lived, current });
        }
        self.current_ended(me, incarnation, input, &cause).await;
    }

    async fn connection_failed(&mut self, me: &ActorRef<SupervisorMsg>, connection: &Connection, words: &str) {
        let verdict = self.child_failed("connection", words);
        let end = LinkEnd::ActorFailed(words.into());
        self.link_lost(me, connection, end, Duration::ZERO).await;
        if verdict != Verdict::Restart && self.current.is_none() {
            let at = clock::now() + self.core.config.reconnect.idle.max;
            if let Some(at) = self.channel.hold_until(at) {
                self.wait(me, at, clock::now());
            }
        }
    }

    async fn current_ended(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        incarnation: Incarnation,
        input: Input,
        cause: &str,
    ) {
        if self.current != Some(incarnation) {
            return;
        }
        self.link = None;
        let input = match self.channel.state() {
            ConnectivityState::Connecting => Input::DialFailed,
            _ => input,
        };
        self.step(me, input, cause).await;
        self.current = self.current.filter(|current| *current != incarnation);
    }

    async fn request_actor_failed(&mut self, me: &ActorRef<SupervisorMsg>, shard: usize, words: &str) {
        self.calls_waiting[shard] = false;
        if self.child_failed("request", words) == Verdict::Restart {
            if self.spawn_request_actor(me, shard).await.is_ok() {
                return;
            }
        }
        self.core.end_overdue();
        // Calls wait for it: the slowest pace is that of a channel with calls waiting.
        let pace = self.core.config.reconnect.waiting.max;
        self.restarts_due[shard] = Some(Timer::new(me, pace, move || SupervisorMsg::RestartDue { shard }));
    }

    fn child_failed(&mut self, child: &'static str, words: &str) -> Verdict {
        self.core.telemetry.announce(Fact::ChildFailed { child, error: words.into() });
        let verdict = self.restarts.failed(clock::now());
        if verdict == Verdict::Reached {
            let (failures, period) = (self.restarts.count(), self.core.config.intensity.period);
            self.core.telemetry.announce(Fact::IntensityReached { failures, period });
        }
        verdict
    }

    /// First the new actor can be found, then it looks into the ledger: so a call is in one mailbox or the other.
    async fn spawn_request_actor(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        shard: usize,
    ) -> Result<(), ActorProcessingErr> {
        let args = RequestArgs { core: self.core.clone(), shard, door: self.door() };
        let (actor, _) = Actor::spawn_linked(None, RequestActor, args, me.get_cell()).await?;
        self.request_actors.insert(actor.get_id(), shard);
        self.core.set_request_actor(shard, actor.clone());
        actor.cast(RequestMsg::Adopt)?;
        Ok(())
    }

    // --- the end -----------------------------------------------------------------------------------------------------

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
        for connection in self.connections.values_mut() {
            connection.farewell = Some(Timer::new(&connection.actor, FAREWELL, || ConnectionMsg::HangUp));
        }
    }

    /// A crash of this actor takes the links with it: what is shown must say so.
    fn show_crash(&self, shown: ConnectivityState) {
        let to = self.channel.state();
        if shown != to && shown.can_become(to) {
            let cause = "the supervisor actor failed and was restarted".into();
            let incarnation = Incarnation::default();
            self.core.telemetry.announce(Fact::StateChanged { from: shown, to, cause, incarnation });
        }
    }
}
