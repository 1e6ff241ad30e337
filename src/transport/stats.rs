//! What the calls to one endpoint say of it: how long its answers take, and how many attempts in a
//! row failed. Kept only where several endpoints share the calls, and a policy or the breaker asks.
//!
//! All numbers are atomics, which whoever ends an attempt changes. The supervisor is told only when
//! a run of failures reaches the limit, or a multiple of it, and when the one call of a probation
//! has ended. The numbers order nothing: a figure that two threads change at once may lose one of
//! the changes, and the next answer mends it.

use crate::{
    clock,
    model::{Cause, EndpointId, Failure, Phase},
    policy::{EjectionRule, Ewma},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

/// What the supervisor is told of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) endpoint: EndpointId,
    /// The method of the call that it was heard of by.
    pub(crate) method: Arc<str>,
    /// Whether that was the call of a probation.
    pub(crate) probe: bool,
    /// Whether it was answered.
    pub(crate) answered: bool,
}

/// Passes on what is heard.
pub(crate) type Tell = Arc<dyn Fn(Judged) + Send + Sync>;

/// The numbers of one endpoint, which its links share.
pub(crate) struct Stats {
    endpoint: EndpointId,
    rule: EjectionRule,
    tell: Tell,
    /// The moving figure's times count from here.
    origin: Instant,
    ewma: AtomicU64,
    /// How many attempts in a row failed.
    run: AtomicU32,
    /// Whether the one call that a probation allows is under way, or has said enough.
    probed: AtomicBool,
}

/// What an attempt's end says of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It is at fault.
    Failed,
    /// It answered, whatever it said.
    Answered,
    /// Nothing: the link was lost, or this side gave up.
    Nothing,
}

impl Stats {
    pub(crate) fn new(endpoint: EndpointId, rule: EjectionRule, tell: Tell) -> Self {
        Self {
            endpoint,
            rule,
            tell,
            origin: clock::now(),
            ewma: AtomicU64::new(Ewma::new(0).to_bits()),
            run: AtomicU32::new(0),
            probed: AtomicBool::new(true),
        }
    }

    /// Whose numbers they are.
    pub(crate) fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// How long its answers take, in seconds.
    pub(crate) fn seconds(&self, now: Instant) -> f32 {
        Ewma::from_bits(self.ewma.load(Relaxed)).seconds(self.at(now))
    }

    /// Whether its run of failures is at the limit still.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.run.load(Relaxed) >= self.rule.consecutive_failures.max(1)
    }

    /// Begins a probation: one call may go there.
    pub(crate) fn begin_probation(&self) {
        self.probed.store(false, Release);
    }

    /// The right to be the one call of a probation, if nobody has it.
    pub(crate) fn probe(self: &Arc<Self>) -> Option<Sample> {
        let taken = self.probed.load(Relaxed) || self.probed.swap(true, AcqRel);
        (!taken).then(|| Sample { stats: self.clone(), probe: true })
    }

    /// For an attempt that is to be counted.
    pub(crate) fn sample(self: &Arc<Self>) -> Sample {
        Sample { stats: self.clone(), probe: false }
    }

    /// Whether nobody is the one call of a probation.
    #[cfg(test)]
    fn may_be_probed(&self) -> bool {
        !self.probed.load(Relaxed)
    }

    fn at(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_millis() as u32
    }

    fn update(&self, change: impl Fn(Ewma) -> Ewma) {
        let changed = change(Ewma::from_bits(self.ewma.load(Relaxed)));
        self.ewma.store(changed.to_bits(), Relaxed);
    }

    fn hear(&self, heard: Heard, took: Option<Duration>, now: Instant) {
        let at = self.at(now);
        match (heard, took) {
            (Heard::Failed, took) => self.update(|ewma| ewma.failed(took.unwrap_or_default(), at)),
            (Heard::Answered, Some(took)) => self.update(|ewma| ewma.answered(took, at)),
            (Heard::Nothing, Some(took)) => self.update(|ewma| ewma.unanswered(took, at)),
            (_, None) => {}
        }
    }

    fn classify(&self, failure: Option<&Failure>) -> Heard {
        let Some(failure) = failure else { return Heard::Answered };
        let counts = self.rule.codes.contains(failure.code);
        match failure.cause {
            Cause::AttemptTimeout => Heard::Failed,
            Cause::Status | Cause::Http(_) if counts => Heard::Failed,
            Cause::Status | Cause::Http(_) => Heard::Answered,
            _ if failure.phase == Phase::Processed => Heard::Answered,
            _ => Heard::Nothing,
        }
    }
}

/// One attempt that is counted at its endpoint. Dropped without a word, as when its call never
/// began it, it says nothing, and another may be the one call of a probation.
pub(crate) struct Sample {
    stats: Arc<Stats>,
    probe: bool,
}

impl Sample {
    /// The attempt ended with this failure, or well. `took`: how long it was on the wire, if that
    /// says how quick the endpoint is.
    pub(crate) fn ended(
        mut self,
        failure: Option<&Failure>,
        took: Option<Duration>,
        now: Instant,
        method: &Arc<str>,
    ) {
        let heard = self.stats.classify(failure);
        self.stats.hear(heard, took, now);
        self.judge(heard, method);
    }

    /// The answer has begun, and may last for long: the endpoint serves.
    pub(crate) fn answer_began(&mut self, method: &Arc<str>) {
        self.judge(Heard::Answered, method);
    }

    fn judge(&mut self, heard: Heard, method: &Arc<str>) {
        let stats = &self.stats;
        let limit = stats.rule.consecutive_failures;
        let reached = match heard {
            Heard::Nothing => return,
            Heard::Answered => {
                // Only read while all is well: many calls end at once.
                if stats.run.load(Relaxed) != 0 {
                    stats.run.store(0, Relaxed);
                }
                false
            }
            Heard::Failed => {
                let run = stats.run.fetch_add(1, Relaxed).wrapping_add(1);
                limit > 0 && run.is_multiple_of(limit)
            }
        };
        // From here on the place of the probation stays taken until the next one begins.
        let probe = std::mem::take(&mut self.probe);
        if probe || reached {
            let (endpoint, method) = (stats.endpoint, method.clone());
            (stats.tell)(Judged { endpoint, method, probe, answered: heard == Heard::Answered });
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if self.probe {
            self.stats.probed.store(false, Release);
        }
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats")
            .field("endpoint", &self.endpoint)
            .field("ewma", &Ewma::from_bits(self.ewma.load(Relaxed)))
            .field("run", &self.run.load(Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
