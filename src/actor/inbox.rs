//! Where a request actor finds new calls, and whether a new call has to go there.
//!
//! One message tells the actor of all calls that came since the last. Where the queue is at rest, a
//! new call begins on its caller's thread and never comes here. It must not overtake one of its
//! part that was there before it and waits for a link, or whose failed attempt nobody has decided
//! about; calls that sleep until their retry are passed as ever. The argument: the queue leaves its
//! rest before a call is put in, before the actor is told of a failed attempt, and before the actor
//! handles any message. It is at rest again only when, under the lock that guards the new calls,
//! none is new, none waits and none is undecided (`end_work`). So whoever finds it at rest comes
//! after no such call. Two that come at the same moment have no order. An actor that fails over a
//! message leaves the queue out of its rest, until its successor has looked into the ledger.

use crate::call::Call;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
};

/// New calls of one shard, in order. What is lost here with an actor is in the ledger still.
pub(crate) struct Inbox {
    new: Mutex<New>,
    /// At first there is nothing, and nobody: an actor comes with the first call that needs one.
    at_rest: AtomicBool,
}

/// What the actor has not taken in yet.
#[derive(Default)]
struct New {
    calls: VecDeque<Arc<Call>>,
    /// How many failed attempts it was told of and has not decided about.
    undecided: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { new: Mutex::default(), at_rest: AtomicBool::new(true) }
    }
}

impl Inbox {
    /// Whether no call waits here or with the actor. Acquires what was released with the rest: the
    /// calls that the actor has begun.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.at_rest.load(Acquire)
    }

    /// Puts a call in; true if the actor must be told.
    pub(crate) fn push(&self, call: Arc<Call>) -> bool {
        let calls = &mut self.new.lock().calls;
        self.at_rest.store(false, Release);
        calls.push_back(call);
        calls.len() == 1
    }

    /// The oldest call.
    pub(crate) fn pop(&self) -> Option<Arc<Call>> {
        let calls = &mut self.new.lock().calls;
        let call = calls.pop_front();
        // After a rush of calls the memory is given back.
        if calls.is_empty() && calls.capacity() > 4_096 {
            calls.shrink_to_fit();
        }
        call
    }

    /// The actor will be told of a failed attempt. Its place in the order is kept by the lock.
    pub(crate) fn attempt_failed(&self) {
        let mut new = self.new.lock();
        new.undecided += 1;
        self.at_rest.store(false, Release);
    }

    /// The actor was told of it. Where the message is a former actor's, it was counted no more.
    pub(crate) fn failure_heard(&self) {
        let mut new = self.new.lock();
        new.undecided = new.undecided.saturating_sub(1);
    }

    /// The actor begins to work on its calls.
    pub(crate) fn begin_work(&self) {
        self.at_rest.store(false, Release);
    }

    /// The actor has done what it can do now. `may_rest`: no call waits for a link with it, and it
    /// takes new ones.
    pub(crate) fn end_work(&self, may_rest: bool) {
        let new = self.new.lock();
        let nothing_left = new.calls.is_empty() && new.undecided == 0;
        self.at_rest.store(may_rest && nothing_left, Release);
    }

    /// Whether no call is new.
    pub(crate) fn is_empty(&self) -> bool {
        self.new.lock().calls.is_empty()
    }

    /// Forgets them all, failed ones too: an actor that begins finds them in the ledger.
    pub(crate) fn clear(&self) {
        let mut new = self.new.lock();
        new.calls.clear();
        new.undecided = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_rests_only_when_its_actor_has_nothing_left() {
        let inbox = Inbox::default();
        assert!(inbox.is_at_rest(), "there was no call yet");
        inbox.begin_work();
        assert!(!inbox.is_at_rest(), "it is at work, and may fail over it");
        inbox.end_work(false);
        assert!(!inbox.is_at_rest(), "calls wait with it");
        inbox.end_work(true);
        assert!(inbox.is_at_rest());
        for _ in 0..2 {
            inbox.attempt_failed();
        }
        for left in [1, 0] {
            inbox.begin_work();
            inbox.failure_heard();
            inbox.end_work(true);
            assert_eq!(inbox.is_at_rest(), left == 0, "{left} are not decided about");
        }
    }
}
