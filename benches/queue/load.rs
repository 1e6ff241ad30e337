//! The load: 16 agents with a queue each that claim and complete, 32 submitters, all as fast as
//! they are answered.

use futures::future::{join_all, try_join_all};
use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;
use tonic::Status;
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    agent_queue::{
        BatchSubmitTasksRequest, CreateQueueRequest, DESCRIPTORS, DeleteQueueRequest,
        GetTaskRequest, NewTask, Task, TaskStatus, TaskType, UpdateTaskStatusRequest,
        agent_queue_client::AgentQueueClient,
        server::{Millis, Store},
    },
};

/// The bytes of a task's payload.
pub(crate) const PAYLOAD: usize = 256;
/// All who write.
pub(crate) const WRITERS: usize = AGENTS + SUBMITTERS;
const AGENTS: usize = 16;
const SUBMITTERS: usize = 32;
/// Tasks in a queue at the start, so that no claim finds it empty.
const START: usize = 50;

/// A queue's server or store, as one writer sees it.
pub(crate) trait Queue: Clone + Send + Sync + 'static {
    fn create(&self, agent_id: &str) -> impl Future<Output = Result<(), Status>> + Send;
    fn submit(
        &self,
        agent_id: &str,
        tasks: Vec<NewTask>,
    ) -> impl Future<Output = Result<(), Status>> + Send;
    fn claim(
        &self,
        request: GetTaskRequest,
    ) -> impl Future<Output = Result<Option<Task>, Status>> + Send;
    fn update(
        &self,
        request: UpdateTaskStatusRequest,
    ) -> impl Future<Output = Result<(), Status>> + Send;
    fn delete(&self, agent_id: &str) -> impl Future<Output = Result<(), Status>> + Send;
}

/// What one window gave.
pub(crate) struct Sample {
    /// Tasks that were claimed and completed.
    pub(crate) tasks_per_s: f64,
    /// Submissions, claims and completions.
    pub(crate) operations_per_s: f64,
    /// p50 and p99 in milliseconds.
    pub(crate) submit: [f64; 2],
    pub(crate) claim: [f64; 2],
    pub(crate) complete: [f64; 2],
}

/// How long each operation of a writer took.
#[derive(Default)]
struct Times {
    submit: Vec<Duration>,
    claim: Vec<Duration>,
    complete: Vec<Duration>,
}

/// Keeps all writers busy for `window`, on new queues that are deleted afterwards.
pub(crate) async fn run<Q: Queue>(
    writers: &[Q],
    prefix: &str,
    round: usize,
    window: Duration,
) -> Sample {
    let queues: Vec<_> = (0..AGENTS)
        .map(|agent| format!("{prefix}-{}-{round}-{agent}", std::process::id()))
        .collect();
    let fill = async |queue: &String| {
        writers[0].create(queue).await?;
        let tasks = (0..START).map(|number| new_task(format!("start-{number}"))).collect();
        writers[0].submit(queue, tasks).await
    };
    try_join_all(queues.iter().map(fill)).await.expect("queues");

    let start = Instant::now();
    let busy = writers.iter().enumerate().map(|(number, writer)| {
        let (writer, queue, end) =
            (writer.clone(), queues[number % AGENTS].clone(), start + window);
        tokio::spawn(async move {
            match number < AGENTS {
                true => work(writer, queue, end).await,
                false => submit(writer, queue, number, end).await,
            }
        })
    });
    let mut all = Times::default();
    for times in join_all(busy.collect::<Vec<_>>()).await {
        let times = times.expect("no panic").expect("no operation fails");
        all.submit.extend(times.submit);
        all.claim.extend(times.claim);
        all.complete.extend(times.complete);
    }
    let took = start.elapsed().as_secs_f64();
    try_join_all(queues.iter().map(|queue| writers[0].delete(queue))).await.expect("deleted");
    let operations = all.submit.len() + all.claim.len() + all.complete.len();
    Sample {
        tasks_per_s: all.complete.len() as f64 / took,
        operations_per_s: operations as f64 / took,
        submit: percentiles(all.submit),
        claim: percentiles(all.claim),
        complete: percentiles(all.complete),
    }
}

async fn submit(
    queue: impl Queue,
    agent_id: String,
    writer: usize,
    end: Instant,
) -> Result<Times, Status> {
    let mut times = Times::default();
    for number in 0.. {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        queue.submit(&agent_id, vec![new_task(format!("{writer}-{number}"))]).await?;
        times.submit.push(begun.elapsed());
    }
    Ok(times)
}

