//! What happened to the calls of one method, in numbers that can be read again. Metrics go to a
//! recorder, which keeps them to itself.

use crate::model::{LastFailure, MethodCounts, Waits};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tonic::Code;

/// How many gRPC codes there are.
pub(super) const CODES: usize = 17;

/// The counters of one method. A call that ends well at its first attempt costs five additions.
pub(super) struct MethodCounters {
    started: AtomicU64,
    ended: [AtomicU64; CODES],
    attempts: AtomicU64,
    attempts_ok: AtomicU64,
    attempts_failed: AtomicU64,
    retries: AtomicU64,
    transparent: AtomicU64,
    /// In nanoseconds, in the order of [`Waits::by_reason`].
    waits: [AtomicU64; 4],
    latency: [AtomicU64; MethodCounts::BOUNDS.len() + 1],
    last_failure: Mutex<Option<LastFailure>>,
}

impl Default for MethodCounters {
    fn default() -> Self {
        Self {
            started: AtomicU64::default(),
            ended: Default::default(),
            attempts: AtomicU64::default(),
            attempts_ok: AtomicU64::default(),
            attempts_failed: AtomicU64::default(),
            retries: AtomicU64::default(),
            transparent: AtomicU64::default(),
            waits: Default::default(),
            latency: std::array::from_fn(|_| AtomicU64::default()),
            last_failure: Mutex::default(),
        }
    }
}

impl MethodCounters {
    pub(super) fn call_started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    pub(super) fn attempt_started(&self) {
        self.attempts.fetch_add(1, Relaxed);
    }

    pub(super) fn attempt_ended(&self, code: Code) {
        let counter = if code == Code::Ok { &self.attempts_ok } else { &self.attempts_failed };
        counter.fetch_add(1, Relaxed);
    }

    /// A call ended after `took`.
    pub(super) fn call_ended(&self, code: Code, took: Duration) {
        self.ended[code as usize].fetch_add(1, Relaxed);
        self.latency[MethodCounts::bucket(took)].fetch_add(1, Relaxed);
    }

    /// What it did beside one attempt.
    pub(super) fn repeated(&self, retries: u32, transparent: u32) {
        self.retries.fetch_add(retries.into(), Relaxed);
        self.transparent.fetch_add(transparent.into(), Relaxed);
    }

    pub(super) fn waited(&self, waits: &Waits) {
        for (sum, (_, time)) in self.waits.iter().zip(waits.by_reason()) {
            sum.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// A call failed, with these words.
    pub(super) fn failed(&self, code: Code, words: Arc<str>, at: SystemTime) {
        *self.last_failure.lock() = Some(LastFailure { code, words, at });
    }

    /// How many calls ended so far: with OK, and otherwise.
    #[cfg(feature = "admin")]
    pub(super) fn ended(&self) -> (u64, u64) {
        let [ok, failed @ ..] = &self.ended;
        (ok.load(Relaxed), failed.iter().map(|code| code.load(Relaxed)).sum())
    }

    /// The numbers now. They are read one after the other: a call that ends meanwhile may be in
    /// some of them.
    pub(super) fn read(&self, method: Arc<str>) -> MethodCounts {
        let number = |counter: &AtomicU64| counter.load(Relaxed);
        let time = |counter: &AtomicU64| Duration::from_nanos(number(counter));
        let [link, room, credentials, retry] = &self.waits;
        // What has ended is read first: it is never more than what was started.
        let ended = std::array::from_fn(|code| number(&self.ended[code]));
        let (attempts_ok, attempts_failed) =
            (number(&self.attempts_ok), number(&self.attempts_failed));
        MethodCounts {
            method,
            ended,
            attempts_ok,
            attempts_failed,
            started: number(&self.started),
            attempts: number(&self.attempts),
            retries: number(&self.retries),
            transparent_retries: number(&self.transparent),
            waits: Waits::of(time(link), time(room), time(credentials), time(retry)),
            latency: std::array::from_fn(|bucket| number(&self.latency[bucket])),
            last_failure: self.last_failure.lock().clone(),
        }
    }
}
