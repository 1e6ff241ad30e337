//! The queues in memory. `now` is an argument, and what an operation changes comes back as an [`Effect`].
//!
//! | task is | may become |
//! |---|---|
//! | PENDING | PROCESSING, by a claim |
//! | PROCESSING | COMPLETED, FAILED, CANCELLED by its claim; handed out anew when the lease has ended |
//! | COMPLETED, FAILED, CANCELLED | - |

use super::{Effect, check};
use crate::proto::agent_queue::{
    CreateQueueRequest, CreateQueueResponse, GetTaskRequest, GetTaskResponse, SubmitTaskRequest, SubmitTaskResponse,
    Task, TaskStatus, UpdateTaskStatusRequest, UpdateTaskStatusResponse,
};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tonic::Status;

/// An answer, and what giving it changed.
pub(super) type Decided<T> = Result<(T, Option<Effect>), Status>;

/// The queues of all agents.
#[derive(Debug)]
pub struct Store {
    lease: Duration,
    queues: HashMap<String, Queue>,
    /// By age; the index is the task's number.
    tasks: Vec<Held>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Highest priority first, then oldest first.
    waiting: BTreeSet<(Reverse<u32>, usize)>,
    /// By the end of the lease.
    leased: BTreeSet<(Instant, usize)>,
    by_request: HashMap<String, usize>,
    by_claim: HashMap<String, usize>,
}

#[derive(Debug)]
struct Held {
    task: Task,
    /// The last claim on it.
    claim_id: String,
    /// Where the claim is in force.
    until: Option<Instant>,
}

impl Store {
    /// An empty store whose claims hold for `lease`.
    pub fn new(lease: Duration) -> Self {
        Self { lease, queues: HashMap::new(), tasks: Vec::new() }
    }

    pub(super) fn create_queue(&mut self, request: CreateQueueRequest, now: Instant) -> Decided<CreateQueueResponse> {
        check::id("agent_id", &request.agent_id)?;
        let already_exists = self.queues.contains_key(&request.agent_id);
        let effect = (!already_exists).then_some(Effect::QueueCreated { agent_id: request.agent_id });
        self.decided(CreateQueueResponse { already_exists }, effect, now)
    }

