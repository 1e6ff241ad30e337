//! The store under test: carries out steps, speaks of tasks in the model's way, and follows each
//! queue by its cursor.

use super::operation::{AGENTS, Answer, Outcome, Step, kind, words};
use std::collections::{BTreeMap, HashMap};
use tonic::{Code, Status};
use tonic_supervisor::agent_queue::{
    BatchDeleteTasksRequest, BatchSubmitTasksRequest, CancelTaskRequest, ClearQueueRequest,
    CreateQueueRequest, DeleteQueueRequest, GetQueueInfoRequest, GetTaskRequest,
    GetTaskStatsRequest, GetTaskStatsResponse, ListQueuesRequest, ListTasksRequest, NewTask,
    QueryTaskRequest, QueueExistsRequest, RetryTaskRequest, Task, UpdateTaskStatusRequest,
    server::Store,
};

pub(crate) struct Subject<S> {
    store: S,
    /// The store's ids of all tasks ever made, in their order.
    made: Vec<String>,
    known: HashMap<String, usize>,
    watchers: HashMap<&'static str, Watcher>,
}

/// What somebody knows who has followed a queue since it was made.
#[derive(Default)]
struct Watcher {
    cursor: u64,
    tasks: BTreeMap<usize, Task>,
}

impl<S: Store> Subject<S> {
    pub(crate) fn new(store: S) -> Self {
        Self { store, made: Vec::new(), known: HashMap::new(), watchers: HashMap::new() }
    }

    pub(crate) async fn reopen(self, open: impl AsyncFnOnce() -> S) -> Self {
        let Self { store, made, known, watchers } = self;
        drop(store);
        Self { store: open().await, made, known, watchers }
    }

    pub(crate) async fn act(&mut self, step: &Step, now: i64) -> Outcome {
        self.answer(step, now).await.map_err(|status| {
            assert!(!status.message().is_empty(), "an error has words");
            status.code()
        })
    }

