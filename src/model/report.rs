//! The story of a failed call: every attempt with its code, cause and time, as the source of the `Status` it ends with.

use super::failure::{Failure, Phase};
use std::{fmt, time::Duration};
use tonic::Code;

/// One attempt of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptReport {
    /// Its number, from 0; transparent retries are numbered too.
    pub attempt: u32,
    /// The failure it ended with.
    pub failure: Failure,
    /// When it ended, counted from the call's submission.
    pub elapsed: Duration,
    /// Whether it was followed by a retry that cost nothing (the server never saw it).
    pub transparent: bool,
}

/// What happened to a call that failed. Find it with [`CallReport::of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// `pkg.Service/Method`.
    pub method: String,
    /// The failed attempts, oldest first. Past [`CallReport::KEPT`] the middle ones are only counted.
    pub attempts: Vec<AttemptReport>,
    /// How many attempts there were, kept or not.
    pub attempts_made: u32,
    /// How many of the attempts were policy retries.
    pub retries: u32,
    /// How many of the attempts were transparent retries.
    pub transparent_retries: u32,
    /// Why the call ended.
    pub outcome: Failure,
    /// From submission to the end.
    pub elapsed: Duration,
    /// Whether the server may have acted on the call, in any attempt, although it failed.
    pub maybe_processed: bool,
}

impl CallReport {
    /// How many attempts a report keeps in full.
    pub const KEPT: usize = 32;

    /// The report inside a status that a supervised call ended with.
    pub fn of(status: &tonic::Status) -> Option<&Self> {
        std::error::Error::source(status)?.downcast_ref()
    }

    /// Whether the server certainly did not act on the call.
    pub fn certainly_unprocessed(&self) -> bool {
        !self.maybe_processed
    }
}

impl AttemptReport {
    /// The gRPC code of this attempt.
    pub fn code(&self) -> Code {
        self.failure.code
    }

    /// How far this attempt can have come.
    pub fn phase(&self) -> Phase {
        self.failure.phase
    }
}

impl std::error::Error for CallReport {}

impl fmt::Display for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ended after {} attempts in {:.3} s: {}",
            self.method,
            self.attempts_made,
            self.elapsed.as_secs_f64(),
            self.outcome
        )?;
        for attempt in &self.attempts {
            write!(
                f,
                "; attempt {} at {:.3} s: {:?}, {}",
                attempt.attempt,
                attempt.elapsed.as_secs_f64(),
                attempt.failure.code,
                attempt.failure
            )?;
        }
        if self.maybe_processed {
            f.write_str("; the server may have processed it")?;
        }
        Ok(())
    }
}
