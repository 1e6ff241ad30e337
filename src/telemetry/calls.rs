//! What happens to calls, counted per method with gRPC's names (A66, A96). Handles are looked up once per method, so a call
//! costs a few atomic additions.

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

    pub(crate) fn attempt_ended(&self, code: Code, took: Duration, sent: usize, received: usize) {
        guarded(|| {
            let metrics = self.of(code);
            metrics.attempt_duration.record(took.as_secs_f64());
            metrics.sent.record(sent as f64);
            metrics.received.record(received as f64);
        });
    }

    /// Zeroes are not recorded (gRPC A96).
    pub(crate) fn call_ended(&self, code: Code, took: Duration, retries: u32, transparent: u32, waited: Duration) {
        guarded(|| {
            self.of(code).call_duration.record(took.as_secs_f64());
            if retries > 0 {
                self.retries.record(f64::from(retries));
                self.retry_delay.record(waited.as_secs_f64());
            }
            if transparent > 0 {
                self.transparent_retries.record(f64::from(transparent));
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
                received: histogram!("grpc.client.attempt.rcvd_total_compressed_message_size", &labels),
                call_duration: histogram!("grpc.client.call.duration", &labels),
            }
        })
    }
}
