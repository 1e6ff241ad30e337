//! `kill -9` of the server at random moments under load: every submitted task is completed exactly once, no call fails, nothing is stuck.
//!
//! `QUEUE_KILLS=50` sets how many; without it a few, so that the suite stays short.

use crate::process::Serve;
use parking_lot::Mutex;
use rand::RngExt as _;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Response, Status};
use tonic_supervisor::{
    Config, SupervisedChannel, Supervisor,
    agent_queue::{
        CreateQueueRequest, DESCRIPTORS, GetTaskRequest, ListTasksRequest, NewTask, SubmitTaskRequest, Task,
        TaskStatus, TaskType, UpdateTaskStatusRequest, agent_queue_client::AgentQueueClient,
    },
};

const AGENTS: usize = 16;
const SUBMITTERS: usize = 32;
/// How long after the last kill everything must be done.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the clients lived through.
#[derive(Default)]
struct Ledger {
    /// By task: the queue and the name of its submission.
    submitted: Mutex<BTreeMap<String, (usize, String)>>,
    /// By task: how often an agent was given it, and how often its end was accepted.
    executed: Mutex<BTreeMap<String, (u32, u32)>>,
    errors: Mutex<Vec<String>>,
    calls: AtomicU64,
    no_more: AtomicBool,
}

