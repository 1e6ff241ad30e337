//! Where a request actor finds new calls, and whether a new call has to go there.
//!
//! One message tells the actor of all calls that came since the last. Where the queue is at rest, a
//! new call begins on its caller's thread and never comes here. It must not overtake one that was
//! there before it. The argument: the queue leaves its rest before a call is put in or the actor
//! touches one (`push`, `begin_work`), and is at rest again only when the actor has nothing left in
//! its hands: under the lock that guards the new calls, no call waits for a link and none is new
//! (`end_work`). So whoever finds it at rest comes after no call that waits. Two that come at the
//! same moment have no order. An actor that fails leaves the queue as it is, out of its rest, until
//! its successor has looked into the ledger.

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
    calls: Mutex<VecDeque<Arc<Call>>>,
    /// At first there is nothing, and nobody: an actor comes with the first call that needs one.
    at_rest: AtomicBool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { calls: Mutex::default(), at_rest: AtomicBool::new(true) }
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
        let mut calls = self.calls.lock();
        self.at_rest.store(false, Release);
        calls.push_back(call);
        calls.len() == 1
    }

    /// The oldest call.
    pub(crate) fn pop(&self) -> Option<Arc<Call>> {
        let mut calls = self.calls.lock();
        let call = calls.pop_front();
        // After a rush of calls the memory is given back.
        if calls.is_empty() && calls.capacity() > 4_096 {
            calls.shrink_to_fit();
        }
        call
    }

    /// The actor begins to work on its calls.
    pub(crate) fn begin_work(&self) {
        self.at_rest.store(false, Release);
    }

    /// The actor has done what it can do now. `holds`: it has calls that wait for a link, or takes
    /// none any more.
    pub(crate) fn end_work(&self, holds: bool) {
        let calls = self.calls.lock();
        self.at_rest.store(!holds && calls.is_empty(), Release);
    }

    /// Whether no call is new.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.lock().is_empty()
    }

    /// Forgets them all: an actor that begins finds them in the ledger.
    pub(crate) fn clear(&self) {
        self.calls.lock().clear();
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
        inbox.end_work(true);
        assert!(!inbox.is_at_rest(), "calls wait with it");
    }
}
