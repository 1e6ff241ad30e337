//! A handler at work, in a task of its own, so that its panics are its own and it can be stopped.

use super::{Outcome, meters::RunningGauge};
use crate::{agent_queue::Task, unwind};
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle};

/// A handler at work. Dropping it stops it.
pub(super) struct RunningHandler(JoinHandle<Outcome>);

impl RunningHandler {
    pub(super) fn start<H, F>(handler: &Arc<H>, task: Task, runs: RunningGauge) -> Self
    where
        H: Fn(Task) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        let handler = handler.clone();
        Self(tokio::spawn(async move {
            let _runs = runs;
            handler(task).await.into()
        }))
    }

    /// What came out; none if it was stopped. Cancel safe.
    pub(super) async fn ended(&mut self) -> Option<Outcome> {
        match (&mut self.0).await {
            Ok(outcome) => Some(outcome),
            Err(error) => panicked(error),
        }
    }

    /// Stops it, and waits until it has stopped; what came out if it was faster. It stops at its
    /// next `.await`.
    pub(super) async fn stop(mut self) -> Option<Outcome> {
        self.0.abort();
        self.ended().await
    }
}

impl Drop for RunningHandler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panicked(error: JoinError) -> Option<Outcome> {
    let panic = error.try_into_panic().ok()?;
    Some(Outcome::Failed(format!("the handler panicked: {}", unwind::panic_message(&*panic))))
}
