//! What a worker loop did so far, and what it holds.

use super::meters::{Meters, RunningGauge};
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
    /// Tasks whose claim was lost before their result was taken: cancelled, deleted, or the lease
    /// was over.
    pub lost: u64,
    /// Tasks of which nothing could be said until the end; their leases give them back.
    pub left: u64,
}

/// The counts of a loop, which its workers share.
pub(super) struct Tally {
    done: Mutex<Processed>,
    meters: Meters,
}

impl Tally {
    /// Of a loop on the queue of this agent.
    pub(super) fn of(agent_id: &str) -> Self {
        Self { done: Mutex::default(), meters: Meters::of(agent_id) }
    }

    /// A task was claimed.
    pub(super) fn claimed(&self) {
        self.meters.claimed();
        self.done.lock().left += 1;
    }

    /// A handler runs, for as long as what this gives lives.
    pub(super) fn runs(&self) -> RunningGauge {
        self.meters.runs()
    }

    /// The server took what was said of it.
    pub(super) fn taken(&self, update: &Update) {
        self.meters.taken(update);
        let mut done = self.done.lock();
        done.left -= 1;
        match update {
            Update::Completed(_) => done.completed += 1,
            Update::Pending => done.given_back += 1,
            _ => done.failed += 1,
        }
    }

    /// Its claim was lost.
    pub(super) fn lost(&self) {
        self.meters.lost();
        let mut done = self.done.lock();
        done.left -= 1;
        done.lost += 1;
    }

    pub(super) fn done(&self) -> Processed {
        *self.done.lock()
    }
}

impl fmt::Display for Processed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { completed, failed, given_back, lost, left } = self;
        write!(
            f,
            "{completed} completed, {failed} failed, {given_back} given back, {lost} lost, {left} \
             left"
        )
    }
}
