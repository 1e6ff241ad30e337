//! The claims that wait for a task of one queue, in the order in which they came. Pure.
//!
//! A claim sleeps here, or checks the store. Each new task wakes one sleeping claim, the oldest,
//! and no other, because thousands may wait. No wake is lost:
//!
//! - a claim that was woken and went away without a task passes its wake on to the next;
//! - a wake that comes while all claims check is kept for the first that finds nothing;
//! - where the number of new tasks is not known, the oldest claim checks, and then the next one,
//!   until one finds nothing.
//!
//! Leases end without any operation, so the oldest sleeping claim also checks when the next lease
//! ends.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};
use tokio::sync::Notify;

/// Why a claim checks the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WakeReason {
    /// By itself: it has just come, or its time is over.
    Own,
    /// For one new task.
    OneTask,
    /// For an unknown number of new tasks: the next claim checks too, unless this one finds
    /// nothing.
    Unknown,
}

/// One waiting claim.
#[derive(Debug)]
struct Waiter {
    reason: Option<WakeReason>,
    /// Notified whenever the claim has to check, or the time of its next check has changed.
    notify: Arc<Notify>,
}

/// The claims that wait for one queue.
#[derive(Debug, Default)]
pub(super) struct WaitingClaims {
    last: u64,
    waiters: HashMap<u64, Waiter>,
    /// Those of them that sleep, the oldest first.
    sleeping: BTreeSet<u64>,
    /// Wakes that found no sleeping claim: at most one for each claim that checks.
    kept: usize,
    /// Whether one of unknown number was among them.
    kept_any: bool,
    /// When the oldest is to check by itself.
    check_at: Option<Instant>,
}

impl WaitingClaims {
    /// A claim comes. It is about to check.
    pub(super) fn join(&mut self, notify: Arc<Notify>) -> u64 {
        self.last += 1;
        self.waiters.insert(self.last, Waiter { reason: Some(WakeReason::Own), notify });
        self.last
    }

    /// A claim found nothing and sleeps, unless it has to check again at once.
    pub(super) fn sleep(&mut self, number: u64) {
        let kept = match (self.kept_any, self.kept) {
            (true, _) => Some(WakeReason::Unknown),
            (false, 0) => None,
            (false, _) => Some(WakeReason::OneTask),
        };
        match kept {
            Some(WakeReason::Unknown) => self.kept_any = false,
            Some(_) => self.kept -= 1,
            None => {}
        }
        let Some(waiter) = self.waiters.get_mut(&number) else { return };
        waiter.reason = kept;
        if kept.is_none() {
            self.sleeping.insert(number);
        }
    }

    /// A claim checks now, for a reason of its own.
    pub(super) fn check(&mut self, number: u64) {
        if let Some(waiter) = self.waiters.get_mut(&number) {
            waiter.reason.get_or_insert(WakeReason::Own);
        }
        self.stop_sleeping(number);
    }

    /// Whether a claim sleeps.
    pub(super) fn sleeps(&self, number: u64) -> bool {
        self.sleeping.contains(&number)
    }

    /// When this claim is to check by itself: only the oldest does.
    pub(super) fn checks_at(&self, number: u64) -> Option<Instant> {
        self.check_at.filter(|_| self.sleeping.first() == Some(&number))
    }

    /// The time that was set for the oldest claim has come, so it checks.
    pub(super) fn due(&mut self, number: u64, now: Instant) {
        if self.checks_at(number).is_some_and(|at| at <= now) {
            self.check_at = None;
            self.wake(number, WakeReason::Unknown);
        }
    }

    /// A lease ends then: the oldest claim checks, if it still sleeps then.
    pub(super) fn check_by(&mut self, at: Instant) {
        if self.check_at.is_none_or(|known| at < known) {
            self.check_at = Some(at);
            self.notify_oldest();
        }
    }

    /// So many tasks are new.
    pub(super) fn tasks_added(&mut self, count: u32) {
        let checking = self.checking();
        for left in (1..=count as usize).rev() {
            let Some(number) = self.sleeping.first().copied() else {
                self.kept = (self.kept + left).min(checking);
                return;
            };
            self.wake(number, WakeReason::OneTask);
        }
    }

    /// The number of new tasks is not known, or the queue is gone.
    pub(super) fn unknown_added(&mut self) {
        match self.sleeping.first().copied() {
            Some(number) => self.wake(number, WakeReason::Unknown),
            None => self.kept_any = self.checking() > 0,
        }
    }

