//! What happened to the calls of a channel, in numbers: absolute ones, and what two of them differ
//! by.

use super::{code::code_name, waits::Waits};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tonic::Code;

/// The numbers of one method since the supervisor was spawned, or between two moments
/// ([`since`](Self::since)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MethodCounts {
    /// `pkg.Service/Method`; `other` for all methods past the first 1,000 of a channel.
    pub method: Arc<str>,
    /// Calls made, those that were refused included.
    pub started: u64,
    /// Calls that ended, by the number of their code.
    pub ended: [u64; 17],
    /// Attempts begun, retries of both kinds included.
    pub attempts: u64,
    /// Attempts that were answered with OK.
    pub attempts_ok: u64,
    /// Attempts that ended otherwise.
    pub attempts_failed: u64,
    /// Policy retries of calls that have ended.
    pub retries: u64,
    /// Transparent retries of calls that have ended.
    pub transparent_retries: u64,
    /// What calls that have ended had waited for, added up.
    pub waits: Waits,
    /// Calls that ended, by how long they took: up to each of [`BOUNDS`](Self::BOUNDS), and longer.
    pub latency: [u64; 42],
    /// The last call that failed.
    pub last_failure: Option<LastFailure>,
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// With which code.
    pub code: Code,
    /// The server's own words where it sent some, or else the reason in a sentence.
    pub words: Arc<str>,
    /// When.
    pub at: SystemTime,
}

impl MethodCounts {
    /// gRPC A66's bounds for durations.
    pub const BOUNDS: [Duration; 41] = {
        const fn us(micros: u64) -> Duration {
            Duration::from_micros(micros)
        }
        const fn ms(millis: u64) -> Duration {
            Duration::from_millis(millis)
        }
        [
            us(0),
            us(10),
            us(50),
            us(100),
            us(300),
            us(600),
            us(800),
            ms(1),
            ms(2),
            ms(3),
            ms(4),
            ms(5),
            ms(6),
            ms(8),
            ms(10),
            ms(13),
            ms(16),
            ms(20),
            ms(25),
            ms(30),
            ms(40),
            ms(50),
            ms(65),
            ms(80),
            ms(100),
            ms(130),
            ms(160),
            ms(200),
            ms(250),
            ms(300),
            ms(400),
            ms(500),
            ms(650),
            ms(800),
            ms(1_000),
            ms(2_000),
            ms(5_000),
            ms(10_000),
            ms(20_000),
            ms(50_000),
            ms(100_000),
        ]
    };

    /// In which of the buckets of [`latency`](Self::latency) a call is that took so long.
    pub(crate) fn bucket(took: Duration) -> usize {
        Self::BOUNDS.partition_point(|bound| *bound < took)
    }

    /// Calls that ended well.
    pub fn ok(&self) -> u64 {
        self.ended[Code::Ok as usize]
    }

    /// Calls that ended with another code than OK.
    pub fn failed(&self) -> u64 {
        self.ended.iter().sum::<u64>() - self.ok()
    }

    /// Attempts that ended.
    pub fn attempts_ended(&self) -> u64 {
        self.attempts_ok + self.attempts_failed
    }

    /// The code that most calls failed with, and how many did.
    pub fn worst(&self) -> Option<(Code, u64)> {
        let failed = self.ended.iter().enumerate().skip(1).filter(|(_, calls)| **calls > 0);
        let (code, calls) = failed.max_by_key(|(_, calls)| **calls)?;
        Some((Code::from_i32(code as i32), *calls))
    }

    /// How long the quickest `share` of the calls took at most, by the buckets: of the bucket in
    /// which that call is the upper bound. None without calls, and beyond the last bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.latency.iter().sum();
        let rank = ((all as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut so_far = 0;
        let bucket = self.latency.iter().position(|calls| {
            so_far += calls;
            so_far >= rank
        })?;
        Self::BOUNDS.get(bucket).copied()
    }

    /// What happened since `earlier`, of the same method.
    pub fn since(&self, earlier: &Self) -> Self {
        let last_failure = self.last_failure.clone();
        let numbers = self.with(earlier, u64::saturating_sub, Duration::saturating_sub);
        Self { last_failure, ..numbers }
    }

    /// Both together, under the name of the first.
    pub fn plus(&self, other: &Self) -> Self {
        let both = [&self.last_failure, &other.last_failure];
        let last_failure = both.into_iter().flatten().max_by_key(|failure| failure.at).cloned();
        let numbers = self.with(other, u64::saturating_add, Duration::saturating_add);
        Self { last_failure, ..numbers }
    }

    /// Each number and each time of both made one.
    fn with(
        &self,
        other: &Self,
        number: fn(u64, u64) -> u64,
        time: fn(Duration, Duration) -> Duration,
    ) -> Self {
        let of = |pick: fn(&Self) -> u64| number(pick(self), pick(other));
        Self {
            method: self.method.clone(),
            started: of(|counts| counts.started),
            ended: std::array::from_fn(|code| number(self.ended[code], other.ended[code])),
            attempts: of(|counts| counts.attempts),
            attempts_ok: of(|counts| counts.attempts_ok),
            attempts_failed: of(|counts| counts.attempts_failed),
            retries: of(|counts| counts.retries),
            transparent_retries: of(|counts| counts.transparent_retries),
            waits: self.waits.with(&other.waits, time),
            latency: std::array::from_fn(|place| number(self.latency[place], other.latency[place])),
            last_failure: None,
        }
    }
}

impl Default for MethodCounts {
    fn default() -> Self {
        Self {
            method: "".into(),
            started: 0,
            ended: [0; 17],
            attempts: 0,
            attempts_ok: 0,
            attempts_failed: 0,
            retries: 0,
            transparent_retries: 0,
            waits: Waits::default(),
            latency: [0; 42],
            last_failure: None,
        }
    }
}

impl fmt::Display for LastFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", code_name(self.code), self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let nano = Duration::from_nanos(1);
        for (n, bound) in MethodCounts::BOUNDS.into_iter().enumerate() {
            assert_eq!(MethodCounts::bucket(bound), n);
            assert_eq!(MethodCounts::bucket(bound + nano), n + 1);
        }
        assert!(MethodCounts::BOUNDS.is_sorted());
    }

    #[test]
    fn quantiles_are_the_bounds_of_their_buckets() {
        let mut counts = MethodCounts::default();
        assert_eq!(counts.quantile(0.5), None);
        counts.latency[MethodCounts::bucket(Duration::from_millis(4))] = 99;
        counts.latency[MethodCounts::bucket(Duration::from_millis(900))] = 1;
        assert_eq!(counts.quantile(0.5), Some(Duration::from_millis(4)));
        assert_eq!(counts.quantile(0.99), Some(Duration::from_millis(4)));
        assert_eq!(counts.quantile(1.0), Some(Duration::from_secs(1)));
        counts.latency[41] = 1_000;
        assert_eq!(counts.quantile(0.5), None, "longer than the last bound");
    }

    #[test]
    fn what_happened_between_two_moments_is_their_difference() {
        let mut before = MethodCounts { started: 3, ..MethodCounts::default() };
        before.ended[0] = 2;
        let mut now = MethodCounts { started: 10, ..before.clone() };
        now.ended[14] = 5;
        let between = now.since(&before);
        assert_eq!((between.started, between.ok(), between.failed()), (7, 0, 5));
        assert_eq!(between.worst(), Some((Code::Unavailable, 5)));
        let both = between.plus(&before);
        assert_eq!((both.started, both.ok(), both.failed()), (10, 2, 5));
    }
}
