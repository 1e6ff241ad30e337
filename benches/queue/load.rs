//! The load: clients that submit a task, claim one and end it, over gRPC or on the store itself.

use super::PAYLOAD;
use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    agent_queue::{
        BatchSubmitTasksRequest, CreateQueueRequest, DESCRIPTORS, GetTaskRequest, NewTask, SubmitTaskRequest, Task,
        TaskStatus, UpdateTaskStatusRequest, agent_queue_client::AgentQueueClient, server::Store,
    },
};

/// Names no two requests alike, over all runs.
static NAMES: AtomicU64 = AtomicU64::new(0);

fn name() -> String {
    format!("{}-{}", std::process::id(), NAMES.fetch_add(1, Relaxed))
}

fn agent_id(number: usize) -> String {
    format!("agent-{}", number % super::AGENTS)
}

fn task() -> NewTask {
    NewTask { r#type: 1, payload: PAYLOAD.into(), client_request_id: name(), ..NewTask::default() }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

fn update(agent_id: String, task_id: String, claim_id: String, status: TaskStatus) -> UpdateTaskStatusRequest {
    let result = if status == TaskStatus::Completed { r#"{"ok": true}"#.into() } else { String::new() };
    UpdateTaskStatusRequest { agent_id, task_id, claim_id, status: status as i32, result, error_message: String::new() }
}

/// One client: each operation is answered when it is durable.
pub(crate) trait Load: Clone + Send + 'static {
    fn submit(&mut self) -> impl Future<Output = ()> + Send;
    fn claim(&mut self, claim_id: String) -> impl Future<Output = Task> + Send;
    fn end(&mut self, task_id: String, claim_id: String) -> impl Future<Output = ()> + Send;
}

/// What one window gave.
pub(crate) struct Sample {
    pub(crate) cycles_per_s: f64,
    /// Of one operation.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Sample {
    /// Every client goes through its cycle again and again for `window`.
    pub(crate) async fn take<L: Load>(clients: &[L], window: Duration) -> Self {
        let start = Instant::now();
        let running: Vec<_> =
            clients.iter().map(|client| tokio::spawn(cycles(client.clone(), start, window))).collect();
        let mut times = Vec::new();
        for client in running {
            times.extend(client.await.expect("every call is answered"));
        }
        let took = start.elapsed();
        times.sort_unstable();
        let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1e3;
        Self { cycles_per_s: times.len() as f64 / 3.0 / took.as_secs_f64(), p50_us: at(0.5), p99_us: at(0.99) }
    }
}

async fn cycles(mut client: impl Load, start: Instant, window: Duration) -> Vec<u32> {
    let mut times = Vec::new();
    let mut begun = Instant::now();
    let mut lap = |times: &mut Vec<u32>| {
        times.push(begun.elapsed().as_nanos() as u32);
        begun = Instant::now();
    };
    while start.elapsed() < window {
        client.submit().await;
        lap(&mut times);
        let claim_id = name();
        let task = client.claim(claim_id.clone()).await;
        lap(&mut times);
        client.end(task.task_id, claim_id).await;
        lap(&mut times);
    }
    times
}

/// Over a supervised channel.
#[derive(Clone)]
pub(crate) struct Client {
    number: usize,
    client: AgentQueueClient<SupervisedChannel>,
    _supervisor: Supervisor,
}

/// Clients of so many agents' queues; each agent has its own connection.
pub(crate) async fn over_grpc(address: SocketAddr, agents: usize, clients: usize) -> Vec<Client> {
    let mut channels = Vec::new();
    for number in 0..agents {
        let config = Config::builder().host("127.0.0.1").port(address.port()).build().expect("valid");
        let supervisor = Supervisor::spawn(config);
        let channel = supervisor.channel().with_descriptor_set(DESCRIPTORS).expect("descriptors");
        let mut client = AgentQueueClient::new(channel);
        client.create_queue(CreateQueueRequest { agent_id: agent_id(number) }).await.expect("a queue");
        channels.push((supervisor, client));
    }
    (0..clients)
        .map(|number| {
            let (supervisor, client) = &channels[number % agents];
            Client { number, client: client.clone(), _supervisor: supervisor.clone() }
        })
        .collect()
}

impl Load for Client {
    async fn submit(&mut self) {
        let request = SubmitTaskRequest { agent_id: agent_id(self.number), task: Some(task()) };
        self.client.submit_task(request).await.expect("submitted");
    }

    async fn claim(&mut self, claim_id: String) -> Task {
        let request = GetTaskRequest { agent_id: agent_id(self.number), claim_id, timeout: 10.0 };
        self.client.get_task(request).await.expect("claimed").into_inner().task.expect("as many as were submitted")
    }

    async fn end(&mut self, task_id: String, claim_id: String) {
        let request = update(agent_id(self.number), task_id, claim_id, TaskStatus::Completed);
        self.client.update_task_status(request).await.expect("ended");
    }
}

/// On the store itself.
pub(crate) struct Bare<S> {
    store: Arc<S>,
    number: usize,
}

impl<S: Store> Bare<S> {
    pub(crate) fn new(store: Arc<S>, number: usize) -> Self {
        Self { store, number }
    }

    pub(crate) async fn prepare(&self) {
        let request = CreateQueueRequest { agent_id: agent_id(self.number) };
        self.store.create_queue(request, now()).await.expect("a queue");
    }
}

impl<S> Clone for Bare<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), number: self.number }
    }
}

