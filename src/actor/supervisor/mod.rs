//! The supervisor actor: owns the channel's lifecycle. Its thoughts are `policy::Channel` (when to
//! dial, what state to show) and `policy::Restarts` (what to make of failing children). A lost link
//! is a clean end and gets backoff; a panic counts against the restart intensity.

mod children;
mod links;
mod lives;

pub(super) use lives::SupervisorActor;

use super::{
    connection::{ConnectionArgs, ConnectionState},
    core::Core,
    handling::Handling,
    hooks::Hooks,
    message::{ConnectionMsg, RequestMsg, SupervisorMsg},
    timer::Timer,
};
use crate::{
    call::{Child, NoLink, Picker},
    clock,
    model::{ConnectivityState, Fact, Failure, Incarnation},
    policy::{Channel, Input, Liveness, Output, Restarts, Schedules},
    transport::{Dial, Link},
};
use children::{Connection, Shard, Unborn};
use ractor::{ActorRef, SupervisionEvent};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What ractor says of an actor whose task was dropped. Nobody but its runtime does that.
const CANCELLED: &str = "actor_task_cancelled";

/// So long a link may be shown as Ready although it takes no calls: the news of its end are under
/// way.
const NEWS_TAKE: Duration = Duration::from_secs(5);

/// After the grace, so long for goodbyes to be written before links are cut.
const FAREWELL: Duration = Duration::from_millis(100);

/// What the actor knows, until it fails. Nothing here waits: children, whose start takes an
/// `await`, are started after each event.
struct Life {
    core: Arc<Core>,
    me: ActorRef<SupervisorMsg>,
    channel: Channel,
    restarts: Restarts,
    /// In the order of their incarnations.
    connections: Vec<Connection>,
    /// The request actors' places.
    shards: Box<[Shard]>,
    /// Children to be started.
    unborn: Vec<Unborn>,
    /// The link that the channel's state is about; those already replaced are only drained.
    current: Option<Incarnation>,
    /// The link being dialled to take the current one's place (make before break).
    successor: Option<Incarnation>,
    link: Option<Arc<Link>>,
    redial: Option<Timer>,
    grace: Option<Timer>,
    /// Since when Ready is shown without a link that takes calls, and the timer to look again.
    doubt: Option<(Instant, Timer)>,
    draining: bool,
    /// Whether the children reached the restart intensity.
    exhausted: bool,
}

impl Life {
    /// Begins: at first with a dial, after a failure with a redial, in a shutdown with the drain.
    fn begin(core: Arc<Core>, me: ActorRef<SupervisorMsg>) -> Self {
        let reconnect = &core.config.reconnect;
        let schedules = Schedules {
            idle: reconnect.idle,
            waiting: reconnect.waiting,
            jitter: reconnect.jitter,
            spread: reconnect.spread,
        };
        let channel = match core.telemetry.state() {
            ConnectivityState::Idle => Channel::new(schedules),
            // It died while it drained: Shutdown is final, and was said.
            ConnectivityState::Shutdown => Channel::after_shutdown(schedules),
            _ => Channel::after_a_crash(schedules, clock::now()),
        };
        let pace = reconnect.idle.max.max(reconnect.waiting.max);
        let (restarts, shards) =
            (Restarts::new(core.config.intensity, pace), core.requests.shards());
        let mut life = Self {
            core,
            me,
            channel,
            restarts,
            connections: Vec::new(),
            shards: (0..shards).map(|_| Shard::default()).collect(),
            unborn: (0..shards).map(Unborn::Request).collect(),
            current: None,
            successor: None,
            link: None,
            redial: None,
            grace: None,
            doubt: None,
            draining: false,
            exhausted: false,
        };
        match (life.core.calls.shutdown.drain(), life.channel.state()) {
            (Some(_), _) => life.drain(),
            (None, ConnectivityState::Idle) => {
                life.step(Input::Connect, "the supervisor was spawned")
            }
            (None, _) => life.step(Input::RedialDue, "the supervisor actor starts over"),
        }
        life
    }

    fn handle(&mut self, message: SupervisorMsg) {
        let handling = Handling::begin(&self.core, Child::Supervisor, &message);
        match message {
            SupervisorMsg::Begin => {}
            SupervisorMsg::LinkUp { incarnation, link, took } => {
                self.link_up(incarnation, link, took)
            }
            SupervisorMsg::GoAwayReceived { incarnation, goaway } => {
                self.goaway(incarnation, goaway)
            }
            SupervisorMsg::LinkProven(incarnation) => self.proven(incarnation),
            SupervisorMsg::LinkRetired(incarnation) => self.retired(incarnation),
            SupervisorMsg::LinkWornOut(incarnation) => self.worn_out(incarnation),
            SupervisorMsg::RedialDue => {
                // Whoever still has to wait gets another timer.
                self.redial = None;
                self.step(Input::RedialDue, "a redial was due");
            }
            SupervisorMsg::RestartDue { shard } => self.restart_due(shard),
            SupervisorMsg::CallsWaiting { actor, waiting } => self.calls_waiting(actor, waiting),
            SupervisorMsg::ResetBackoff => self.step(Input::ResetBackoff, "asked to reconnect now"),
            SupervisorMsg::Drain => self.drain(),
            SupervisorMsg::GraceDue => self.grace_over(),
            // The watchdog looks after each message.
            SupervisorMsg::LinkShut | SupervisorMsg::LookDue => {}
        }
        handling.end(&self.core);
    }

