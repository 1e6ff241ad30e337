//! Why an operation did not come to its end, and whether it is to be tried again.

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use std::{error::Error as _, fmt};
use tokio_postgres::error::SqlState;
use tonic::Status;

/// Why an operation's transaction ended without a commit.
#[derive(Debug)]
pub(super) enum Failure {
    /// This is the answer.
    Answer(Status),
    /// Another transaction came between; the next try sees what it did.
    Again,
    /// Leases of the queue are over: they are to be given back first.
    Overdue,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Answer(status)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            // The same name or claim, or the queue's deletion, in a transaction at the same time.
            SqlState::UNIQUE_VIOLATION,
            SqlState::FOREIGN_KEY_VIOLATION,
        ];
        match error.code() {
            Some(code) if again.contains(code) => Self::Again,
            _ => Self::Answer(unavailable(&ErrorText(&error))),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        let status = match &error {
            PoolError::Timeout(TimeoutType::Wait) => unavailable(&"all connections are busy"),
            PoolError::Timeout(_) => unavailable(&"it does not answer"),
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                unavailable(&ErrorText(error))
            }
            error => unavailable(error),
        };
        Self::Answer(status)
    }
}

/// The database cannot answer now.
pub(super) fn unavailable(why: &dyn fmt::Display) -> Status {
    Status::unavailable(format!("PostgreSQL: {why}"))
}

/// An error of the driver in one line: what happened, and why. It holds nothing of the DSN.
pub(super) struct ErrorText<'a>(pub(super) &'a tokio_postgres::Error);

impl fmt::Display for ErrorText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_db_error(), self.0.source()) {
            (Some(said), _) => write!(f, "{} (SQLSTATE {})", said.message(), said.code().code()),
            (None, Some(source)) => write!(f, "{}: {source}", self.0),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}
