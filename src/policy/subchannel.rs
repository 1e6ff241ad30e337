//! One endpoint's state and backoff: when to dial, how long to wait. Outlives its links.
//!
//! | state | input | next | output |
//! |---|---|---|---|
//! | Idle | Connect | Connecting | Dial |
//! | Connecting, dialling | Established | Ready | - |
//! | Connecting, dialling | DialFailed | TransientFailure | WaitUntil(backoff from the dial's start) |
//! | Ready | Proven | Ready | - (the count of failures starts over) |
//! | Ready, proven | Lost | TransientFailure | WaitUntil(now + a little spread) |
//! | Ready, proven | GoAway | Connecting | WaitUntil(now + a little spread) |
//! | Ready, on trial | Lost | TransientFailure | WaitUntil(backoff from the dial's start) |
//! | Ready, on trial | GoAway | Connecting | WaitUntil(backoff from the dial's start) |
//! | Ready | ResetBackoff | Ready | DialSuccessor (make before break) |
//! | Ready, successor dialled | SuccessorUp | Ready, on trial | - (the old link drains) |
//! | Ready, successor dialled | SuccessorFailed | Ready | - (the old link stays) |
//! | Ready, successor dialled | Lost, GoAway | Connecting, dialling | - (the successor's dial is the dial now) |
//! | waiting | RedialDue, ResetBackoff | Connecting | Dial |
//! | waiting | CallsWaiting | as before | WaitUntil(earlier), if the quick schedule is earlier |
//! | any but Shutdown | Shutdown | Shutdown | HangUp |
//!
//! Everything else changes nothing, so a late message does no harm.

use super::{
    backoff::{Backoff, jittered, scaled},
    deadline::after,
};
use crate::model::ConnectivityState::{self as State, *};
use std::time::{Duration, Instant};

/// The two redial schedules and what goes with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedules {
    /// While no call waits.
    pub idle: Backoff,
    /// While calls wait.
    pub waiting: Backoff,
    /// The share by which a wait may vary.
    pub jitter: f64,
    /// The first redial after losing a proven link comes within this time.
    pub spread: Duration,
}

/// What can happen to a subchannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Dial for the first time.
    Connect,
    /// The peer's SETTINGS were read.
    Established,
    /// The dial failed.
    DialFailed,
    /// The link answered a call, or has lived long enough.
    Proven,
    /// The link is gone.
    Lost,
    /// The peer said GOAWAY.
    GoAway,
    /// The wait is over.
    RedialDue,
    /// The user wants to be connected now (gRPC `reset_connect_backoff`).
    ResetBackoff,
    /// The successor of a Ready link is up.
    SuccessorUp,
    /// The dial of a Ready link's successor failed.
    SuccessorFailed,
    /// Calls began, or ceased, to wait for this subchannel.
    CallsWaiting(bool),
    /// Close for good.
    Shutdown,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// Nothing.
    Nothing,
    /// Start a dial.
    Dial,
    /// Start a dial beside the link that is Ready.
    DialSuccessor,
    /// Send `RedialDue` at this time, instead of at any earlier agreed one.
    WaitUntil(Instant),
    /// Close every link.
    HangUp,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Subchannel {
    schedules: Schedules,
    state: State,
    proven: bool,
    failures: u32,
    dial_started: Option<Instant>,
    wait: Option<Wait>,
    calls_waiting: bool,
    dial_again_at_once: bool,
    /// When the dial of a Ready link's successor began, while it runs.
    successor: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    at: Instant,
    /// Which wait of the schedule this is, and the die it was rolled with; none for the first
    /// redial after a proven link.
    backoff: Option<(u32, f64)>,
}

impl Subchannel {
    /// Idle, with nothing tried yet.
    pub fn new(schedules: Schedules) -> Self {
        Self {
            schedules,
            state: Idle,
            proven: false,
            failures: 0,
            dial_started: None,
            wait: None,
            calls_waiting: false,
            dial_again_at_once: false,
            successor: None,
        }
    }

    /// As after a failure, with a redial due at once: what a restarted supervisor begins with.
    pub fn after_a_crash(schedules: Schedules, now: Instant) -> Self {
        let wait = Some(Wait { at: now, backoff: None });
        Self { state: TransientFailure, wait, ..Self::new(schedules) }
    }

    /// As after a shutdown: what a supervisor begins with that was restarted in the midst of it.
    pub fn after_shutdown(schedules: Schedules) -> Self {
        Self { state: Shutdown, ..Self::new(schedules) }
    }

