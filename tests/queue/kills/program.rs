//! One program of those that work while servers die: on one supervised channel, an agent that
//! claims and completes, and submitters.

use super::ledger::Ledger;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};
use tonic::Status;
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    agent_queue::{
        CreateQueueRequest, DESCRIPTORS, GetTaskRequest, ListTasksRequest, NewTask,
        SubmitTaskRequest, Task, TaskStatus, TaskType, UpdateTaskStatusRequest,
        agent_queue_client::AgentQueueClient,
    },
};

/// The longest pause of a submitter between two tasks.
const PAUSE: Duration = Duration::from_millis(60);
/// The longest work on a task.
const WORK: Duration = Duration::from_millis(20);
/// How many seconds a claim waits for a task.
const WAIT: f64 = 1.0;

/// A queue's client.
pub(super) type Client = AgentQueueClient<SupervisedChannel>;

/// What all programs share.
#[derive(Default)]
pub(super) struct World {
    pub(super) ledger: Ledger,
    /// Set when all submitters have stopped.
    pub(super) submitted: watch::Sender<bool>,
}

/// One party of a program.
pub(super) struct Party {
    pub(super) name: String,
    pub(super) queue: String,
    pub(super) client: Client,
    pub(super) rng: StdRng,
    pub(super) world: Arc<World>,
    /// Room for tasks that wait in the queue: a submitter takes a place, a completion gives one.
    pub(super) room: Arc<Semaphore>,
}

/// A supervisor with ten retries, the first soon: the sooner they are, the more work each kill
/// meets. All else is the default.
pub(super) fn supervise(address: SocketAddr) -> (Supervisor, Client) {
    let config = Config::builder()
        .host(address.ip().to_string())
        .port(address.port())
        .max_retry_attempts(10)
        .initial_backoff(Duration::from_millis(100))
        .build()
        .expect("valid");
    let builder = Supervisor::builder(config).descriptor_set(DESCRIPTORS).expect("descriptors");
    let supervisor = builder.spawn();
    let channel = supervisor.channel();
    (supervisor, AgentQueueClient::new(channel))
}

/// Makes a queue that was not there.
pub(super) async fn create_queue(client: &mut Client, agent_id: &str) {
    let made =
        client.create_queue(CreateQueueRequest { agent_id: agent_id.into() }).await.expect("made");
    assert!(!made.into_inner().already_exists, "{agent_id} is left from an earlier run");
}

/// All that a queue holds.
pub(super) async fn tasks_of(client: &mut Client, agent_id: &str) -> Result<Vec<Task>, Status> {
    let mut all = Vec::new();
    let mut next = Some(0);
    while let Some(offset) = next {
        let page = ListTasksRequest {
            agent_id: agent_id.into(),
            limit: Some(1000),
            offset,
            ..Default::default()
        };
        let page = client.list_tasks(page).await?.into_inner();
        all.extend(page.tasks);
        next = page.next_offset;
    }
    Ok(all)
}

impl Party {
    /// Dice of one's own: what one party throws does not depend on when the others do.
    pub(super) fn rng(seed: u64, number: usize) -> StdRng {
        StdRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Submits task after task, each under a name of its own, until the room is closed or a call
    /// fails.
    pub(super) async fn submit(mut self) {
        for number in 0.. {
            let Ok(place) = self.room.clone().acquire_owned().await else { return };
            place.forget();
            let name = format!("{}-{number}", self.name);
            let payload = format!("{{\"name\":\"{name}\"}}");
            let task = NewTask {
                r#type: TaskType::DataProcessing as i32,
                payload: payload.clone(),
                priority: Some(self.rng.random_range(0..10)),
                client_request_id: name,
                ..NewTask::default()
            };
            let request = SubmitTaskRequest { agent_id: self.queue.clone(), task: Some(task) };
            match self.client.submit_task(request).await {
                Ok(answer) => self.world.ledger.submitted(answer.into_inner().task_id, payload),
                Err(status) => return self.world.ledger.failed("submit_task", &status),
            }
            self.pause(PAUSE).await;
        }
    }

    /// Claims, works a little and completes, until nothing is left to come or a call fails.
    pub(super) async fn work(mut self) {
        let submitted = self.world.submitted.subscribe();
        for number in 0.. {
            let over = *submitted.borrow();
            let claim_id = format!("{}-{number}", self.name);
            let request = GetTaskRequest {
                agent_id: self.queue.clone(),
                claim_id: claim_id.clone(),
                timeout: WAIT,
            };
            let task = match self.client.get_task(request).await {
                Ok(answer) => answer.into_inner().task,
                Err(status) => return self.world.ledger.failed("get_task", &status),
            };
            let done = match task {
                Some(task) => self.complete(task, claim_id).await.is_none(),
                None => over,
            };
            if done {
                return;
            }
        }
    }

    /// Works on a task, keeps the claim now and then, and reports; none where a call failed.
    async fn complete(&mut self, task: Task, claim_id: String) -> Option<()> {
        self.pause(WORK).await;
        let result = format!("{{\"claim\":\"{claim_id}\"}}");
        let mut report = UpdateTaskStatusRequest {
            agent_id: self.queue.clone(),
            task_id: task.task_id.clone(),
            claim_id,
            ..UpdateTaskStatusRequest::default()
        };
        if self.rng.random_bool(0.25) {
            report.set_status(TaskStatus::Processing);
            self.report(report.clone()).await?;
        }
        report.set_status(TaskStatus::Completed);
        report.result = result.clone();
        self.report(report).await?;
        self.world.ledger.completed(task.task_id, result);
        self.room.add_permits(1);
        Some(())
    }

    async fn report(&mut self, request: UpdateTaskStatusRequest) -> Option<()> {
        let answer = self.client.update_task_status(request).await;
        answer
            .map(drop)
            .map_err(|status| self.world.ledger.failed("update_task_status", &status))
            .ok()
    }

    async fn pause(&mut self, longest: Duration) {
        sleep(longest.mul_f64(self.rng.random())).await;
    }
}
