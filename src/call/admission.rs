//! The bounds of the queue: how many calls may be open at once, and how large their requests.
//!
//! A call is admitted before it reaches any mailbox, so that neither mailboxes nor the ledger can
//! grow beyond `queue.max_calls` and `queue.max_bytes`.

use crate::{config::Queue, model::ShedReason, telemetry::Counts};
use std::sync::{Arc, atomic::Ordering::SeqCst};

/// What is taken of `queue.max_bytes` for a request that is not whole yet: many that come piece by
/// piece shall not hold more than those that wait. Given back when dropped.
pub(crate) struct Gathering {
    counts: Arc<Counts>,
    most: usize,
    size: usize,
}

impl Gathering {
    pub(crate) fn new(counts: &Arc<Counts>, queue: &Queue) -> Self {
        Self { counts: counts.clone(), most: queue.max_bytes, size: 0 }
    }

    /// Takes as much as `size` bytes need in all.
    pub(crate) fn grow(&mut self, size: usize) -> Result<(), ShedReason> {
        let more = size.saturating_sub(self.size);
        let below = |n: usize| n.checked_add(more).filter(|n| *n <= self.most);
        self.counts
            .bytes
            .fetch_update(SeqCst, SeqCst, below)
            .map_err(|_| ShedReason::TooManyBytes)?;
        self.size += more;
        Ok(())
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.counts.bytes.fetch_sub(self.size, SeqCst);
    }
}

/// One call's share of the bounds; given back when dropped.
pub(crate) struct Admission {
    counts: Arc<Counts>,
    size: usize,
}

impl Admission {
    /// Takes a share for a request of `size` bytes, or says which bound is reached.
    pub(crate) fn new(
        counts: &Arc<Counts>,
        queue: &Queue,
        size: usize,
    ) -> Result<Self, ShedReason> {
        let below =
            |bound: usize, more: usize| move |n: usize| n.checked_add(more).filter(|n| *n <= bound);
        let too_many = |_| ShedReason::TooManyCalls;
        counts.open.fetch_update(SeqCst, SeqCst, below(queue.max_calls, 1)).map_err(too_many)?;
        if counts.bytes.fetch_update(SeqCst, SeqCst, below(queue.max_bytes, size)).is_err() {
            counts.open.fetch_sub(1, SeqCst);
            return Err(ShedReason::TooManyBytes);
        }
        Ok(Self { counts: counts.clone(), size })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, SeqCst);
        self.counts.bytes.fetch_sub(self.size, SeqCst);
    }
}
