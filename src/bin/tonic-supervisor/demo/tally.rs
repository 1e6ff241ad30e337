//! What one agent lived through: its calls, how they ended, and how soon the first one worked again after each fault.

use super::report::Report;
use parking_lot::Mutex;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tonic::{Response, Status};

/// Counts one agent's calls.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) agent: &'static str,
    report: Arc<Report>,
    calls: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    /// Whether a failure of the present fault was shown already.
    shown: AtomicBool,
    accepted: Mutex<Vec<String>>,
    recoveries: Mutex<Vec<Recovery>>,
}

/// One fault's end, and the first call that worked after it.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    pub(super) fault: &'static str,
    over: Instant,
    /// None: no call worked until the next fault.
    pub(super) took: Option<Duration>,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) calls: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
}

/// What one side did below its calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) dials: u64,
    pub(super) reconnects: u64,
    pub(super) retries: u64,
    pub(super) transparent_retries: u64,
}

impl Tally {
    pub(super) fn new(agent: &'static str, report: &Arc<Report>) -> Arc<Self> {
        Arc::new(Self {
            agent,
            report: report.clone(),
            calls: AtomicU64::new(0),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            shown: AtomicBool::new(false),
            accepted: Mutex::default(),
            recoveries: Mutex::default(),
        })
    }

    /// Makes a call and counts how it ends; none where it failed.
    pub(super) async fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Option<T> {
        self.calls.fetch_add(1, Relaxed);
        match call.await {
            Ok(answer) => {
                self.ok.fetch_add(1, Relaxed);
                self.worked(Instant::now());
                Some(answer.into_inner())
            }
            Err(status) => {
                self.failed.fetch_add(1, Relaxed);
                if !self.shown.swap(true, Relaxed) {
                    self.report.call_failed(self.agent, &status);
                }
                None
            }
        }
    }

    /// The server took a task on.
    pub(super) fn accepted(&self, task_id: String) {
        self.accepted.lock().push(task_id);
    }

    pub(super) fn fault_begins(&self) {
        self.shown.store(false, Relaxed);
    }

    pub(super) fn fault_is_over(&self, fault: &'static str) {
        self.recoveries.lock().push(Recovery { fault, over: Instant::now(), took: None });
    }

    pub(super) fn numbers(&self) -> Numbers {
        Numbers { calls: self.calls.load(Relaxed), ok: self.ok.load(Relaxed), failed: self.failed.load(Relaxed) }
    }

    pub(super) fn tasks(&self) -> Vec<String> {
        self.accepted.lock().clone()
    }

    pub(super) fn recoveries(&self) -> Vec<Recovery> {
        self.recoveries.lock().clone()
    }

    fn worked(&self, now: Instant) {
        let took = match self.recoveries.lock().last_mut() {
            Some(last) if last.took.is_none() => *last.took.insert(now.saturating_duration_since(last.over)),
            _ => return,
        };
        self.report.recovered(self.agent, took);
    }
}
