//! What a worker loop did so far, and what it holds.

use crate::agent_queue::Update;
use parking_lot::Mutex;
use std::fmt;

/// What a worker loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Processed {
    /// Tasks reported as COMPLETED.
    pub completed: u64,
    /// Tasks reported as FAILED.
    pub failed: u64,
    /// Tasks given back at the end, for another agent to claim.
    pub given_back: u64,
    /// Tasks whose claim was lost before their result was taken: cancelled, deleted, or the lease was over.
    pub lost: u64,
    /// Tasks of which nothing could be said until the end; their leases give them back.
    pub left: u64,
}

/// The counts of a loop, which its workers share.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Processed>);

impl Tally {
    /// A task was claimed.
    pub(super) fn claimed(&self) {
        self.0.lock().left += 1;
    }

    /// The server took what was said of it.
    pub(super) fn taken(&self, update: &Update) {
        let mut done = self.0.lock();
        done.left -= 1;
        match update {
            Update::Completed(_) => done.completed += 1,
            Update::Pending => done.given_back += 1,
            _ => done.failed += 1,
        }
    }

    /// Its claim was lost.
    pub(super) fn lost(&self) {
        let mut done = self.0.lock();
        done.left -= 1;
        done.lost += 1;
    }

    pub(super) fn done(&self) -> Processed {
        *self.0.lock()
    }
}

impl fmt::Display for Processed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { completed, failed, given_back, lost, left } = self;
        write!(f, "{completed} completed, {failed} failed, {given_back} given back, {lost} lost, {left} left")
    }
}
