//! The laws that a supervisor's events keep, checked as each is announced.

use crate::{
    script::{Call, Script, ms},
    shared::{Shared, call_of, now},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic_supervisor::{ConnectivityState, Event, Fact, Incarnation};

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
    /// When, at the latest, something must have happened if the state is neither Ready nor
    /// Shutdown.
    pub(crate) way_on_by: Duration,
    last_at: Duration,
    last_dial: Incarnation,
    dialled_at: Option<Duration>,
    /// The dials that run, and when they end at the latest.
    dialling: BTreeMap<Incarnation, Duration>,
    links: BTreeSet<Incarnation>,
    redial_not_before: Option<Duration>,
    /// How many dials to come may be early, because somebody asked for them.
    dials_asked_for: u32,
    retries: BTreeMap<usize, Vec<Retry>>,
    pub(crate) throttled: BTreeSet<usize>,
    pub(crate) shed: BTreeSet<usize>,
    /// The links that have answered, or lived long enough.
    proven: BTreeSet<Incarnation>,
    /// How often such a link said GOAWAY with NO_ERROR.
    pub(crate) orderly_goaways: usize,
}

/// A retry that was announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) at: Duration,
    pub(crate) delay: Duration,
}

impl Story {
    pub(crate) fn new(shared: Shared, script: Arc<Script>) -> Self {
        Self {
            shared,
            script,
            seq: 0,
            state: ConnectivityState::Idle,
            closed: false,
            draining: false,
            way_on_by: now(),
            last_at: Duration::ZERO,
            last_dial: Incarnation::default(),
            dialled_at: None,
            dialling: BTreeMap::new(),
            links: BTreeSet::new(),
            redial_not_before: None,
            dials_asked_for: 0,
            retries: BTreeMap::new(),
            throttled: BTreeSet::new(),
            shed: BTreeSet::new(),
            proven: BTreeSet::new(),
            orderly_goaways: 0,
        }
    }

    /// Somebody called `reconnect_now`: the dial under way or the next one, and one more, need not
    /// wait.
    pub(crate) fn asked_to_reconnect(&mut self) {
        self.dials_asked_for = 2;
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
        self.tell(fact);
    }

    fn tell(&mut self, fact: &Fact) {
        let (shared, now) = (self.shared.clone(), now());
        let reconnect = *self.script.config.reconnect();
        match fact {
            Fact::StateChanged { from, to, incarnation, .. } => {
                shared.require(*from == self.state && from.can_become(*to), || {
                    format!("the state went from {from} to {to}, and was {}", self.state)
                });
                self.state = *to;
                // It may be the dial of a successor that becomes the dial.
                self.way_on_by = self.dialling.get(incarnation).copied().unwrap_or(now);
            }
            Fact::DialStarted { incarnation, failures, .. } => {
                shared.require(*incarnation > self.last_dial, || {
                    format!("dial {incarnation} follows {}", self.last_dial)
                });
                self.dial_started(*failures, now);
                (self.last_dial, self.dialled_at) = (*incarnation, Some(now));
                self.way_on_by = now + self.script.config.connect_timeout();
                self.dialling.insert(*incarnation, self.way_on_by);
            }
            Fact::DialFailed { incarnation, .. } => {
                shared.require(self.dialling.remove(incarnation).is_some(), || {
                    format!("{incarnation} failed and was not dialled")
                });
                self.way_on_by = now;
            }
            Fact::LinkEstablished { incarnation, .. } => {
                shared.require(self.dialling.remove(incarnation).is_some(), || {
                    format!("{incarnation} is up and was not dialled")
                });
                self.links.insert(*incarnation);
            }
            Fact::BackoffReset { incarnation, .. } => drop(self.proven.insert(*incarnation)),
            Fact::GoAwayReceived { incarnation, goaway, .. } => {
                let orderly = goaway.code == 0 && self.proven.contains(incarnation);
                self.orderly_goaways += usize::from(orderly);
            }
            Fact::LinkLost { incarnation, .. } => {
                shared.require(self.links.remove(incarnation), || {
                    format!("{incarnation} was lost and was not up")
                });
            }
            Fact::BackoffStarted { delay, .. } => {
                self.way_on_by = now + *delay;
                self.redial_not_before = Some(now + *delay);
            }
            Fact::ChildFailed { child, error, .. } => {
                shared.require(!error.starts_with("stuck: "), || {
                    format!("the watchdog found {error}")
                });
                self.way_on_by = self.way_on_by.max(now + reconnect.waiting().max);
                if *child == "supervisor" {
                    // Its successor knows nothing of waits, and dials at once.
                    (self.redial_not_before, self.dialled_at) = (None, None);
                    self.dialling.clear();
                }
            }
            Fact::RetryScheduled { method, retry, delay, .. } => {
                self.retry_scheduled(method, *retry, *delay, now)
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
                shared.require(self.links.is_empty(), || {
                    format!("it closed, and {:?} were not told lost", self.links)
                });
                shared.require(self.state == ConnectivityState::Shutdown, || {
                    format!("it closed in {}", self.state)
                });
            }
            _ => {}
        }
    }

    /// A redial keeps to the wait that was announced, and to the schedule.
    fn dial_started(&mut self, failures: u32, now: Duration) {
        let reconnect = self.script.config.reconnect();
        let (not_before, before) = (self.redial_not_before.take(), self.dialled_at);
        if self.dials_asked_for > 0 {
            self.dials_asked_for -= 1;
            return;
        }
        if let Some(not_before) = not_before {
            self.shared.require(now + GRAIN >= not_before, || {
                format!("a dial came before its wait was over, {not_before:?}")
            });
        }
        if let (Some(before), Some(n)) = (before, failures.checked_sub(1)) {
            // The quick schedule is the least that may be waited.
            let least = reconnect
                .waiting()
                .delay(n)
                .min(reconnect.idle().delay(n))
                .mul_f64(1.0 - reconnect.jitter());
            self.shared.require(now + GRAIN >= before + least, || {
                format!(
                    "the dial after {failures} failures came {:?} after the one before, not \
                     {least:?}",
                    now - before
                )
            });
        }
    }

    fn retry_scheduled(&mut self, method: &str, number: u32, delay: Duration, now: Duration) {
        let (shared, script) = (self.shared.clone(), self.script.clone());
        let Some(n) = call_of(method) else { return };
        let call = &script.calls[n];
        let retries = self.retries.entry(n).or_default();
        retries.push(Retry { at: now, delay });
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
