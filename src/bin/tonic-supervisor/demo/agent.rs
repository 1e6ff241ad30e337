//! An agent: some workers that submit a task, claim one, do it and report it, over and over.

use super::{report::Report, tally::Tally};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tonic::{body::Body, client::GrpcService, codegen::StdError};
use tonic_supervisor::agent_queue::{
    CreateQueueRequest, GetTaskRequest, NewTask, SubmitTaskRequest, Task, TaskStatus, TaskType,
    UpdateTaskStatusRequest, agent_queue_client::AgentQueueClient,
};

const WORKERS: usize = 4;
/// What a worker does between two calls.
const THINK: Duration = Duration::from_millis(40);

/// What a generated client works on.
pub(super) trait Channel:
    GrpcService<Body, Future: Send, Error: Into<StdError>, ResponseBody: AnswerBody>
    + Clone
    + Send
    + Sync
    + 'static
{
}
impl<T> Channel for T where
    T: GrpcService<Body, Future: Send, Error: Into<StdError>, ResponseBody: AnswerBody>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The body of its answers.
pub(super) trait AnswerBody:
    http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static
{
}
impl<T: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static> AnswerBody
    for T
{
}

/// A running agent. Dropping it ends its workers.
#[derive(Debug)]
pub(super) struct Agent {
    tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

struct Worker<C> {
    agent: &'static str,
    name: String,
    client: AgentQueueClient<C>,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
}

impl Agent {
    /// Sets the workers to work on the queue of `agent`.
    pub(super) fn start<C: Channel>(agent: &'static str, channel: C, report: &Arc<Report>) -> Self {
        let tally = Tally::new(agent, report);
        let (stop, stopped) = watch::channel(false);
        let worker = Worker {
            agent,
            name: agent.into(),
            client: AgentQueueClient::new(channel),
            tally: tally.clone(),
            stop: stopped,
        };
        Self { tally, stop, work: tokio::spawn(live(worker)) }
    }

    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Nothing new is begun. What runs may end within `patience`; what does not is lost.
    pub(super) async fn finish(&mut self, patience: Duration) {
        self.stop.send_replace(true);
        if timeout(patience, &mut self.work).await.is_err() {
            self.work.abort();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An agent's whole life: its queue, its workers, and at the end what is left in the queue.
async fn live<C: Channel>(mut last: Worker<C>) {
    let queue = CreateQueueRequest { agent_id: last.agent.into() };
    last.tally.call(last.client.create_queue(queue)).await;
    let mut workers = JoinSet::new();
    for number in 1..=WORKERS {
        // Out of step, so that at any moment some calls are open.
        sleep(THINK / 3).await;
        let worker = Worker {
            agent: last.agent,
            name: format!("{}-{number}", last.agent),
            client: last.client.clone(),
            tally: last.tally.clone(),
            stop: last.stop.clone(),
        };
        workers.spawn(worker.work());
    }
    workers.join_all().await;
    for round in 0.. {
        let claim_id = format!("{}-last-{round}", last.name);
        let Some(task) = last.claim(&claim_id, 0.0).await else { return };
        last.complete(task, claim_id).await;
    }
}

impl<C: Channel> Worker<C> {
    async fn work(mut self) {
        for round in 0.. {
            if *self.stop.borrow() {
                return;
            }
            self.round(format!("{}-{round}", self.name)).await;
            sleep(THINK).await;
        }
    }

    /// Submits a task, claims the next one and completes it; a call that fails ends the round.
    async fn round(&mut self, id: String) -> Option<()> {
        let task = NewTask {
            r#type: TaskType::DataProcessing as i32,
            payload: r#"{"rows": 100}"#.into(),
            client_request_id: id.clone(),
            ..NewTask::default()
        };
        let submission = SubmitTaskRequest { agent_id: self.agent.into(), task: Some(task) };
        let submitted = self.tally.call(self.client.submit_task(submission)).await?;
        self.tally.accepted(submitted.task_id);
        sleep(THINK).await;
        let task = self.claim(&id, 1.0).await?;
        sleep(THINK).await;
        self.complete(task, id).await
    }

    async fn claim(&mut self, claim_id: &str, timeout: f64) -> Option<Task> {
        let request =
            GetTaskRequest { agent_id: self.agent.into(), claim_id: claim_id.into(), timeout };
        let task = self.tally.call(self.client.get_task(request)).await?.task?;
        self.tally.claimed(&task.task_id);
        Some(task)
    }

    async fn complete(&mut self, task: Task, claim_id: String) -> Option<()> {
        let report = UpdateTaskStatusRequest {
            agent_id: self.agent.into(),
            task_id: task.task_id,
            claim_id,
            status: TaskStatus::Completed as i32,
            result: r#"{"ok": true}"#.into(),
            error_message: String::new(),
        };
        self.tally.call(self.client.update_task_status(report)).await.map(drop)
    }
}
