//! The supervisor actor: owns the channel's lifecycle. Its decisions are those of `policy::Channel`
//! (when to dial, what state to show) and `policy::Restarts` (what to make of failing children). A
//! lost link is a clean end and gets backoff; a panic counts against the restart intensity.

mod children;
mod drain;
mod ejections;
mod endpoints;
mod health;
mod links;
mod names;
mod rest;
mod restarter;
mod watchdog;

pub(super) use restarter::SupervisorActor;

use super::{
    connection::ConnectionArgs, core::Core, handling::Handling, message::SupervisorMsg,
    timer::Timer,
};
use crate::{
    call::Child,
    clock,
    model::{ConnectivityState, EndpointId, Fact, Incarnation},
    policy::{Channel, Input, Liveness, Output, Restarts, Step},
    transport::Dial,
};
use children::{Connection, PendingChild, RequestActorSlot};
use ejections::Watched;
use endpoints::GivenWatch;
use names::Names;
use ractor::ActorRef;
use rest::IdleLooks;
use std::{collections::BTreeSet, sync::Arc, time::Instant};

/// Gives a number in `0.0..1.0` each time.
type Random<'a> = &'a mut dyn FnMut() -> f64;

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
    /// The timer for the next dial that is due, of whichever endpoint.
    redial: Option<(Instant, Timer)>,
    /// What calls say of the endpoints.
    watched: Option<Box<Watched>>,
    /// The name that is looked up, if there is one.
    names: Option<Box<Names>>,
    /// Tells of lists of endpoints that are given, if any are.
    _given: Option<GivenWatch>,
    grace: Option<Timer>,
    /// None while the channel is idle, and where it never is.
    idle_looks: Option<Box<IdleLooks>>,
    /// The endpoints that have not answered probes, and no others since.
    in_doubt: BTreeSet<EndpointId>,
    /// Since when Ready is shown without a link that takes calls, and the timer to look again.
    ready_without_link: Option<(EndpointId, Instant, Timer)>,
    /// When a change of addresses last made it dial anew.
    moved: Option<Instant>,
    draining: bool,
    /// Whether the children reached the restart intensity.
    exhausted: bool,
}

impl Session {
    /// Begins: at first with a dial, after a failure with a redial, in a shutdown with the drain.
    fn begin(core: Arc<Core>, me: ActorRef<SupervisorMsg>) -> Self {
        let reconnect = &core.config.reconnect;
        let schedules = reconnect.schedules();
        let (last, connections) = (core.last_incarnation(), core.config.connections);
        let channel = match core.telemetry.state() {
            ConnectivityState::Idle => Channel::new(schedules, connections, last),
            // It failed while it drained: Shutdown is final, and was announced.
            ConnectivityState::Shutdown => Channel::after_shutdown(schedules, last),
            _ => {
                let listed = core.listed().into_iter().map(|(id, _)| id);
                Channel::after_a_crash(schedules, connections, listed, clock::now(), last)
            }
        };
        let channel = match (core.has_list(), core.telemetry.state()) {
            (true, _) => channel,
            (false, ConnectivityState::Idle) => channel.unresolved(None),
            (false, _) => channel.unresolved(Some("the supervisor actor failed".into())),
        };
        let pace = reconnect.idle.max.max(reconnect.waiting.max);
        let (restarts, shards) =
            (Restarts::new(core.config.intensity, pace), core.requests.shards());
        let mut session = Self {
            _given: GivenWatch::new(&core),
            names: Names::new(&core, schedules).map(Box::new),
            watched: Watched::new(&core, &me).map(Box::new),
            core,
            me,
            channel,
            restarts,
            // As a rule there is one; a vector that grows makes room for four.
            connections: Vec::with_capacity(1),
            shards: (0..shards).map(|_| RequestActorSlot::default()).collect(),
            pending_children: Vec::with_capacity(1),
            redial: None,
            grace: None,
            idle_looks: None,
            in_doubt: BTreeSet::new(),
            ready_without_link: None,
            moved: None,
            draining: false,
            exhausted: false,
        };
        match (session.core.calls.shutdown.drain(), session.channel.state()) {
            (Some(_), _) => session.drain(),
            (None, ConnectivityState::Idle) => session.begin_with_list(),
            (None, _) => {
                session.step(Input::RedialDue, "the supervisor actor starts over");
                // A list that came meanwhile.
                session.endpoints_given();
            }
        }
        session.watch_listed();
        session.look_up_now();
        session.begin_idle_looks();
        session.add_request_actors();
        session
    }

