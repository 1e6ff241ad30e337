//! One endpoint's links and backoff: when to dial, which links to use, how long to wait.
//!
//! | stage | input | next stage | outputs |
//! |---|---|---|---|
//! | idle | Connect | dialling | Dial |
//! | waiting | RedialDue, ResetBackoff | dialling | Dial |
//! | waiting | CallsWaiting | waiting | WaitUntil(earlier), if the quick schedule is earlier |
//! | dialling | Established | ready, with a link on trial | Use |
//! | dialling | DialFailed, DialRefused, Lost | waiting | WaitUntil(backoff from the dial's start) |
//! | waiting, dialling | Moved | dialling | Dial, and Drain (the dial there was) |
//! | ready | Proven | ready, the link is proven | - (the counts of failures start over) |
//! | ready | Lost, GoAway (a link of several) | ready, without it | - |
//! | ready | Lost, GoAway (the last link, proven) | waiting | WaitUntil(now + a little spread) |
//! | ready | Lost, GoAway (the last link, on trial) | waiting | WaitUntil(backoff from its dial) |
//! | ready, with a dial beside | Lost, GoAway (the last link) | dialling | - (the dial now) |
//! | any | Shutdown | shutdown | Drain (each link and dial) |
//!
//! While it waits it shows CONNECTING after a GOAWAY, and TRANSIENT_FAILURE after a failure. GoAway
//! has the link drained as well.
//!
//! While it is ready, one more dial may run beside the links (`beside`): of a link to take the
//! place of one that shall go (ResetBackoff, WornOut), which is drained only when the other is up
//! (make before break); or of a further link, where there are fewer than wanted. A replacement that
//! fails leaves the link that is there; a further link that fails is waited for with a backoff of
//! its own: a server may refuse a second connection and serve the first.
//!
//! Each link and dial has an incarnation, and an input about a link says which one. An input about
//! any other than the machine's own comes late: it changes nothing, and says so.

mod beside;
mod input;
mod now;

pub use input::{Input, Output};

use super::{
    backoff::{jittered, scaled},
    deadline::after,
    schedules::Schedules,
};
use crate::model::{
    ConnectivityState::{self, TransientFailure},
    Incarnation,
};
use beside::{Beside, InUse};
use std::{sync::Arc, time::Instant};

/// The machine.
#[derive(Clone, Debug)]
pub struct Subchannel {
    schedules: Arc<Schedules>,
    /// How many links there shall be.
    wanted: usize,
    stage: Stage,
    failures: u32,
    /// Of dials beside links that work.
    further_failures: u32,
    calls_waiting: bool,
}

/// What is kept of a dial, and of the link that comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkRecord {
    incarnation: Incarnation,
    dial_started: Instant,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Nothing was tried yet.
    Idle,
    /// There is no link and no dial.
    Waiting { shows: ConnectivityState, wait: Wait },
    /// `again`: if this dial fails, another follows at once.
    Dialling { dial: LinkRecord, again: bool },
    /// Links take calls.
    Ready(InUse),
    /// Over. `link`: a link or dial that there was then.
    Shutdown { link: Option<Incarnation> },
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
    /// Whether that dial was refused.
    refused: bool,
}

/// The moment of one step: the time, its random number, whether a dial was refused, and the number
/// of a dial that it starts.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    unit: f64,
    refused: bool,
    /// None: no dial may start now; who asks comes back.
    next: Option<Incarnation>,
}

impl Subchannel {
    /// Idle, with nothing tried yet; it shall have `wanted` links, at least one.
    pub fn new(schedules: impl Into<Arc<Schedules>>, wanted: usize) -> Self {
        Self {
            schedules: schedules.into(),
            wanted: wanted.max(1),
            stage: Stage::Idle,
            failures: 0,
            further_failures: 0,
            calls_waiting: false,
        }
    }

