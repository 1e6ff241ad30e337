//! One endpoint's links and backoff: when to dial, which link to use, how long to wait.
//!
//! | stage | input | next stage | outputs |
//! |---|---|---|---|
//! | idle | Connect | dialling | Dial |
//! | waiting | RedialDue, ResetBackoff | dialling | Dial |
//! | waiting | CallsWaiting | waiting | WaitUntil(earlier), if the quick schedule is earlier |
//! | dialling | Established | ready, on trial | Use |
//! | dialling | DialFailed, Lost | waiting | WaitUntil(backoff from the dial's start) |
//! | ready | Proven | ready, proven | - (the count of failures starts over) |
//! | ready, proven | Lost, GoAway | waiting | WaitUntil(now + a little spread) |
//! | ready, on trial | Lost, GoAway | waiting | WaitUntil(backoff from the dial's start) |
//! | ready | ResetBackoff, WornOut | ready, with a successor's dial | Dial |
//! | ready, with a successor's dial | Established (it) | ready, on trial | Use (it), Drain (the other) |
//! | ready, with a successor's dial | DialFailed, Lost (it) | ready | - |
//! | ready, with a successor's dial | Lost, GoAway (the link) | dialling | - (that dial is the dial now) |
//! | any | Shutdown | shutdown | Drain (each link and dial) |
//!
//! While it waits it shows CONNECTING after a GOAWAY, and TRANSIENT_FAILURE after a failure. GoAway
//! has the link drained as well. The dial of a successor is made beside the link in use (make
//! before break), so that a link is only given up once there is another.
//!
//! Each link and dial has an incarnation, and an input about a link says which one. An input about
//! any other than the machine's own comes late: it changes nothing, and says so.

mod input;

pub use input::{Input, Output};

use super::{
    backoff::{Schedules, jittered, scaled},
    deadline::after,
};
use crate::model::{
    ConnectivityState::{self, Connecting, Ready, TransientFailure},
    Incarnation,
};
use std::time::Instant;

/// The machine.
#[derive(Clone, Debug)]
pub struct Subchannel {
    schedules: Schedules,
    stage: Stage,
    failures: u32,
    calls_waiting: bool,
}

/// What is kept of a dial, and of the link that comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkRecord {
    incarnation: Incarnation,
    dial_started: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing was tried yet.
    Idle,
    /// There is no link and no dial.
    Waiting { shows: ConnectivityState, wait: Wait },
    /// `again`: if this dial fails, another follows at once.
    Dialling { dial: LinkRecord, again: bool },
    /// A link takes calls.
    Ready(InUse),
    /// Over. `link`: the link or dial that there was then.
    Shutdown { link: Option<Incarnation> },
}

/// The link that takes calls.
#[derive(Clone, Copy, Debug)]
struct InUse {
    link: LinkRecord,
    /// Whether it has answered a call or lived long enough; it is on trial until then.
    proven: bool,
    /// The dial of the link to take its place.
    successor: Option<LinkRecord>,
    /// Whether one more such dial follows.
    again: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    at: Instant,
    /// What it was made from; none for the first redial after a proven link.
    backoff: Option<Step>,
}

/// One wait of a schedule.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Which, from 0.
    n: u32,
    /// The random number that it varies by.
    unit: f64,
    /// The wait counts from there (gRPC connection backoff).
    dial_started: Instant,
}

impl Subchannel {
    /// Idle, with nothing tried yet.
    pub fn new(schedules: Schedules) -> Self {
        Self { schedules, stage: Stage::Idle, failures: 0, calls_waiting: false }
    }

    /// As after a failure, with a redial due at once: what a restarted supervisor begins with.
    pub fn after_a_crash(schedules: Schedules, now: Instant) -> Self {
        let wait = Wait { at: now, backoff: None };
        let stage = Stage::Waiting { shows: TransientFailure, wait };
        Self { stage, ..Self::new(schedules) }
    }

    /// As after a shutdown: what a supervisor begins with that was restarted in the midst of it.
    pub fn after_shutdown(schedules: Schedules) -> Self {
        Self { stage: Stage::Shutdown { link: None }, ..Self::new(schedules) }
    }

