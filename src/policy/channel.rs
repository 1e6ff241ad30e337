//! A channel's state, made of its subchannels' (one, for now), what a fail-fast call is told
//! while none is up, and why none is.

use super::subchannel::{Input, Output, Schedules, Subchannel};
use crate::model::ConnectivityState;
use std::{sync::Arc, time::Instant};

/// The machine of the supervisor actor.
#[derive(Clone, Debug)]
pub struct Channel {
    subchannel: Subchannel,
    last_error: Option<Arc<str>>,
    lost: Option<Arc<str>>,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to do.
    pub output: Output,
    /// The state before and after, if it changed.
    pub changed: Option<(ConnectivityState, ConnectivityState)>,
}

impl Channel {
    /// Idle.
    pub fn new(schedules: Schedules) -> Self {
        Self { subchannel: Subchannel::new(schedules), last_error: None, lost: None }
    }

    /// As after a failure, with a redial due at once: what a restarted supervisor begins with.
    pub fn after_a_crash(schedules: Schedules, now: Instant) -> Self {
        Self { subchannel: Subchannel::after_a_crash(schedules, now), last_error: None, lost: None }
    }

    /// As after a shutdown: what a supervisor begins with that was restarted in the midst of it.
    pub fn after_shutdown(schedules: Schedules) -> Self {
        Self { subchannel: Subchannel::after_shutdown(schedules), last_error: None, lost: None }
    }

    /// Takes one step; `cause` explains a failure, `unit` is a die in `0.0..1.0`.
    pub fn on(&mut self, input: Input, cause: &Arc<str>, now: Instant, unit: f64) -> Step {
        use ConnectivityState::{Connecting, Ready, TransientFailure};
        let from = self.state();
        let output = self.subchannel.on(input, now, unit);
        let to = self.state();
        let changed = (from != to).then_some((from, to));
        match changed {
            Some((_, TransientFailure)) => self.last_error = Some(cause.clone()),
            Some((Ready, Connecting)) => self.lost = Some(cause.clone()),
            Some((_, Ready)) => (self.last_error, self.lost) = (None, None),
            _ => {}
        }
        Step { output, changed }
    }

    /// The channel's connectivity state.
    pub fn state(&self) -> ConnectivityState {
        self.subchannel.state()
    }

    /// The last connect error, if no link has been Ready since: what a fail-fast call fails with,
    /// redialling or not.
    pub fn last_error(&self) -> Option<&Arc<str>> {
        self.last_error.as_ref()
    }

    /// Why there is no link: the last connect error or, while none followed, what ended the last
    /// link. None: no dial has ended yet.
    pub fn why_no_link(&self) -> Option<&Arc<str>> {
        self.last_error.as_ref().or(self.lost.as_ref())
    }

    /// The subchannel's count of failures.
    pub fn failures(&self) -> u32 {
        self.subchannel.failures()
    }

    /// Whether the link has answered a call or lived long enough.
    pub fn is_proven(&self) -> bool {
        self.subchannel.is_proven()
    }

    /// Whether nothing will ever move it again: it shall connect, but no dial runs and no redial is
    /// due; or it is Ready, but the link takes no calls. True for longer than news take, it is a
    /// bug.
    pub fn is_stuck(&self, dialling: bool, redial_due: bool, link_open: bool) -> bool {
        match self.state() {
            ConnectivityState::Connecting | ConnectivityState::TransientFailure => {
                !dialling && !redial_due
            }
            ConnectivityState::Ready => !link_open,
            ConnectivityState::Idle | ConnectivityState::Shutdown => false,
        }
    }

    /// Makes a wait that is on last until `at`, whatever calls wait; its end.
    pub fn hold_until(&mut self, at: Instant) -> Option<Instant> {
        self.subchannel.hold_until(at)
    }

    /// When the next dial is due, while one is waited for.
    pub fn next_dial(&self) -> Option<Instant> {
        self.subchannel.next_dial()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Backoff;
    use std::time::Duration;

    /// faults.md 9.
    #[test]
    fn a_channel_that_shall_connect_is_stuck_without_a_dial_or_a_redial_due() {
        let second = Backoff {
            initial: Duration::from_secs(1),
            multiplier: 1.0,
            max: Duration::from_secs(1),
        };
        let schedules =
            Schedules { idle: second, waiting: second, jitter: 0.0, spread: Duration::ZERO };
        let mut channel = Channel::new(schedules);
        let (now, cause) = (Instant::now(), Arc::<str>::from("refused"));
        let stuck = |channel: &Channel| {
            [(false, false), (true, false), (false, true)]
                .map(|(dialling, due)| channel.is_stuck(dialling, due, true))
        };
        assert_eq!(stuck(&channel), [false; 3], "idle");
        for (input, first) in [
            (Input::Connect, true),
            (Input::DialFailed, true),
            (Input::ResetBackoff, true),
            (Input::Established, false),
            (Input::Lost, true),
            (Input::Shutdown, false),
        ] {
            channel.on(input, &cause, now, 0.5);
            assert_eq!(stuck(&channel), [first, false, false], "{input:?}");
            let ready = channel.state() == ConnectivityState::Ready;
            assert_eq!(
                channel.is_stuck(true, true, false),
                ready,
                "{input:?}, the link takes no calls"
            );
        }
    }

    #[test]
    fn a_fail_fast_call_hears_the_last_error_until_a_link_is_ready_again() {
        let second = Backoff {
            initial: Duration::from_secs(1),
            multiplier: 1.0,
            max: Duration::from_secs(1),
        };
        let schedules =
            Schedules { idle: second, waiting: second, jitter: 0.0, spread: Duration::ZERO };
        let mut channel = Channel::new(schedules);
        let (now, refused) = (Instant::now(), Arc::<str>::from("refused"));
        channel.on(Input::Connect, &refused, now, 0.5);
        assert_eq!(channel.last_error(), None);
        channel.on(Input::DialFailed, &refused, now, 0.5);
        assert_eq!(channel.last_error(), Some(&refused));
        channel.on(Input::RedialDue, &refused, now + Duration::from_secs(1), 0.5);
        assert_eq!(channel.state(), ConnectivityState::Connecting);
        assert_eq!(channel.last_error(), Some(&refused), "redialling does not clear it");
        channel.on(Input::Established, &refused, now, 0.5);
        assert_eq!(channel.last_error(), None);
    }

    #[test]
    fn why_there_is_no_link_is_the_last_connect_error_or_what_ended_the_last_link() {
        let second = Duration::from_secs(1);
        let idle = Backoff { initial: second, multiplier: 1.0, max: second };
        let schedules = Schedules { idle, waiting: idle, jitter: 0.0, spread: Duration::ZERO };
        let (mut channel, now) = (Channel::new(schedules), Instant::now());
        let mut on = |input, cause: &str| {
            channel.on(input, &cause.into(), now, 0.5);
            channel.why_no_link().map(|why| why.to_string())
        };
        assert_eq!(on(Input::Connect, "spawned"), None, "no dial has ended");
        assert_eq!(on(Input::Established, "up"), None);
        assert_eq!(on(Input::GoAway, "goaway").as_deref(), Some("goaway"));
        // Another dial explains nothing.
        assert_eq!(on(Input::ResetBackoff, "asked").as_deref(), Some("goaway"));
        assert_eq!(on(Input::DialFailed, "refused").as_deref(), Some("refused"));
        assert_eq!(on(Input::ResetBackoff, "asked").as_deref(), Some("refused"));
        assert_eq!(on(Input::Established, "up"), None);
    }
}
