//! A handler at work, in a task of its own, so that its panics are its own and it can be stopped.

use crate::{
    agent_queue::{Task, Update},
    unwind::words,
};
use std::{fmt::Display, sync::Arc};
use tokio::task::{JoinError, JoinHandle};

/// A handler at work. Dropping it stops it.
pub(super) struct Running(JoinHandle<Update>);

impl Running {
    pub(super) fn start<H, F, E>(handler: &Arc<H>, task: Task) -> Self
    where
        H: Fn(Task) -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Display,
    {
        let handler = handler.clone();
        Self(tokio::spawn(async move {
            match handler(task).await {
                Ok(result) => Update::Completed(result),
                Err(error) => Update::Failed(error.to_string()),
            }
        }))
    }

    /// What came out; none if it was stopped. Cancel safe.
    pub(super) async fn ended(&mut self) -> Option<Update> {
        match (&mut self.0).await {
            Ok(update) => Some(update),
            Err(error) => panicked(error),
        }
    }

    /// Stops it, and waits until it has stopped; what came out if it was faster. It stops at its next `.await`.
    pub(super) async fn stop(mut self) -> Option<Update> {
        self.0.abort();
        self.ended().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panicked(error: JoinError) -> Option<Update> {
    let panic = error.try_into_panic().ok()?;
    Some(Update::Failed(format!("the handler panicked: {}", words(&*panic))))
}
