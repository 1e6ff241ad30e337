//! The supervisor actor: owns the channel's lifecycle. Its decisions are those of `policy::Channel`
//! (when to dial, what state to show) and `policy::Restarts` (what to make of failing children). A
//! lost link is a clean end and gets backoff; a panic counts against the restart intensity.

mod children;
mod links;
mod restarter;

pub(super) use restarter::SupervisorActor;

use super::{
    connection::{ConnectionArgs, ConnectionState},
    core::Core,
    handling::Handling,
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
use children::{Connection, PendingChild, RequestActorSlot};
use ractor::{ActorRef, SupervisionEvent};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What ractor says of an actor whose task was dropped. Nobody but its runtime does that.
const CANCELLED: &str = "actor_task_cancelled";

/// So long a link may be shown as Ready although it takes no calls: the news of its end are under
/// way.
const END_REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// After the grace, links have this long to write what is left before they are cut.
const CUT_AFTER: Duration = Duration::from_millis(100);

/// What the actor knows, until it fails. Nothing here waits: children, whose start takes an
/// `await`, are started after each event.
struct Session {
    core: Arc<Core>,
    me: ActorRef<SupervisorMsg>,
    channel: Channel,
    restarts: Restarts,
    /// In the order of their incarnations.
    connections: Vec<Connection>,
    /// The request actors' places.
    shards: Box<[RequestActorSlot]>,
    /// Children to be started.
    pending_children: Vec<PendingChild>,
    redial: Option<Timer>,
    grace: Option<Timer>,
    /// Since when Ready is shown without a link that takes calls, and the timer to look again.
    ready_without_link: Option<(Instant, Timer)>,
    draining: bool,
    /// Whether the children reached the restart intensity.
    exhausted: bool,
}

impl Session {
    /// Begins: at first with a dial, after a failure with a redial, in a shutdown with the drain.
    fn begin(core: Arc<Core>, me: ActorRef<SupervisorMsg>) -> Self {
        let reconnect = &core.config.reconnect;
        let schedules = Schedules {
            idle: reconnect.idle,
            waiting: reconnect.waiting,
            jitter: reconnect.jitter,
            spread: reconnect.spread,
        };
        let last = core.last_incarnation();
        let channel = match core.telemetry.state() {
            ConnectivityState::Idle => Channel::new(schedules),
            // It failed while it drained: Shutdown is final, and was announced.
            ConnectivityState::Shutdown => Channel::after_shutdown(schedules, last),
            _ => Channel::after_a_crash(schedules, clock::now(), last),
        };
        let pace = reconnect.idle.max.max(reconnect.waiting.max);
        let (restarts, shards) =
            (Restarts::new(core.config.intensity, pace), core.requests.shards());
        let mut session = Self {
            core,
            me,
            channel,
            restarts,
            connections: Vec::new(),
            shards: (0..shards).map(|_| RequestActorSlot::default()).collect(),
            pending_children: (0..shards).map(PendingChild::Request).collect(),
            redial: None,
            grace: None,
            ready_without_link: None,
            draining: false,
            exhausted: false,
        };
        match (session.core.calls.shutdown.drain(), session.channel.state()) {
            (Some(_), _) => session.drain(),
            (None, ConnectivityState::Idle) => {
                session.step(Input::Connect, "the supervisor was spawned")
            }
            (None, _) => session.step(Input::RedialDue, "the supervisor actor starts over"),
        }
        session
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
            SupervisorMsg::LinkShut | SupervisorMsg::LinkCheckDue => {}
        }
        handling.end(&self.core);
    }

    fn on_child_event(&mut self, event: SupervisionEvent) {
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

    /// Takes one step and carries out what follows; nothing, if the input comes late.
    fn step(&mut self, input: Input, cause: &str) {
        let cause: Arc<str> = cause.into();
        let now = clock::now();
        let failing = self.channel.last_error().cloned();
        let random = || self.core.random();
        let Some(step) = self.channel.on(input, &cause, now, random) else { return };
        if let Some((from, to)) = step.changed {
            let incarnation = step.about;
            self.core.telemetry.announce(Fact::StateChanged { from, to, cause, incarnation });
        }
        let used = step.outputs.iter().any(|output| matches!(output, Output::Use(_)));
        // Before a link is drained: calls go to the new one from then on.
        if used || step.changed.is_some() || failing != self.channel.last_error().cloned() {
            self.publish_picker();
        }
        let drains = step.outputs.iter().any(|output| matches!(output, Output::Drain(_)));
        for output in step.outputs {
            match output {
                // Published.
                Output::Use(_) => {}
                Output::Drain(incarnation) => self.drain_link(incarnation),
                Output::Dial(incarnation) => {
                    self.redial = None;
                    self.dial(incarnation);
                }
                Output::WaitUntil(at) => self.wait(at, now),
            }
        }
        if drains && !self.draining {
            self.bound_draining();
        }
    }

    fn dial(&mut self, incarnation: Incarnation) {
        let core = &self.core;
        core.set_last_incarnation(incarnation);
        core.telemetry
            .announce(Fact::DialStarted { incarnation, failures: self.channel.failures() });
        let keepalive = *core.keepalive.lock();
        let timeout = core.config.keepalive.timeout;
        let liveness = |time| Liveness::new(time, timeout, keepalive.while_idle());
        let dial = Dial {
            request: core.connect_request(),
            incarnation,
            timeout: core.config.connect_timeout,
            keepalive: keepalive.time().map(liveness),
            window: core.config.max_in_flight,
            max_header_bytes: core.config.max_response_header_bytes,
            unread_answers: core.config.unread_answers,
            #[cfg(feature = "tls")]
            tls: core.tls.clone(),
        };
        let supervisor = self.me.clone();
        let args = ConnectionArgs { core: core.clone(), supervisor, dial };
        self.pending_children
            .push(PendingChild::Connection { args, keepalive_time: keepalive.time() });
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
    /// not follow, `LinkCheckDue` does.
    fn check_progress(&mut self) -> Option<String> {
        let state = self.channel.state();
        let dial = self.channel.dialling();
        let dialling = self.connections.iter().any(|one| Some(one.incarnation) == dial);
        let open = self.link_in_use().is_some_and(|link| link.is_accepting());
        if !self.channel.is_stuck(
            dialling,
            self.redial.as_ref().is_some_and(Timer::is_running),
            open,
        ) {
            self.ready_without_link = None;
            return None;
        }
        if state != ConnectivityState::Ready {
            return Some(format!("stuck: {state} with neither a dial nor a redial due"));
        }
        let (core, me, now) = (&self.core, &self.me, clock::now());
        let look = || (now, Timer::new(core, me, END_REPORT_TIMEOUT, SupervisorMsg::LinkCheckDue));
        let (since, _) = self.ready_without_link.get_or_insert_with(look);
        let over = now.saturating_duration_since(*since) >= END_REPORT_TIMEOUT;
        over.then(|| format!("stuck: {state} without a link that takes calls"))
    }

    /// Tells everybody where calls go out.
    fn publish_picker(&self) {
        let picker = self.picker();
        self.core.show_picker(picker.clone());
        self.core.requests.tell_all(|| RequestMsg::PickerChanged(picker.clone()));
    }

    fn picker(&self) -> Picker {
        match self.link_in_use() {
            Some(link) => Picker::One(link.clone()),
            None => Picker::None(NoLink {
                failing: self.channel.last_error().cloned(),
                why: self.channel.why_no_link().cloned(),
            }),
        }
    }

    /// The link that the machine sends calls on.
    fn link_in_use(&self) -> Option<&Arc<Link>> {
        let incarnation = self.channel.link()?;
        let mut connections = self.connections.iter();
        connections.find(|connection| connection.incarnation == incarnation)?.link.as_ref()
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

    /// What still runs is answered, links are closed, and are cut if they cannot be.
    fn grace_over(&mut self) {
        self.core.calls.end_all(self.core.calls.ledger.open(|_| true), Failure::shutdown);
        for connection in self.connections.iter_mut() {
            connection.cut =
                Some(Timer::new(&self.core, &connection.actor, CUT_AFTER, ConnectionMsg::HangUp));
        }
    }
}
