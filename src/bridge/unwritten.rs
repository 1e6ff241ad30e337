//! What h2 was given of a connection's answers and has not written yet.
//!
//! h2 takes as much of an answer as the client's windows allow, whether the client reads its socket
//! or not, and where the windows are as large as they may be, that is everything. So answers wait
//! while much of it is there, one behind the other, and what waits is counted (`unread`).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{Semaphore, SemaphorePermit};

/// So much may lie in h2.
const MOST: usize = 1 << 20;
/// So much of an answer is given at once.
pub(super) const PART: usize = 128 << 10;

/// The room of one connection in h2. Whoever uses it runs in the connection's task.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// Fair: who has waited longest is first.
    room: Semaphore,
    given: AtomicUsize,
}

impl Default for Unwritten {
    fn default() -> Self {
        Self { room: Semaphore::new(MOST), given: AtomicUsize::new(0) }
    }
}

impl Unwritten {
    /// Takes room for a part, if there is some.
    pub(super) fn take(&self, part: usize) -> bool {
        self.room.try_acquire_many(permits(part)).map(|permit| self.keep(permit)).is_ok()
    }

    /// Takes room for a part as soon as there is some. Cancel safe.
    pub(super) async fn wait(&self, part: usize) {
        let permit = self.room.acquire_many(permits(part)).await;
        self.keep(permit.expect("it is never closed"));
    }

    fn keep(&self, permit: SemaphorePermit<'_>) {
        self.given.fetch_add(permit.num_permits(), Relaxed);
        permit.forget();
    }

    /// All that was given is written.
    pub(super) fn written(&self) {
        let given = self.given.swap(0, Relaxed);
        if given > 0 {
            self.room.add_permits(given);
        }
    }
}

fn permits(part: usize) -> u32 {
    part.min(PART) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use std::pin::pin;

    #[tokio::test]
    async fn who_waits_goes_on_when_all_is_written_in_the_order_of_arrival() {
        let unwritten = Unwritten::default();
        for _ in 0..MOST / PART {
            assert!(unwritten.take(PART));
        }
        assert!(!unwritten.take(1));
        let (mut first, mut second) = (pin!(unwritten.wait(PART)), pin!(unwritten.wait(1)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        unwritten.written();
        assert!(poll!(&mut second).is_ready() && poll!(&mut first).is_ready());
        unwritten.written();
        assert!((0..MOST / PART).all(|_| unwritten.take(PART)) && !unwritten.take(1), "as before");
    }
}