    async fn answer(&mut self, step: &Step, now: i64) -> Result<Answer, Status> {
        let agent_id = |agent: &usize| AGENTS[*agent].to_owned();
        let name = |name: &usize| format!("name-{name}");
        match step {
            Step::Create { agent } => {
                let request = CreateQueueRequest { agent_id: agent_id(agent) };
                let already_exists = self.store.create_queue(request, now).await?.already_exists;
                if !already_exists {
                    self.watch(AGENTS[*agent], now).await;
                }
                Ok(Answer::Created { already_exists })
            }
            Step::Exists { agent } => {
                let request = QueueExistsRequest { agent_id: agent_id(agent) };
                Ok(Answer::Exists(self.store.queue_exists(request).await?.exists))
            }
            Step::Info { agent } => {
                let request = GetQueueInfoRequest { agent_id: agent_id(agent) };
                let info = self.store.queue_info(request, now).await?;
                assert_eq!(info.agent_id, agent_id(agent));
                let created = info.created_at.expect("a time");
                Ok(Answer::Info(
                    info.tasks.expect("counts"),
                    created.seconds * 1000 + i64::from(created.nanos) / 1_000_000,
                ))
            }
            Step::Queues { after, limit, hidden } => {
                let request = ListQueuesRequest {
                    after: after.map_or("", |a| AGENTS[a]).into(),
                    limit: Some(*limit),
                };
                let hidden = hidden.map(|agent| AGENTS[agent]);
                let page =
                    self.store.list_queues(request, |name| Some(name) != hidden, || now).await?;
                let millis =
                    |age: Option<f64>| age.map(|seconds| (seconds * 1000.0).round() as i64);
                let queues = page.queues.into_iter().map(|queue| {
                    let created = queue.created_at.expect("a time");
                    let created = created.seconds * 1000 + i64::from(created.nanos) / 1_000_000;
                    let counts = queue.tasks.expect("counts");
                    (
                        queue.agent_id,
                        counts,
                        created,
                        millis(queue.oldest_pending),
                        millis(queue.oldest_processing),
                    )
                });
                Ok(Answer::Queues(queues.collect(), page.next_after))
            }
            Step::Clear { agent, status, name: n } => {
                let request = ClearQueueRequest {
                    agent_id: agent_id(agent),
                    status: *status,
                    confirm: true,
                    client_request_id: name(n),
                };
                Ok(Answer::Cleared(self.store.clear_queue(request, now).await?.deleted))
            }
            Step::DeleteQueue { agent } => {
                let request = DeleteQueueRequest { agent_id: agent_id(agent), confirm: true };
                let gone = self.store.delete_queue(request, now).await?;
                self.watchers.remove(AGENTS[*agent]);
                Ok(Answer::QueueDeleted { existed: gone.existed, deleted: gone.deleted })
            }
            Step::Submit { agent, tasks } => {
                let tasks = tasks.iter().map(|(n, priority)| {
                    let (r#type, custom_type) = kind(*n);
                    let payload = format!("[{n}]");
                    NewTask {
                        r#type,
                        custom_type,
                        payload,
                        priority: *priority,
                        client_request_id: name(n),
                    }
                });
                let request =
                    BatchSubmitTasksRequest { agent_id: agent_id(agent), tasks: tasks.collect() };
                let answers = self.store.submit(request, now).await?.tasks;
                let submitted = answers.into_iter().map(|answer| {
                    (
                        if answer.already_submitted {
                            self.name(&answer.task_id)
                        } else {
                            self.new_name(answer.task_id)
                        },
                        answer.already_submitted,
                    )
                });
                Ok(Answer::Submitted(submitted.collect()))
            }
            Step::Claim { agent, claim } => {
                let request = GetTaskRequest {
                    agent_id: agent_id(agent),
                    claim_id: format!("claim-{claim}"),
                    timeout: 0.0,
                };
                let claimed = self.store.claim(request, now).await?;
                let lease = (claimed.answer.lease * 1000.0).round() as i64;
                Ok(match claimed.answer.task {
                    Some(task) => Answer::Claimed(Some(self.shown(task)), lease),
                    None => Answer::Claimed(None, claimed.next_lease_end.unwrap_or(0)),
                })
            }
            Step::Update { agent, task, claim, status, word } => {
                let (result, error_message) = words(*status, *word);
                let request = UpdateTaskStatusRequest {
                    agent_id: agent_id(agent),
                    task_id: self.id(*task),
                    claim_id: format!("claim-{claim}"),
                    status: *status,
                    result,
                    error_message,
                };
                let updated = self.store.update(request, now).await?;
                let lease = (updated.lease * 1000.0).round() as i64;
                Ok(Answer::Updated(self.shown(updated.task.expect("a task")), lease))
            }
            Step::Query { agent, task } => {
                let request =
                    QueryTaskRequest { agent_id: agent_id(agent), task_id: self.id(*task) };
                let task = self.store.query(request, now).await?.task;
                Ok(Answer::Queried(self.shown(task.expect("a task"))))
            }
            Step::Delete { agent, tasks, name: n } => {
                let task_ids = tasks.iter().map(|task| self.id(*task)).collect();
                let request = BatchDeleteTasksRequest {
                    agent_id: agent_id(agent),
                    task_ids,
                    client_request_id: name(n),
                };
                let answer = self.store.delete_tasks(request, now).await?;
                let not_found = answer.not_found.iter().map(|id| self.name(id)).collect();
                Ok(Answer::Deleted { deleted: answer.deleted, not_found })
            }
            Step::Cancel { agent, task, name: n } => {
                let request = CancelTaskRequest {
                    agent_id: agent_id(agent),
                    task_id: self.id(*task),
                    reason: "nobody wants it".into(),
                    client_request_id: name(n),
                };
                let task = self.store.cancel(request, now).await?.task;
                Ok(Answer::Cancelled(self.shown(task.expect("a task"))))
            }
            Step::Retry { agent, task, name: n } => {
                let request = RetryTaskRequest {
                    agent_id: agent_id(agent),
                    task_id: self.id(*task),
                    client_request_id: name(n),
                };
                let id = self.store.retry(request, now).await?.task_id;
                let known = self.known.contains_key(&id);
                Ok(Answer::Retried(if known { self.name(&id) } else { self.new_name(id) }))
            }
            Step::List { agent, status, limit, offset } => {
                let request = ListTasksRequest {
                    agent_id: agent_id(agent),
                    status: *status,
                    limit: *limit,
                    offset: *offset,
                };
                let list = self.store.list(request, now).await?;
                let tasks = list.tasks.into_iter().map(|task| self.shown(task)).collect();
                Ok(Answer::Listed { tasks, total: list.total, next_offset: list.next_offset })
            }
            Step::Stats { agent } => {
                let request = GetTaskStatsRequest { agent_id: agent_id(agent) };
                Ok(Answer::Stats(rounded(self.store.stats(request, now).await?)))
            }
            Step::Prune => {
                while self.store.prune(now).await? {}
                Ok(Answer::Pruned)
            }
            Step::UpdateHeld { .. } | Step::RetryFailed { .. } | Step::Pass(_) | Step::Reopen => {
                unreachable!("not for the store")
            }
        }
    }

    /// Every task of a queue; none where there is no queue.
    pub(crate) async fn all(&self, agent: &str, now: i64) -> Option<Vec<Task>> {
        let request = ListTasksRequest {
            agent_id: agent.into(),
            limit: Some(1000),
            ..ListTasksRequest::default()
        };
        match self.store.list(request, now).await {
            Ok(list) => Some(list.tasks.into_iter().map(|task| self.shown(task)).collect()),
            Err(status) => {
                assert_eq!(status.code(), Code::NotFound, "{status}");
                None
            }
        }
    }

    async fn watch(&mut self, agent: &'static str, now: i64) {
        let start = self.store.changes(agent, None, now).await.expect("a queue");
        assert_eq!(start.changes, [], "nothing is told without a cursor");
        self.watchers
            .insert(agent, Watcher { cursor: start.cursor.into(), tasks: BTreeMap::new() });
    }

    /// The watcher hears what is new, and then knows what is there; pruned tasks are not told.
    pub(crate) async fn follow(
        &mut self,
        agent: &'static str,
        expected: Option<&[Task]>,
        now: i64,
    ) {
        let Some(mut watcher) = self.watchers.remove(agent) else { return };
        let mut cursor = S::Cursor::from(watcher.cursor);
        loop {
            let news = self.store.changes(agent, Some(cursor.clone()), now).await.expect("a queue");
            if news.changes.is_empty() {
                break;
            }
            cursor = news.cursor;
            for change in news.changes {
                let number = self.known[&change.task_id];
                match change.task {
                    Some(task) => drop(watcher.tasks.insert(number, self.shown(task))),
                    None => drop(watcher.tasks.remove(&number)),
                }
            }
        }
        watcher.cursor = cursor.into();
        let expected = expected.unwrap_or_default();
        let old = |task: &Task| {
            task.finished_at
                .as_ref()
                .is_some_and(|at| at.seconds * 1000 < now - 7 * 24 * 60 * 60 * 1000)
        };
        watcher.tasks.retain(|_, task| {
            expected.iter().any(|there| there.task_id == task.task_id) || !old(task)
        });
        assert_eq!(
            watcher.tasks.values().cloned().collect::<Vec<_>>(),
            expected,
            "what a watcher of {agent} knows"
        );
        self.watchers.insert(agent, watcher);
    }

    fn id(&self, number: usize) -> String {
        self.made.get(number).cloned().unwrap_or_else(|| format!("task-{}", 1_000_000_000 + number))
    }

    fn new_name(&mut self, id: String) -> String {
        let number = self.made.len();
        assert!(self.known.insert(id.clone(), number).is_none(), "{id} was given before");
        self.made.push(id);
        format!("#{number}")
    }

    /// The model's name of a task.
    fn name(&self, id: &str) -> String {
        let absent = || id.strip_prefix("task-")?.parse::<usize>().ok()?.checked_sub(1_000_000_000);
        let number = self.known.get(id).copied().or_else(absent);
        format!("#{}", number.unwrap_or_else(|| panic!("{id} is unknown")))
    }

    fn shown(&self, task: Task) -> Task {
        let retry_of =
            if task.retry_of.is_empty() { String::new() } else { self.name(&task.retry_of) };
        Task { task_id: self.name(&task.task_id), retry_of, ..task }
    }
}

/// Averages to the microsecond: stores add up in their own ways.
pub(super) fn rounded(stats: GetTaskStatsResponse) -> GetTaskStatsResponse {
    let round = |average: Option<f64>| average.map(|seconds| (seconds * 1e6).round() / 1e6);
    let (average_wait, average_run) = (round(stats.average_wait), round(stats.average_run));
    GetTaskStatsResponse { average_wait, average_run, ..stats }
}
