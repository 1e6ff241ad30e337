//! What a retry policy is: how often, how long between, after which codes.

use super::{
    backoff::{Backoff, jittered},
    codes::CodeSet,
};
use std::time::Duration;

/// How many policy retries a call may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryLimit {
    /// At most this many retries after the first attempt; 0 turns them off (seed:
    /// `max_retry_attempts`).
    AtMost(u32),
    /// As many as the deadline allows; configuration permits it only where there is a deadline.
    Unlimited,
}

/// When a failed attempt is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many retries.
    pub limit: RetryLimit,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The share by which a wait may vary; 0 is the seed's formula to the letter.
    pub jitter: f64,
    /// The codes worth another try.
    pub codes: CodeSet,
}

impl RetryLimit {
    /// Whether one more retry after `retries` is allowed.
    pub fn allows(self, retries: u32) -> bool {
        match self {
            Self::AtMost(limit) => retries < limit,
            Self::Unlimited => true,
        }
    }

    /// The number, if there is one.
    pub fn count(self) -> Option<u32> {
        match self {
            Self::AtMost(limit) => Some(limit),
            Self::Unlimited => None,
        }
    }
}

impl RetryPolicy {
    /// The wait before the retry with exponent `n`; `unit` is a random number in `0.0..1.0`.
    pub fn delay(&self, n: u32, unit: f64) -> Duration {
        jittered(self.backoff.delay(n), self.jitter, unit)
    }
}
