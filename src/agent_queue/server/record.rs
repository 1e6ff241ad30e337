//! A task as a store keeps it, and what may become of it. Pure, and the same for every store.
//!
//! | a task is | and becomes | by |
//! |---|---|---|
//! | PENDING | PROCESSING | a claim |
//! | PENDING | CANCELLED | a cancellation |
//! | PROCESSING | PROCESSING, its lease anew | its claim |
//! | PROCESSING | PENDING | its claim, which gives it back; the end of the lease |
//! | PROCESSING | COMPLETED, FAILED, CANCELLED | its claim |
//! | PROCESSING | CANCELLED | a cancellation |
//! | PROCESSING | FAILED | the end of the lease, more than `max_claims` times |
//! | COMPLETED, FAILED, CANCELLED | - | |

use super::{Millis, Settings};
pub use super::{
    moment::{age, millis, timestamp},
    remembered::{Operation, RememberedAnswer},
    task_event::TaskEvent,
};
use crate::proto::agent_queue::{
    CancelTaskRequest, GetTaskResponse, NewTask, Task, TaskStatus, UpdateTaskStatusRequest,
    UpdateTaskStatusResponse,
};
use tonic::Status;

/// A task, and what its owner is not shown.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// As its owner sees it.
    pub task: Task,
    /// The name of its submission.
    pub request_id: String,
    /// The claim that holds it (PROCESSING) or ended it (final); empty where there is none.
    pub claim_id: String,
    /// How many of its claims were lost, and not given back.
    pub lost: u32,
    /// What became of it last, since it was read; not kept.
    pub event: Option<TaskEvent>,
}

/// Why a claim is over that did not end its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimEnd {
    /// Its lease ended.
    Lost = 1,
    /// It gave the task back.
    Released = 2,
    /// The task was deleted.
    Deleted = 3,
}

/// A claim that is over, and the task it held.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PastClaim {
    /// The task.
    pub task_id: String,
    /// Why it is over.
    pub end: ClaimEnd,
}

/// What an update made of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Updated {
    /// Nothing: it was so already.
    Unchanged,
    /// It is to be kept as it is now.
    Changed,
    /// It is to be kept as it is now, and its claim is to be remembered as [`ClaimEnd::Released`].
    Released,
}

/// The id of the task with this number.
pub fn task_id(number: i64) -> String {
    format!("task-{number}")
}

/// The number of the task with this id; none where no task has such an id.
pub fn task_number(id: &str) -> Option<i64> {
    let number = id.strip_prefix("task-")?.parse().ok()?;
    (task_id(number) == id).then_some(number)
}

/// A lease's length.
pub fn lease_millis(settings: &Settings) -> Millis {
    i64::try_from(settings.lease.as_millis()).unwrap_or(i64::MAX / 4)
}

/// When a lease ends that begins now: no lease ends later.
pub fn latest_lease_end(settings: &Settings, now: Millis) -> Millis {
    now.saturating_add(lease_millis(settings))
}

impl Record {
    /// A submission, with its priority filled in.
    pub fn new(number: i64, agent_id: &str, new: NewTask, now: Millis) -> Self {
        let task = Task {
            task_id: task_id(number),
            agent_id: agent_id.into(),
            r#type: new.r#type,
            custom_type: new.custom_type,
            priority: new.priority.unwrap_or(5),
            payload: new.payload,
            status: TaskStatus::Pending as i32,
            created_at: Some(timestamp(now)),
            ..Task::default()
        };
        let event = Some(TaskEvent::Submitted);
        Self { task, request_id: new.client_request_id, event, ..Self::default() }
    }