    /// Takes one step; `unit` is a die in `0.0..1.0`.
    pub fn on(&mut self, input: Input, now: Instant, unit: f64) -> Output {
        match (self.state, input) {
            (Shutdown, _) => Output::Nothing,
            (_, Input::Shutdown) => {
                self.state = Shutdown;
                self.wait = None;
                self.successor = None;
                Output::HangUp
            }
            (_, Input::CallsWaiting(waiting)) => self.calls_waiting(waiting, now),
            (Idle, Input::Connect) => self.dial(now),
            (_, Input::RedialDue) => match self.wait {
                Some(wait) if wait.at > now => Output::WaitUntil(wait.at),
                Some(_) => self.dial(now),
                None => Output::Nothing,
            },
            (_, Input::ResetBackoff) => self.reset(now),
            (Connecting, Input::Established) if self.wait.is_none() => {
                self.state = Ready;
                self.dial_again_at_once = false;
                Output::Nothing
            }
            (Connecting, Input::DialFailed) if self.wait.is_none() => {
                self.back_off(TransientFailure, now, unit)
            }
            (Ready, Input::Proven) => {
                self.proven = true;
                self.failures = 0;
                Output::Nothing
            }
            (Ready, Input::SuccessorUp) if self.successor.is_some() => {
                self.dial_started = self.successor.take();
                self.proven = false;
                self.succeed_again(now)
            }
            (Ready, Input::SuccessorFailed) if self.successor.take().is_some() => {
                self.succeed_again(now)
            }
            (Ready, Input::Lost | Input::GoAway) if self.successor.is_some() => {
                self.dial_started = self.successor.take();
                self.state = Connecting;
                self.proven = false;
                Output::Nothing
            }
            (Ready, Input::Lost) if self.proven => self.redial_soon(TransientFailure, now, unit),
            (Ready, Input::GoAway) if self.proven => self.redial_soon(Connecting, now, unit),
            (Ready, Input::Lost) => self.back_off(TransientFailure, now, unit),
            (Ready, Input::GoAway) => self.back_off(Connecting, now, unit),
            _ => Output::Nothing,
        }
    }

    /// The state to show.
    pub fn state(&self) -> State {
        self.state
    }

    /// How many dials failed, or links were lost unproven, since a link was last proven.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the link has answered a call or lived long enough.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Makes a wait that is on last until `at`, whatever calls wait; its end.
    pub fn hold_until(&mut self, at: Instant) -> Option<Instant> {
        let wait = self.wait.as_mut()?;
        *wait = Wait { at: wait.at.max(at), backoff: None };
        Some(wait.at)
    }

    /// When the next dial is due, while one is waited for.
    pub fn next_dial(&self) -> Option<Instant> {
        self.wait.map(|wait| wait.at)
    }

    /// The law that there is no dead end: not Ready and not Shutdown means that a dial runs or a
    /// wait is on.
    pub fn has_a_way_on(&self) -> bool {
        match self.state {
            Ready => self.wait.is_none(),
            Idle | Shutdown => self.wait.is_none() && self.successor.is_none(),
            Connecting => self.successor.is_none(),
            TransientFailure => self.wait.is_some() && self.successor.is_none(),
        }
    }

    fn dial(&mut self, now: Instant) -> Output {
        self.state = Connecting;
        self.proven = false;
        self.dial_started = Some(now);
        self.wait = None;
        Output::Dial
    }

    fn back_off(&mut self, state: State, now: Instant, unit: f64) -> Output {
        let n = self.failures;
        self.failures = n.saturating_add(1);
        let at =
            if std::mem::take(&mut self.dial_again_at_once) { now } else { self.due(n, unit, now) };
        self.state = state;
        self.wait = Some(Wait { at, backoff: Some((n, unit)) });
        Output::WaitUntil(at)
    }

    fn redial_soon(&mut self, state: State, now: Instant, unit: f64) -> Output {
        let at = after(now, scaled(self.schedules.spread, unit));
        self.state = state;
        self.proven = false;
        self.wait = Some(Wait { at, backoff: None });
        Output::WaitUntil(at)
    }

    /// The wait counts from the dial's start (gRPC connection backoff).
    fn due(&self, n: u32, unit: f64, now: Instant) -> Instant {
        let schedule =
            if self.calls_waiting { self.schedules.waiting } else { self.schedules.idle };
        let delay = jittered(schedule.delay(n), self.schedules.jitter, unit);
        now.max(after(self.dial_started.unwrap_or(now), delay))
    }

    fn calls_waiting(&mut self, waiting: bool, now: Instant) -> Output {
        self.calls_waiting = waiting;
        let Some(Wait { at, backoff: Some((n, unit)) }) = self.wait else {
            return Output::Nothing;
        };
        let sooner = self.due(n, unit, now);
        if !waiting || sooner >= at {
            return Output::Nothing;
        }
        self.wait = Some(Wait { at: sooner, backoff: Some((n, unit)) });
        Output::WaitUntil(sooner)
    }

    fn reset(&mut self, now: Instant) -> Output {
        match (self.state, self.wait) {
            (_, Some(_)) => {
                self.failures = 0;
                self.dial(now)
            }
            (Connecting, None) => {
                self.failures = 0;
                self.dial_again_at_once = true;
                Output::Nothing
            }
            // The dial under way may have read what has changed since: one more follows it.
            (Ready, None) if self.successor.is_some() => {
                self.dial_again_at_once = true;
                Output::Nothing
            }
            (Ready, None) => self.dial_successor(now),
            _ => Output::Nothing,
        }
    }

    fn dial_successor(&mut self, now: Instant) -> Output {
        self.dial_again_at_once = false;
        self.successor = Some(now);
        Output::DialSuccessor
    }

    fn succeed_again(&mut self, now: Instant) -> Output {
        if self.dial_again_at_once { self.dial_successor(now) } else { Output::Nothing }
    }
}

#[cfg(test)]
#[path = "subchannel_tests.rs"]
mod tests;
