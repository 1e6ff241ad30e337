//! What the calls to one endpoint say of it: how long its answers take, and how many attempts in a
//! row failed. Kept only where several endpoints share the calls, and a policy or the breaker asks.
//!
//! All numbers are atomics, which whoever ends an attempt changes. The supervisor is told only when
//! a run of failures reaches the limit, or 2, 4, 8... times as many, and when the one call of a
//! probation has ended. The numbers order nothing: a figure that two threads change at once may
//! lose one of the changes, and the next answer mends it.
//!
//! Whoever is the one call of a probation has a place, and gives it back if nothing is heard of it.
//! Calls may wait for that place, as for room on a link: so its link is reported to have room then.
//! A call that never ends would keep the place for ever: the place is another's after a while.

use super::{event::LinkEvent, link::Link};
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
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

/// The place of a probation while nobody has it.
const FREE: u64 = 0;

/// The same while nobody may have it: there is no probation, or enough was said in it.
const CLOSED: u64 = u64::MAX;

/// For how long one call has the place, at least.
const PLACE_LASTS: Duration = Duration::from_secs(1);

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
    /// All times count from here.
    origin: Instant,
    ewma: AtomicU64,
    /// How many attempts in a row failed.
    run: AtomicU32,
    /// Until when the place of a probation is taken, in milliseconds; or `FREE`, or `CLOSED`.
    place: AtomicU64,
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
            place: AtomicU64::new(CLOSED),
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
        self.place.store(FREE, Release);
    }

    /// It is in use again without a word of its own: there is no probation, and no run.
    pub(crate) fn start_over(&self) {
        self.place.store(CLOSED, Release);
        self.run.store(0, Relaxed);
    }

    /// Whether the place of a probation is there to be taken.
    pub(crate) fn may_be_probed(&self) -> bool {
        match self.place.load(Acquire) {
            FREE => true,
            CLOSED => false,
            until => until <= self.millis(clock::now()),
        }
    }

    /// The right to be the one call of a probation, if nobody has it.
    pub(crate) fn probe(self: &Arc<Self>) -> Option<Sample> {
        let (taken, now) = (self.place.load(Acquire), self.millis(clock::now()));
        if taken > now {
            return None;
        }
        let lasts = self.rule.base.max(PLACE_LASTS).as_millis() as u64;
        let until = now.saturating_add(lasts).min(CLOSED - 1);
        self.place.compare_exchange(taken, until, AcqRel, Relaxed).ok()?;
        let probe = Some(Box::new(Probe { until, link: None }));
        Some(Sample { stats: self.clone(), probe })
    }

    /// For an attempt that is to be counted.
    pub(crate) fn sample(self: &Arc<Self>) -> Sample {
        Sample { stats: self.clone(), probe: None }
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn at(&self, now: Instant) -> u32 {
        self.millis(now) as u32
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
    /// Where it is the one call of a probation, of which nothing has been heard yet.
    probe: Option<Box<Probe>>,
}

/// The place of a probation that a call has.
struct Probe {
    /// Until when. No other that has it has the same time.
    until: u64,
    /// The link that it goes out on.
    link: Option<Arc<Link>>,
}

impl Sample {
    /// The same, of an attempt on this link.
    pub(crate) fn on(mut self, link: &Arc<Link>) -> Self {
        self.probe.iter_mut().for_each(|probe| probe.link = Some(link.clone()));
        self
    }

    /// The attempt ended with this failure, or well, after so long on the wire. `took`: how long
    /// its answer took, if that says how quick the endpoint is.
    pub(crate) fn ended(
        mut self,
        failure: Option<&Failure>,
        on_wire: Duration,
        took: Option<Duration>,
        now: Instant,
        method: &Arc<str>,
    ) {
        let mut heard = self.stats.classify(failure);
        let is_deadline = failure.is_some_and(|it| matches!(it.cause, Cause::Deadline(_)));
        // Else an endpoint that never answers would take one call after the other.
        let hangs = is_deadline && on_wire >= self.stats.rule.base;
        if self.probe.is_some() && heard == Heard::Nothing && hangs {
            heard = Heard::Failed;
        }
        self.stats.hear(heard, took, now);
        self.judge(heard, method);
    }

    /// A message of the answer has come, and the rest may last for long: the endpoint serves.
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
                // Where nothing follows from a run, as when too many are ejected, it may be long.
                limit > 0 && run.is_multiple_of(limit) && (run / limit).is_power_of_two()
            }
        };
        let probe = self.probe.take().is_some();
        if probe {
            // Until the next probation begins.
            stats.place.store(CLOSED, Release);
        }
        if probe || reached {
            let (endpoint, method) = (stats.endpoint, method.clone());
            (stats.tell)(Judged { endpoint, method, probe, answered: heard == Heard::Answered });
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let Some(probe) = self.probe.take() else { return };
        let own = self.stats.place.compare_exchange(probe.until, FREE, AcqRel, Relaxed);
        if let (Ok(_), Some(link)) = (own, probe.link) {
            link.report(LinkEvent::HasRoom);
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
