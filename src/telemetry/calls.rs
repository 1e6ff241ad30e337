//! What happens to calls, counted per method with gRPC's names (A66, A96). Handles are looked up
//! once per method, so a call costs a few atomic additions.

use crate::{model::code_name, unwind::caught};
use metrics::{Counter, Histogram, SharedString, counter, histogram};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tonic::Code;

const CODES: usize = 17;

/// One method's metrics. Bound to the recorder that is installed when the method is first called.
pub(crate) struct MethodMetrics {
    method: SharedString,
    target: SharedString,
    attempts_started: Counter,
    retries: Histogram,
    transparent_retries: Histogram,
    retry_delay: Histogram,
    by_code: [OnceLock<ByCode>; CODES],
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
    /// How long it waited between attempts.
    pub(crate) waited: Duration,
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
            method,
            target,
        }
    }

    pub(crate) fn attempt_started(&self) {
        guarded(|| self.attempts_started.increment(1));
    }

    pub(crate) fn attempt_ended(&self, code: Code, ended: AttemptEnd) {
        guarded(|| self.of(code).attempt_ended(&ended));
    }

    /// Zeroes are not recorded (gRPC A96).
    pub(crate) fn call_ended(&self, code: Code, ended: CallEnd) {
        guarded(|| {
            let metrics = self.of(code);
            if let Some(attempt) = &ended.attempt {
                metrics.attempt_ended(attempt);
            }
            metrics.call_duration.record(ended.took.as_secs_f64());
            if ended.retries > 0 {
                self.retries.record(f64::from(ended.retries));
                self.retry_delay.record(ended.waited.as_secs_f64());
            }
            if ended.transparent > 0 {
                self.transparent_retries.record(f64::from(ended.transparent));
            }
        });
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
