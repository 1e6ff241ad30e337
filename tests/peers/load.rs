//! Load: callers that call while a test does its worst.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tonic::Status;

/// Callers that go on until they are stopped.
pub(crate) struct Load {
    ok: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Status>>,
}

impl Load {
    /// `callers` make one call after the other.
    pub(crate) fn start<F>(callers: usize, call: impl Fn() -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send,
    {
        let mut load = Self { ok: Arc::default(), stop: Arc::default(), callers: JoinSet::new() };
        for _ in 0..callers {
            let (ok, stop, call) = (load.ok.clone(), load.stop.clone(), call.clone());
            load.callers.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Relaxed) {
                    match call().await {
                        Ok(()) => drop(ok.fetch_add(1, Relaxed)),
                        Err(status) => failed.push(status),
                    }
                }
                failed
            });
        }
        load
    }

    /// Waits until `more` calls have worked from now on.
    pub(crate) async fn worked(&self, more: u64) {
        let goal = self.ok() + more;
        let waiting = async {
            while self.ok() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("calls work");
    }

    /// How many calls have worked so far.
    pub(crate) fn ok(&self) -> u64 {
        self.ok.load(Relaxed)
    }

    /// How many calls worked, and how the others failed.
    pub(crate) async fn stop(self) -> (u64, Vec<Status>) {
        self.stop.store(true, Relaxed);
        let failed = self.callers.join_all().await.concat();
        (self.ok.load(Relaxed), failed)
    }
}
