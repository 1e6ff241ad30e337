//! A scripted server of the agent queue for the tests of its client: it hands out tasks, keeps
//! their claims, notes all that is said of them, and can be told to refuse, to fail and to
//! lose answers.

use crate::support::{ADDRESS, config, supervise};
use parking_lot::Mutex;
use prost::Message;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tonic::Code;
use tonic_supervisor::{
    ConfigBuilder,
    agent_queue::{
        CreateQueueResponse, GetTaskRequest, GetTaskResponse, PrivateAgentTasksQueue, Task,
        TaskStatus, UpdateTaskStatusRequest, UpdateTaskStatusResponse,
    },
    testing::{Answer, Arrival, MemoryNetwork, ScriptedServer},
};

/// How long a claim holds.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const AGENT: &str = "agent_001";

/// The server, its client, and the tasks behind it.
pub(crate) struct ScriptedQueue {
    pub(crate) server: ScriptedServer,
    pub(crate) client: PrivateAgentTasksQueue,
    pub(crate) tasks: Arc<Tasks>,
}

/// What the server knows of its tasks.
pub(crate) struct Tasks {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the server says that a claim holds, in seconds, in place of the truth.
    lease: Option<f64>,
    waiting: VecDeque<Task>,
    claims: HashMap<String, Task>,
    asked: Vec<GetTaskRequest>,
    updates: Vec<Update>,
    /// Claims whose leases have ended.
    over: HashSet<String>,
    /// Answers in place of the right ones, by method; what was asked is done all the same.
    wrong: HashMap<&'static str, VecDeque<Answer>>,
    /// What updates of these statuses are refused with.
    refused: HashMap<TaskStatus, (Code, &'static str)>,
}

/// What an agent said of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    /// When, in seconds since the server started.
    pub(crate) at: f64,
    pub(crate) task: String,
    pub(crate) status: TaskStatus,
    pub(crate) text: String,
}

impl ScriptedQueue {
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    /// Its client is configured so.
    pub(crate) async fn start_with(config: ConfigBuilder) -> Self {
        let network = MemoryNetwork::new();
        let server = ScriptedServer::on_memory(&network, ADDRESS).await;
        let tasks = Arc::new(Tasks { started: Instant::now(), state: Mutex::default() });
        let script = tasks.clone();
        server.script(move |call: &Arrival| script.answer(call));
        let client = PrivateAgentTasksQueue::over(supervise(&network, config));
        Self { server, client, tasks }
    }

    /// How many calls of this method have arrived.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.server.arrivals().iter().filter(|arrival| arrival.path.ends_with(method)).count()
    }
}

impl Tasks {
    /// Puts tasks of these ids in the queue.
    pub(crate) fn put(&self, ids: &[&str]) {
        let task = |id: &&str| Task {
            task_id: (*id).to_owned(),
            agent_id: AGENT.into(),
            ..Task::default()
        };
        self.state.lock().waiting.extend(ids.iter().map(task));
    }

    /// The next answers to `method` are these, whatever the right ones were.
    pub(crate) fn answer_wrongly(&self, method: &'static str, answers: Vec<Answer>) {
        self.state.lock().wrong.entry(method).or_default().extend(answers);
    }

    /// From now on, updates to `status` are refused.
    pub(crate) fn refuse(&self, status: TaskStatus, code: Code, text: &'static str) {
        self.state.lock().refused.insert(status, (code, text));
    }

    /// From now on, leases are said to last so many seconds.
    pub(crate) fn say_leases(&self, seconds: f64) {
        self.state.lock().lease = Some(seconds);
    }

    /// All leases end: the tasks go back to the queue.
    pub(crate) fn end_leases(&self) {
        let mut state = self.state.lock();
        let ended: Vec<_> = state.claims.drain().collect();
        for (claim_id, task) in ended {
            state.over.insert(claim_id);
            state.waiting.push_back(task);
        }
    }

    /// All that was said of tasks, in order.
    pub(crate) fn updates(&self) -> Vec<Update> {
        self.state.lock().updates.clone()
    }

    /// The same without times and renewals.
    pub(crate) fn outcomes(&self) -> Vec<(String, TaskStatus, String)> {
        let said =
            self.updates().into_iter().filter(|update| update.status != TaskStatus::Processing);
        said.map(|update| (update.task, update.status, update.text)).collect()
    }

    /// When leases were renewed.
    pub(crate) fn renewals(&self) -> Vec<f64> {
        let updates = self.updates();
        updates
            .iter()
            .filter(|update| update.status == TaskStatus::Processing)
            .map(|update| update.at)
            .collect()
    }

    /// All that was asked for.
    pub(crate) fn asked(&self) -> Vec<GetTaskRequest> {
        self.state.lock().asked.clone()
    }

    fn answer(&self, call: &Arrival) -> Answer {
        let method = call.path.rsplit('/').next().unwrap_or_default();
        let mut state = self.state.lock();
        let right = match method {
            "CreateQueue" => {
                Answer::message(CreateQueueResponse { already_exists: false }.encode_to_vec())
            }
            "GetTask" => state.claim(GetTaskRequest::decode(&*call.message).expect("a claim")),
            "UpdateTaskStatus" => {
                let update = UpdateTaskStatusRequest::decode(&*call.message).expect("an update");
                state.update(update, self.started.elapsed())
            }
            other => Answer::status(Code::Unimplemented).text(other),
        };
        let wrong = state.wrong.iter_mut().find(|(name, _)| **name == method);
        wrong.and_then(|(_, answers)| answers.pop_front()).unwrap_or(right)
    }
}

impl State {
    fn lease(&self) -> f64 {
        self.lease.unwrap_or(LEASE.as_secs_f64())
    }

    fn claim(&mut self, request: GetTaskRequest) -> Answer {
        let wait = Duration::from_secs_f64(request.timeout);
        let waiting = &mut self.waiting;
        if self.over.contains(&request.claim_id) {
            self.asked.push(request);
            return Answer::status(Code::FailedPrecondition).text("its lease ended");
        }
        let held = self.claims.get(&request.claim_id).cloned().or_else(|| waiting.pop_front());
        let task = held.map(|task| Task { status: TaskStatus::Processing.into(), ..task });
        if let Some(task) = &task {
            self.claims.insert(request.claim_id.clone(), task.clone());
        }
        let after = if task.is_some() { Duration::ZERO } else { wait };
        self.asked.push(request);
        Answer::message(GetTaskResponse { task, lease: self.lease() }.encode_to_vec()).after(after)
    }

    fn update(&mut self, update: UpdateTaskStatusRequest, at: Duration) -> Answer {
        let status = update.status();
        let text = format!("{}{}", update.result, update.error_message);
        self.updates.push(Update {
            at: at.as_millis() as f64 / 1e3,
            task: update.task_id,
            status,
            text,
        });
        if let Some((code, text)) = self.refused.get(&status) {
            return Answer::status(*code).text(text);
        }
        if status == TaskStatus::Pending
            && let Some(task) = self.claims.remove(&update.claim_id)
        {
            self.waiting.push_front(task);
        }
        Answer::message(
            UpdateTaskStatusResponse { task: None, lease: self.lease() }.encode_to_vec(),
        )
    }
}
