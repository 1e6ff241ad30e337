//! Why there is no admin server, in a sentence that says what to do.

use std::{fmt, io};

/// Why there is no admin server.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdminError {
    /// Something said of it is not allowed; one sentence that says what to do.
    Refused(String),
    /// The recorder could not be installed.
    Recorder(String),
    /// It cannot listen, or a file cannot be read; what, and why.
    Io(String, io::Error),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rule) => f.write_str(rule),
            Self::Recorder(why) => write!(f, "the recorder of /metrics cannot be installed: {why}"),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for AdminError {}
