//! The calls that wait: parked for a link, oldest first, and calls asleep until their retry,
//! with one sorted set of timers.
//!
//! A parked call stands at its own place, or behind those that were parked when it came.

use crate::model::CallId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

/// Calls that are not running, with whatever the owner keeps of each.
#[derive(Debug)]
pub struct Pending<T> {
    parked: BTreeMap<Rank, Entry<T>>,
    /// The ranks of parked calls that do not stand at their own place.
    behind: HashMap<CallId, Rank>,
    last_behind: u64,
    asleep: BTreeMap<CallId, Entry<T>>,
    timers: BTreeSet<(Instant, CallId)>,
}

/// A parked call's place in the order: its own is `(id, 0)`; behind call `a` it is `(a, n)`, the
/// later the greater `n`.
type Rank = (CallId, u64);

#[derive(Debug)]
struct Entry<T> {
    id: CallId,
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
        Self {
            parked: BTreeMap::new(),
            behind: HashMap::new(),
            last_behind: 0,
            asleep: BTreeMap::new(),
            timers: BTreeSet::new(),
        }
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
        self.park_at((id, 0), Entry { id, item, wake: None, deadline });
    }

    /// Parks a call behind all that are parked now, until `deadline` at the longest.
    pub fn park_behind(&mut self, id: CallId, item: T, deadline: Option<Instant>) {
        self.remove(id);
        let last = self.parked.last_key_value().map_or(id, |((last, _), _)| *last);
        let mut rank = (id, 0);
        if last > id {
            self.last_behind += 1;
            rank = (last, self.last_behind);
            self.behind.insert(id, rank);
        }
        self.park_at(rank, Entry { id, item, wake: None, deadline });
    }

    fn park_at(&mut self, rank: Rank, entry: Entry<T>) {
        self.timers.extend(entry.deadline.map(|at| (at, entry.id)));
        self.parked.insert(rank, entry);
    }

    /// Puts a call to sleep until `wake`, or `deadline` if that comes first.
    pub fn sleep(&mut self, id: CallId, item: T, wake: Instant, deadline: Option<Instant>) {
        self.remove(id);
        let entry = Entry { id, item, wake: Some(wake), deadline };
        self.timers.extend(entry.timer().map(|at| (at, id)));
        self.asleep.insert(id, entry);
    }

    /// The oldest parked call, which stays where it is.
    pub fn oldest(&self) -> Option<&T> {
        self.parked.first_key_value().map(|(_, entry)| &entry.item)
    }

    /// Takes the oldest parked call.
    pub fn pop(&mut self) -> Option<(CallId, T)> {
        let (_, entry) = self.parked.pop_first()?;
        self.behind.remove(&entry.id);
        self.forget_timer(entry.id, &entry);
        Some((entry.id, entry.item))
    }

    /// Takes a call out, wherever it waits.
    pub fn remove(&mut self, id: CallId) -> Option<T> {
        let entry = self.take(id)?;
        self.forget_timer(id, &entry);
        Some(entry.item)
    }

    fn take(&mut self, id: CallId) -> Option<Entry<T>> {
        let rank = self.behind.remove(&id).unwrap_or((id, 0));
        self.parked.remove(&rank).or_else(|| self.asleep.remove(&id))
    }

    /// One call whose time has come by `now`; call again until there is none.
    pub fn due(&mut self, now: Instant) -> Option<Due<T>> {
        let (at, id) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        let entry = self.take(id)?;
        let expired = entry.deadline.is_some_and(|deadline| deadline <= now);
        Some(if expired { Due::Expired(entry.item) } else { Due::Retry(entry.item) })
    }

    /// When [`due`](Self::due) has something next.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether the call waits here.
    pub fn contains(&self, id: CallId) -> bool {
        let parked = self.parked.contains_key(&(id, 0)) || self.behind.contains_key(&id);
        parked || self.asleep.contains_key(&id)
    }

    /// How many calls wait for a link.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Takes the parked calls that `pick` chooses.
    pub fn take_parked(&mut self, mut pick: impl FnMut(&T) -> bool) -> Vec<T> {
        let picked = self.parked.values().filter(|entry| pick(&entry.item));
        let ids: Vec<_> = picked.map(|entry| entry.id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Takes everything.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.timers.clear();
        self.behind.clear();
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
        assert_eq!(
            std::iter::from_fn(|| pending.pop()).map(|(_, n)| n).collect::<Vec<_>>(),
            [1, 2, 3]
        );
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
    fn a_call_may_stand_behind_those_that_wait_and_before_those_that_come_later() {
        let mut pending = Pending::default();
        for n in [3, 4] {
            pending.park(id(n), n, None);
        }
        for n in [2, 1] {
            pending.park_behind(id(n), n, Some(Instant::now()));
        }
        pending.park(id(5), 5, None);
        assert!(pending.contains(id(2)) && pending.parked() == 5);
        let order: Vec<_> = std::iter::from_fn(|| pending.pop()).map(|(id, _)| id.0).collect();
        assert_eq!((order, pending.next_timer()), (vec![3, 4, 2, 1, 5], None));
        pending.park_behind(id(1), 1, None);
        pending.park(id(2), 2, None);
        pending.park_behind(id(1), 1, None);
        assert_eq!((pending.remove(id(1)), pending.contains(id(1))), (Some(1), false));
        assert_eq!(pending.pop(), Some((id(2), 2)));
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

    /// Scenario 17: the queue itself. A quadratic step would take this test hours.
    #[test]
    fn scenario_17_a_million_waiting_calls_leave_in_order_of_arrival_or_deadline() {
        const CALLS: u64 = 1_000_000;
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_micros(n);
        let mut room = Pending::default();
        // From the latest to the earliest.
        (0..CALLS).rev().for_each(|n| room.park(CallId(n), n, Some(at(n))));
        for n in 0..CALLS / 2 {
            assert_eq!(room.due(at(n)), Some(Due::Expired(n)));
        }
        for n in CALLS / 2..CALLS {
            assert_eq!(room.pop(), Some((CallId(n), n)));
        }
        assert_eq!((room.parked(), room.next_timer()), (0, None));
    }
}
