//! Why the database could not be opened, in one sentence for whoever starts the server.

use super::failure::{ErrorText, Failure};
use std::fmt;
use tonic::Status;

/// Why PostgreSQL could not be opened. It says nothing of the DSN's password.
#[derive(Debug)]
pub struct OpenError(String);

impl OpenError {
    pub(super) fn refused(why: String) -> Self {
        Self(why)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open the queues in PostgreSQL: {}", self.0)
    }
}

impl std::error::Error for OpenError {}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(ErrorText(&error).to_string())
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answer(status) => Self(status.message().into()),
            other => Self(format!("{other:?}")),
        }
    }
}

impl From<Status> for OpenError {
    fn from(status: Status) -> Self {
        Self(status.message().into())
    }
}