    /// Whether calls wait, where that was heard before it was there.
    #[must_use]
    pub fn while_calls_wait(self, calls_waiting: bool) -> Self {
        Self { calls_waiting, ..self }
    }

    /// As after a failure, with a redial due at once: what a restarted supervisor begins with.
    pub fn after_a_crash(
        schedules: impl Into<Arc<Schedules>>,
        wanted: usize,
        now: Instant,
    ) -> Self {
        let wait = Wait { at: now, backoff: None };
        let stage = Stage::Waiting { shows: TransientFailure, wait };
        Self { stage, ..Self::new(schedules, wanted) }
    }

    /// Takes one step; none if the input comes late. `random` gives a number in `0.0..1.0`, and is
    /// asked once for each input that does not. A dial that is to be started is the incarnation
    /// `next`; without one, it stays to be started (`wants_dial`).
    pub fn on(
        &mut self,
        input: Input,
        now: Instant,
        random: impl FnOnce() -> f64,
        next: Option<Incarnation>,
    ) -> Option<Vec<Output>> {
        if self.is_late(input) {
            return None;
        }
        if matches!(input, Input::Proven(link) if self.is_proven(link)) {
            return Some(Vec::new());
        }
        let refused = matches!(input, Input::DialRefused(_));
        let moment = Moment { now, unit: random(), refused, next };
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        let (stage, outputs) = self.step(stage, input, moment);
        self.stage = stage;
        Some(outputs)
    }

    fn step(&mut self, stage: Stage, input: Input, moment: Moment) -> (Stage, Vec<Output>) {
        let now = moment.now;
        match (stage, input) {
            (over @ Stage::Shutdown { .. }, _) => (over, Vec::new()),
            (stage, Input::Shutdown) => shut_down(stage),
            (stage, Input::CallsWaiting(waiting)) => {
                self.calls_waiting = waiting;
                self.wait_less(stage, now)
            }
            (stage @ Stage::Idle, Input::Connect) => dial_from(stage, moment),
            (stage @ Stage::Waiting { wait: Wait { at, .. }, .. }, Input::RedialDue)
                if at > now =>
            {
                (stage, vec![Output::WaitUntil(at)])
            }
            (stage @ Stage::Waiting { .. }, Input::RedialDue) => dial_from(stage, moment),
            (Stage::Waiting { shows, .. }, Input::ResetBackoff) => {
                self.failures = 0;
                let wait = Wait { at: now, backoff: None };
                dial_from(Stage::Waiting { shows, wait }, moment)
            }
            (Stage::Dialling { dial, .. }, Input::ResetBackoff) => {
                self.failures = 0;
                (Stage::Dialling { dial, again: true }, Vec::new())
            }
            (Stage::Dialling { dial, .. }, Input::Established(_)) => {
                self.go_on(InUse::first(dial), vec![Output::Use(dial.incarnation)], moment)
            }
            (
                Stage::Dialling { dial, again },
                Input::DialFailed(_) | Input::DialRefused(_) | Input::Lost { .. },
            ) => self.back_off(TransientFailure, dial, again, moment),
            // A wait without a backoff is short, or is meant to be kept.
            (Stage::Waiting { shows, wait: Wait { backoff: Some(step), .. } }, Input::Moved) => {
                let wait = Wait { at: now, backoff: Some(step) };
                dial_from(Stage::Waiting { shows, wait }, moment)
            }
            (Stage::Dialling { dial, again }, Input::Moved) => match moment.next {
                None => (Stage::Dialling { dial, again }, Vec::new()),
                // It counts neither way: nobody listens there any more, perhaps.
                Some(next) => {
                    let (stage, outputs) = start_dial(next, now);
                    (stage, [outputs, vec![Output::Drain(dial.incarnation)]].concat())
                }
            },
            (Stage::Ready(in_use), input) => self.step_ready(in_use, input, moment),
            (stage, _) => (stage, Vec::new()),
        }
    }

