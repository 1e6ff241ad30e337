//! The waiting room: calls parked for a link, oldest first, and calls asleep until their retry, with one sorted set of timers.

use crate::model::CallId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Calls that are not running, with whatever the owner keeps of each.
#[derive(Debug)]
pub struct Pending<T> {
    parked: BTreeMap<CallId, Entry<T>>,
    asleep: BTreeMap<CallId, Entry<T>>,
    timers: BTreeSet<(Instant, CallId)>,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    wake: Option<Instant>,
    deadline: Option<Instant>,
}

/// A call whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<T> {
    /// Its wait before the retry is over.
    Retry(T),
    /// Its deadline passed while it waited.
    Expired(T),
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { parked: BTreeMap::new(), asleep: BTreeMap::new(), timers: BTreeSet::new() }
    }
}

impl<T> Entry<T> {
    fn timer(&self) -> Option<Instant> {
        super::deadline::earliest(self.wake, self.deadline)
    }
}

impl<T> Pending<T> {
    /// Parks a call at its place in the order of arrival, until `deadline` at the longest.
    pub fn park(&mut self, id: CallId, item: T, deadline: Option<Instant>) {
        self.remove(id);
        self.timers.extend(deadline.map(|at| (at, id)));
        self.parked.insert(id, Entry { item, wake: None, deadline });
    }

    /// Puts a call to sleep until `wake`, or `deadline` if that comes first.
    pub fn sleep(&mut self, id: CallId, item: T, wake: Instant, deadline: Option<Instant>) {
        self.remove(id);
        let entry = Entry { item, wake: Some(wake), deadline };
        self.timers.extend(entry.timer().map(|at| (at, id)));
        self.asleep.insert(id, entry);
    }

    /// The oldest parked call.
    pub fn pop(&mut self) -> Option<(CallId, T)> {
        let (id, entry) = self.parked.pop_first()?;
        self.forget_timer(id, &entry);
        Some((id, entry.item))
    }

    /// Takes a call out, wherever it waits.
    pub fn remove(&mut self, id: CallId) -> Option<T> {
        let entry = self.parked.remove(&id).or_else(|| self.asleep.remove(&id))?;
        self.forget_timer(id, &entry);
        Some(entry.item)
    }

    /// One call whose time has come by `now`; call again until there is none.
    pub fn due(&mut self, now: Instant) -> Option<Due<T>> {
        let (at, id) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        let entry = self.parked.remove(&id).or_else(|| self.asleep.remove(&id))?;
        let expired = entry.deadline.is_some_and(|deadline| deadline <= now);
        Some(if expired { Due::Expired(entry.item) } else { Due::Retry(entry.item) })
    }

    /// When [`due`](Self::due) has something next.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether the call waits here.
    pub fn contains(&self, id: CallId) -> bool {
        self.parked.contains_key(&id) || self.asleep.contains_key(&id)
    }

    /// How many calls wait for a link.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Takes the parked calls that `pick` chooses.
    pub fn take_parked(&mut self, mut pick: impl FnMut(&T) -> bool) -> Vec<T> {
        let ids: Vec<_> = self.parked.iter().filter(|(_, entry)| pick(&entry.item)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Takes everything.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.timers.clear();
        let parked = std::mem::take(&mut self.parked);
        let asleep = std::mem::take(&mut self.asleep);
        parked.into_values().chain(asleep.into_values()).map(|entry| entry.item)
    }

    fn forget_timer(&mut self, id: CallId, entry: &Entry<T>) {
        if let Some(at) = entry.timer() {
            self.timers.remove(&(at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn id(n: u64) -> CallId {
        CallId(n)
    }

    #[test]
    fn the_oldest_call_goes_first_also_when_it_comes_back_late() {
        let mut pending = Pending::default();
        for n in [3, 1, 2] {
            pending.park(id(n), n, None);
        }
        assert_eq!(pending.pop(), Some((id(1), 1)));
        pending.park(id(1), 1, None);
        assert_eq!(std::iter::from_fn(|| pending.pop()).map(|(_, n)| n).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn sleepers_wake_in_order_and_deadlines_end_both_kinds_of_wait() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut pending = Pending::default();
        pending.sleep(id(1), 1, at(4), Some(at(9)));
        pending.sleep(id(2), 2, at(3), Some(at(2)));
        pending.park(id(3), 3, Some(at(1)));
        pending.park(id(4), 4, None);
        assert_eq!(pending.next_timer(), Some(at(1)));
        assert_eq!(pending.due(at(0)), None);
        let due: Vec<_> = std::iter::from_fn(|| pending.due(at(5))).collect();
        assert_eq!(due, [Due::Expired(3), Due::Expired(2), Due::Retry(1)]);
        assert_eq!((pending.next_timer(), pending.parked()), (None, 1));
    }

    #[test]
    fn removing_a_call_leaves_no_timer_behind() {
        let now = Instant::now();
        let mut pending = Pending::default();
        pending.park(id(1), 1, Some(now));
        pending.sleep(id(1), 1, now, None);
        assert_eq!(pending.remove(id(1)), Some(1));
        assert_eq!((pending.next_timer(), pending.contains(id(1))), (None, false));
    }
}
