//! Runs all that tonic's channel spawns, two futures and more for each call, in one task. They wake
//! each other with every call, and each of these wakes would be the runtime's: a task in its
//! queues, another thread that is woken to take it, and locks that both want.

use super::own_wakes::{Part, Parts};
use crate::{call::Calls, unwind::catching};
use futures::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake as _},
};

type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Spawns into one task, which ends with the last future that was spawned into it. A panic ends the
/// future in which it is, as it would a task.
pub(super) struct Together {
    shared: Arc<Mutex<Shared>>,
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Shared {
    /// Spawned, and not taken into the task yet.
    spawned: Vec<Spawned>,
    /// The task, while there is one.
    task: Option<Arc<Part>>,
}

impl Together {
    /// For the channel that makes these calls.
    pub(super) fn new(calls: Arc<Calls>) -> Self {
        Self { shared: Arc::default(), calls }
    }
}

impl hyper::rt::Executor<Spawned> for Together {
    /// # Panics
    ///
    /// Outside a tokio runtime, where there is no task yet.
    fn execute(&self, future: Spawned) {
        let mut shared = self.shared.lock();
        shared.spawned.push(future);
        if let Some(task) = shared.task.clone() {
            drop(shared);
            task.wake_by_ref();
            return;
        }
        let parts = Parts::default();
        let part = parts.part();
        shared.task = Some(part.clone());
        drop(shared);
        let shared = Ending { shared: self.shared.clone(), task: part };
        tokio::spawn(self.calls.chained(run(parts, shared)));
    }
}

/// The task's own hold on what is shared.
struct Ending {
    shared: Arc<Mutex<Shared>>,
    task: Arc<Part>,
}

impl Drop for Ending {
    /// Also where the runtime ends: what was not taken holds the executor, which would hold it.
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        if shared.task.as_ref().is_some_and(|task| Arc::ptr_eq(task, &self.task)) {
            shared.task = None;
            let spawned = mem::take(&mut shared.spawned);
            drop(shared);
            drop(spawned);
        }
    }
}

async fn run(parts: Parts, own: Ending) {
    let mut running = FuturesUnordered::new();
    let waker = own.task.waker();
    let mut turn = || {
        if !own.task.take() {
            return Poll::Pending;
        }
        let mut cx = Context::from_waker(&waker);
        loop {
            let spawned = mem::take(&mut own.shared.lock().spawned);
            running.extend(spawned.into_iter().map(catching));
            while let Poll::Ready(Some(_)) = running.poll_next_unpin(&mut cx) {}
            if !running.is_empty() {
                return Poll::Pending;
            }
            let mut shared = own.shared.lock();
            if shared.spawned.is_empty() {
                shared.task = None;
                return Poll::Ready(());
            }
        }
    };
    poll_fn(|cx| parts.poll(cx, &[&own.task], &mut turn)).await;
}
