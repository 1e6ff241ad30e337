//! How many streams may be open on a link at once: within our own limit and the peer's
//! MAX_CONCURRENT_STREAMS; and whether somebody waits for room.
//!
//! Streams are reserved by several request actors and given back wherever a call ends, at the same
//! time and without a lock. Nobody may wait for room that is there. The argument: who finds no room
//! sets `wanted` and then looks once more; who makes room changes the numbers and then takes
//! `wanted`. Both do so by one atomic swap of the same flag, so one of the two swaps comes second,
//! and its side sees all that the other side did before its own. If the one who wants room is
//! second, its second look finds the room. If the one who makes room is second, it finds `wanted`
//! set, and reports the room to all. The same holds for a change of the peer's limit.
//!
//! Only who makes room clears the flag. One who finds room at its second look must leave it:
//! another may have set it meanwhile, and would never hear of the next room. The price is a report
//! that nobody needs.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use tokio::sync::Notify;

/// The places for streams on one link.
#[derive(Debug)]
pub(super) struct Window {
    own_limit: usize,
    /// What the peer's limit leaves for calls.
    peer_limit: AtomicUsize,
    /// The peer's limit.
    said: AtomicUsize,
    /// Told when that is another one.
    said_anew: Notify,
    /// Streams that are no calls: they count for the peer, and for nobody else.
    aside: Mutex<usize>,
    open: AtomicUsize,
    wanted: AtomicBool,
}

/// Whether there is room for one more stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is.
    Free,
    /// The peer's MAX_CONCURRENT_STREAMS is 0.
    PeerAllowsNone,
    /// `open` streams are, and only `limit` may be.
    /// `by_peer`: by the peer's limit, and not by `max_in_flight`.
    Taken { open: usize, limit: usize, by_peer: bool },
}

impl Window {
    /// No stream is open, and the peer has set no limit yet.
    pub(super) fn new(own_limit: usize) -> Self {
        Self {
            own_limit,
            peer_limit: AtomicUsize::new(usize::MAX),
            said: AtomicUsize::new(usize::MAX),
            said_anew: Notify::new(),
            aside: Mutex::new(0),
            open: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
        }
    }

    /// Takes a place; false if there is none. Then whoever makes room finds that one is wanted.
    /// `begins_to_want` is called where nobody wanted one before.
    pub(super) fn reserve(&self, begins_to_want: impl FnOnce()) -> bool {
        if self.try_reserve() {
            return true;
        }
        if !self.wanted.swap(true, SeqCst) {
            begins_to_want();
        }
        self.try_reserve()
    }

