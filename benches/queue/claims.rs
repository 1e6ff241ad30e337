//! The cost of claims: many at once, so that they share what they wait for, and given back
//! afterwards, so that the queue stays as long.

use super::load;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::Instant;
use tonic_supervisor::agent_queue::{
    BatchSubmitTasksRequest, CreateQueueRequest, GetTaskRequest, NewTask, Task, TaskStatus,
    UpdateTaskStatusRequest, server::Store,
};

/// Claims made at once.
const CLAIMS: usize = 64;
/// Tasks of one submission.
const BATCH: usize = 1000;

/// A queue whose tasks are pending.
pub(crate) struct Queue<'a, S> {
    store: &'a S,
    agent_id: String,
    pending: usize,
}

impl<'a, S: Store> Queue<'a, S> {
    /// Makes it, with so many tasks of all priorities.
    pub(crate) async fn fill(store: &'a S, name: &str, pending: usize) -> Self {
        let agent_id = format!("claims-{}-{name}", std::process::id());
        store
            .create_queue(CreateQueueRequest { agent_id: agent_id.clone() }, load::now())
            .await
            .expect("a queue");
        let tasks: Vec<_> =
            (0..pending).map(|number| new_task(number, number as u32 % 10)).collect();
        for tasks in tasks.chunks(BATCH) {
            let request =
                BatchSubmitTasksRequest { agent_id: agent_id.clone(), tasks: tasks.to_vec() };
            store.submit(request, load::now()).await.expect("tasks");
        }
        Self { store, agent_id, pending }
    }

    /// How long it is.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Microseconds per claim.
    pub(crate) async fn claim_some(&self, round: usize) -> f64 {
        let ids: Vec<_> = (0..CLAIMS).map(|number| format!("{round}-{number}")).collect();
        let start = Instant::now();
        let claimed = join_all(ids.iter().map(|claim_id| self.claim(claim_id))).await;
        let took: Duration = start.elapsed();
        let given_back =
            ids.iter().zip(claimed).map(|(claim_id, task)| self.give_back(claim_id, task));
        join_all(given_back).await;
        took.as_secs_f64() * 1e6 / CLAIMS as f64
    }

    async fn claim(&self, claim_id: &str) -> Task {
        let request = GetTaskRequest {
            agent_id: self.agent_id.clone(),
            claim_id: claim_id.into(),
            timeout: 0.0,
        };
        self.store
            .claim(request, load::now())
            .await
            .expect("a claim")
            .answer
            .task
            .expect("a pending task")
    }

    async fn give_back(&self, claim_id: &str, task: Task) {
        let request = UpdateTaskStatusRequest {
            agent_id: task.agent_id,
            task_id: task.task_id,
            claim_id: claim_id.into(),
            status: TaskStatus::Pending as i32,
            ..UpdateTaskStatusRequest::default()
        };
        self.store.update(request, load::now()).await.expect("given back");
    }
}

fn new_task(number: usize, priority: u32) -> NewTask {
    NewTask { priority: Some(priority), ..load::new_task(number.to_string()) }
}
