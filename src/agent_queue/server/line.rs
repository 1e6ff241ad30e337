//! The claims that wait for a task of one queue, in the order in which they came. Pure.
//!
//! A claim rests here, or looks at the store. Each task that comes wakes one claim that rests, the
//! oldest, and no other: thousands may wait. Nothing is left lying:
//!
//! - a claim that was woken and went away without a task passes its wake on to the next;
//! - a wake that comes while all claims look is kept for the first that finds nothing;
//! - where nobody knows how many tasks came, the oldest looks, and the next is woken until one
//!   finds nothing.
//!
//! Leases end by themselves, so the oldest claim that rests also looks when the next lease ends.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};
use tokio::sync::Notify;

/// Why a claim looks at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// By itself: it came, or its time is over.
    Own,
    /// For one task that came.
    One,
    /// For nobody knows how many: the next one looks too, unless this one finds nothing.
    Any,
}

/// One claim's place.
#[derive(Debug)]
struct Seat {
    looks: Option<Look>,
    /// Told whenever the claim has to look, or the time of its next look has changed.
    told: Arc<Notify>,
}

/// The claims that wait for one queue.
#[derive(Debug, Default)]
pub(super) struct Line {
    last: u64,
    seats: HashMap<u64, Seat>,
    /// Those of them that rest, the oldest first.
    resting: BTreeSet<u64>,
    /// Wakes that found nobody at rest: at most one for each that looks.
    kept: usize,
    /// Whether one of unknown number was among them.
    kept_any: bool,
    /// When the oldest is to look by itself.
    look_at: Option<Instant>,
}

impl Line {
    /// A claim comes. It is about to look.
    pub(super) fn join(&mut self, told: Arc<Notify>) -> u64 {
        self.last += 1;
        self.seats.insert(self.last, Seat { looks: Some(Look::Own), told });
        self.last
    }

    /// A claim found nothing and rests, unless it has to look again at once.
    pub(super) fn rest(&mut self, number: u64) {
        let kept = match (self.kept_any, self.kept) {
            (true, _) => Some(Look::Any),
            (false, 0) => None,
            (false, _) => Some(Look::One),
        };
        match kept {
            Some(Look::Any) => self.kept_any = false,
            Some(_) => self.kept -= 1,
            None => {}
        }
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.looks = kept;
        if kept.is_none() {
            self.resting.insert(number);
        }
    }