    fn handle(&mut self, message: SupervisorMsg) {
        let handling = Handling::begin(&self.core, Child::Supervisor, &message);
        match message {
            SupervisorMsg::Begin => {}
            SupervisorMsg::LinkUp { incarnation, link, took, steps } => {
                self.link_up(incarnation, link, (took, steps))
            }
            SupervisorMsg::GoAwayReceived { incarnation, goaway } => {
                self.goaway(incarnation, goaway)
            }
            SupervisorMsg::LinkProven(incarnation) => self.proven(incarnation),
            SupervisorMsg::LinkRetired(incarnation) => self.retired(incarnation),
            SupervisorMsg::LinkWornOut(incarnation) => self.worn_out(incarnation),
            SupervisorMsg::HealthHeard { incarnation, health, cause } => {
                self.health_heard(incarnation, health, &cause)
            }
            SupervisorMsg::LinkSuspect { incarnation, suspect } => {
                self.link_suspect(incarnation, suspect)
            }
            SupervisorMsg::LinkAged(incarnation) => self.link_aged(incarnation),
            SupervisorMsg::IdleDue => self.idle_due(),
            SupervisorMsg::LeaveIdle => self.leave_idle("somebody waits for a link"),
            SupervisorMsg::EndpointsGiven => self.endpoints_given(),
            SupervisorMsg::Resolved(answer) => self.resolved(*answer),
            SupervisorMsg::LookupDue => self.lookup_due(),
            SupervisorMsg::RedialDue => {
                // Whoever still has to wait gets another timer.
                self.redial = None;
                self.step(Input::RedialDue, "a redial was due");
            }
            SupervisorMsg::EndpointJudged(judged) => self.judged(judged),
            SupervisorMsg::ProbationDue => self.probation_due(),
            SupervisorMsg::RequestActorWanted { shard } => self.request_actor_wanted(shard),
            SupervisorMsg::RestartDue { shard } => self.restart_due(shard),
            SupervisorMsg::CallsWaiting { actor, waiting } => self.calls_waiting(actor, waiting),
            SupervisorMsg::ResetBackoff if self.channel.is_idle() => {
                self.leave_idle("asked to reconnect now")
            }
            SupervisorMsg::ResetBackoff => {
                self.look_up_now();
                self.step(Input::ResetBackoff, "asked to reconnect now");
            }
            SupervisorMsg::Drain => self.drain(),
            SupervisorMsg::GraceDue => self.grace_over(),
            // The watchdog looks after each message.
            SupervisorMsg::LinkShut | SupervisorMsg::LinkCheckDue => {}
        }
        handling.end(&self.core);
    }

    // The machine's steps, and their effects.

    /// Takes one step and carries out what follows; nothing, if the input comes late.
    fn step(&mut self, input: Input, cause: &str) {
        self.take_step(cause, |channel, cause, now, random| channel.on(input, cause, now, random));
        let failed = matches!(input, Input::DialFailed(_) | Input::DialRefused(_));
        if failed || matches!(input, Input::Lost { .. } | Input::GoAway(_)) {
            // Perhaps the server has moved.
            self.look_up_soon();
        }
    }

    /// The same for whatever makes a step of the machine.
    fn take_step(
        &mut self,
        cause: &str,
        make: impl FnOnce(&mut Channel, &Arc<str>, Instant, Random<'_>) -> Option<Step>,
    ) {
        let cause: Arc<str> = cause.into();
        let now = clock::now();
        let before = self.where_calls_go();
        let mut random = || self.core.random();
        let Some(step) = make(&mut self.channel, &cause, now, &mut random) else { return };
        self.announce_changes(&step, &cause);
        // Before a link is drained: calls go to another one from then on.
        if step.changed.is_some() || before != self.where_calls_go() {
            self.publish_picker();
        }
        let mut drained = BTreeSet::new();
        for (endpoint, output) in step.outputs {
            match output {
                // Published.
                Output::Use(_) => {}
                Output::Drain(incarnation) => {
                    self.drain_link(incarnation);
                    drained.insert(endpoint);
                }
                Output::Dial(_) if self.forgets_dial(&cause, endpoint) => {}
                Output::Dial(incarnation) => self.dial(endpoint, incarnation),
                Output::WaitUntil(at) => self.announce_wait(endpoint, at, now),
            }
        }
        if !self.draining && self.connections.len() > self.core.config.max_draining_links {
            drained.into_iter().for_each(|endpoint| self.bound_draining(endpoint));
        }
        self.arm_redial(now);
    }

    fn dial(&mut self, endpoint: EndpointId, incarnation: Incarnation) {
        let core = &self.core;
        // An endpoint that is listed no more is not dialled: the machine knows only those that are.
        let Some(listed) = core.endpoints.lock().get(endpoint).cloned() else { return };
        core.set_last_incarnation(incarnation);
        let failures = self.channel.failures(endpoint);
        core.telemetry.announce(Fact::DialStarted { incarnation, endpoint, failures });
        let keepalive = *core.keepalive.lock();
        let timeout = core.config.keepalive.timeout;
        let liveness = |time| Liveness::new(time, timeout, keepalive.while_idle());
        let dial = Dial {
            name: core.name_of(&listed),
            shuffle: core.shuffle_seed(),
            endpoint: listed,
            id: endpoint,
            user_timeout: keepalive.time().map(|_| timeout),
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
        let in_doubt = self.in_doubt.contains(&endpoint);
        let args = Box::new(ConnectionArgs { core: core.clone(), supervisor, dial, in_doubt });
        self.pending_children
            .push(PendingChild::Connection { args, keepalive_time: keepalive.time() });
    }

    fn announce_wait(&self, endpoint: EndpointId, at: Instant, now: Instant) {
        self.core.telemetry.announce(Fact::BackoffStarted {
            endpoint,
            delay: at.saturating_duration_since(now),
            attempt: self.channel.failures(endpoint).saturating_sub(1),
            calls_waiting: self.calls_wait(),
        });
    }

    /// One timer, for the earliest dial that is due.
    fn arm_redial(&mut self, now: Instant) {
        let next = self.channel.next_dial().filter(|_| !self.draining);
        if self.redial.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        self.redial = next.map(|at| {
            let delay = at.saturating_duration_since(now);
            (at, Timer::new(&self.core, &self.me, delay, SupervisorMsg::RedialDue))
        });
    }
}
