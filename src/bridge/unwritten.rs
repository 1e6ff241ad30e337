//! What h2 was given of a connection's answers and has not written yet.
//!
//! h2 takes as much of an answer as the client's windows allow, whether the client reads its socket
//! or not, and where the windows are as large as they may be, that is everything. So answers wait
//! while much of it is there, and what waits is counted (`unread`).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Notify;

/// So much may lie in h2 before answers wait.
const MOST: usize = 1 << 20;

/// The count of one connection. Whoever uses it runs in the connection's task.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    bytes: AtomicUsize,
    written: Notify,
}

impl Unwritten {
    /// h2 was given so much.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Whether h2 may be given more now.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Relaxed) < MOST
    }

    /// Returns when h2 may be given more. Cancel safe.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.written.notified().await;
        }
    }

    /// All of it is written.
    pub(super) fn clear(&self) {
        if self.bytes.swap(0, Relaxed) >= MOST {
            self.written.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, poll};
    use std::pin::pin;

    #[tokio::test]
    async fn who_waits_goes_on_when_all_is_written() {
        let unwritten = Unwritten::default();
        unwritten.add(MOST - 1);
        assert!(unwritten.room().now_or_never().is_some());
        unwritten.add(1);
        let mut waiting = pin!(unwritten.room());
        assert!(poll!(&mut waiting).is_pending());
        unwritten.clear();
        assert!(poll!(&mut waiting).is_ready());
    }
}
