//! What becomes of tasks, as the server's metrics count it.

use super::Millis;
use crate::proto::agent_queue::TaskStatus;

/// What became of a task, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEvent {
    /// It was submitted.
    Submitted,
    /// It was made to do the work of a failed one again.
    Retried,
    /// It was claimed, so long after its submission: of its first claim only.
    Claimed(Option<Millis>),
    /// A claim that holds it, or ended it, was repeated.
    ClaimedAgain,
    /// Its claim gave it back.
    GivenBack,
    /// Its claim's lease ended.
    Lost,
    /// The same, and it was lost too often: it is FAILED.
    Dead,
    /// It ended with this status, so long after its last claim.
    Ended(TaskStatus, Option<Millis>),
}
