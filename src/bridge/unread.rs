//! What answers may hold in memory that their clients do not read: so much in all, and half of it
//! for one connection, so that one client that reads nothing leaves room for the others.
//!
//! Nothing is counted of an answer that its client takes as it comes, which is the rule.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long an answer may find no room: others may be read meanwhile, and so may this one.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer of which its client takes so much has that time anew.
const READ: usize = 64 << 10;

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
struct Share<'a> {
    room: &'a Room,
    bytes: usize,
}

/// What one answer holds while its client does not take it.
#[derive(Debug, Default)]
pub(super) struct Held<'a> {
    share: Option<Share<'a>>,
    /// How long it may find no room; since it found none.
    crowded: Option<Pin<Box<Sleep>>>,
    /// What its client took of it meanwhile.
    taken: usize,
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
    fn take(&self, bytes: usize) -> Option<Share<'_>> {
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

impl Share<'_> {
    /// Makes it a share of `bytes`; whether there is room for that.
    fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.room.add(bytes - self.bytes) {
            return false;
        }
        self.room.give_back(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        true
    }
}

impl<'a> Held<'a> {
    /// It holds `bytes` now. Ready when there was no room for them for too long.
    pub(super) fn poll_crowded(
        &mut self,
        room: &'a Room,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let fits = match &mut self.share {
            Some(share) => share.resize(bytes),
            none => {
                *none = room.take(bytes);
                none.is_some()
            }
        };
        if fits {
            self.crowded = None;
            return Poll::Pending;
        }
        self.crowded.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx)
    }

    /// Its client takes so much of it.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= READ {
            self.taken = 0;
            self.crowded = None;
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
    use futures::poll;
    use std::future::poll_fn;

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
        let mut share = first.take(10).expect("room");
        assert!(share.resize(50) && !share.resize(51), "as much as is left");
        assert!(first.take(1).is_none() && share.resize(20));
        assert!(first.take(30).is_some(), "what it gave back");
        drop(share);
        assert!(first.take(50).is_some(), "all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_room_has_five_seconds_and_again_where_it_is_read() {
        let room = Arc::new(Room::new(200)).of_a_connection();
        let mut full = Held::default();
        assert!(poll!(poll_fn(|cx| full.poll_crowded(&room, 60, cx))).is_pending());
        let mut held = Held::default();
        let since = tokio::time::Instant::now();
        poll_fn(|cx| held.poll_crowded(&room, 50, cx)).await;
        assert_eq!(since.elapsed(), PATIENCE);
        held.taken(READ - 1);
        assert!(poll!(poll_fn(|cx| held.poll_crowded(&room, 50, cx))).is_ready());
        held.taken(1);
        assert!(poll!(poll_fn(|cx| held.poll_crowded(&room, 50, cx))).is_pending());
        assert!(poll!(poll_fn(|cx| held.poll_crowded(&room, 40, cx))).is_pending());
        assert!(held.crowded.is_none(), "there is room for less");
    }
}
