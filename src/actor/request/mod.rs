//! The request actor: queues calls, parks them while there is no link, starts attempts oldest first
//! within the link's window, and retries by message. Its decisions are those of `policy::Pending`
//! and each call's `policy::CallMachine`.
//!
//! Nothing here waits: opening a stream only queues frames, and the answer is read by the call's
//! runner.

mod retry;

use super::{
    core::Core,
    handling::Handling,
    inbox::Inbox,
    message::{RequestMsg, SupervisorMsg},
    timer::Timer,
};
use crate::{
    call::{self, Call, Child, NotSent, Picker, Reply, Stage, Wish},
    clock,
    model::{Failure, Phase},
    policy::{Due, Pending, Place},
    transport::Permit,
};
use http::HeaderMap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rand::rngs::SmallRng;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often reply ports are looked at for callers that went away: noticed within 100 ms.
const SWEEP_EVERY: Duration = Duration::from_millis(80);

/// New calls handled before other messages get their turn.
const TAKEN_AT_ONCE: usize = 1_000;

pub(super) struct RequestActor;

pub(super) struct RequestArgs {
    pub(super) core: Arc<Core>,
    pub(super) shard: usize,
    pub(super) picker: Picker,
}

pub(super) struct RequestState {
    core: Arc<Core>,
    shard: usize,
    picker: Picker,
    /// For what picking leaves to chance.
    dice: SmallRng,
    pending: Pending<Arc<Call>>,
    timer: Option<(Instant, Timer)>,
    sweep: Option<Timer>,
    draining: bool,
    /// Whether it has looked into the ledger.
    adopted: bool,
    /// How many parked calls the supervisor and the counts know of.
    reported_waiting: usize,
}

impl Actor for RequestActor {
    type Msg = RequestMsg;
    type State = RequestState;
    type Arguments = RequestArgs;

