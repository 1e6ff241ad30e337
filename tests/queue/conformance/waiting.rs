//! Who of many waiting claims a store wakes: as many as tasks came, the oldest first.

use super::{claim, settings, submission};
use futures::FutureExt as _;
use std::{pin::Pin, time::Duration};
use tokio::time::timeout;
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, CreateQueueRequest, DeleteQueueRequest, TaskStatus,
    UpdateTaskStatusRequest,
    server::{Notifier, Store},
};

/// Claims that wait at a board.
struct Waiting(Vec<Pin<Box<dyn Future<Output = usize>>>>);

impl Waiting {
    fn wait_for_task(notifier: &Notifier, count: usize) -> Self {
        let wait = |number| {
            let mut turn = notifier.wait_for_task("a");
            let waits: Pin<Box<dyn Future<Output = usize>>> = Box::pin(async move {
                turn.woken().await;
                turn.served();
                number
            });
            waits
        };
        let mut waiting = Self((0..count).map(wait).collect());
        assert_eq!(waiting.woken(), [0usize; 0], "they rest");
        waiting
    }

    /// Takes out those that are woken by now.
    fn woken(&mut self) -> Vec<usize> {
        let mut woken = Vec::new();
        self.0.retain_mut(|waits| match waits.now_or_never() {
            Some(number) => {
                woken.push(number);
                false
            }
            None => true,
        });
        woken
    }
}

/// The place must be new, and the store must not hear of others' news during the test.
pub(crate) async fn as_many_waiting_claims_wake_as_tasks_come(store: impl Store) {
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    let notifier = store.notifier().clone();
    let mut waiting = Waiting::wait_for_task(&notifier, 100);
    store.submit(submission("one"), 1).await.expect("submitted");
    assert_eq!(waiting.woken(), [0], "one task, one claim");
    let tasks = (0..3).flat_map(|number| submission(&format!("batch-{number}")).tasks).collect();
    store
        .submit(BatchSubmitTasksRequest { agent_id: "a".into(), tasks }, 1)
        .await
        .expect("submitted");
    assert_eq!(waiting.woken(), [1, 2, 3], "the oldest three");

    let taken =
        store.claim(claim("c1", 0.0), 2).await.expect("claimed").answer.task.expect("a task");
    store.claim(claim("c2", 0.0), 2).await.expect("claimed");
    assert_eq!(waiting.woken(), [0usize; 0], "a claim wakes nobody");
    let back = UpdateTaskStatusRequest {
        agent_id: "a".into(),
        task_id: taken.task_id,
        claim_id: "c1".into(),
        status: TaskStatus::Pending as i32,
        ..UpdateTaskStatusRequest::default()
    };
    store.update(back, 3).await.expect("given back");
    assert_eq!(waiting.woken(), [4], "a task that was given back");
    let later = 2 + i64::try_from(settings().lease().as_millis()).expect("in range");
    store.claim(claim("c3", 0.0), later).await.expect("claimed");
    assert_eq!(waiting.woken(), [5], "a task whose lease ended");

    let request = DeleteQueueRequest { agent_id: "a".into(), confirm: true };
    store.delete_queue(request, later).await.expect("deleted");
    let all = async {
        while !waiting.0.is_empty() {
            waiting.woken();
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), all)
        .await
        .expect("all hear that the queue is gone, one after the other");
}