    /// A claim looks now, for a reason of its own.
    pub(super) fn look(&mut self, number: u64) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.looks.get_or_insert(Look::Own);
        }
        self.rises(number);
    }

    /// Whether a claim rests.
    pub(super) fn rests(&self, number: u64) -> bool {
        self.resting.contains(&number)
    }

    /// When this claim is to look by itself: only the oldest is.
    pub(super) fn looks_at(&self, number: u64) -> Option<Instant> {
        self.look_at.filter(|_| self.resting.first() == Some(&number))
    }

    /// The oldest claim looks at the time that was set for it.
    pub(super) fn due(&mut self, number: u64, now: Instant) {
        if self.looks_at(number).is_some_and(|at| at <= now) {
            self.look_at = None;
            self.wake(number, Look::Any);
        }
    }

    /// A lease ends then: the oldest claim looks, if it rests until then.
    pub(super) fn look_by(&mut self, at: Instant) {
        if self.look_at.is_none_or(|known| at < known) {
            self.look_at = Some(at);
            self.tell_the_first();
        }
    }

    /// So many tasks came.
    pub(super) fn tasks(&mut self, count: u32) {
        let looking = self.looking();
        for left in (1..=count as usize).rev() {
            let Some(number) = self.resting.first().copied() else {
                self.kept = (self.kept + left).min(looking);
                return;
            };
            self.wake(number, Look::One);
        }
    }

    /// Nobody knows how many tasks came, or the queue is gone.
    pub(super) fn any(&mut self) {
        match self.resting.first().copied() {
            Some(number) => self.wake(number, Look::Any),
            None => self.kept_any = self.looking() > 0,
        }
    }

    /// A claim goes; `served` where it has a task.
    pub(super) fn leave(&mut self, number: u64, served: bool) {
        self.rises(number);
        let looks = self.seats.remove(&number).and_then(|seat| seat.looks);
        let looking = self.looking();
        self.kept = self.kept.min(looking);
        self.kept_any &= looking > 0;
        match looks {
            Some(Look::One) if !served => self.tasks(1),
            Some(Look::Any) => self.any(),
            _ => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    fn looking(&self) -> usize {
        self.seats.len() - self.resting.len()
    }

    fn wake(&mut self, number: u64, look: Look) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.looks = Some(look);
            seat.told.notify_one();
        }
        self.rises(number);
    }

    /// Out of those who rest. The next oldest then knows when to look.
    fn rises(&mut self, number: u64) {
        let first = self.resting.first() == Some(&number);
        if self.resting.remove(&number) && first && self.look_at.is_some() {
            self.tell_the_first();
        }
    }

    fn tell_the_first(&self) {
        let first = self.resting.first().and_then(|number| self.seats.get(number));
        if let Some(seat) = first {
            seat.told.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A line in which `count` claims rest.
    fn line(count: u64) -> Line {
        let mut line = Line::default();
        for _ in 0..count {
            let number = line.join(Arc::default());
            line.rest(number);
        }
        line
    }

    fn woken(line: &Line) -> Vec<u64> {
        let mut woken: Vec<_> =
            line.seats.keys().copied().filter(|number| !line.rests(*number)).collect();
        woken.sort();
        woken
    }

    #[test]
    fn as_many_claims_wake_as_tasks_came_and_the_oldest_first() {
        let mut line = line(1000);
        line.tasks(2);
        assert_eq!(woken(&line), [1, 2]);
        // Who was woken for nothing keeps its place.
        line.rest(1);
        line.tasks(1);
        assert_eq!(woken(&line), [1, 2]);
    }

    #[test]
    fn a_claim_that_goes_without_its_task_passes_the_wake_on() {
        let mut line = line(3);
        line.tasks(1);
        line.leave(1, false);
        assert_eq!(woken(&line), [2]);
        line.leave(2, true);
        assert_eq!(woken(&line), [0; 0], "a task that was taken wakes nobody");
    }

    #[test]
    fn a_task_that_comes_while_all_look_is_looked_for_again() {
        let mut line = Line::default();
        let numbers = [line.join(Arc::default()), line.join(Arc::default())];
        line.tasks(5);
        for number in numbers {
            line.rest(number);
            assert!(!line.rests(number), "one look for each");
        }
        for number in numbers {
            line.rest(number);
            assert!(line.rests(number), "and no more than one");
        }
    }

    #[test]
    fn where_nobody_knows_how_many_came_one_after_the_other_looks_until_one_finds_nothing() {
        let mut line = line(4);
        line.any();
        line.leave(1, true);
        line.leave(2, true);
        assert_eq!(woken(&line), [3]);
        line.rest(3);
        assert_eq!(woken(&line), [0; 0]);
        line.any();
        line.leave(3, false);
        assert_eq!(woken(&line), [4], "also when it was refused, as all are whose queue is gone");
    }

    #[test]
    fn only_the_oldest_claim_looks_when_a_lease_ends() {
        let (mut line, now) = (line(3), Instant::now());
        let later = now + Duration::from_secs(1);
        line.look_by(later);
        line.look_by(later + Duration::from_secs(1));
        assert_eq!([1, 2, 3].map(|number| line.looks_at(number)), [Some(later), None, None]);
        line.look(1);
        assert_eq!(line.looks_at(2), Some(later), "the next takes over");
        line.due(2, now);
        assert!(line.rests(2), "not before its time");
        line.due(2, later);
        assert_eq!(woken(&line), [1, 2]);
    }

    #[test]
    fn nothing_is_kept_for_claims_that_are_gone() {
        let mut line = Line::default();
        let number = line.join(Arc::default());
        line.tasks(1);
        line.any();
        line.leave(number, true);
        assert!(line.is_empty() && line.kept == 0 && !line.kept_any);
    }
}
