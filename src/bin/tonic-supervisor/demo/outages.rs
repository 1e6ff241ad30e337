//! The outages of a demo: what each was, when it began and when it was over, and which of them made
//! a call fail or wait.

use std::time::Duration;

/// One outage of the server; times are since the demo's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) fault: &'static str,
    pub(super) began: Duration,
    /// The server was well again; as long as it is not, the end of time.
    pub(super) over: Duration,
}

/// All outages so far, in order; none begins before the last is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Outages(Vec<Outage>);

impl Outages {
    pub(super) fn begins(&mut self, fault: &'static str, now: Duration) {
        self.0.push(Outage { fault, began: now, over: Duration::MAX });
    }

    /// The last one is over.
    pub(super) fn is_over(&mut self, now: Duration) {
        if let Some(last) = self.0.last_mut() {
            last.over = now;
        }
    }

    pub(super) fn all(&self) -> &[Outage] {
        &self.0
    }

    /// The place of the outage that something between `began` and `ended` belongs to: the first
    /// that caught it, or else the last before it. None: it was over before the first outage.
    pub(super) fn of(&self, began: Duration, ended: Duration) -> Option<usize> {
        let caught = |outage: &Outage| outage.began <= ended && began < outage.over;
        let before = || self.0.iter().rposition(|outage| outage.began <= began);
        self.0.iter().position(caught).or_else(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_belongs_to_the_outage_that_caught_it_or_to_the_last_before() {
        let s = Duration::from_secs;
        let mut outages = Outages::default();
        outages.begins("kill", s(10));
        assert_eq!(outages.of(s(11), s(12)), Some(0), "it goes on");
        outages.is_over(s(20));
        outages.begins("freeze", s(30));
        outages.is_over(s(40));
        assert_eq!(outages.of(s(1), s(9)), None);
        assert_eq!(outages.of(s(1), s(10)), Some(0));
        assert_eq!(outages.of(s(12), s(35)), Some(0), "the first of two");
        assert_eq!(outages.of(s(20), s(29)), Some(0), "it came after the outage");
        assert_eq!(outages.of(s(29), s(31)), Some(1));
        assert_eq!(outages.of(s(25), Duration::MAX), Some(1), "it never ended");
        assert_eq!(outages.of(s(50), s(60)), Some(1));
    }
}
