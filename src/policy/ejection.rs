//! Which endpoints are ejected: those where many attempts in a row failed (a breaker).
//!
//! | an endpoint is | and | then it is |
//! |---|---|---|
//! | in use | its run of failures reached the limit | ejected, for `base` |
//! | in use | the same, but too many are ejected, or it is the only one that is READY | in use |
//! | ejected | its time is over | on probation: one call at a time goes there |
//! | on probation | its call was answered | in use |
//! | on probation | its call failed | ejected, for twice the time before |
//! | ejected or on probation | its last link is lost | in use |
//!
//! The n-th time in a row it is ejected for `base * 2^n`, half of that more or less, and for `max`
//! at most; n starts over when it has been in use for `max` without being ejected. At most
//! `max_share` of the endpoints are ejected or on probation at once: if all fail, it is not they
//! that are at fault, and calls need somewhere to go (Envoy's panic threshold). Seven failures and
//! the probation are linkerd's.
//!
//! An endpoint without a link gets no calls as it is. If it stayed ejected, one that never comes
//! back would have its part of `max_share` for ever.

use super::{
    backoff::{Backoff, jittered},
    codes::CodeSet,
    deadline::after,
};
use crate::model::EndpointId;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The share by which the time of an ejection varies: endpoints that failed together do not come
/// back together.
const JITTER: f64 = 0.5;

/// When an endpoint is ejected: the keys below `ejection`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EjectionRule {
    /// After so many failures in a row; 0: never.
    pub consecutive_failures: u32,
    /// The codes that are failures here.
    pub codes: CodeSet,
    /// How long the first time.
    pub base: Duration,
    /// How long at most.
    pub max: Duration,
    /// The share of the endpoints that may be ejected at once, 0 to 1.
    pub max_share: f64,
}

/// What becomes of an endpoint whose run of failures reached the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is ejected for so long.
    Ejected(Duration),
    /// It stays in use, although it should not.
    Unenforced,
    /// It is ejected already.
    Known,
}

/// How an endpoint's probation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probation {
    /// It is in use again.
    Returned,
    /// It is ejected again, for so long.
    Ejected(Duration),
}

/// The endpoints that are ejected, or were lately.
#[derive(Clone, Debug)]
pub struct Ejections {
    rule: EjectionRule,
    records: BTreeMap<EndpointId, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    stage: Stage,
    /// How often in a row it has been ejected.
    times: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    InUse { since: Instant },
    Ejected { until: Instant },
    OnProbation,
}

impl Record {
    fn is_out(&self) -> bool {
        !matches!(self.stage, Stage::InUse { .. })
    }
}

impl Ejections {
    /// None are.
    pub fn new(rule: EjectionRule) -> Self {
        Self { rule, records: BTreeMap::new() }
    }

    /// An endpoint's run of failures reached the limit. `listed`: how many endpoints there are;
    /// `others`: whether any of the others is READY and in use. `unit` is a random number in
    /// `0.0..1.0`.
    pub fn failed(
        &mut self,
        id: EndpointId,
        (listed, others): (usize, bool),
        now: Instant,
        unit: f64,
    ) -> Verdict {
        let before = self.records.get(&id).copied();
        let times = match before {
            Some(record) if record.is_out() => return Verdict::Known,
            Some(Record { stage: Stage::InUse { since }, times })
                if now.saturating_duration_since(since) < self.rule.max =>
            {
                times
            }
            _ => 0,
        };
        if !others || self.out() >= self.allowed(listed) {
            return Verdict::Unenforced;
        }
        Verdict::Ejected(self.eject(id, times, now, unit))
    }

    /// The call of an endpoint on probation ended: it was answered, or failed. None if the news
    /// come late.
    pub fn probed(
        &mut self,
        id: EndpointId,
        answered: bool,
        now: Instant,
        unit: f64,
    ) -> Option<Probation> {
        let record = self.records.get_mut(&id)?;
        if record.stage != Stage::OnProbation {
            return None;
        }
        let times = record.times;
        if answered {
            record.stage = Stage::InUse { since: now };
            return Some(Probation::Returned);
        }
        Some(Probation::Ejected(self.eject(id, times, now, unit)))
    }

    /// The endpoints whose time is over: they are on probation from now on.
    pub fn due(&mut self, now: Instant) -> Vec<EndpointId> {
        let mut due = Vec::new();
        for (id, record) in &mut self.records {
            if matches!(record.stage, Stage::Ejected { until } if until <= now) {
                record.stage = Stage::OnProbation;
                due.push(*id);
            }
        }
        due
    }

    /// When the next one's time is over.
    pub fn next_due(&self) -> Option<Instant> {
        let until = |record: &Record| match record.stage {
            Stage::Ejected { until } => Some(until),
            _ => None,
        };
        self.records.values().filter_map(until).min()
    }

    /// Whether calls go to an endpoint one at a time.
    pub fn is_on_probation(&self, id: EndpointId) -> bool {
        self.records.get(&id).is_some_and(|record| record.stage == Stage::OnProbation)
    }

    /// An endpoint lost its last link; whether it was out, and is in use again. How often it was
    /// ejected is not forgotten: it may come back as it was.
    pub fn lost(&mut self, id: EndpointId, now: Instant) -> bool {
        match self.records.get_mut(&id) {
            Some(record) if record.is_out() => {
                record.stage = Stage::InUse { since: now };
                true
            }
            _ => false,
        }
    }

    /// So many endpoints are listed now, and only these; those that are in use again because fewer
    /// may be ejected, the one that is so for the longest time first. Of one alone nothing is kept.
    pub fn list(
        &mut self,
        listed: usize,
        is_listed: impl Fn(EndpointId) -> bool,
        now: Instant,
    ) -> Vec<EndpointId> {
        self.records.retain(|id, _| is_listed(*id));
        let mut returned = Vec::new();
        while self.out() > self.allowed(listed) {
            let out = self.records.iter_mut().filter(|(_, record)| record.is_out());
            let soonest = out.min_by_key(|(_, record)| match record.stage {
                Stage::Ejected { until } => Some(until),
                _ => None,
            });
            let Some((id, record)) = soonest else { break };
            record.stage = Stage::InUse { since: now };
            returned.push(*id);
        }
        returned
    }

    fn out(&self) -> usize {
        self.records.values().filter(|record| record.is_out()).count()
    }

    /// How many of so many may be ejected.
    fn allowed(&self, listed: usize) -> usize {
        // A share such as 0.29 of 100 is a little less than 29.
        let share = (listed as f64 * self.rule.max_share + 1e-6) as usize;
        share.min(listed.saturating_sub(1))
    }

    fn eject(&mut self, id: EndpointId, times: u32, now: Instant, unit: f64) -> Duration {
        let EjectionRule { base, max, .. } = self.rule;
        let schedule = Backoff { initial: base, multiplier: 2.0, max };
        let time = jittered(schedule.delay(times), JITTER, unit).min(max);
        let stage = Stage::Ejected { until: after(now, time) };
        self.records.insert(id, Record { stage, times: times.saturating_add(1) });
        time
    }
}

#[cfg(test)]
#[path = "ejection_tests.rs"]
mod tests;