    pub(super) fn submit_task(&mut self, request: SubmitTaskRequest, now: Instant) -> Decided<SubmitTaskResponse> {
        check::submission(&request)?;
        if let Some(number) = self.queue(&request.agent_id)?.by_request.get(&request.client_request_id) {
            let task_id = self.tasks[*number].task.task_id.clone();
            return Ok((SubmitTaskResponse { task_id, already_submitted: true }, None));
        }
        let task_id = format!("task-{}", self.tasks.len() + 1);
        let effect = Effect::TaskSubmitted {
            priority: request.priority.unwrap_or(5),
            agent_id: request.agent_id,
            client_request_id: request.client_request_id,
            task_id: task_id.clone(),
            r#type: request.r#type,
            custom_type: request.custom_type,
            payload: request.payload,
            at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64),
        };
        self.decided(SubmitTaskResponse { task_id, already_submitted: false }, Some(effect), now)
    }

    /// Claims a task, or answers empty where there is none now.
    pub(super) fn get_task(&mut self, request: &GetTaskRequest, now: Instant) -> Decided<GetTaskResponse> {
        check::id("agent_id", &request.agent_id)?;
        check::id("claim_id", &request.claim_id)?;
        check::wait(request.wait)?;
        let queue = self.queue(&request.agent_id)?;
        if let Some(number) = queue.by_claim.get(&request.claim_id) {
            let held = &self.tasks[*number];
            if held.claim_id != request.claim_id {
                return Err(lease_lost(&request.claim_id, &held.task.task_id));
            }
            return Ok((self.claimed(*number, now), None));
        }
        let overdue = queue.leased.first().filter(|(until, _)| *until <= now).map(|(_, number)| *number);
        let Some(number) = overdue.or(queue.waiting.first().map(|(_, number)| *number)) else {
            return Ok((GetTaskResponse::default(), None));
        };
        let effect = Effect::TaskClaimed {
            agent_id: request.agent_id.clone(),
            task_id: self.tasks[number].task.task_id.clone(),
            claim_id: request.claim_id.clone(),
        };
        self.apply(&effect, now);
        Ok((self.claimed(number, now), Some(effect)))
    }

    /// When the next claim in a queue runs out, and its task can be handed out again.
    pub(super) fn next_lease_end(&self, agent_id: &str) -> Option<Instant> {
        Some(self.queues.get(agent_id)?.leased.first()?.0)
    }

    pub(super) fn update_task_status(
        &mut self,
        request: UpdateTaskStatusRequest,
        now: Instant,
    ) -> Decided<UpdateTaskStatusResponse> {
        let status = check::report(&request)?;
        let Some(number) = self.number(&request.task_id) else {
            return Err(Status::not_found(format!("task_id: there is no task {:?}", request.task_id)));
        };
        let held = &self.tasks[number];
        if held.claim_id != request.claim_id {
            return Err(lease_lost(&request.claim_id, &request.task_id));
        }
        let effect = match (held.task.status(), status) {
            (TaskStatus::Processing, TaskStatus::Processing) => {
                self.renew(number, now);
                None
            }
            (TaskStatus::Processing, _) => Some(Effect::TaskEnded {
                agent_id: held.task.agent_id.clone(),
                task_id: request.task_id,
                claim_id: request.claim_id,
                status: request.status,
                result: request.result,
                error_message: request.error_message,
            }),
            (was, same) if was == same => None,
            (was, _) => {
                let (id, was, to) = (&request.task_id, was.as_str_name(), status.as_str_name());
                return Err(Status::failed_precondition(format!("status: {id} is {was} and cannot become {to}")));
            }
        };
        if let Some(effect) = &effect {
            self.apply(effect, now);
        }
        let task = Some(self.tasks[number].task.clone());
        Ok((UpdateTaskStatusResponse { task }, effect))
    }

    /// Carries out an effect: one just decided, or one read back from the ledger.
    pub fn apply(&mut self, effect: &Effect, now: Instant) {
        match effect {
            Effect::QueueCreated { agent_id } => {
                self.queues.entry(agent_id.clone()).or_default();
            }
            Effect::TaskSubmitted {
                agent_id,
                client_request_id,
                task_id,
                r#type,
                custom_type,
                payload,
                priority,
                at_ms,
            } => {
                let number = self.tasks.len();
                let task = Task {
                    task_id: task_id.clone(),
                    agent_id: agent_id.clone(),
                    r#type: *r#type,
                    custom_type: custom_type.clone(),
                    payload: payload.clone(),
                    priority: *priority,
                    status: TaskStatus::Pending as i32,
                    created_at: Some((UNIX_EPOCH + Duration::from_millis(at_ms.unsigned_abs())).into()),
                    ..Task::default()
                };
                self.tasks.push(Held { task, claim_id: String::new(), until: None });
                let queue = self.queues.entry(agent_id.clone()).or_default();
                queue.waiting.insert((Reverse(*priority), number));
                queue.by_request.insert(client_request_id.clone(), number);
            }
            Effect::TaskClaimed { task_id, claim_id, .. } => {
                let Some(number) = self.number(task_id) else { return };
                let held = &mut self.tasks[number];
                held.task.set_status(TaskStatus::Processing);
                held.claim_id = claim_id.clone();
                let queue = self.queues.entry(held.task.agent_id.clone()).or_default();
                queue.waiting.remove(&(Reverse(held.task.priority), number));
                queue.by_claim.insert(claim_id.clone(), number);
                self.renew(number, now);
            }
            Effect::TaskEnded { task_id, status, result, error_message, .. } => {
                let Some(number) = self.number(task_id) else { return };
                let held = &mut self.tasks[number];
                held.task.status = *status;
                held.task.result = result.clone();
                held.task.error_message = error_message.clone();
                let queue = self.queues.entry(held.task.agent_id.clone()).or_default();
                if let Some(until) = held.until.take() {
                    queue.leased.remove(&(until, number));
                }
            }
        }
    }

    fn decided<T>(&mut self, answer: T, effect: Option<Effect>, now: Instant) -> Decided<T> {
        if let Some(effect) = &effect {
            self.apply(effect, now);
        }
        Ok((answer, effect))
    }

    /// The lease starts anew.
    fn renew(&mut self, number: usize, now: Instant) {
        let held = &mut self.tasks[number];
        let queue = self.queues.entry(held.task.agent_id.clone()).or_default();
        let until = now + self.lease;
        if let Some(before) = held.until.replace(until) {
            queue.leased.remove(&(before, number));
        }
        queue.leased.insert((until, number));
    }

    fn claimed(&self, number: usize, now: Instant) -> GetTaskResponse {
        let held = &self.tasks[number];
        let lease = held.until.map_or(0.0, |until| until.saturating_duration_since(now).as_secs_f64());
        GetTaskResponse { task: Some(held.task.clone()), lease }
    }

    fn number(&self, task_id: &str) -> Option<usize> {
        let number: usize = task_id.strip_prefix("task-")?.parse().ok()?;
        (1..=self.tasks.len()).contains(&number).then(|| number - 1)
    }

    fn queue(&self, agent_id: &str) -> Result<&Queue, Status> {
        let missing = || Status::not_found(format!("agent_id: {agent_id:?} has no queue"));
        self.queues.get(agent_id).ok_or_else(missing)
    }
}

fn lease_lost(claim_id: &str, task_id: &str) -> Status {
    Status::failed_precondition(format!("claim_id: {claim_id:?} does not hold {task_id}: another claim does, or none"))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
