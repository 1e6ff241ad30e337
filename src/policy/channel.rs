//! A channel's state, made of its subchannels' (one, for now), what a fail-fast call is told
//! while none is up, and why none is.

use super::{
    backoff::Schedules,
    subchannel::{Input, Output, Subchannel},
};
use crate::model::{ConnectivityState, Incarnation};
use std::{sync::Arc, time::Instant};

/// The machine of the supervisor actor.
#[derive(Clone, Debug)]
pub struct Channel {
    subchannel: Subchannel,
    /// The last link or dial there was.
    last: Incarnation,
    last_error: Option<Arc<str>>,
    lost: Option<Arc<str>>,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to do, in this order.
    pub outputs: Vec<Output>,
    /// The state before and after, if it changed.
    pub changed: Option<(ConnectivityState, ConnectivityState)>,
    /// The link or dial that it is about: the one there is now, else the one there was.
    pub about: Incarnation,
}

impl Channel {
    /// Idle.
    pub fn new(schedules: Schedules) -> Self {
        Self::of(Subchannel::new(schedules), Incarnation::default())
    }

    /// As after a failure, with a redial due at once: what a restarted supervisor begins with.
    /// `last` was the last link or dial before.
    pub fn after_a_crash(schedules: Schedules, now: Instant, last: Incarnation) -> Self {
        Self::of(Subchannel::after_a_crash(schedules, now), last)
    }

    /// As after a shutdown: what a supervisor begins with that was restarted in the midst of it.
    pub fn after_shutdown(schedules: Schedules, last: Incarnation) -> Self {
        Self::of(Subchannel::after_shutdown(schedules), last)
    }

    fn of(subchannel: Subchannel, last: Incarnation) -> Self {
        Self { subchannel, last, last_error: None, lost: None }
    }

    /// Takes one step; none if the input comes late, and is about a link that is no longer this
    /// channel's. `cause` explains a failure, `random` gives a number in `0.0..1.0`.
    pub fn on(
        &mut self,
        input: Input,
        cause: &Arc<str>,
        now: Instant,
        random: impl FnOnce() -> f64,
    ) -> Option<Step> {
        use ConnectivityState::{Connecting, Ready, TransientFailure};
        let (from, before) = (self.state(), self.subject());
        let next = Incarnation(self.last.0 + 1);
        let outputs = self.subchannel.on(input, now, random, next)?;
        if outputs.contains(&Output::Dial(next)) {
            self.last = next;
        }
        let to = self.state();
        let changed = (from != to).then_some((from, to));
        match changed {
            Some((_, TransientFailure)) => self.last_error = Some(cause.clone()),
            Some((Ready, Connecting)) => self.lost = Some(cause.clone()),
            Some((_, Ready)) => (self.last_error, self.lost) = (None, None),
            _ => {}
        }
        Some(Step { outputs, changed, about: self.subject().or(before).unwrap_or_default() })
    }

    /// The link or dial that the state is about; after a shutdown, the one that there was then.
    pub fn subject(&self) -> Option<Incarnation> {
        self.subchannel.subject()
    }

    /// Whether an input is about a link that is no longer this channel's.
    pub fn is_late(&self, input: Input) -> bool {
        self.subchannel.is_late(input)
    }

    /// The link to send calls on.
    pub fn link(&self) -> Option<Incarnation> {
        self.subchannel.link()
    }

