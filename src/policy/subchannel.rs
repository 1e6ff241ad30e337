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
//! | Ready, on trial | Lost, GoAway | TransientFailure | WaitUntil(backoff from the dial's start) |
//! | Ready | ResetBackoff | Ready | DialSuccessor (make before break) |
//! | Ready, successor dialled | SuccessorUp | Ready, on trial | - (the old link drains) |
//! | Ready, successor dialled | SuccessorFailed | Ready | - (the old link stays) |
//! | Ready, successor dialled | Lost, GoAway | Connecting, dialling | - (the successor's dial is the dial now) |
//! | waiting | RedialDue, ResetBackoff | Connecting | Dial |
//! | waiting | CallsWaiting | as before | WaitUntil(earlier), if the quick schedule is earlier |
//! | any but Shutdown | Shutdown | Shutdown | HangUp |
//!
//! Everything else changes nothing, so a late message does no harm.

use super::backoff::{Backoff, jittered};
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
    /// Which wait of the schedule this is, and the die it was rolled with; none for the first redial after a proven link.
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
            (Connecting, Input::DialFailed) if self.wait.is_none() => self.back_off(now, unit),
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
            (Ready, Input::SuccessorFailed) if self.successor.take().is_some() => self.succeed_again(now),
            (Ready, Input::Lost | Input::GoAway) if self.successor.is_some() => {
                self.dial_started = self.successor.take();
                self.state = Connecting;
                self.proven = false;
                Output::Nothing
            }
            (Ready, Input::Lost) if self.proven => self.redial_soon(TransientFailure, now, unit),
            (Ready, Input::GoAway) if self.proven => self.redial_soon(Connecting, now, unit),
            (Ready, Input::Lost | Input::GoAway) => self.back_off(now, unit),
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

    /// The law that there is no dead end: not Ready and not Shutdown means that a dial runs or a wait is on.
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

    fn back_off(&mut self, now: Instant, unit: f64) -> Output {
        let n = self.failures;
        self.failures = n.saturating_add(1);
        let at = if std::mem::take(&mut self.dial_again_at_once) { now } else { self.due(n, unit, now) };
        self.state = TransientFailure;
        self.wait = Some(Wait { at, backoff: Some((n, unit)) });
        Output::WaitUntil(at)
    }

    fn redial_soon(&mut self, state: State, now: Instant, unit: f64) -> Output {
        let at = now + self.schedules.spread.mul_f64(unit);
        self.state = state;
        self.proven = false;
        self.wait = Some(Wait { at, backoff: None });
        Output::WaitUntil(at)
    }

    /// The wait counts from the dial's start (gRPC connection backoff).
    fn due(&self, n: u32, unit: f64, now: Instant) -> Instant {
        let schedule = if self.calls_waiting { self.schedules.waiting } else { self.schedules.idle };
        let delay = jittered(schedule.delay(n), self.schedules.jitter, unit);
        now.max(self.dial_started.unwrap_or(now) + delay)
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
mod tests {
    use super::*;

    fn schedules() -> Schedules {
        let (idle, waiting) = (
            Backoff { initial: Duration::from_secs(1), multiplier: 1.6, max: Duration::from_secs(10) },
            Backoff { initial: Duration::from_millis(50), multiplier: 2.0, max: Duration::from_secs(1) },
        );
        Schedules { idle, waiting, jitter: 0.2, spread: Duration::from_millis(20) }
    }

    const INPUTS: [Input; 12] = [
        Input::Connect,
        Input::Established,
        Input::DialFailed,
        Input::Proven,
        Input::Lost,
        Input::GoAway,
        Input::RedialDue,
        Input::ResetBackoff,
        Input::SuccessorUp,
        Input::SuccessorFailed,
        Input::CallsWaiting(true),
        Input::Shutdown,
    ];

    /// Walks every input sequence of length 6, each step 100 ms after the last.
    #[test]
    fn no_history_breaks_the_rules_or_ends_in_a_dead_end() {
        let start = Instant::now();
        let mut walks = 0u32;
        let mut todo = vec![(Subchannel::new(schedules()), 0u32)];
        while let Some((before, depth)) = todo.pop() {
            if depth == 6 {
                walks += 1;
                continue;
            }
            for input in INPUTS {
                let now = start + Duration::from_millis(100) * depth;
                let mut after = before.clone();
                let output = after.on(input, now, 0.5);
                let (from, to) = (before.state, after.state);
                assert!(from == to || from.can_become(to), "{from} -> {to} on {input:?}");
                assert!(after.has_a_way_on(), "{after:?} after {input:?}");
                assert_eq!(
                    output == Output::Dial,
                    to == Connecting
                        && after.dial_started == Some(now)
                        && after.wait.is_none()
                        && (from != to || before.wait.is_some())
                );
                assert!(to != Ready || from == Ready || input == Input::Established);
                assert!(from != Shutdown || output == Output::Nothing);
                // Make before break: a successor is dialled only beside a link, and one at a time.
                assert_eq!(output == Output::DialSuccessor, to == Ready && after.successor == Some(now), "{input:?}");
                assert!(output != Output::DialSuccessor || (from == Ready && before.wait.is_none()));
                todo.push((after, depth + 1));
            }
        }
        assert_eq!(walks, 12u32.pow(6));
    }

    /// faults.md 8: the count starts over only when a link is proven.
    #[test]
    fn a_server_that_greets_and_hangs_up_is_waited_for_longer_each_time() {
        let mut sub = Subchannel::new(schedules());
        let mut now = Instant::now();
        sub.on(Input::Connect, now, 0.5);
        for seconds in [1.0, 1.6, 2.56, 4.096, 6.5536, 10.0, 10.0] {
            sub.on(Input::Established, now, 0.5);
            let Output::WaitUntil(at) = sub.on(Input::Lost, now, 0.5) else { panic!("must wait") };
            assert!((at - now).abs_diff(Duration::from_secs_f64(seconds)) < Duration::from_micros(1));
            now = at;
            assert_eq!(sub.on(Input::RedialDue, now, 0.5), Output::Dial);
        }
    }

    #[test]
    fn the_first_call_to_wait_cuts_a_longer_wait_short() {
        let mut sub = Subchannel::new(schedules());
        let mut now = Instant::now();
        sub.on(Input::Connect, now, 0.5);
        for _ in 0..6 {
            let Output::WaitUntil(at) = sub.on(Input::DialFailed, now, 0.5) else { panic!("must wait") };
            now = at;
            sub.on(Input::RedialDue, now, 0.5);
        }
        let Output::WaitUntil(at) = sub.on(Input::DialFailed, now, 0.5) else { panic!("must wait") };
        assert_eq!(at - now, Duration::from_secs(10));
        assert_eq!(sub.on(Input::CallsWaiting(true), now, 0.5), Output::WaitUntil(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(5);
        let mut late = sub.clone();
        late.wait = Some(Wait { at, backoff: Some((6, 0.5)) });
        assert_eq!(late.on(Input::CallsWaiting(true), later, 0.5), Output::WaitUntil(later));
    }

    #[test]
    fn a_ready_link_stays_until_its_successor_is_up_and_stays_if_that_fails() {
        let now = Instant::now();
        let mut ready = Subchannel::new(schedules());
        for input in [Input::Connect, Input::Established, Input::Proven] {
            ready.on(input, now, 0.5);
        }
        assert_eq!(ready.on(Input::ResetBackoff, now, 0.5), Output::DialSuccessor);
        let mut up = ready.clone();
        assert_eq!(up.on(Input::SuccessorUp, now, 0.5), Output::Nothing);
        assert_eq!((up.state(), up.is_proven()), (Ready, false));
        let mut failed = ready.clone();
        assert_eq!(failed.on(Input::SuccessorFailed, now, 0.5), Output::Nothing);
        assert_eq!((failed.state(), failed.is_proven(), failed.failures()), (Ready, true, 0));
        // Asked again meanwhile: another follows, whichever way the first ends.
        let mut again = ready.clone();
        assert_eq!(again.on(Input::ResetBackoff, now, 0.5), Output::Nothing);
        assert_eq!(again.on(Input::SuccessorUp, now, 0.5), Output::DialSuccessor);
        assert_eq!(again.on(Input::SuccessorUp, now, 0.5), Output::Nothing);
        // The old link goes meanwhile: the dial under way is the one to wait for.
        assert_eq!(ready.on(Input::Lost, now, 0.5), Output::Nothing);
        assert_eq!(ready.state(), Connecting);
        assert_eq!(ready.on(Input::Established, now, 0.5), Output::Nothing);
        assert_eq!(ready.state(), Ready);
    }

    #[test]
    fn a_proven_link_is_redialled_within_the_spread_and_a_goaway_shows_connecting() {
        let mut sub = Subchannel::new(schedules());
        let now = Instant::now();
        for (input, state) in [(Input::Lost, TransientFailure), (Input::GoAway, Connecting)] {
            sub.on(Input::Connect, now, 0.5);
            sub.on(Input::RedialDue, now + Duration::from_secs(1), 0.5);
            sub.on(Input::Established, now, 0.5);
            sub.on(Input::Proven, now, 0.5);
            assert_eq!(sub.on(input, now, 0.5), Output::WaitUntil(now + Duration::from_millis(10)));
            assert_eq!(sub.state(), state);
        }
    }
}
