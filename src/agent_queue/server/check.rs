//! The rules for what a client may send: each refusal names the field, the value and the rule.

use crate::proto::agent_queue::*;
use prost::Message as _;
use std::fmt::Display;
use tonic::Status;

const MAX_ID: usize = 256;
const MAX_JSON: usize = 1024 * 1024;
const MAX_TEXT: usize = 16 * 1024;
const MAX_BATCH: usize = 1000;
const MAX_BATCH_BYTES: usize = 3 * 1024 * 1024;
const MAX_PRIORITY: u32 = 9;
const MAX_WAIT: f64 = 60.0;
const MAX_LIMIT: u32 = 1000;

/// A request that can be refused by itself, before anything is looked up.
pub(super) trait Check {
    /// INVALID_ARGUMENT, if a rule is broken.
    fn check(&self) -> Result<(), Status>;
}

/// Requests that only say whose queue is meant.
macro_rules! only_a_queue {
    ($($request:ty),*) => {$(
        impl Check for $request {
            fn check(&self) -> Result<(), Status> {
                id("agent_id", &self.agent_id)
            }
        }
    )*};
}

only_a_queue!(
    CreateQueueRequest,
    QueueExistsRequest,
    GetQueueInfoRequest,
    GetTaskStatsRequest,
    WatchQueueRequest
);

impl Check for ListQueuesRequest {
    fn check(&self) -> Result<(), Status> {
        if !self.after.is_empty() {
            id("after", &self.after)?;
        }
        page(self.limit, 0)
    }
}

impl Check for ClearQueueRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("client_request_id", &self.client_request_id)?;
        confirmed(self.confirm)?;
        self.status.map_or(Ok(()), status)
    }
}

impl Check for DeleteQueueRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        confirmed(self.confirm)
    }
}

impl Check for SubmitTaskRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        let task = self.task.as_ref().ok_or_else(|| refuse("task", "", "must be given"))?;
        new_task("task", task)
    }
}

impl Check for BatchSubmitTasksRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        batch("tasks", self.tasks.len())?;
        for (index, task) in self.tasks.iter().enumerate() {
            new_task(&format!("tasks[{index}]"), task)?;
        }
        let bytes = self.encoded_len();
        if bytes > MAX_BATCH_BYTES {
            return Err(refuse(
                "tasks",
                format!("{bytes} bytes"),
                "must have at most 3 MiB in all",
            ));
        }
        Ok(())
    }
}

impl Check for GetTaskRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("claim_id", &self.claim_id)?;
        if !(0.0..=MAX_WAIT).contains(&self.timeout) {
            return Err(refuse("timeout", self.timeout, "must be 0 to 60 seconds"));
        }
        Ok(())
    }
}

impl Check for UpdateTaskStatusRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("task_id", &self.task_id)?;
        id("claim_id", &self.claim_id)?;
        status(self.status)?;
        if !self.result.is_empty() {
            if self.status() != TaskStatus::Completed {
                return Err(refuse("result", &self.result, "is only for COMPLETED"));
            }
            json("result", &self.result)?;
        }
        if !self.error_message.is_empty()
            && !matches!(self.status(), TaskStatus::Failed | TaskStatus::Cancelled)
        {
            return Err(refuse(
                "error_message",
                &self.error_message,
                "is only for FAILED and CANCELLED",
            ));
        }
        text("error_message", &self.error_message)
    }
}

impl Check for QueryTaskRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("task_id", &self.task_id)
    }
}

impl Check for DeleteTaskRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("task_id", &self.task_id)?;
        id("client_request_id", &self.client_request_id)
    }
}

impl Check for BatchDeleteTasksRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("client_request_id", &self.client_request_id)?;
        batch("task_ids", self.task_ids.len())?;
        let mut ids = self.task_ids.iter().enumerate();
        ids.try_for_each(|(index, task_id)| id(&format!("task_ids[{index}]"), task_id))
    }
}

impl Check for CancelTaskRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("task_id", &self.task_id)?;
        id("client_request_id", &self.client_request_id)?;
        text("reason", &self.reason)
    }
}