async fn work(queue: impl Queue, agent_id: String, end: Instant) -> Result<Times, Status> {
    let mut times = Times::default();
    for number in 0.. {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let claim_id = format!("claim-{number}");
        let request =
            GetTaskRequest { agent_id: agent_id.clone(), claim_id: claim_id.clone(), timeout: 1.0 };
        let Some(task) = queue.claim(request).await? else { continue };
        times.claim.push(begun.elapsed());
        let begun = Instant::now();
        queue.update(completion(task, claim_id)).await?;
        times.complete.push(begun.elapsed());
    }
    Ok(times)
}

pub(crate) fn new_task(name: String) -> NewTask {
    NewTask {
        r#type: TaskType::DataProcessing as i32,
        payload: format!("\"{}\"", "x".repeat(PAYLOAD - 2)),
        client_request_id: name,
        ..NewTask::default()
    }
}

fn completion(task: Task, claim_id: String) -> UpdateTaskStatusRequest {
    UpdateTaskStatusRequest {
        agent_id: task.agent_id,
        task_id: task.task_id,
        claim_id,
        status: TaskStatus::Completed as i32,
        result: r#"{"ok":true}"#.into(),
        ..UpdateTaskStatusRequest::default()
    }
}

fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [0.5, 0.99].map(|share| {
        let at = (times.len().saturating_sub(1) as f64 * share) as usize;
        times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    })
}

/// The store itself, in this process.
pub(crate) struct Bare<S>(pub(crate) Arc<S>);

impl<S> Clone for Bare<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What the server's clock says, too.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("in range")
}

impl<S: Store> Queue for Bare<S> {
    async fn create(&self, agent_id: &str) -> Result<(), Status> {
        self.0.create_queue(CreateQueueRequest { agent_id: agent_id.into() }, now()).await.map(drop)
    }

    async fn submit(&self, agent_id: &str, tasks: Vec<NewTask>) -> Result<(), Status> {
        self.0
            .submit(BatchSubmitTasksRequest { agent_id: agent_id.into(), tasks }, now())
            .await
            .map(drop)
    }

    async fn claim(&self, request: GetTaskRequest) -> Result<Option<Task>, Status> {
        Ok(self.0.claim(request, now()).await?.answer.task)
    }

    async fn update(&self, request: UpdateTaskStatusRequest) -> Result<(), Status> {
        self.0.update(request, now()).await.map(drop)
    }

    async fn delete(&self, agent_id: &str) -> Result<(), Status> {
        let request = DeleteQueueRequest { agent_id: agent_id.into(), confirm: true };
        self.0.delete_queue(request, now()).await.map(drop)
    }
}

/// The server, through a supervised channel.
#[derive(Clone)]
pub(crate) struct Remote {
    client: AgentQueueClient<SupervisedChannel>,
    _supervisor: Supervisor,
}

impl Remote {
    /// A channel of its own, with the defaults.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let config = Config::builder()
            .host(address.ip().to_string())
            .port(address.port())
            .build()
            .expect("valid");
        let builder = Supervisor::builder(config).descriptor_set(DESCRIPTORS).expect("descriptors");
        let supervisor = builder.spawn();
        supervisor.wait_ready(Duration::from_secs(5)).await.expect("the server listens");
        Self { client: AgentQueueClient::new(supervisor.channel()), _supervisor: supervisor }
    }
}

impl Queue for Remote {
    async fn create(&self, agent_id: &str) -> Result<(), Status> {
        self.client
            .clone()
            .create_queue(CreateQueueRequest { agent_id: agent_id.into() })
            .await
            .map(drop)
    }

    async fn submit(&self, agent_id: &str, tasks: Vec<NewTask>) -> Result<(), Status> {
        let request = BatchSubmitTasksRequest { agent_id: agent_id.into(), tasks };
        self.client.clone().batch_submit_tasks(request).await.map(drop)
    }

    async fn claim(&self, request: GetTaskRequest) -> Result<Option<Task>, Status> {
        Ok(self.client.clone().get_task(request).await?.into_inner().task)
    }

    async fn update(&self, request: UpdateTaskStatusRequest) -> Result<(), Status> {
        self.client.clone().update_task_status(request).await.map(drop)
    }

    async fn delete(&self, agent_id: &str) -> Result<(), Status> {
        let request = DeleteQueueRequest { agent_id: agent_id.into(), confirm: true };
        self.client.clone().delete_queue(request).await.map(drop)
    }
}
