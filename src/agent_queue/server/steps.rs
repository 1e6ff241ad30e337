//! The steps in which a whole queue is cleared or deleted, so that other operations come between
//! them.

use crate::proto::agent_queue::ClearQueueResponse;

/// How many rows an operation changes before it lets others in between.
pub(super) const STEP: usize = 500;

/// How the name of a queue begins that is being deleted. No request can have it: it is longer than
/// an id may be.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn hidden() -> String {
    format!("{}:", "deleted".repeat(40))
}

/// How far the clearing of a queue has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClearProgress {
    /// It takes the tasks up to this number: those that were there when it began.
    pub(super) until: i64,
    /// It has looked at the tasks up to this one.
    pub(super) after: i64,
    /// So many of them are deleted.
    pub(super) deleted: u64,
}

impl ClearProgress {
    /// After a step that deleted these tasks.
    pub(super) fn after_deleting(self, numbers: &[i64]) -> Self {
        let after = numbers.last().copied().unwrap_or(self.until);
        Self { after, deleted: self.deleted + numbers.len() as u64, ..self }
    }
}

/// What one step of a clearing gave.
#[derive(Debug)]
pub(super) enum ClearStep {
    /// There may be more.
    More(ClearProgress),
    /// This is the answer.
    Done(ClearQueueResponse),
}
