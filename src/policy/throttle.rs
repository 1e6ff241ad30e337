//! The retry throttle: keeps retries a fraction of calls, so that a struggling server is not
//! overloaded.
//!
//! Two rules. *Share*, the default: a retry is a debt of 1; each call repays `ratio` of it, each
//! second `floor`. A retry goes while the debt, with it, is at most what five seconds repay. A
//! call's first retry goes, too, while the debt, with it, is at most the number of open calls: a
//! failure that befalls all of them at once, and once, costs none. A storm stays near `1 + ratio`,
//! and a quiet client always gets its retries. *Bucket*: gRPC A6's tokens, when configured.
//!
//! Only statuses that the peer sent are throttled; a first attempt never is.

use std::time::{Duration, Instant};

/// Which throttle, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ThrottleRule {
    /// Retries are not throttled.
    Off,
    /// A retry is a debt of 1 that calls and time repay. It goes while the debt stays within what
    /// five seconds repay (at least one retry), a call's first also while it stays within the
    /// number of open calls.
    Share {
        /// How much of a retry each call repays.
        ratio: f64,
        /// How many retries each second repays.
        floor: f64,
    },
    /// gRPC A6: each retryable failure costs a token, each success earns `token_ratio`; above half
    /// of `max_tokens`, retries go.
    Bucket {
        /// The bucket's size.
        max_tokens: f64,
        /// What a success earns.
        token_ratio: f64,
    },
}

/// How many seconds of the floor may be owed by retries of any number.
const OWED_SECONDS: f64 = 5.0;

/// Thousandths of a retry or a token, so that nothing drifts.
const MILLI: f64 = 1_000.0;

/// What one retry costs, in thousandths.
const ONE: i64 = 1_000;

/// A throttle at work, shared by all calls of a channel.
#[derive(Debug)]
pub(crate) struct Throttle {
    rule: ThrottleRule,
    /// What retries have cost and nothing has repaid yet (`Share`).
    owed: i64,
    /// Until when time has repaid its part (`Share`).
    repaid: Instant,
    /// What is left in the bucket (`Bucket`).
    tokens: i64,
}

impl Throttle {
    /// Starts with nothing owed, or with a full bucket.
    pub(crate) fn new(rule: ThrottleRule, now: Instant) -> Self {
        let tokens = match rule {
            ThrottleRule::Bucket { max_tokens, .. } => milli(max_tokens),
            ThrottleRule::Off | ThrottleRule::Share { .. } => 0,
        };
        Self { rule, owed: 0, repaid: now, tokens }
    }

    /// A call was submitted.
    pub(crate) fn call_started(&mut self) {
        if let ThrottleRule::Share { ratio, .. } = self.rule {
            self.repay(milli(ratio));
        }
    }

    /// What it allows now: how many retries more, of at most how many; none where it is off.
    pub(crate) fn allowance(&mut self, now: Instant) -> Option<(f64, f64)> {
        let whole = |milli: i64| milli as f64 / MILLI;
        match self.rule {
            ThrottleRule::Off => None,
            ThrottleRule::Bucket { max_tokens, .. } => Some((whole(self.tokens), max_tokens)),
            ThrottleRule::Share { ratio, floor } if ratio + floor <= 0.0 => Some((0.0, 0.0)),
            ThrottleRule::Share { floor, .. } => {
                self.repay_for_time(now, floor);
                let most = (floor * OWED_SECONDS).max(1.0);
                Some(((most - whole(self.owed)).max(0.0), most))
            }
        }
    }

    /// A call succeeded.
    pub(crate) fn call_succeeded(&mut self) {
        if let ThrottleRule::Bucket { max_tokens, token_ratio } = self.rule {
            self.tokens = self.tokens.saturating_add(milli(token_ratio)).min(milli(max_tokens));
        }
    }

    /// The peer answered with a retryable status, or forbade retries by pushback (A6 charges both).
    pub(crate) fn peer_failed(&mut self) {
        if let ThrottleRule::Bucket { .. } = self.rule {
            self.tokens = (self.tokens - ONE).max(0);
        }
    }

    /// Whether a retry may go now, the call's first or a later one, while so many calls are open;
    /// if so, it is owed.
    pub(crate) fn take(&mut self, now: Instant, first: bool, open_calls: usize) -> bool {
        match self.rule {
            ThrottleRule::Off => true,
            ThrottleRule::Bucket { max_tokens, .. } => self.tokens > milli(max_tokens) / 2,
            // A debt that nothing ever repays is not made.
            ThrottleRule::Share { ratio, floor } if ratio + floor <= 0.0 => false,
            ThrottleRule::Share { floor, .. } => {
                self.repay_for_time(now, floor);
                let owed = self.owed.saturating_add(ONE);
                let at_once = if first { milli(open_calls as f64) } else { 0 };
                let granted = owed <= milli((floor * OWED_SECONDS).max(1.0)).max(at_once);
                if granted {
                    self.owed = owed;
                }
                granted
            }
        }
    }

    fn repay(&mut self, milli: i64) {
        self.owed = self.owed.saturating_sub(milli).max(0);
    }

    /// Repays whole thousandths only and keeps the rest of the time for later.
    fn repay_for_time(&mut self, now: Instant, floor: f64) {
        let elapsed = now.saturating_duration_since(self.repaid);
        let earned = (elapsed.as_secs_f64() * floor * MILLI).floor();
        if earned < 1.0 {
            return;
        }
        self.repay(earned as i64);
        let took = Duration::try_from_secs_f64(earned / (floor * MILLI));
        let took = took.map_or(elapsed, |took| took.min(elapsed));
        self.repaid = self.repaid.checked_add(took).unwrap_or(now);
    }
}

fn milli(whole: f64) -> i64 {
    (whole * MILLI) as i64
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