    fn hear(&mut self, event: SupervisionEvent) {
        match event {
            // The runtime drops its tasks: this actor's, too. That is no failure of a child.
            SupervisionEvent::ActorTerminated(_, _, Some(reason)) if reason == CANCELLED => {}
            SupervisionEvent::ActorTerminated(cell, boxed, reason) => {
                let end =
                    boxed.and_then(|mut boxed| boxed.take::<ConnectionState>().ok()?.take_end());
                let reason = reason.unwrap_or_else(|| "stopped".into());
                self.child_ended(cell.get_id(), end, &reason);
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                self.child_ended(cell.get_id(), None, &error.to_string())
            }
            _ => {}
        }
    }

    // The machine's steps, and their effects.

    fn step(&mut self, input: Input, cause: &str) {
        let cause: Arc<str> = cause.into();
        let now = clock::now();
        let failing = self.channel.last_error().cloned();
        let step = self.channel.on(input, &cause, now, self.core.random());
        // The change to Connecting is about the link to be.
        let adopted =
            step.changed.filter(|(_, to)| *to == ConnectivityState::Connecting).and(self.successor);
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
            self.publish_picker();
        }
        match step.output {
            Output::Nothing => {}
            Output::Dial => {
                self.redial = None;
                self.dial(self.current.unwrap_or_default());
            }
            Output::DialSuccessor => {
                let incarnation = *self.successor.insert(self.core.next_incarnation());
                self.dial(incarnation);
            }
            Output::WaitUntil(at) => self.wait(at, now),
            Output::HangUp => self.connections.iter().for_each(|connection| {
                // One that is dead already has nothing to drain.
                let _ = connection.actor.cast(ConnectionMsg::Drain);
            }),
        }
    }

    fn dial(&mut self, incarnation: Incarnation) {
        let core = &self.core;
        core.telemetry
            .announce(Fact::DialStarted { incarnation, failures: self.channel.failures() });
        let keepalive = *core.keepalive.lock();
        let dial = Dial {
            request: core.connect_request(),
            incarnation,
            timeout: core.config.connect_timeout,
            keepalive: keepalive.time.map(|time| {
                Liveness::new(time, core.config.keepalive.timeout, keepalive.while_idle)
            }),
            window: core.config.max_in_flight,
            max_header_bytes: core.config.max_response_header_bytes,
            #[cfg(feature = "tls")]
            tls: core.tls.clone(),
        };
        let watcher = Arc::new(Hooks(Arc::downgrade(core)));
        let args =
            ConnectionArgs { core: core.clone(), supervisor: self.me.clone(), watcher, dial };
        self.unborn.push(Unborn::Connection { args, keepalive_time: keepalive.time });
    }

    fn wait(&mut self, at: Instant, now: Instant) {
        let delay = at.saturating_duration_since(now);
        self.core.telemetry.announce(Fact::BackoffStarted {
            delay,
            attempt: self.channel.failures().saturating_sub(1),
            calls_waiting: self.calls_wait(),
        });
        self.redial = Some(Timer::new(&self.core, &self.me, delay, SupervisorMsg::RedialDue));
    }

    /// The watchdog: an actor that nothing would move again fails aloud, and starts over with a
    /// dial.
    ///
    /// It looks after each event. Where there is none it looks all the same: a link that shuts says
    /// so by itself (`LinkShut`), whatever became of its driver and its actor; and if their news do
    /// not follow, `LookDue` does.
    fn dead_end(&mut self) -> Option<String> {
        let state = self.channel.state();
        let dialling =
            self.connections.iter().any(|connection| Some(connection.incarnation) == self.current);
        let open = self.link.as_ref().is_some_and(|link| link.is_accepting());
        if !self.channel.is_stuck(
            dialling,
            self.redial.as_ref().is_some_and(Timer::is_running),
            open,
        ) {
            self.doubt = None;
            return None;
        }
        if state != ConnectivityState::Ready {
            return Some(format!("a dead end: {state} with neither a dial nor a redial due"));
        }
        let (core, me, now) = (&self.core, &self.me, clock::now());
        let look = || (now, Timer::new(core, me, NEWS_TAKE, SupervisorMsg::LookDue));
        let (since, _) = self.doubt.get_or_insert_with(look);
        let over = now.saturating_duration_since(*since) >= NEWS_TAKE;
        over.then(|| format!("a dead end: {state} without a link that takes calls"))
    }

    /// Tells everybody where calls go out.
    fn publish_picker(&self) {
        self.core.show_picker(self.picker());
        self.core.requests.tell_all(|| RequestMsg::PickerChanged(self.picker()));
    }

    fn picker(&self) -> Picker {
        let ready = self.channel.state() == ConnectivityState::Ready;
        match self.link.clone().filter(|_| ready) {
            Some(link) => Picker::One(link),
            None => Picker::None(NoLink {
                failing: self.channel.last_error().cloned(),
                why: self.channel.why_no_link().cloned(),
            }),
        }
    }

    // The end.

    fn drain(&mut self) {
        let until = self.core.calls.shutdown.drain().and_then(|closing| closing.until);
        if !std::mem::replace(&mut self.draining, true) {
            self.redial = None;
            self.core.requests.tell_all(|| RequestMsg::Drain);
            self.step(Input::Shutdown, "the supervisor is shutting down");
        }
        if self.connections.is_empty() {
            return self.me.stop(None);
        }
        if let Some(until) = until {
            let grace = until.saturating_duration_since(clock::now());
            self.grace = Some(Timer::new(&self.core, &self.me, grace, SupervisorMsg::GraceDue));
        }
    }

    /// What still runs is answered, links say goodbye, and are cut if they cannot.
    fn grace_over(&mut self) {
        self.core.calls.end_all(self.core.calls.ledger.open(|_| true), Failure::shutdown);
        for connection in self.connections.iter_mut() {
            connection.farewell =
                Some(Timer::new(&self.core, &connection.actor, FAREWELL, ConnectionMsg::HangUp));
        }
    }
}
