//! What a handler returns: its task is completed, failed, or given back.

use crate::agent_queue::Update;
use std::fmt::Display;

/// What came of a task. A handler may return this, or a `Result`: `Ok` is the result of a completed
/// task, `Err` is why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done, with this result: JSON text of at most 1 MiB.
    Completed(String),
    /// It failed, for this reason: at most 16 KiB.
    Failed(String),
    /// This machine cannot do it now, for this reason: it is given back for any agent to claim, and
    /// that does not count towards `max_claims`. The reason is logged; the server is not told it.
    ///
    /// The loop then pauses, 0.5 s growing to 10 s, and claims one task at a time until one gets
    /// on.
    GivenBack(String),
}

impl<E: Display> From<Result<String, E>> for Outcome {
    fn from(ended: Result<String, E>) -> Self {
        match ended {
            Ok(result) => Self::Completed(result),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

impl From<Outcome> for Update {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed(result) => Self::Completed(result),
            Outcome::Failed(why) => Self::Failed(why),
            Outcome::GivenBack(_) => Self::Pending,
        }
    }
}
