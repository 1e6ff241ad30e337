//! When a name is looked up, and what of an answer is believed.
//!
//! | happens | follows |
//! |---|---|
//! | the start, or somebody wants to be connected now | a lookup |
//! | a link was lost or said GOAWAY, a dial failed | a lookup, `min_interval` after an answer |
//! | asked while one is under way | one more, in the same way |
//! | an answer | the next after `period`, a fifth more or less, or when the answer says |
//! | a failure, an empty answer, silence | the list stays; the next by the waits between dials |
//!
//! gRPC's clients do not ask while all is well, and ask at most every 30 s. Here servers that were
//! added are found within a period, and servers that moved within a second of a loss: one lookup a
//! second, and only while links are being lost, harms nobody.
//!
//! An answer may come from a server of names that lags behind, so an endpoint that it lacks stays
//! listed until `absent` answers in a row lack it; but only while it is in use. One that cannot be
//! reached and is not listed any more has moved.

use super::{
    backoff::jittered,
    deadline::{after, earliest},
    schedules::Schedules,
};
use crate::model::{Address, Endpoint};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The share by which periods differ, so that channels that started together do not ask together.
const JITTER: f64 = 0.2;

/// How often, and what counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResolveRule {
    /// From an answer to the next lookup; none: only when there is a reason.
    pub period: Option<Duration>,
    /// From an answer to the earliest lookup that has a reason.
    pub min_interval: Duration,
    /// How many answers in a row must lack an endpoint that is in use.
    pub absent: u32,
}

/// The machine of one name.
#[derive(Clone, Debug)]
pub struct Resolve {
    rule: ResolveRule,
    schedules: Schedules,
    under_way: bool,
    /// Somebody asked while a lookup was under way.
    wanted: bool,
    /// When the last lookup ended, whatever came of it.
    ended: Option<Instant>,
    failures: u32,
    due: Option<Instant>,
    known: Vec<Known>,
}

/// An endpoint that is listed.
#[derive(Clone, Debug)]
struct Known {
    endpoint: Endpoint,
    key: Box<[Address]>,
    /// How many answers in a row have lacked it.
    absences: u32,
}

impl Resolve {
    /// Nothing is known, and nothing under way.
    pub fn new(rule: ResolveRule, schedules: Schedules) -> Self {
        Self {
            rule,
            schedules,
            under_way: false,
            wanted: false,
            ended: None,
            failures: 0,
            due: None,
            known: Vec::new(),
        }
    }

    /// Asks at once; whether a lookup is to begin.
    pub fn ask_now(&mut self) -> bool {
        self.wanted |= self.under_way;
        self.begin(true)
    }

    /// There is a reason to ask; whether a lookup is to begin.
    pub fn ask(&mut self, now: Instant) -> bool {
        if self.under_way {
            self.wanted = true;
            return false;
        }
        let soonest = self.soonest().unwrap_or(now);
        if soonest > now {
            self.due = earliest(self.due, Some(soonest));
            return false;
        }
        self.begin(true)
    }

    /// Calls began to wait: a lookup that has failed is not waited for any longer than it must be.
    /// Whether one is to begin.
    pub fn hurry(&mut self, now: Instant) -> bool {
        self.failures > 0 && !self.under_way && self.ask(now)
    }

    /// When the next one may begin that has a reason.
    fn soonest(&self) -> Option<Instant> {
        self.ended.map(|at| after(at, self.rule.min_interval))
    }

    /// The time that was agreed may have come; whether a lookup is to begin.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|at| at <= now);
        self.begin(due)
    }

    /// Whether the last lookup that ended has failed.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// When it is due next, if ever.
    pub fn next(&self) -> Option<Instant> {
        self.due.filter(|_| !self.under_way)
    }

    fn begin(&mut self, really: bool) -> bool {
        let begins = really && !self.under_way;
        if begins {
            (self.under_way, self.due) = (true, None);
        }
        begins
    }

    /// The lookup failed, for how many times in a row; the list stays. `calls_wait` makes the waits
    /// short, as it does between dials.
    pub fn failed(&mut self, calls_wait: bool, now: Instant, unit: f64) -> u32 {
        (self.under_way, self.wanted, self.ended) = (false, false, Some(now));
        let schedule = if calls_wait { self.schedules.waiting } else { self.schedules.idle };
        let wait = jittered(schedule.delay(self.failures), self.schedules.jitter, unit);
        self.due = Some(after(now, wait.max(self.rule.min_interval)));
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// The lookup gave `answer`, which is not empty, and holds for `fresh_for` if that is said. The
    /// list, if it is another one now. `in_use` knows which endpoints have links.
    pub fn answered(
        &mut self,
        answer: &[Endpoint],
        fresh_for: Option<Duration>,
        in_use: impl Fn(&Endpoint) -> bool,
        now: Instant,
        unit: f64,
    ) -> Option<Vec<Endpoint>> {
        (self.under_way, self.failures, self.ended) = (false, 0, Some(now));
        let least = self.rule.min_interval;
        let period = fresh_for.map(|time| time.max(least)).or(self.rule.period);
        self.due = period.map(|period| after(now, jittered(period, JITTER, unit)));
        if std::mem::take(&mut self.wanted) {
            self.due = earliest(self.due, Some(after(now, least)));
        }
        let mut list: Vec<Known> = Vec::new();
        let mut keys = BTreeSet::new();
        for endpoint in answer {
            let (endpoint, key) = (endpoint.clone(), endpoint.key());
            if keys.insert(key.clone()) {
                list.push(Known { endpoint, key, absences: 0 });
            }
        }
        for one in &self.known {
            let absences = one.absences + 1;
            let absent = !keys.contains(&one.key);
            if absent && absences < self.rule.absent && in_use(&one.endpoint) {
                list.push(Known { absences, ..one.clone() });
                keys.insert(one.key.clone());
            }
        }
        let before: BTreeSet<_> = self.known.iter().map(|one| one.key.clone()).collect();
        let changed = before != keys;
        self.known = list;
        changed.then(|| self.known.iter().map(|one| one.endpoint.clone()).collect())
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
