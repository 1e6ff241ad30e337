//! One agent's results: how many of its calls and tasks came to harm, in all and in each outage.
//!
//! The summary finds the numbers, and the table shows them.

use super::tally::Counts;
use serde_json::{Map, Value};
use std::time::Duration;

/// One agent's results.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) calls: u64,
    pub(super) ok: u64,
    /// What came to harm in all.
    pub(super) all: Harm,
    /// What came to harm in each outage, and between it and the next.
    pub(super) outages: Vec<Harm>,
    pub(super) counts: Counts,
}

/// What came to harm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Harm {
    /// Calls that failed or had no answer.
    pub(super) failed: u64,
    /// Tasks that were accepted and not completed.
    pub(super) lost: u64,
    /// Requests that were carried out more than once.
    pub(super) executed_twice: u64,
    /// How long the call took that took longest, however it ended.
    pub(super) longest: Duration,
}

impl Outcome {
    /// Adds to the whole, and to one outage if there is one.
    pub(super) fn harm(&mut self, outage: Option<usize>, add: impl Fn(&mut Harm)) {
        add(&mut self.all);
        if let Some(one) = outage.and_then(|place| self.outages.get_mut(place)) {
            add(one);
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut fields: Map<_, _> = self.all.to_json();
        let Counts { retries, transparent_retries, dials, reconnects } = self.counts;
        let numbers = [
            ("calls", Some(self.calls)),
            ("ok", Some(self.ok)),
            ("retries", Some(retries)),
            ("transparent_retries", Some(transparent_retries)),
            ("dials", dials),
            ("reconnects", reconnects),
        ];
        fields.extend(numbers.map(|(name, number)| (name.into(), number.into())));
        fields.into()
    }
}

impl Harm {
    pub(super) fn to_json(self) -> Map<String, Value> {
        let numbers = [
            ("failed", self.failed),
            ("lost", self.lost),
            ("executed_twice", self.executed_twice),
            ("longest_wait_ms", self.longest.as_millis() as u64),
        ];
        numbers.map(|(name, number)| (name.into(), number.into())).into_iter().collect()
    }
}
