//! What one agent did: each of its calls with its time and outcome, and each task that the server
//! accepted from it.

use super::{forward::served_by, report::Report};
use parking_lot::Mutex;
use serde_json::{Map, json};
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time};
use tonic::{Response, Status};

/// Writes down one agent's calls.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) agent: &'static str,
    report: Arc<Report>,
    calls: Mutex<Vec<Call>>,
    /// Each task that the server took on, and when the server last answered about it.
    tasks: Mutex<HashMap<String, Duration>>,
    /// How many calls each of several servers answered, by its number.
    served: Mutex<HashMap<usize, u64>>,
    /// Whether a failure of the present fault was shown already.
    shown: AtomicBool,
    /// When the last fault was over, until the first call works after it.
    over: Mutex<Option<Duration>>,
}

/// One call; times are since the demo's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) began: Duration,
    /// None: it has no answer.
    pub(super) ended: Option<Duration>,
    pub(super) ok: bool,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    calls: u64,
    ok: u64,
    failed: u64,
}

/// What one side did below its calls; none where nobody counts it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) dials: Option<u64>,
    pub(super) reconnects: Option<u64>,
    pub(super) retries: u64,
    pub(super) transparent_retries: u64,
}

impl Tally {
    pub(super) fn new(agent: &'static str, report: &Arc<Report>) -> Arc<Self> {
        Arc::new(Self {
            agent,
            report: report.clone(),
            calls: Mutex::default(),
            tasks: Mutex::default(),
            served: Mutex::default(),
            shown: AtomicBool::new(false),
            over: Mutex::default(),
        })
    }

    /// Makes a call and writes down how it ends; none where it failed.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Option<T> {
        let place = {
            let mut calls = self.calls.lock();
            calls.push(Call { began: self.report.now(), ended: None, ok: false });
            calls.len() - 1
        };
        let answer = call.await;
        let now = self.report.now();
        if let Some(call) = self.calls.lock().get_mut(place) {
            (call.ended, call.ok) = (Some(now), answer.is_ok());
        }
        match answer {
            Ok(answer) => {
                if let Some(over) = self.over.lock().take() {
                    self.report.recovered(self.agent, now.saturating_sub(over));
                }
                if let Some(server) = served_by(answer.metadata()) {
                    *self.served.lock().entry(server).or_default() += 1;
                }
                Some(answer.into_inner())
            }
            Err(status) => {
                if !self.shown.swap(true, Relaxed) {
                    self.report.call_failed(self.agent, &status);
                }
                None
            }
        }
    }

    /// The server took a task on.
    pub(super) fn accepted(&self, task_id: String) {
        self.tasks.lock().insert(task_id, self.report.now());
    }

    /// The server handed a task out.
    pub(super) fn claimed(&self, task_id: &str) {
        if let Some(seen) = self.tasks.lock().get_mut(task_id) {
            *seen = self.report.now();
        }
    }

    pub(super) fn fault_begins(&self) {
        self.shown.store(false, Relaxed);
    }

    pub(super) fn fault_is_over(&self, now: Duration) {
        *self.over.lock() = Some(now);
    }

    fn numbers(&self) -> Numbers {
        let calls = self.calls.lock();
        let count =
            |ok| calls.iter().filter(|call| call.ended.is_some() && call.ok == ok).count() as u64;
        Numbers { calls: calls.len() as u64, ok: count(true), failed: count(false) }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// How many calls the server of this number answered, if it is one of several.
    pub(super) fn served(&self, number: usize) -> u64 {
        self.served.lock().get(&number).copied().unwrap_or_default()
    }

    /// Each task that the server took on, and when the server last answered about it.
    pub(super) fn tasks(&self) -> HashMap<String, Duration> {
        self.tasks.lock().clone()
    }
}

/// Reports the numbers of both agents once a second, until it is aborted.
pub(super) fn report_progress(report: Arc<Report>, tallies: [Arc<Tally>; 2]) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut second = time::interval(Duration::from_secs(1));
        second.tick().await;
        loop {
            second.tick().await;
            let mut fields = Map::new();
            let mut texts = Vec::new();
            for tally in &tallies {
                let now = tally.numbers();
                texts.push(format!("{} {} ok, {} failed", tally.agent, now.ok, now.failed));
                let numbers = json!({ "calls": now.calls, "ok": now.ok, "failed": now.failed });
                fields.insert(tally.agent.into(), numbers);
            }
            report.progress(&texts.join(" | "), fields.into());
        }
    })
}