/// Kills the servers in turn while agents and submitters work. Half of them is on each server, if there are two.
///
/// `store` is what `--store` takes.
pub(crate) async fn every_task_is_completed_once(store: &str, servers: usize) {
    let kills = std::env::var("QUEUE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let mut servers: Vec<Serve> = (0..servers).map(|_| Serve::start(store, &[])).collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let address = |index: usize| addresses[index % addresses.len()];
    let ledger = Arc::new(Ledger::default());
    let mut supervisors = Vec::new();
    let mut client = |index: usize| {
        let (supervisor, client) = connect(address(index));
        supervisors.push(supervisor);
        client
    };
    let (mut agents, mut submitters) = (JoinSet::new(), JoinSet::new());
    for number in 0..AGENTS {
        // The queue is there before anybody submits to it.
        let mut client = client(number);
        let made = client.create_queue(CreateQueueRequest { agent_id: agent_id(number) }).await;
        made.expect("a queue");
        agents.spawn(work(number, client, ledger.clone()));
    }
    for number in 0..SUBMITTERS {
        submitters.spawn(submit(number, client(number), ledger.clone()));
    }

    for kill in 0..kills {
        let pause = rand::rng().random_range(1.0..2.0);
        sleep(Duration::from_secs_f64(pause)).await;
        let index = kill % servers.len();
        tokio::task::block_in_place(|| {
            servers[index].kill();
            servers[index].restart();
        });
    }
    sleep(Duration::from_secs(1)).await;
    ledger.no_more.store(true, Relaxed);
    let done = timeout(PATIENCE, async {
        submitters.join_all().await;
        agents.join_all().await;
    });
    let stuck = done.await.is_err();
    ledger.verdict(kills, stuck);
    check_the_store(connect(address(0)).1, &ledger).await;
    for supervisor in supervisors {
        supervisor.shutdown(Duration::ZERO).await;
    }
}

fn connect(address: SocketAddr) -> (Supervisor, AgentQueueClient<SupervisedChannel>) {
    let config = Config::builder()
        .host(address.ip().to_string())
        .port(address.port())
        .max_retry_attempts(10)
        .initial_backoff(Duration::from_millis(200))
        .timeout(Duration::from_secs(90))
        .build()
        .expect("valid");
    let supervisor = Supervisor::spawn(config);
    let channel = supervisor.channel().with_descriptor_set(DESCRIPTORS).expect("descriptors");
    (supervisor, AgentQueueClient::new(channel))
}

fn agent_id(number: usize) -> String {
    format!("agent-{number}")
}

/// Submits until it is told to stop.
async fn submit(number: usize, mut client: AgentQueueClient<SupervisedChannel>, ledger: Arc<Ledger>) {
    for round in 0.. {
        if ledger.no_more.load(Relaxed) {
            return;
        }
        let name = format!("{number}-{round}");
        let task = NewTask {
            r#type: TaskType::DataProcessing as i32,
            payload: format!("\"{name}\""),
            client_request_id: name.clone(),
            ..NewTask::default()
        };
        let queue = number % AGENTS;
        let request = SubmitTaskRequest { agent_id: agent_id(queue), task: Some(task) };
        if let Some(answer) = ledger.call(client.submit_task(request)).await {
            let before = ledger.submitted.lock().insert(answer.task_id.clone(), (queue, name.clone()));
            assert_eq!(before, None, "{name} was given the task of another submission: {}", answer.task_id);
        }
        sleep(Duration::from_millis(40)).await;
    }
}

/// Claims and completes until its queue stays empty after the last submission.
async fn work(number: usize, mut client: AgentQueueClient<SupervisedChannel>, ledger: Arc<Ledger>) {
    for round in 0.. {
        let last = ledger.no_more.load(Relaxed);
        let claim_id = format!("{number}-{round}");
        let request = GetTaskRequest { agent_id: agent_id(number), claim_id: claim_id.clone(), timeout: 1.0 };
        let Some(answer) = ledger.call(client.get_task(request)).await else { continue };
        let Some(task) = answer.task else {
            if last && ledger.all_ended(number) {
                return;
            }
            continue;
        };
        ledger.executed.lock().entry(task.task_id.clone()).or_default().0 += 1;
        let report = UpdateTaskStatusRequest {
            agent_id: agent_id(number),
            task_id: task.task_id.clone(),
            claim_id,
            status: TaskStatus::Completed as i32,
            result: task.payload,
            error_message: String::new(),
        };
        if ledger.call(client.update_task_status(report)).await.is_some() {
            ledger.executed.lock().entry(task.task_id).or_default().1 += 1;
        }
    }
}

impl Ledger {
    async fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Option<T> {
        self.calls.fetch_add(1, Relaxed);
        match call.await {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                self.errors.lock().push(status.to_string());
                None
            }
        }
    }

    fn all_ended(&self, queue: usize) -> bool {
        let executed = self.executed.lock();
        let submitted = self.submitted.lock();
        let mut mine = submitted.iter().filter(|(_, (of, _))| *of == queue);
        mine.all(|(task, _)| executed.get(task).is_some_and(|(_, ended)| *ended > 0))
    }

    fn verdict(&self, kills: usize, stuck: bool) {
        let (submitted, executed) = (self.submitted.lock(), self.executed.lock());
        let errors = self.errors.lock();
        let calls = self.calls.load(Relaxed);
        println!("{kills} kills, {calls} calls, {} errors, {} tasks", errors.len(), submitted.len());
        assert!(errors.is_empty(), "{} calls surfaced an error, the first: {}", errors.len(), errors[0]);
        let not_once: Vec<_> = submitted
            .keys()
            .filter(|task| executed.get(*task) != Some(&(1, 1)))
            .map(|task| (task, executed.get(task)))
            .collect();
        assert!(not_once.is_empty(), "not executed and completed exactly once: {not_once:?}");
        assert_eq!(executed.len(), submitted.len(), "a task that nobody submitted was executed");
        assert!(!stuck, "not done {PATIENCE:?} after the last kill");
        assert!(submitted.len() > kills * AGENTS, "there was no load to speak of: {} tasks", submitted.len());
    }
}

/// What the store says afterwards: each submission one task, claimed once, completed with its own result.
async fn check_the_store(mut client: AgentQueueClient<SupervisedChannel>, ledger: &Ledger) {
    let submitted = ledger.submitted.lock().clone();
    let mut found = 0;
    for number in 0..AGENTS {
        let mut offset = Some(0);
        while let Some(from) = offset {
            let request = ListTasksRequest {
                agent_id: agent_id(number),
                limit: Some(1000),
                offset: from,
                ..ListTasksRequest::default()
            };
            let page = client.list_tasks(request).await.expect("a page").into_inner();
            for task in &page.tasks {
                let (queue, name) = submitted.get(&task.task_id).unwrap_or_else(|| panic!("nobody submitted {task:?}"));
                let Task { status, claims, result, .. } = task;
                let wanted = (TaskStatus::Completed as i32, 1, format!("\"{name}\""));
                assert_eq!((*status, *claims, result.clone()), wanted, "{task:?}");
                assert_eq!(*queue, number);
                found += 1;
            }
            offset = page.next_offset;
        }
    }
    assert_eq!(found, submitted.len());
}
