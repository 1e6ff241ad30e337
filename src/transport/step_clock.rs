//! Times the steps of a dial at one address. Pure: the time is an argument.

use crate::model::{DialStep, StepTimes};
use std::time::Instant;

/// The step that goes on now, and how long those before it took.
#[derive(Debug)]
pub(super) struct StepClock {
    step: DialStep,
    since: Instant,
    times: StepTimes,
}

impl StepClock {
    /// `step` begins, after those that took so long.
    pub(super) fn begin(step: DialStep, times: StepTimes, now: Instant) -> Self {
        Self { step, since: now, times }
    }

    /// What goes on.
    pub(super) fn step(&self) -> DialStep {
        self.step
    }

    /// The next step begins.
    pub(super) fn reached(&mut self, step: DialStep, now: Instant) {
        self.times.add(self.step, now.saturating_duration_since(self.since));
        (self.step, self.since) = (step, now);
    }

    /// What went on since the last step began was this step from `at` on, as was found out later;
    /// what was found out already changes nothing.
    pub(super) fn learnt(&mut self, step: DialStep, at: Instant) {
        if at > self.since {
            self.reached(step, at);
        } else {
            self.step = step;
        }
    }

    /// It ends, with the failure of this step.
    pub(super) fn failed(&mut self, step: DialStep, now: Instant) {
        self.step = step;
        self.reached(step, now);
    }

    /// How long each step took; the one that goes on, until now.
    pub(super) fn times(&self, now: Option<Instant>) -> StepTimes {
        let mut times = self.times;
        if let Some(now) = now {
            times.add(self.step, now.saturating_duration_since(self.since));
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn each_step_has_the_time_until_the_next_and_one_that_failed_late_has_both() {
        let now = Instant::now();
        let mut clock = StepClock::begin(DialStep::Connect, StepTimes::default(), now);
        clock.reached(DialStep::Tls, now + ms(5));
        clock.reached(DialStep::Handshake, now + ms(12));
        assert_eq!(clock.times(None).to_string(), "connect 5 ms, tls 7 ms");
        let all = "connect 5 ms, tls 7 ms, handshake 8 ms";
        assert_eq!(clock.times(Some(now + ms(20))).to_string(), all);
        // A server judges our certificate when its own part of TLS is over.
        clock.failed(DialStep::Tls, now + ms(20));
        assert_eq!(clock.times(None).to_string(), "connect 5 ms, tls 15 ms");
    }

    #[test]
    fn what_a_connector_reports_divides_its_time_however_often_it_is_heard() {
        let now = Instant::now();
        let mut clock = StepClock::begin(DialStep::Connect, StepTimes::default(), now);
        for _ in 0..2 {
            clock.learnt(DialStep::Resolve, now);
            clock.learnt(DialStep::Connect, now + ms(3));
        }
        assert_eq!(clock.step(), DialStep::Connect);
        assert_eq!(clock.times(Some(now + ms(10))).to_string(), "resolve 3 ms, connect 7 ms");
    }
}