    /// A claim goes; `served` where it has a task.
    pub(super) fn leave(&mut self, number: u64, served: bool) {
        self.stop_sleeping(number);
        let reason = self.waiters.remove(&number).and_then(|waiter| waiter.reason);
        let checking = self.checking();
        self.kept = self.kept.min(checking);
        self.kept_any &= checking > 0;
        match reason {
            Some(WakeReason::OneTask) if !served => self.tasks_added(1),
            Some(WakeReason::Unknown) => self.unknown_added(),
            _ => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    fn checking(&self) -> usize {
        self.waiters.len() - self.sleeping.len()
    }

    fn wake(&mut self, number: u64, reason: WakeReason) {
        if let Some(waiter) = self.waiters.get_mut(&number) {
            waiter.reason = Some(reason);
            waiter.notify.notify_one();
        }
        self.stop_sleeping(number);
    }

    /// Takes a claim out of the sleeping ones, and notifies the next oldest of the time to check.
    fn stop_sleeping(&mut self, number: u64) {
        let first = self.sleeping.first() == Some(&number);
        if self.sleeping.remove(&number) && first && self.check_at.is_some() {
            self.notify_oldest();
        }
    }

    fn notify_oldest(&self) {
        let first = self.sleeping.first().and_then(|number| self.waiters.get(number));
        if let Some(waiter) = first {
            waiter.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A line in which `count` claims rest.
    fn line(count: u64) -> WaitingClaims {
        let mut line = WaitingClaims::default();
        for _ in 0..count {
            let number = line.join(Arc::default());
            line.sleep(number);
        }
        line
    }

    fn woken(line: &WaitingClaims) -> Vec<u64> {
        let mut woken: Vec<_> =
            line.waiters.keys().copied().filter(|number| !line.sleeps(*number)).collect();
        woken.sort();
        woken
    }

    #[test]
    fn as_many_claims_wake_as_tasks_came_and_the_oldest_first() {
        let mut line = line(1000);
        line.tasks_added(2);
        assert_eq!(woken(&line), [1, 2]);
        // Who was woken for nothing keeps its place.
        line.sleep(1);
        line.tasks_added(1);
        assert_eq!(woken(&line), [1, 2]);
    }

    #[test]
    fn a_claim_that_goes_without_its_task_passes_the_wake_on() {
        let mut line = line(3);
        line.tasks_added(1);
        line.leave(1, false);
        assert_eq!(woken(&line), [2]);
        line.leave(2, true);
        assert_eq!(woken(&line), [0; 0], "a task that was taken wakes nobody");
    }

    #[test]
    fn a_task_that_comes_while_all_look_is_looked_for_again() {
        let mut line = WaitingClaims::default();
        let numbers = [line.join(Arc::default()), line.join(Arc::default())];
        line.tasks_added(5);
        for number in numbers {
            line.sleep(number);
            assert!(!line.sleeps(number), "one check for each");
        }
        for number in numbers {
            line.sleep(number);
            assert!(line.sleeps(number), "and no more than one");
        }
    }

    #[test]
    fn where_nobody_knows_how_many_came_one_after_the_other_looks_until_one_finds_nothing() {
        let mut line = line(4);
        line.unknown_added();
        line.leave(1, true);
        line.leave(2, true);
        assert_eq!(woken(&line), [3]);
        line.sleep(3);
        assert_eq!(woken(&line), [0; 0]);
        line.unknown_added();
        line.leave(3, false);
        assert_eq!(woken(&line), [4], "also when it was refused, as all are whose queue is gone");
    }

    #[test]
    fn only_the_oldest_claim_looks_when_a_lease_ends() {
        let (mut line, now) = (line(3), Instant::now());
        let later = now + Duration::from_secs(1);
        line.check_by(later);
        line.check_by(later + Duration::from_secs(1));
        assert_eq!([1, 2, 3].map(|number| line.checks_at(number)), [Some(later), None, None]);
        line.check(1);
        assert_eq!(line.checks_at(2), Some(later), "the next takes over");
        line.due(2, now);
        assert!(line.sleeps(2), "not before its time");
        line.due(2, later);
        assert_eq!(woken(&line), [1, 2]);
    }

    #[test]
    fn nothing_is_kept_for_claims_that_are_gone() {
        let mut line = WaitingClaims::default();
        let number = line.join(Arc::default());
        line.tasks_added(1);
        line.unknown_added();
        line.leave(number, true);
        assert!(line.is_empty() && line.kept == 0 && !line.kept_any);
    }
}