    /// A new task with this one's work, which must have FAILED.
    pub fn again(&self, number: i64, request_id: String, now: Millis) -> Result<Self, Status> {
        if self.task.status() != TaskStatus::Failed {
            let Task { task_id, .. } = &self.task;
            let status = self.task.status().as_str_name();
            return Err(Status::failed_precondition(format!(
                "task_id: {task_id} is {status}; only a failed task is retried"
            )));
        }
        let new = NewTask {
            r#type: self.task.r#type,
            payload: self.task.payload.clone(),
            custom_type: self.task.custom_type.clone(),
            priority: Some(self.task.priority),
            client_request_id: request_id,
        };
        let mut record = Self::new(number, &self.task.agent_id, new, now);
        record.task.retry_of = self.task.task_id.clone();
        record.event = Some(TaskEvent::Retried);
        Ok(record)
    }

    /// A PENDING task is handed out.
    pub fn claim(&mut self, claim_id: String, settings: &Settings, now: Millis) {
        self.claim_id = claim_id;
        self.task.set_status(TaskStatus::Processing);
        self.task.claims += 1;
        self.task.claimed_at = Some(timestamp(now));
        self.renew(settings, now);
        let waited = now.saturating_sub(millis(self.task.created_at.as_ref())).max(0);
        self.event = Some(TaskEvent::Claimed((self.task.claims == 1).then_some(waited)));
    }

    /// The lease starts anew.
    pub fn renew(&mut self, settings: &Settings, now: Millis) {
        self.task.lease_until = Some(timestamp(latest_lease_end(settings, now)));
    }

    /// The answer to the claim that holds or ended this task.
    pub fn claimed(&self, now: Millis) -> GetTaskResponse {
        GetTaskResponse { lease: self.lease_left(now), task: Some(self.task.clone()) }
    }

    /// The answer to an update.
    pub fn updated(&self, now: Millis) -> UpdateTaskStatusResponse {
        UpdateTaskStatusResponse { lease: self.lease_left(now), task: Some(self.task.clone()) }
    }

    fn lease_left(&self, now: Millis) -> f64 {
        let until = millis(self.task.lease_until.as_ref());
        (until - now).max(0) as f64 / 1000.0
    }

    /// The lease of a PROCESSING task has ended: PENDING again, or FAILED where it was lost more
    /// than `max_claims` times.
    ///
    /// What it becomes does not depend on when this is noticed. The claim is to be remembered as
    /// [`ClaimEnd::Lost`].
    pub fn lose(&mut self, settings: &Settings) {
        let ended_at = self.task.lease_until.take();
        self.lost += 1;
        self.claim_id.clear();
        self.event = Some(TaskEvent::Lost);
        if self.lost <= settings.max_claims {
            self.task.set_status(TaskStatus::Pending);
            return;
        }
        self.event = Some(TaskEvent::Dead);
        self.task.set_status(TaskStatus::Failed);
        self.task.error_message = poisoned(self.lost);
        self.task.finished_at = ended_at;
    }

    /// No lease lasts longer than one that begins now; returns whether this one did.
    ///
    /// It was written by a clock that was ahead of this one: before it was set back, say, or on
    /// another machine.
    pub fn shorten(&mut self, settings: &Settings, now: Millis) -> bool {
        let latest = latest_lease_end(settings, now);
        let late = self.task.lease_until.as_ref().is_some_and(|until| millis(Some(until)) > latest);
        if late {
            self.task.lease_until = Some(timestamp(latest));
        }
        late
    }

