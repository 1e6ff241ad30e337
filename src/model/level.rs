//! How much a fact matters to the person who reads the log.

use std::fmt;

/// The log level of a fact ([`Fact::level`](crate::Fact::level)), from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// For whoever looks for the reason of something.
    Debug,
    /// Part of normal life, worth a line.
    Info,
    /// Something is wrong outside: the peer, the network, the configuration.
    Warn,
    /// Something is wrong inside: a bug, or the end of supervision.
    Error,
}

impl Level {
    /// Its name, as it stands in log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