    /// The dial under way, while there is no link.
    pub fn dialling(&self) -> Option<Incarnation> {
        self.subchannel.dialling()
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Backoff;
    use std::time::Duration;

    fn schedules() -> Schedules {
        let second = Duration::from_secs(1);
        let backoff = Backoff { initial: second, multiplier: 1.0, max: second };
        Schedules { idle: backoff, waiting: backoff, jitter: 0.0, spread: Duration::ZERO }
    }

    fn channel() -> Channel {
        Channel::new(schedules())
    }

    const ONE: Incarnation = Incarnation(1);
    const TWO: Incarnation = Incarnation(2);
    const LOST: Input = Input::Lost { link: TWO, goaway: false };

    /// Scenario 9.
    #[test]
    fn a_channel_that_shall_connect_is_stuck_without_a_dial_or_a_redial_due() {
        let (mut channel, now, cause) = (channel(), Instant::now(), "refused".into());
        let stuck = |channel: &Channel| {
            [(false, false), (true, false), (false, true)]
                .map(|(dialling, due)| channel.is_stuck(dialling, due, true))
        };
        assert_eq!(stuck(&channel), [false; 3], "idle");
        for (input, first) in [
            (Input::Connect, true),
            (Input::DialFailed(ONE), true),
            (Input::ResetBackoff, true),
            (Input::Established(TWO), false),
            (LOST, true),
            (Input::Shutdown, false),
        ] {
            assert!(channel.on(input, &cause, now, || 0.5).is_some(), "{input:?} is late");
            assert_eq!(stuck(&channel), [first, false, false], "{input:?}");
            let ready = channel.state() == ConnectivityState::Ready;
            assert_eq!(channel.is_stuck(true, true, false), ready, "{input:?}, no calls taken");
        }
    }

    #[test]
    fn a_fail_fast_call_hears_the_last_error_until_a_link_is_ready_again() {
        let (mut channel, now) = (channel(), Instant::now());
        let refused = Arc::<str>::from("refused");
        channel.on(Input::Connect, &refused, now, || 0.5);
        assert_eq!(channel.last_error(), None);
        channel.on(Input::DialFailed(ONE), &refused, now, || 0.5);
        assert_eq!(channel.last_error(), Some(&refused));
        channel.on(Input::RedialDue, &refused, now + Duration::from_secs(1), || 0.5);
        assert_eq!(channel.state(), ConnectivityState::Connecting);
        assert_eq!(channel.last_error(), Some(&refused), "redialling does not clear it");
        channel.on(Input::Established(TWO), &refused, now, || 0.5);
        assert_eq!(channel.last_error(), None);
    }

    #[test]
    fn why_there_is_no_link_is_the_last_connect_error_or_what_ended_the_last_link() {
        let (mut channel, now) = (channel(), Instant::now());
        let mut on = |input, cause: &str| {
            assert!(channel.on(input, &cause.into(), now, || 0.5).is_some(), "{input:?} is late");
            channel.why_no_link().map(|why| why.to_string())
        };
        assert_eq!(on(Input::Connect, "spawned"), None, "no dial has ended");
        assert_eq!(on(Input::Established(ONE), "up"), None);
        assert_eq!(on(Input::GoAway(ONE), "goaway").as_deref(), Some("goaway"));
        // Another dial explains nothing.
        assert_eq!(on(Input::ResetBackoff, "asked").as_deref(), Some("goaway"));
        assert_eq!(on(Input::DialFailed(TWO), "refused").as_deref(), Some("refused"));
        assert_eq!(on(Input::ResetBackoff, "asked").as_deref(), Some("refused"));
        assert_eq!(on(Input::Established(Incarnation(3)), "up"), None);
    }

    #[test]
    fn a_step_is_about_the_link_there_is_then_or_else_the_one_there_was() {
        let (mut channel, now, cause) = (channel(), Instant::now(), "a cause".into());
        let mut about =
            |input| channel.on(input, &cause, now, || 0.5).map(|step| (step.about.0, step.outputs));
        let at = Output::WaitUntil(now);
        assert_eq!(about(Input::Connect), Some((1, vec![Output::Dial(ONE)])));
        assert_eq!(about(Input::Established(ONE)), Some((1, vec![Output::Use(ONE)])));
        assert_eq!(about(Input::Proven(ONE)), Some((1, vec![])));
        assert_eq!(about(Input::GoAway(ONE)), Some((1, vec![Output::Drain(ONE), at])));
        assert_eq!(about(Input::Lost { link: ONE, goaway: true }), None, "late");
        assert_eq!(about(Input::RedialDue), Some((2, vec![Output::Dial(TWO)])));
        assert_eq!(about(Input::Shutdown), Some((2, vec![Output::Drain(TWO)])));
        assert_eq!(about(LOST), None, "late");
    }

    #[test]
    fn incarnations_go_on_after_a_crash() {
        let (now, cause) = (Instant::now(), "a crash".into());
        let mut channel = Channel::after_a_crash(schedules(), now, Incarnation(7));
        let step = channel.on(Input::RedialDue, &cause, now, || 0.5).expect("not late");
        assert_eq!(step.outputs, [Output::Dial(Incarnation(8))]);
    }
}
