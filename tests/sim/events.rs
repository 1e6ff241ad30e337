//! The laws that a supervisor's events keep, checked as each is announced.

use crate::{
    endpoints::Endpoints,
    script::{Call, Script, ms},
    shared::{Shared, call_of, now},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic_supervisor::{
    CallReport, ConnectivityState, EndpointId, Event, Fact, Incarnation, Snapshot,
};

/// Timers know whole milliseconds, and are rounded up to them.
pub(crate) const GRAIN: Duration = ms(2);

/// What the events told so far.
pub(crate) struct Story {
    shared: Shared,
    script: Arc<Script>,
    pub(crate) seq: u64,
    pub(crate) state: ConnectivityState,
    pub(crate) closed: bool,
    pub(crate) draining: bool,
    pub(crate) endpoints: Endpoints,
    last_at: Duration,
    last_dial: Incarnation,
    retries: BTreeMap<usize, Vec<Retry>>,
    pub(crate) throttled: BTreeSet<usize>,
    pub(crate) shed: BTreeSet<usize>,
    /// What calls that failed ended with, and when they began.
    pub(crate) reports: Vec<(usize, Duration, CallReport)>,
    /// How often a proven link said GOAWAY with NO_ERROR.
    pub(crate) orderly_goaways: usize,
}

/// A retry that was announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) at: Duration,
    pub(crate) delay: Duration,
    /// Where the attempt before it failed, unless that says nothing about the endpoint: its link
    /// had said GOAWAY.
    pub(crate) avoids: Option<EndpointId>,
}

impl Story {
    pub(crate) fn new(shared: Shared, script: Arc<Script>) -> Self {
        Self {
            endpoints: Endpoints::new(shared.clone(), script.clone()),
            shared,
            script,
            seq: 0,
            state: ConnectivityState::Idle,
            closed: false,
            draining: false,
            last_at: Duration::ZERO,
            last_dial: Incarnation::default(),
            retries: BTreeMap::new(),
            throttled: BTreeSet::new(),
            shed: BTreeSet::new(),
            reports: Vec::new(),
            orderly_goaways: 0,
        }
    }

    /// What there is before the first event.
    pub(crate) fn begin(&mut self, snapshot: &Snapshot) {
        self.seq = snapshot.seq;
        self.endpoints.begin(snapshot);
    }

    /// The retries that were announced for call `n`.
    pub(crate) fn retries(&self, n: usize) -> &[Retry] {
        self.retries.get(&n).map_or(&[], Vec::as_slice)
    }

    /// The slowest pace at which dead actors are replaced while calls wait.
    pub(crate) fn slow_pace(&self) -> Duration {
        self.script.config.reconnect().waiting().max
    }

    /// Takes the next event.
    pub(crate) fn hear(&mut self, event: &Event) {
        let Event { seq, since_spawn: at, fact, .. } = event;
        let shared = self.shared.clone();
        shared.note(format_args!("#{seq} at {:.6}: {fact:?}", at.as_secs_f64()));
        shared.require(*seq == self.seq + 1, || format!("event {seq} follows event {}", self.seq));
        shared.require(*at >= self.last_at || shared.is_called_from_outside(), || {
            format!("event {seq} is older than the one before")
        });
        shared.require(!self.closed, || format!("{} was announced after Closed", fact.name()));
        (self.seq, self.last_at) = (*seq, *at);
        let before = self.state;
        self.tell(fact);
        self.endpoints.hear(fact, before, self.state);
    }

    fn tell(&mut self, fact: &Fact) {
        let (shared, now) = (self.shared.clone(), now());
        match fact {
            Fact::StateChanged { from, to, .. } => {
                shared.require(*from == self.state && from.can_become(*to), || {
                    format!("the state went from {from} to {to}, and was {}", self.state)
                });
                self.state = *to;
            }
            Fact::DialStarted { incarnation, .. } => {
                shared.require(*incarnation > self.last_dial, || {
                    format!("dial {incarnation} follows {}", self.last_dial)
                });
                self.last_dial = *incarnation;
            }
            Fact::GoAwayReceived { incarnation, goaway, .. } => {
                let orderly = goaway.code == 0 && self.endpoints.is_proven(*incarnation);
                self.orderly_goaways += usize::from(orderly);
            }
            Fact::ChildFailed { error, .. } => {
                shared.require(!error.starts_with("stuck: "), || {
                    format!("the watchdog found {error}")
                });
            }
            Fact::RetryScheduled { method, retry, delay, endpoint, cause, .. } => {
                let tells = *endpoint != EndpointId::default() && !cause.contains("GOAWAY");
                let avoids = tells.then_some(*endpoint);
                self.retry_scheduled(method, *retry, Retry { at: now, delay: *delay, avoids });
            }
            Fact::RetryThrottled { method, .. } => self.throttled.extend(call_of(method)),
            Fact::CallShed { method, .. } => self.shed.extend(call_of(method)),
            Fact::DrainStarted { .. } => {
                shared.require(!self.draining, || "DrainStarted was announced twice".into());
                self.draining = true;
            }
            Fact::Closed { cause, .. } => {
                self.closed = true;
                shared.require(cause.is_none(), || format!("it closed by itself: {cause:?}"));
                let open = self.endpoints.open_links();
                shared.require(open.is_empty(), || {
                    format!("it closed, and {open:?} were not told lost")
                });
                shared.require(self.state == ConnectivityState::Shutdown, || {
                    format!("it closed in {}", self.state)
                });
            }
            _ => {}
        }
    }

    fn retry_scheduled(&mut self, method: &str, number: u32, retry: Retry) {
        let (delay, shared, script) = (retry.delay, self.shared.clone(), self.script.clone());
        let Some(n) = call_of(method) else { return };
        let call = &script.calls[n];
        let retries = self.retries.entry(n).or_default();
        retries.push(retry);
        shared.require(number as usize == retries.len(), || {
            format!("call {n}: retry {number} is announced as number {}", retries.len())
        });
        shared.require(!call.is_known_to_stream() && !call.no_retry, || {
            format!("call {n} is retried, being {:?}", call.kind)
        });
        shared.require(shared.answer_began(n).is_none(), || {
            format!("call {n} is retried, and its answer has begun")
        });
        shared.require(script.config.retry().limit.allows(number - 1), || {
            format!("call {n}: retry {number} is one too many")
        });
        shared.require(is_scheduled(&script, call, number, delay), || {
            format!("call {n}: retry {number} waits {delay:?}")
        });
    }
}

/// Whether retry `number` may wait so long: as the formula has it, or as the server asked, which
/// starts the formula over.
fn is_scheduled(script: &Script, call: &Call, number: u32, delay: Duration) -> bool {
    use crate::script::Fate::Status;
    let pushbacks = call.fates.iter().filter_map(|fate| match fate {
        Status { pushback: Some(millis), .. } => Some(ms(u64::try_from(*millis).ok()?)),
        _ => None,
    });
    let pushbacks: Vec<_> = pushbacks.collect();
    let formula = |n: u32| script.config.retry().backoff.delay(n);
    match pushbacks.is_empty() {
        true => delay == formula(number - 1),
        false => pushbacks.contains(&delay) || (0..number).any(|n| delay == formula(n)),
    }
}