    /// Takes one step; none if the input comes late. `random` gives a number in `0.0..1.0`, and is
    /// asked once for each input that does not. A dial that is to be started is the incarnation
    /// `next`.
    pub fn on(
        &mut self,
        input: Input,
        now: Instant,
        random: impl FnOnce() -> f64,
        next: Incarnation,
    ) -> Option<Vec<Output>> {
        if self.is_late(input) {
            return None;
        }
        if matches!(input, Input::Proven(_)) && self.is_proven() {
            return Some(Vec::new());
        }
        let unit = random();
        Some(match (self.stage, input) {
            (Stage::Shutdown { .. }, _) => Vec::new(),
            (_, Input::Shutdown) => self.shut_down(),
            (_, Input::CallsWaiting(waiting)) => self.calls_waiting(waiting, now),
            (Stage::Idle, Input::Connect) => self.dial(next, now),
            (Stage::Waiting { wait, .. }, Input::RedialDue) if wait.at > now => {
                vec![Output::WaitUntil(wait.at)]
            }
            (Stage::Waiting { .. }, Input::RedialDue) => self.dial(next, now),
            (Stage::Waiting { .. }, Input::ResetBackoff) => {
                self.failures = 0;
                self.dial(next, now)
            }
            (Stage::Dialling { dial, .. }, Input::ResetBackoff) => {
                self.failures = 0;
                self.become_stage(Stage::Dialling { dial, again: true })
            }
            (Stage::Dialling { dial, .. }, Input::Established(_)) => {
                self.stage = Stage::Ready(InUse::on_trial(dial));
                vec![Output::Use(dial.incarnation)]
            }
            (Stage::Dialling { dial, again }, Input::DialFailed(_) | Input::Lost { .. }) => {
                self.back_off(TransientFailure, dial, again, now, unit)
            }
            (Stage::Ready(ready), Input::Proven(_)) => {
                self.failures = 0;
                self.become_stage(Stage::Ready(InUse { proven: true, ..ready }))
            }
            (Stage::Ready(ready), Input::ResetBackoff | Input::WornOut(_)) => {
                match ready.successor {
                    // That dial may have read what has changed since: one more follows it.
                    Some(_) => self.become_stage(Stage::Ready(InUse { again: true, ..ready })),
                    None => self.dial_successor(ready, next, now),
                }
            }
            (Stage::Ready(ready), Input::Established(_) | Input::DialFailed(_)) => {
                self.successor_ended(ready, input, next, now)
            }
            (Stage::Ready(ready), Input::Lost { link, .. }) if link != ready.link.incarnation => {
                self.successor_ended(ready, input, next, now)
            }
            (Stage::Ready(ready), Input::Lost { .. } | Input::GoAway(_)) => {
                self.link_ended(ready, input, now, unit)
            }
            _ => Vec::new(),
        })
    }

    /// The state to show.
    pub fn state(&self) -> ConnectivityState {
        match self.stage {
            Stage::Idle => ConnectivityState::Idle,
            Stage::Waiting { shows, .. } => shows,
            Stage::Dialling { .. } => Connecting,
            Stage::Ready(_) => Ready,
            Stage::Shutdown { .. } => ConnectivityState::Shutdown,
        }
    }

    /// The link to use.
    pub fn link(&self) -> Option<Incarnation> {
        match self.stage {
            Stage::Ready(InUse { link, .. }) => Some(link.incarnation),
            _ => None,
        }
    }

    /// The dial under way, while there is no link.
    pub fn dialling(&self) -> Option<Incarnation> {
        match self.stage {
            Stage::Dialling { dial, .. } => Some(dial.incarnation),
            _ => None,
        }
    }

    /// The link or dial that the state is about; after a shutdown, the one that there was then.
    pub fn subject(&self) -> Option<Incarnation> {
        match self.stage {
            Stage::Shutdown { link } => link,
            _ => self.link().or(self.dialling()),
        }
    }

    /// How many dials failed, or links were lost unproven, since a link was last proven.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the link in use has answered a call or lived long enough.
    pub fn is_proven(&self) -> bool {
        matches!(self.stage, Stage::Ready(InUse { proven: true, .. }))
    }

    /// Makes a wait that is on last until `at`, whatever calls wait; its end.
    pub fn hold_until(&mut self, at: Instant) -> Option<Instant> {
        let Stage::Waiting { wait, .. } = &mut self.stage else { return None };
        *wait = Wait { at: wait.at.max(at), backoff: None };
        Some(wait.at)
    }

