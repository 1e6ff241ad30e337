//! What answers may hold in memory that their clients do not read: so much in all, and half of it
//! for one connection, so that one client that reads nothing leaves room for the others.
//!
//! Nothing is counted of an answer that its client takes as it comes, which is the rule.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The room of a bridge, or of one of its connections.
#[derive(Debug)]
pub(super) struct Room {
    used: AtomicUsize,
    most: usize,
    /// The bridge's, of a connection's.
    above: Option<Arc<Room>>,
}

/// An answer's share of the room; given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { used: AtomicUsize::new(0), most, above: None }
    }

    /// Half of it, for one connection.
    pub(super) fn of_a_connection(self: &Arc<Self>) -> Self {
        Self { used: AtomicUsize::new(0), most: self.most / 2, above: Some(self.clone()) }
    }

    /// A share of `bytes`, if there is room.
    pub(super) fn take(&self, bytes: usize) -> Option<Share<'_>> {
        // Not `then_some`: a share that is made is given back.
        self.add(bytes).then(|| Share { room: self, bytes })
    }

    fn add(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.most);
        if self.used.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return false;
        }
        if self.above.as_ref().is_none_or(|above| above.add(bytes)) {
            return true;
        }
        self.used.fetch_sub(bytes, Relaxed);
        false
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
        if let Some(above) = &self.above {
            above.give_back(bytes);
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_half_and_what_is_not_needed_any_more_is_given_back() {
        let all = Arc::new(Room::new(100));
        let (first, second, third) =
            (all.of_a_connection(), all.of_a_connection(), all.of_a_connection());
        assert!(first.take(51).is_none(), "more than half");
        let one = first.take(50).expect("half of it");
        assert!(first.take(1).is_none(), "the connection's half is used");
        let _other = second.take(50).expect("the other half");
        assert!(third.take(1).is_none(), "all of it is used");
        drop(one);
        assert!(third.take(50).is_some() && first.take(50).is_some());
    }
}
