//! What happens to calls, counted per method with gRPC's names (A66, A96). Handles are looked up
//! once per method, so a call costs a few atomic additions.

use super::method_counts::{CODES, MethodCounters};
use crate::{
    model::{MethodCounts, Waits, code_name},
    unwind::caught,
};
use metrics::{Counter, Histogram, SharedString, counter, histogram};
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};
use tonic::Code;

/// One method's metrics. Bound to the recorder that is installed when the method is first called.
pub(crate) struct MethodMetrics {
    method: SharedString,
    target: SharedString,
    attempts_started: Counter,
    retries: Histogram,
    transparent_retries: Histogram,
    retry_delay: Histogram,
    by_code: [OnceLock<ByCode>; CODES],
    /// One for each reason to wait, when a call has waited for it.
    waits: [OnceLock<Histogram>; 4],
    counters: MethodCounters,
}

struct ByCode {
    attempt_duration: Histogram,
    sent: Histogram,
    received: Histogram,
    call_duration: Histogram,
}

/// How an attempt went.
pub(crate) struct AttemptEnd {
    pub(crate) took: Duration,
    pub(crate) sent: usize,
    pub(crate) received: usize,
}

/// How a call went, beside its code.
#[derive(Default)]
pub(crate) struct CallEnd {
    pub(crate) took: Duration,
    /// The last attempt, if it ends with the call.
    pub(crate) attempt: Option<AttemptEnd>,
    pub(crate) retries: u32,
    pub(crate) transparent: u32,
    pub(crate) waits: Waits,
    /// What was said of its failure, if it failed.
    pub(crate) words: Option<Arc<str>>,
}

/// A recorder is other people's code; its panic shall not cost a call its answer.
fn guarded(record: impl FnOnce()) {
    let _ = caught(record);
}

impl MethodMetrics {
    pub(crate) fn new(method: Arc<str>, target: Arc<str>) -> Self {
        let (method, target) = (SharedString::from(method), SharedString::from(target));
        let labels = [("grpc.method", method.clone()), ("grpc.target", target.clone())];
        Self {
            attempts_started: counter!("grpc.client.attempt.started", &labels),
            retries: histogram!("grpc.client.call.retries", &labels),
            transparent_retries: histogram!("grpc.client.call.transparent_retries", &labels),
            retry_delay: histogram!("grpc.client.call.retry_delay", &labels),
            by_code: std::array::from_fn(|_| OnceLock::new()),
            waits: std::array::from_fn(|_| OnceLock::new()),
            counters: MethodCounters::default(),
            method,
            target,
        }
    }

    /// The numbers now.
    pub(crate) fn read(&self) -> MethodCounts {
        self.counters.read(self.method.as_ref().into())
    }

    /// How many calls ended so far: with OK, and otherwise.
    #[cfg(feature = "admin")]
    pub(crate) fn ended(&self) -> (u64, u64) {
        self.counters.ended()
    }

    pub(crate) fn call_started(&self) {
        self.counters.call_started();
    }

    pub(crate) fn attempt_started(&self) {
        self.counters.attempt_started();
        guarded(|| self.attempts_started.increment(1));
    }

    pub(crate) fn attempt_ended(&self, code: Code, ended: AttemptEnd) {
        self.counters.attempt_ended(code);
        guarded(|| self.of(code).attempt_ended(&ended));
    }

    /// Zeroes are not recorded (gRPC A96).
    pub(crate) fn call_ended(&self, code: Code, ended: CallEnd) {
        self.count(code, &ended);
        guarded(|| {
            let metrics = self.of(code);
            if let Some(attempt) = &ended.attempt {
                metrics.attempt_ended(attempt);
            }
            metrics.call_duration.record(ended.took.as_secs_f64());
            if ended.retries > 0 {
                self.retries.record(f64::from(ended.retries));
                self.retry_delay.record(ended.waits.retry.as_secs_f64());
            }
            if ended.transparent > 0 {
                self.transparent_retries.record(f64::from(ended.transparent));
            }
            if ended.waits != Waits::default() {
                self.record_waits(&ended.waits);
            }
        });
    }

    fn count(&self, code: Code, ended: &CallEnd) {
        if ended.attempt.is_some() {
            self.counters.attempt_ended(code);
        }
        self.counters.call_ended(code, ended.took);
        if ended.retries > 0 || ended.transparent > 0 {
            self.counters.repeated(ended.retries, ended.transparent);
        }
        if ended.waits != Waits::default() {
            self.counters.waited(&ended.waits);
        }
        if let Some(words) = &ended.words {
            self.counters.failed(code, words.clone(), SystemTime::now());
        }
    }

    fn record_waits(&self, waits: &Waits) {
        for (histogram, (reason, time)) in self.waits.iter().zip(waits.by_reason()) {
            if time.is_zero() {
                continue;
            }
            let made = || {
                let labels = [
                    ("grpc.method", self.method.clone()),
                    ("grpc.target", self.target.clone()),
                    ("reason", SharedString::from(reason)),
                ];
                histogram!("tonic_supervisor.call.wait", &labels)
            };
            histogram.get_or_init(made).record(time.as_secs_f64());
        }
    }

    fn of(&self, code: Code) -> &ByCode {
        self.by_code[code as usize].get_or_init(|| {
            let labels = [
                ("grpc.method", self.method.clone()),
                ("grpc.target", self.target.clone()),
                ("grpc.status", SharedString::from(code_name(code))),
            ];
            ByCode {
                attempt_duration: histogram!("grpc.client.attempt.duration", &labels),
                sent: histogram!("grpc.client.attempt.sent_total_compressed_message_size", &labels),
                received: histogram!(
                    "grpc.client.attempt.rcvd_total_compressed_message_size",
                    &labels
                ),
                call_duration: histogram!("grpc.client.call.duration", &labels),
            }
        })
    }
}

impl ByCode {
    fn attempt_ended(&self, ended: &AttemptEnd) {
        self.attempt_duration.record(ended.took.as_secs_f64());
        self.sent.record(ended.sent as f64);
        self.received.record(ended.received as f64);
    }
}