    /// Its holder says how the work stands.
    ///
    /// `past` is what is remembered of the request's claim, where it does not hold this task. What
    /// was said before may be said again, word for word, and changes nothing.
    pub fn update(
        &mut self,
        request: &UpdateTaskStatusRequest,
        past: Option<&PastClaim>,
        settings: &Settings,
        now: Millis,
    ) -> Result<Updated, Status> {
        let (was, to) = (self.task.status(), request.status());
        if self.claim_id != request.claim_id || self.claim_id.is_empty() {
            let here = past.filter(|past| past.task_id == self.task.task_id);
            return match here.map(|past| past.end) {
                Some(ClaimEnd::Released) if to == TaskStatus::Pending => Ok(Updated::Unchanged),
                over => Err(not_held(&request.task_id, &request.claim_id, over)),
            };
        }
        if was != TaskStatus::Processing {
            let same = was == to
                && self.task.result == request.result
                && self.task.error_message == request.error_message;
            return if same { Ok(Updated::Unchanged) } else { Err(self.ended(to)) };
        }
        match to {
            TaskStatus::Processing => {
                self.renew(settings, now);
                return Ok(Updated::Changed);
            }
            TaskStatus::Pending => {
                self.task.set_status(TaskStatus::Pending);
                self.task.lease_until = None;
                self.claim_id.clear();
                self.event = Some(TaskEvent::GivenBack);
                return Ok(Updated::Released);
            }
            _ => self.end(to, &request.error_message, now),
        }
        self.task.result = request.result.clone();
        Ok(Updated::Changed)
    }

    /// Somebody gives up the task.
    pub fn cancel(&mut self, request: &CancelTaskRequest, now: Millis) -> Result<(), Status> {
        match self.task.status() {
            TaskStatus::Pending | TaskStatus::Processing => {
                self.end(TaskStatus::Cancelled, &request.reason, now);
                Ok(())
            }
            _ => Err(self.ended(TaskStatus::Cancelled)),
        }
    }

    fn end(&mut self, status: TaskStatus, error_message: &str, now: Millis) {
        let held =
            self.task.claimed_at.as_ref().filter(|_| self.task.status() == TaskStatus::Processing);
        let ran = held.map(|at| now.saturating_sub(millis(Some(at))).max(0));
        self.task.set_status(status);
        self.task.error_message = error_message.into();
        self.task.finished_at = Some(timestamp(now));
        self.task.lease_until = None;
        self.event = Some(TaskEvent::Ended(status, ran));
    }

    fn ended(&self, to: TaskStatus) -> Status {
        let (was, to) = (self.task.status().as_str_name(), to.as_str_name());
        let id = &self.task.task_id;
        let again = if was == to { " again, with other words" } else { "" };
        Status::failed_precondition(format!("status: {id} is {was} and cannot become {to}{again}"))
    }

    /// What is remembered of its submission's name when it is deleted.
    pub fn remembered(&self) -> RememberedAnswer {
        let retry = !self.task.retry_of.is_empty();
        RememberedAnswer::submission(self.task.task_id.clone(), retry)
    }
}

impl PastClaim {
    /// A claim that held this task, and is over for this reason.
    pub fn new(task_id: String, end: ClaimEnd) -> Self {
        Self { task_id, end }
    }
}

impl ClaimEnd {
    /// As it is kept.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Lost, Self::Released, Self::Deleted].into_iter().find(|end| *end as i64 == number)
    }
}

/// Why a task failed that nobody could finish.
pub fn poisoned(lost: u32) -> String {
    format!("claimed and lost {lost} times: no agent ended it or kept its lease")
}

/// The queue is not there.
pub fn no_queue(agent_id: &str) -> Status {
    Status::not_found(format!("agent_id: {agent_id:?} has no queue"))
}

/// The task is not in this queue.
pub fn no_task(agent_id: &str, task_id: &str) -> Status {
    Status::not_found(format!(
        "task_id: {agent_id:?} has no task {task_id:?}; it was deleted, or never there"
    ))
}

/// The claim does not hold the task.
pub fn not_held(task_id: &str, claim_id: &str, end: Option<ClaimEnd>) -> Status {
    let why = match end {
        Some(ClaimEnd::Lost) => "its lease ended",
        Some(ClaimEnd::Released) => "it gave the task back",
        Some(ClaimEnd::Deleted) => "the task was deleted",
        None => "another claim does, or none",
    };
    Status::failed_precondition(format!("claim_id: {claim_id:?} does not hold {task_id}: {why}"))
}