impl<S: Store> Load for Bare<S> {
    async fn submit(&mut self) {
        let request = BatchSubmitTasksRequest { agent_id: agent_id(self.number), tasks: vec![task()] };
        self.store.submit(request, now()).await.expect("submitted");
    }

    async fn claim(&mut self, claim_id: String) -> Task {
        let request = GetTaskRequest { agent_id: agent_id(self.number), claim_id, timeout: 0.0 };
        self.store.claim(request, now()).await.expect("claimed").answer.task.expect("as many as were submitted")
    }

    async fn end(&mut self, task_id: String, claim_id: String) {
        let request = update(agent_id(self.number), task_id, claim_id, TaskStatus::Completed);
        self.store.update(request, now()).await.expect("ended");
    }
}

/// Claims and gives back, on the store itself.
pub(crate) struct Claimer<S>(Arc<S>);

impl<S: Store> Claimer<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self(store)
    }

    /// So many pending tasks in one queue.
    pub(crate) async fn fill(&self, tasks: usize) {
        self.0.create_queue(CreateQueueRequest { agent_id: agent_id(0) }, now()).await.expect("a queue");
        let mut left = tasks;
        while left > 0 {
            let batch = left.min(1000);
            let tasks = (0..batch).map(|_| task()).collect();
            self.0.submit(BatchSubmitTasksRequest { agent_id: agent_id(0), tasks }, now()).await.expect("submitted");
            left -= batch;
        }
    }

    /// Microseconds per claim and release, over all writers together.
    pub(crate) async fn claim_for(&self, window: Duration, writers: usize) -> f64 {
        let start = Instant::now();
        let running: Vec<_> = (0..writers)
            .map(|_| {
                let store = self.0.clone();
                tokio::spawn(async move {
                    let mut pairs = 0u32;
                    while start.elapsed() < window {
                        let claim_id = name();
                        let claim = GetTaskRequest { agent_id: agent_id(0), claim_id: claim_id.clone(), timeout: 0.0 };
                        let task = store.claim(claim, now()).await.expect("claimed").answer.task.expect("pending");
                        let release = update(agent_id(0), task.task_id, claim_id, TaskStatus::Pending);
                        store.update(release, now()).await.expect("released");
                        pairs += 1;
                    }
                    pairs
                })
            })
            .collect();
        let mut pairs = 0;
        for writer in running {
            pairs += writer.await.expect("every call is answered");
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(pairs)
    }
}