    async fn pre_start(
        &self,
        _: ActorRef<RequestMsg>,
        args: RequestArgs,
    ) -> Result<RequestState, ActorProcessingErr> {
        let RequestArgs { core, shard, picker } = args;
        let draining = core.calls.shutdown.drain().is_some();
        let dice = core.dice();
        Ok(RequestState {
            core,
            shard,
            picker,
            dice,
            pending: Pending::default(),
            timer: None,
            sweep: None,
            draining,
            adopted: false,
            reported_waiting: 0,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<RequestMsg>,
        message: RequestMsg,
        state: &mut RequestState,
    ) -> Result<(), ActorProcessingErr> {
        let handling = Handling::begin(&state.core, Child::Request, &message);
        state.inbox().begin_work();
        match message {
            RequestMsg::Adopt => state.adopt(),
            RequestMsg::Submit => state.take_in(&me).await,
            RequestMsg::Cancel(id) => drop(state.pending.remove(id)),
            RequestMsg::AttemptFailed(call) => {
                state.inbox().failure_heard();
                state.decide(call);
            }
            RequestMsg::CredentialsFetched(call) => state.authorized(call),
            RequestMsg::PickerChanged(picker) => state.picker_changed(picker),
            RequestMsg::WrongPeer(why) => state.refuse_parked(&why, |call| !call.wait_is_explicit),
            RequestMsg::RoomFreed => {}
            RequestMsg::TimerDue => state.timer_due(),
            RequestMsg::SweepDue => state.sweep(),
            RequestMsg::Drain => state.drain(),
        }
        state.pump();
        state.arm(&me);
        state.report_waiting(&me);
        state.inbox().end_work(state.may_rest());
        handling.end(&state.core);
        Ok(())
    }
}

impl RequestState {
    /// Whether new calls need not come here as far as this actor's own calls go. Before it has
    /// looked into the ledger it does not know of them.
    fn may_rest(&self) -> bool {
        self.adopted && !self.draining && self.pending.parked() == 0
    }

    fn inbox(&self) -> &Inbox {
        self.core.requests.inbox(self.shard)
    }

    /// The calls that came since the last time. While others run it lets their callers go first, so
    /// that it takes many at once.
    async fn take_in(&mut self, me: &ActorRef<RequestMsg>) {
        if self.picker.is_busy() {
            tokio::task::yield_now().await;
        }
        for _ in 0..TAKEN_AT_ONCE {
            let Some(call) = self.inbox().pop() else { return };
            self.take_on(call);
        }
        let _ = me.cast(RequestMsg::Submit);
    }

    /// The calls of this shard that a former actor left; those that run go on by themselves.
    fn adopt(&mut self) {
        let (core, shard) = (self.core.clone(), self.shard);
        self.adopted = true;
        core.requests.inbox(shard).clear();
        for call in core.calls.ledger.open(|call| core.requests.shard_of(call.id) == shard) {
            let failed = matches!(call.state.lock().stage, Stage::Failed(_));
            if failed { self.decide(call) } else { self.take_on(call) }
        }
    }

    /// Starts a call, parks it, or lets it sleep on. What is known already, runs or is over is left
    /// alone.
    fn take_on(&mut self, call: Arc<Call>) {
        let (until, limit) = {
            let mut state = call.state.lock();
            let Stage::Waiting { until } = state.stage else { return };
            // Credentials that came for a former actor: it took the place on the link, too.
            state.credentials = None;
            (until, call.waits_until(&state))
        };
        if self.pending.contains(call.id) {
            return;
        }
        match until {
            Some(at) if at > clock::now() && !self.draining => {
                self.pending.sleep(call.id, call.clone(), at, limit)
            }
            _ => self.start_or_park(call),
        }
    }

    fn start_or_park(&mut self, call: Arc<Call>) {
        if self.draining {
            return self.core.calls.conclude(&call, Failure::shutdown(Phase::Unsent).into());
        }
        if self.pending.parked() == 0
            && let Some(permit) = self
                .picker
                .pick(&mut self.dice, || call.wish(self.core.config.sticky_header.as_ref()))
        {
            return self.start(call, permit);
        }
        if !call.wait_for_ready
            && let Some(failing) = self.picker.failing().cloned()
        {
            return self.core.calls.conclude(&call, Failure::not_connected(failing).into());
        }
        call.shrink();
        let now = clock::now();
        let mut state = call.state.lock();
        state.park(now, self.core.calls.without_link(now));
        let (place, limit) = (state.place, call.waits_until(&state));
        drop(state);
        match place {
            Place::Own => self.pending.park(call.id, call.clone(), limit),
            Place::Behind => self.pending.park_behind(call.id, call.clone(), limit),
        }
    }

    /// Starts parked calls, oldest first, while the link has room. One that would not finish any
    /// more leaves its place to the next.
    fn pump(&mut self) {
        while self.pending.parked() > 0 {
            let oldest = self.pending.oldest();
            let sticky = self.core.config.sticky_header.as_ref();
            let wish = || oldest.map_or_else(Wish::default, |call| call.wish(sticky));
            let Some(permit) = self.picker.pick(&mut self.dice, wish) else { return };
            let Some((_, call)) = self.pending.pop() else { return };
            match self.core.calls.refuse_late(&call) {
                true => drop(permit),
                false => self.start(call, permit),
            }
        }
    }

    fn start(&mut self, call: Arc<Call>, permit: Permit) {
        let now = clock::now();
        if call.deadline.is_some_and(|deadline| deadline <= now) {
            drop(permit);
            return self.core.calls.end_late(&call);
        }
        match self.core.calls.credentials {
            Some(_) => call::fetch(&self.core.calls, call, permit),
            None => self.send(call, permit, None, now),
        }
    }

    /// The credentials are there: the attempt begins, unless its link is gone or they came for
    /// nothing.
    fn authorized(&mut self, call: Arc<Call>) {
        let granted = call.state.lock().credentials.take();
        match granted {
            Some(granted) if granted.permit.link().is_accepting() && !self.draining => {
                self.send(call, granted.permit, Some(granted.headers), clock::now());
            }
            _ => self.take_on(call),
        }
    }

    fn send(
        &mut self,
        call: Arc<Call>,
        permit: Permit,
        credentials: Option<HeaderMap>,
        now: Instant,
    ) {
        if let Err(NotSent) = self.core.calls.begin(&call, permit, credentials, now) {
            self.decide(call);
        }
    }

    fn picker_changed(&mut self, picker: Picker) {
        self.picker = picker;
        if let Some(failing) = self.picker.failing().cloned() {
            self.refuse_parked(&failing, |call| !call.wait_for_ready);
        }
    }

    fn refuse_parked(&mut self, why: &Arc<str>, pick: fn(&Call) -> bool) {
        for call in self.pending.take_parked(|call| pick(call)) {
            self.core.calls.conclude(&call, Failure::not_connected(why.clone()).into());
        }
    }

    fn timer_due(&mut self) {
        self.timer = None;
        let now = clock::now();
        while let Some(due) = self.pending.due(now) {
            match due {
                Due::Expired(call) => self.core.calls.end_late(&call),
                Due::Retry(call) => {
                    // Its caller may have gone this very moment.
                    match &mut call.state.lock().stage {
                        Stage::Waiting { until } => *until = None,
                        _ => continue,
                    }
                    self.start_or_park(call);
                }
            }
        }
    }

    fn sweep(&mut self) {
        self.sweep = None;
        let (core, shard) = (self.core.clone(), self.shard);
        let gone = |call: &Call| match &call.state.lock().reply {
            Reply::Port { port: Some(port), .. } => port.is_closed(),
            _ => false,
        };
        for call in core
            .calls
            .ledger
            .open(|call| call.has_port && core.requests.shard_of(call.id) == shard && gone(call))
        {
            self.pending.remove(call.id);
            core.calls.cancel(&call);
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        let mut waiting: Vec<_> = self.pending.drain().collect();
        let (core, shard) = (self.core.clone(), self.shard);
        let fetching = |call: &Call| matches!(call.state.lock().stage, Stage::Fetching { .. });
        waiting.extend(
            core.calls
                .ledger
                .open(|call| core.requests.shard_of(call.id) == shard && fetching(call)),
        );
        self.core.calls.end_all(waiting, Failure::shutdown);
    }

    /// Arms one timer for the earliest retry or deadline, and the sweep while ports are open.
    fn arm(&mut self, me: &ActorRef<RequestMsg>) {
        let next = self.pending.next_timer();
        let armed = self.timer.as_ref().map(|(at, _)| *at);
        if let Some(at) = next.filter(|at| armed.is_none_or(|armed| *at < armed)) {
            let wait = at.saturating_duration_since(clock::now());
            self.timer = Some((at, Timer::new(&self.core, me, wait, RequestMsg::TimerDue)));
        }
        if self.sweep.is_none() && self.core.calls.has_ports() {
            self.sweep = Some(Timer::new(&self.core, me, SWEEP_EVERY, RequestMsg::SweepDue));
        }
    }

    /// The supervisor dials more eagerly while calls wait.
    fn report_waiting(&mut self, me: &ActorRef<RequestMsg>) {
        let (before, now) = (self.reported_waiting, self.pending.parked());
        if before == now {
            return;
        }
        self.reported_waiting = now;
        self.core.telemetry.waiting_changed(before, now);
        if (before == 0) != (now == 0) {
            self.core.tell_supervisor(SupervisorMsg::CallsWaiting {
                actor: me.get_id(),
                waiting: now > 0,
            });
        }
    }
}

impl Drop for RequestState {
    fn drop(&mut self) {
        self.core.telemetry.waiting_changed(self.reported_waiting, 0);
    }
}