    /// When the next dial is due, while one is waited for.
    #[cfg(test)]
    pub fn next_dial(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting { wait, .. } => Some(wait.at),
            _ => None,
        }
    }

    /// Whether it is about a link or dial that is not the machine's, or no longer is.
    pub fn is_late(&self, input: Input) -> bool {
        let (link, dial) = match self.stage {
            Stage::Dialling { dial, .. } => (None, Some(dial.incarnation)),
            Stage::Ready(InUse { link, successor, .. }) => {
                (Some(link.incarnation), successor.map(|dial| dial.incarnation))
            }
            Stage::Idle | Stage::Waiting { .. } | Stage::Shutdown { .. } => (None, None),
        };
        match input {
            Input::Established(one) | Input::DialFailed(one) => dial != Some(one),
            Input::Proven(one) | Input::GoAway(one) | Input::WornOut(one) => link != Some(one),
            Input::Lost { link: one, .. } => link != Some(one) && dial != Some(one),
            Input::Connect | Input::RedialDue | Input::ResetBackoff => false,
            Input::CallsWaiting(_) | Input::Shutdown => false,
        }
    }

    fn become_stage(&mut self, stage: Stage) -> Vec<Output> {
        self.stage = stage;
        Vec::new()
    }

    fn shut_down(&mut self) -> Vec<Output> {
        let open = match self.stage {
            Stage::Dialling { dial, .. } => [Some(dial), None],
            Stage::Ready(InUse { link, successor, .. }) => [Some(link), successor],
            Stage::Idle | Stage::Waiting { .. } | Stage::Shutdown { .. } => [None, None],
        };
        self.stage = Stage::Shutdown { link: open[0].map(|link| link.incarnation) };
        open.into_iter().flatten().map(|link| Output::Drain(link.incarnation)).collect()
    }

    fn dial(&mut self, next: Incarnation, now: Instant) -> Vec<Output> {
        let dial = LinkRecord { incarnation: next, dial_started: now };
        self.stage = Stage::Dialling { dial, again: false };
        vec![Output::Dial(next)]
    }

    fn dial_successor(&mut self, ready: InUse, next: Incarnation, now: Instant) -> Vec<Output> {
        let successor = Some(LinkRecord { incarnation: next, dial_started: now });
        self.stage = Stage::Ready(InUse { successor, again: false, ..ready });
        vec![Output::Dial(next)]
    }

    /// The dial of a successor ended, with a link or without.
    fn successor_ended(
        &mut self,
        ready: InUse,
        input: Input,
        next: Incarnation,
        now: Instant,
    ) -> Vec<Output> {
        let (in_use, mut outputs) = match (input, ready.successor) {
            (Input::Established(_), Some(dial)) => {
                let former = Output::Drain(ready.link.incarnation);
                (InUse::on_trial(dial), vec![Output::Use(dial.incarnation), former])
            }
            _ => (InUse { successor: None, ..ready }, Vec::new()),
        };
        outputs.extend(match ready.again {
            true => self.dial_successor(in_use, next, now),
            false => self.become_stage(Stage::Ready(in_use)),
        });
        outputs
    }

    /// The link in use takes no more calls, or is gone. A successor's dial is the dial now.
    fn link_ended(&mut self, ready: InUse, input: Input, now: Instant, unit: f64) -> Vec<Output> {
        let InUse { link, proven, successor, again } = ready;
        let (shows, mut outputs) = match input {
            Input::GoAway(_) => (Connecting, vec![Output::Drain(link.incarnation)]),
            Input::Lost { goaway: true, .. } => (Connecting, Vec::new()),
            _ => (TransientFailure, Vec::new()),
        };
        outputs.extend(match successor {
            Some(dial) => self.become_stage(Stage::Dialling { dial, again }),
            None if proven => {
                let at = after(now, scaled(self.schedules.spread, unit));
                self.wait(shows, Wait { at, backoff: None })
            }
            None => self.back_off(shows, link, again, now, unit),
        });
        outputs
    }

    fn back_off(
        &mut self,
        shows: ConnectivityState,
        dial: LinkRecord,
        again: bool,
        now: Instant,
        unit: f64,
    ) -> Vec<Output> {
        let step = Step { n: self.failures, unit, dial_started: dial.dial_started };
        self.failures = self.failures.saturating_add(1);
        let at = if again { now } else { self.due(step, now) };
        self.wait(shows, Wait { at, backoff: Some(step) })
    }

    fn wait(&mut self, shows: ConnectivityState, wait: Wait) -> Vec<Output> {
        self.stage = Stage::Waiting { shows, wait };
        vec![Output::WaitUntil(wait.at)]
    }

    fn calls_waiting(&mut self, waiting: bool, now: Instant) -> Vec<Output> {
        self.calls_waiting = waiting;
        let Stage::Waiting { shows, wait: Wait { at, backoff: Some(step) } } = self.stage else {
            return Vec::new();
        };
        let sooner = self.due(step, now);
        if !waiting || sooner >= at {
            return Vec::new();
        }
        self.wait(shows, Wait { at: sooner, backoff: Some(step) })
    }

    fn due(&self, step: Step, now: Instant) -> Instant {
        let schedule =
            if self.calls_waiting { self.schedules.waiting } else { self.schedules.idle };
        let delay = jittered(schedule.delay(step.n), self.schedules.jitter, step.unit);
        now.max(after(step.dial_started, delay))
    }
}

impl InUse {
    fn on_trial(link: LinkRecord) -> Self {
        Self { link, proven: false, successor: None, again: false }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