    /// Makes a wait that is on last until `at`, whatever calls wait; its end.
    pub fn hold_until(&mut self, at: Instant) -> Option<Instant> {
        let wait = self.wait_mut()?;
        *wait = Wait { at: wait.at.max(at), backoff: None };
        Some(wait.at)
    }

    fn wait_mut(&mut self) -> Option<&mut Wait> {
        match &mut self.stage {
            Stage::Waiting { wait, .. } => Some(wait),
            Stage::Ready(InUse { beside: Beside::Waiting(wait), .. }) => Some(wait),
            _ => None,
        }
    }

    /// There is no link any more, and no dial: waits for the next one.
    fn back_off(
        &mut self,
        shows: ConnectivityState,
        dial: LinkRecord,
        again: bool,
        moment: Moment,
    ) -> (Stage, Vec<Output>) {
        let n = self.failures;
        self.failures = n.saturating_add(1);
        waiting(shows, self.backoff(n, dial, again, moment))
    }

    /// The wait after a dial, or a link on trial, that failed as the `n`th in a row.
    fn backoff(&self, n: u32, dial: LinkRecord, again: bool, moment: Moment) -> Wait {
        let Moment { unit, refused, .. } = moment;
        let step = Step { n, unit, dial_started: dial.dial_started, refused };
        let at = if again { moment.now } else { self.due(step, moment.now) };
        Wait { at, backoff: Some(step) }
    }

    /// The wait after a proven link: servers that restart are not dialled by all at once.
    fn spread(&self, moment: Moment) -> Wait {
        let at = after(moment.now, scaled(self.schedules.spread, moment.unit));
        Wait { at, backoff: None }
    }

    /// Where calls wait now, the quick schedule may be earlier.
    fn wait_less(&mut self, mut stage: Stage, now: Instant) -> (Stage, Vec<Output>) {
        let wait = match &mut stage {
            Stage::Waiting { wait, .. } => wait,
            Stage::Ready(InUse { beside: Beside::Waiting(wait), .. }) => wait,
            _ => return (stage, Vec::new()),
        };
        let sooner = wait.backoff.filter(|_| self.calls_waiting).map(|step| self.due(step, now));
        match sooner.filter(|sooner| *sooner < wait.at) {
            Some(sooner) => {
                wait.at = sooner;
                (stage, vec![Output::WaitUntil(sooner)])
            }
            None => (stage, Vec::new()),
        }
    }

    fn due(&self, step: Step, now: Instant) -> Instant {
        let delay = self.schedules.delay(step.n, self.calls_waiting, step.refused);
        let delay = jittered(delay, self.schedules.jitter, step.unit);
        now.max(after(step.dial_started, delay))
    }
}

/// Starts a dial, if one may start; else it stays as it is.
fn dial_from(stage: Stage, moment: Moment) -> (Stage, Vec<Output>) {
    match moment.next {
        Some(next) => start_dial(next, moment.now),
        None => (stage, Vec::new()),
    }
}

fn start_dial(next: Incarnation, now: Instant) -> (Stage, Vec<Output>) {
    let dial = LinkRecord { incarnation: next, dial_started: now };
    (Stage::Dialling { dial, again: false }, vec![Output::Dial(next)])
}

fn waiting(shows: ConnectivityState, wait: Wait) -> (Stage, Vec<Output>) {
    (Stage::Waiting { shows, wait }, vec![Output::WaitUntil(wait.at)])
}

fn shut_down(stage: Stage) -> (Stage, Vec<Output>) {
    let open: Vec<_> = match stage {
        Stage::Dialling { dial, .. } => vec![dial.incarnation],
        Stage::Ready(in_use) => in_use.open().collect(),
        Stage::Idle | Stage::Waiting { .. } | Stage::Shutdown { .. } => Vec::new(),
    };
    let over = Stage::Shutdown { link: open.first().copied() };
    (over, open.into_iter().map(Output::Drain).collect())
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