impl Check for RetryTaskRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        id("task_id", &self.task_id)?;
        id("client_request_id", &self.client_request_id)
    }
}

impl Check for ListTasksRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        self.status.map_or(Ok(()), status)?;
        page(self.limit, self.offset)
    }
}

impl Check for GetTasksByStatusRequest {
    fn check(&self) -> Result<(), Status> {
        id("agent_id", &self.agent_id)?;
        status(self.status)?;
        page(self.limit, self.offset)
    }
}

fn new_task(at: &str, task: &NewTask) -> Result<(), Status> {
    let field = |name: &str| format!("{at}.{name}");
    id(&field("client_request_id"), &task.client_request_id)?;
    let kind = TaskType::try_from(task.r#type).unwrap_or(TaskType::Unspecified);
    if kind == TaskType::Unspecified {
        return Err(refuse(&field("type"), task.r#type, "must be one of the task types"));
    }
    if kind == TaskType::Custom {
        id(&field("custom_type"), &task.custom_type)?;
    } else if !task.custom_type.is_empty() {
        return Err(refuse(&field("custom_type"), &task.custom_type, "is only for type CUSTOM"));
    }
    if task.priority() > MAX_PRIORITY {
        return Err(refuse(&field("priority"), task.priority(), "must be 0 to 9"));
    }
    json(&field("payload"), &task.payload)
}

/// Names and ids. A NUL is refused because PostgreSQL's text cannot hold one.
fn id(field: &str, value: &str) -> Result<(), Status> {
    if value.is_empty() || value.len() > MAX_ID {
        return Err(refuse(field, value, "must have 1 to 256 bytes"));
    }
    no_nul(field, value)
}

fn text(field: &str, value: &str) -> Result<(), Status> {
    if value.len() > MAX_TEXT {
        return Err(refuse(field, value, "must have at most 16 KiB"));
    }
    no_nul(field, value)
}

fn no_nul(field: &str, value: &str) -> Result<(), Status> {
    if value.contains('\0') {
        return Err(refuse(field, value, "must not contain a NUL"));
    }
    Ok(())
}

fn confirmed(confirm: bool) -> Result<(), Status> {
    if !confirm {
        return Err(refuse("confirm", confirm, "must be true: there is no way back"));
    }
    Ok(())
}

fn status(number: i32) -> Result<(), Status> {
    match TaskStatus::try_from(number) {
        Ok(TaskStatus::Unspecified) | Err(_) => {
            Err(refuse("status", number, "must be one of the task statuses"))
        }
        Ok(_) => Ok(()),
    }
}

fn page(limit: Option<u32>, offset: u64) -> Result<(), Status> {
    if let Some(limit) = limit.filter(|limit| !(1..=MAX_LIMIT).contains(limit)) {
        return Err(refuse("limit", limit, "must be 1 to 1000"));
    }
    if i64::try_from(offset).is_err() {
        return Err(refuse("offset", offset, "must be less than 2^63"));
    }
    Ok(())
}

fn batch(field: &str, len: usize) -> Result<(), Status> {
    if !(1..=MAX_BATCH).contains(&len) {
        return Err(refuse(field, len, "must be 1 to 1000 of them"));
    }
    Ok(())
}

/// JSON escapes control characters, so that valid JSON has no NUL.
fn json(field: &str, text: &str) -> Result<(), Status> {
    if text.len() > MAX_JSON {
        return Err(refuse(field, text, "must have at most 1 MiB"));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(drop)
        .map_err(|error| refuse(field, text, &format!("must be JSON ({error})")))
}

/// A long value is shown by its beginning.
fn refuse(field: &str, value: impl Display, rule: &str) -> Status {
    let mut shown: String = value.to_string();
    if let Some((cut, _)) = shown.char_indices().nth(40) {
        shown.truncate(cut);
        shown.push_str("...");
    }
    Status::invalid_argument(format!("{field}: {shown:?} {rule}"))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