    /// Takes a place, or leaves everything as it is.
    pub(super) fn try_reserve(&self) -> bool {
        // `wanted` orders this load after the store of a new limit, where that matters.
        let limit = self.own_limit.min(self.peer_limit.load(Relaxed));
        let room = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, room).is_ok()
    }

    /// Gives a place back; true if one is wanted, which is to be reported.
    pub(super) fn release(&self) -> bool {
        self.open.fetch_sub(1, SeqCst);
        self.wanted.swap(false, SeqCst)
    }

    /// Takes note of the peer's limit; true if a place is wanted, which is to be reported.
    pub(super) fn set_peer_limit(&self, limit: usize) -> bool {
        let aside = self.aside.lock();
        self.said.store(limit, SeqCst);
        self.leave_for_calls(aside);
        self.said_anew.notify_waiters();
        self.wanted.swap(false, SeqCst)
    }

    /// Takes a place for a stream that is no call: one of the peer's, and none of our own. Never
    /// waited for: a stream too many waits until the peer allows it. It makes no room, and so
    /// leaves `wanted` alone.
    pub(super) fn take_aside(&self) {
        let mut aside = self.aside.lock();
        *aside += 1;
        self.leave_for_calls(aside);
    }

    /// Gives it back; true if a place is wanted, which is to be reported.
    pub(super) fn release_aside(&self) -> bool {
        let mut aside = self.aside.lock();
        *aside = aside.saturating_sub(1);
        self.leave_for_calls(aside);
        self.wanted.swap(false, SeqCst)
    }

    /// The lock keeps the numbers together; whoever takes a place needs only their difference.
    fn leave_for_calls(&self, aside: MutexGuard<'_, usize>) {
        let left = self.said.load(SeqCst).saturating_sub(*aside);
        self.peer_limit.store(left, SeqCst);
    }

    /// The peer's limit, if it set one.
    pub(super) fn peer_limit(&self) -> Option<u32> {
        u32::try_from(self.said.load(Relaxed)).ok()
    }

    /// Waits until the peer's limit is one that is `wanted`. Cancel safe.
    pub(super) async fn limit_is(&self, wanted: impl Fn(Option<u32>) -> bool) {
        loop {
            // From here on it hears of changes, before it is polled.
            let changed = self.said_anew.notified();
            if wanted(self.peer_limit()) {
                return;
            }
            changed.await;
        }
    }

    /// How many streams are open. A moment's number: it may be another one already.
    pub(super) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Whether somebody waits for room.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// Whether there is room, for whoever has to say why there was none.
    pub(super) fn room(&self) -> Room {
        let (open, peer) = (self.open(), self.peer_limit.load(Relaxed));
        match self.own_limit.min(peer) {
            0 => Room::PeerAllowsNone,
            limit if open < limit => Room::Free,
            limit => Room::Taken { open, limit, by_peer: peer <= self.own_limit },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_wanted_is_reported_once_when_there_is_room() {
        let window = Window::new(1);
        assert!(window.reserve(|| panic!("there is room")));
        let mut wanted = 0;
        for _ in 0..2 {
            assert!(!window.reserve(|| wanted += 1));
        }
        assert_eq!((wanted, window.is_wanted()), (1, true));
        assert!(window.release() && !window.is_wanted());
        assert!(window.reserve(|| panic!("there is room")));
        assert!(!window.release(), "nobody wants it");
    }

    #[test]
    fn a_higher_limit_of_the_peer_is_room() {
        let window = Window::new(10);
        assert!(!window.set_peer_limit(0) && window.room() == Room::PeerAllowsNone);
        assert!(!window.reserve(|| {}));
        assert!(window.set_peer_limit(1) && window.reserve(|| {}));
        assert_eq!(window.room(), Room::Taken { open: 1, limit: 1, by_peer: true });
    }

    #[test]
    fn a_stream_that_is_no_call_takes_a_place_of_the_peers_and_none_of_our_own() {
        let window = Window::new(10);
        window.take_aside();
        assert_eq!((window.open(), window.peer_limit()), (0, None));
        assert!(!window.set_peer_limit(2) && window.peer_limit() == Some(2));
        assert!(window.reserve(|| {}) && !window.reserve(|| {}), "one is left");
        window.take_aside();
        assert!(!window.reserve(|| panic!("one is wanted still")), "and nobody was told");
        for _ in 0..2 {
            assert!(!window.reserve(|| {}));
            assert!(window.release_aside(), "a place is wanted");
        }
        assert!(window.reserve(|| panic!("there is room")));
    }

    #[test]
    fn room_made_right_after_the_first_look_is_found_by_the_second() {
        let window = Window::new(1);
        assert!(window.reserve(|| {}));
        let mut reported = false;
        assert!(window.reserve(|| reported = window.release()));
        assert!(reported, "who makes room sees that it is wanted");
    }

    #[test]
    fn who_finds_room_at_the_second_look_leaves_the_wish_of_another() {
        let window = Window::new(1);
        assert!(window.reserve(|| {}));
        let found = window.reserve(|| {
            window.release();
            // Another request actor finds no room at this very moment.
            window.wanted.store(true, SeqCst);
        });
        assert!(found && window.is_wanted());
        assert!(window.release(), "the room is reported to it");
    }
}
