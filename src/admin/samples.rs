//! The last five minutes of each supervisor, a sample a second: what small curves are drawn from,
//! and what the verdict compares now with.
//!
//! A sample is three numbers, which cost a channel a few loads for each method. All numbers are
//! read every ten seconds only.

use crate::{
    client::{Observer, supervisors},
    model::{MethodCounts, Recent, Snapshot},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// How many samples are kept.
const KEPT: usize = 300;
/// What the verdict compares now with is at least so old, once there is something so old,
const MINUTE: Duration = Duration::from_secs(60);
/// and taken so often.
const EVERY: Duration = Duration::from_secs(10);

/// The samples of all supervisors, by their numbers.
#[derive(Default)]
pub(super) struct Samples(Mutex<BTreeMap<u64, OfOne>>);

#[derive(Default)]
struct OfOne {
    seconds: VecDeque<Sample>,
    whole: VecDeque<(Instant, Snapshot, Vec<MethodCounts>)>,
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Calls that ended so far, well and otherwise.
    ok: u64,
    failed: u64,
    /// Calls that wait at that moment.
    pub(super) waiting: u64,
}

/// What happened in each of the last seconds, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Curves {
    pub(super) calls: Vec<u64>,
    pub(super) failed: Vec<u64>,
    pub(super) waiting: Vec<u64>,
}

impl Samples {
    /// Takes a sample of every supervisor that lives, and forgets the others.
    pub(super) fn take(&self, now: Instant) {
        let live = supervisors();
        let ids: HashSet<u64> = live.iter().map(Observer::id).collect();
        let mut all = self.0.lock();
        all.retain(|id, _| ids.contains(id));
        for one in live {
            all.entry(one.id()).or_default().take(&one, now);
        }
    }

    /// What happened to a supervisor lately, up to now: over the last minute, or since it was
    /// first looked at.
    pub(super) fn recent(
        &self,
        id: u64,
        snapshot: &Snapshot,
        methods: &[MethodCounts],
        now: Instant,
    ) -> Recent {
        let all = self.0.lock();
        let before = all.get(&id).and_then(|one| one.whole.front());
        before.map_or_else(Recent::default, |(at, earlier, counts)| {
            let over = now.saturating_duration_since(*at);
            Recent::between((earlier, counts), (snapshot, methods), over)
        })
    }

    /// The curves of a supervisor.
    pub(super) fn curves(&self, id: u64) -> Curves {
        self.0.lock().get(&id).map(OfOne::curves).unwrap_or_default()
    }
}

impl OfOne {
    fn take(&mut self, one: &Observer, now: Instant) {
        let (ok, failed, waiting) = one.calls();
        self.add(Sample { ok, failed, waiting: waiting as u64 });
        let since = |(at, ..): &(Instant, Snapshot, _)| now.saturating_duration_since(*at);
        if self.whole.back().is_none_or(|last| since(last) >= EVERY) {
            self.whole.push_back((now, one.snapshot(), one.methods()));
        }
        // The first one is the one that is compared with: the youngest that is old enough.
        while self.whole.get(1).is_some_and(|next| since(next) >= MINUTE) {
            self.whole.pop_front();
        }
    }

    fn add(&mut self, sample: Sample) {
        if self.seconds.len() == KEPT {
            self.seconds.pop_front();
        }
        self.seconds.push_back(sample);
    }

    fn curves(&self) -> Curves {
        let pairs = || self.seconds.iter().zip(self.seconds.iter().skip(1));
        let ended = |sample: &Sample| sample.ok + sample.failed;
        Curves {
            calls: pairs().map(|(a, b)| ended(b).saturating_sub(ended(a))).collect(),
            failed: pairs().map(|(a, b)| b.failed.saturating_sub(a.failed)).collect(),
            waiting: self.seconds.iter().map(|sample| sample.waiting).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_what_happened_in_each_second_and_no_longer_than_five_minutes() {
        let mut one = OfOne::default();
        for n in 0..400 {
            one.add(Sample { ok: n * 3, failed: n, waiting: n % 2 });
        }
        let curves = one.curves();
        assert_eq!(curves.calls, vec![4; KEPT - 1]);
        assert_eq!(curves.failed, vec![1; KEPT - 1]);
        assert_eq!((curves.waiting.len(), curves.waiting[..2].to_vec()), (KEPT, vec![0, 1]));
        assert_eq!(OfOne::default().curves(), Curves::default());
    }
}
