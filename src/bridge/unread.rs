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

/// How long an answer may be beyond the limit: others may be read meanwhile, and so may this one.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer of which its client reads so much has that time anew.
const READ: usize = 64 << 10;

/// The room of a bridge, or of one of its connections; and as much again, for answers that find no
/// room for a short time.
#[derive(Debug)]
pub(super) struct Room {
    within: AtomicUsize,
    beyond: AtomicUsize,
    most: usize,
    /// The bridge's, of a connection's.
    above: Option<Arc<Room>>,
}

/// Which half of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Within,
    Beyond,
}

/// What one answer takes of a room; given back when dropped.
#[derive(Debug)]
struct Share<'a> {
    room: &'a Room,
    half: Half,
    bytes: usize,
}

/// What one answer holds while it waits for its client.
#[derive(Debug, Default)]
pub(super) struct Held<'a> {
    share: Option<Share<'a>>,
    /// For how long it may be beyond the limit, since it came there.
    patience: Option<Pin<Box<Sleep>>>,
    /// What h2 took of it since then: as a rule its client reads that.
    read: usize,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { within: AtomicUsize::new(0), beyond: AtomicUsize::new(0), most, above: None }
    }

    /// Half of it, for one connection.
    pub(super) fn of_a_connection(self: &Arc<Self>) -> Self {
        Self { above: Some(self.clone()), ..Self::new(self.most / 2) }
    }

    /// A share of `bytes`, if there is room.
    fn take(&self, half: Half, bytes: usize) -> Option<Share<'_>> {
        // Not `then_some`: a share that is made is given back.
        self.add(half, bytes).then(|| Share { room: self, half, bytes })
    }

    fn used(&self, half: Half) -> &AtomicUsize {
        match half {
            Half::Within => &self.within,
            Half::Beyond => &self.beyond,
        }
    }

    fn add(&self, half: Half, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.most);
        if self.used(half).fetch_update(Relaxed, Relaxed, fits).is_err() {
            return false;
        }
        if self.above.as_ref().is_none_or(|above| above.add(half, bytes)) {
            return true;
        }
        self.used(half).fetch_sub(bytes, Relaxed);
        false
    }

    fn give_back(&self, half: Half, bytes: usize) {
        self.used(half).fetch_sub(bytes, Relaxed);
        if let Some(above) = &self.above {
            above.give_back(half, bytes);
        }
    }
}

impl Share<'_> {
    /// Makes it a share of `bytes`, if there is room.
    fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.room.add(self.half, bytes - self.bytes) {
            return false;
        }
        self.room.give_back(self.half, self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        true
    }
}

impl<'a> Held<'a> {
    /// It holds `bytes` now. Ready when it has been beyond the limit for too long, or there is no
    /// room for it even there.
    pub(super) fn poll_hold(
        &mut self,
        room: &'a Room,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match self.hold(room, bytes) {
            None => Poll::Ready(()),
            Some(Half::Within) => {
                self.patience = None;
                Poll::Pending
            }
            Some(Half::Beyond) => {
                let patience = self.patience.get_or_insert_with(|| {
                    self.read = 0;
                    Box::pin(sleep(PATIENCE))
                });
                patience.as_mut().poll(cx)
            }
        }
    }

    /// In which half there is room for `bytes`. What is held is not let go for it.
    fn hold(&mut self, room: &'a Room, bytes: usize) -> Option<Half> {
        for half in [Half::Within, Half::Beyond] {
            let fits = match &mut self.share {
                Some(share) if share.half == half => share.resize(bytes),
                share => room.take(half, bytes).map(|taken| *share = Some(taken)).is_some(),
            };
            if fits {
                return Some(half);
            }
        }
        self.share = None;
        None
    }

    /// What it waited with is sent, and so much of it lies here still.
    pub(super) fn left(&mut self, bytes: usize) {
        if bytes == 0 {
            (self.share, self.patience) = (None, None);
        } else if let Some(share) = &mut self.share {
            share.resize(bytes.min(share.bytes));
        }
    }

    /// h2 takes so much of it.
    pub(super) fn read(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes);
        if self.read >= READ {
            self.patience = None;
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.half, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use std::future::poll_fn;

    #[test]
    fn a_connection_has_half_and_what_is_not_needed_any_more_is_given_back() {
        for half in [Half::Within, Half::Beyond] {
            let all = Arc::new(Room::new(100));
            let (first, second, third) =
                (all.of_a_connection(), all.of_a_connection(), all.of_a_connection());
            assert!(first.take(half, 51).is_none(), "more than half");
            let one = first.take(half, 50).expect("half of it");
            assert!(first.take(half, 1).is_none(), "the connection's half is used");
            let _other = second.take(half, 50).expect("the other half");
            assert!(third.take(half, 1).is_none(), "all of it is used");
            drop(one);
            assert!(third.take(half, 50).is_some() && first.take(half, 50).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_five_seconds_beyond_the_limit_and_again_where_it_is_read() {
        let room = Arc::new(Room::new(200)).of_a_connection();
        let mut full = Held::default();
        assert!(poll!(poll_fn(|cx| full.poll_hold(&room, 60, cx))).is_pending());
        let mut held = Held::default();
        let since = tokio::time::Instant::now();
        poll_fn(|cx| held.poll_hold(&room, 50, cx)).await;
        assert_eq!(since.elapsed(), PATIENCE);
        held.read(READ - 1);
        assert!(poll!(poll_fn(|cx| held.poll_hold(&room, 50, cx))).is_ready());
        held.read(1);
        assert!(poll!(poll_fn(|cx| held.poll_hold(&room, 50, cx))).is_pending());
        let mut third = Held::default();
        assert!(poll!(poll_fn(|cx| third.poll_hold(&room, 51, cx))).is_ready(), "no room at all");
        assert!(poll!(poll_fn(|cx| held.poll_hold(&room, 40, cx))).is_pending());
        assert!(held.patience.is_none(), "there is room for less");
        full.left(10);
        assert!(poll!(poll_fn(|cx| third.poll_hold(&room, 50, cx))).is_pending());
        assert!(poll!(poll_fn(|cx| third.poll_hold(&room, 51, cx))).is_pending());
        assert_eq!(third.share.as_ref().map(|share| share.half), Some(Half::Beyond));
        tokio::time::sleep(PATIENCE).await;
        third.left(0);
        assert!(poll!(poll_fn(|cx| third.poll_hold(&room, 51, cx))).is_pending(), "as new");
        full.left(0);
        held.left(0);
        assert!(poll!(poll_fn(|cx| third.poll_hold(&room, 100, cx))).is_pending(), "all of it");
        assert!(third.patience.is_none());
    }
}
