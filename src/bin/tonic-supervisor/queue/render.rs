//! The service's messages for output: the names of statuses and kinds, and objects for programs.

use super::table::moment;
use serde_json::{Value, json};
use tonic_supervisor::agent_queue::{QueueSummary, Task, TaskCounts, TaskStatus, TaskType};

/// The statuses, as they are written on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum StatusName {
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl From<StatusName> for TaskStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Pending => Self::Pending,
            StatusName::Processing => Self::Processing,
            StatusName::Completed => Self::Completed,
            StatusName::Failed => Self::Failed,
            StatusName::Cancelled => Self::Cancelled,
        }
    }
}

/// `FAILED`; a number that this program does not know stands for itself.
pub(super) fn status(task: &Task) -> String {
    let name = TaskStatus::try_from(task.status).map(|status| status.as_str_name());
    name.map_or_else(
        |_| task.status.to_string(),
        |name| name.trim_start_matches("TASK_STATUS_").into(),
    )
}

/// `API_CALL`, or the task's own kind.
pub(super) fn kind(task: &Task) -> String {
    if task.custom_type.is_empty() { type_name(task.r#type) } else { task.custom_type.clone() }
}

/// `API_CALL`; a number that this program does not know stands for itself.
pub(super) fn type_name(number: i32) -> String {
    let name = TaskType::try_from(number).map(|kind| kind.as_str_name());
    name.map_or_else(|_| number.to_string(), |name| name.trim_start_matches("TASK_TYPE_").into())
}

/// The kind that is written so: `API_CALL`, `api-call`, `api_call`.
pub(super) fn type_named(text: &str) -> Result<TaskType, String> {
    let name = format!("TASK_TYPE_{}", text.to_ascii_uppercase().replace('-', "_"));
    TaskType::from_str_name(&name)
        .filter(|kind| !matches!(kind, TaskType::Unspecified | TaskType::Custom))
        .ok_or_else(|| {
            let all =
                (1..10).map(|number| type_name(number).to_ascii_lowercase().replace('_', "-"));
            format!(
                "must be one of {}; for a kind of your own give --custom",
                all.collect::<Vec<_>>().join(", ")
            )
        })
}

/// A task without what it carries.
pub(super) fn task(task: &Task) -> Value {
    json!({
        "kind": "task", "task_id": task.task_id, "agent_id": task.agent_id, "status": status(task),
        "type": type_name(task.r#type), "custom_type": task.custom_type, "priority": task.priority,
        "claims": task.claims, "retry_of": task.retry_of, "error_message": task.error_message,
        "created_at": moment(task.created_at), "claimed_at": moment(task.claimed_at),
        "finished_at": moment(task.finished_at), "lease_until": moment(task.lease_until),
    })
}

pub(super) fn counts(tasks: &TaskCounts) -> Value {
    let TaskCounts { pending, processing, completed, failed, cancelled } = tasks;
    json!({ "pending": pending, "processing": processing, "completed": completed, "failed": failed,
        "cancelled": cancelled })
}

pub(super) fn queue(queue: &QueueSummary) -> Value {
    json!({
        "kind": "queue", "agent_id": queue.agent_id, "created_at": moment(queue.created_at),
        "tasks": counts(&queue.tasks.unwrap_or_default()), "oldest_pending": queue.oldest_pending,
        "oldest_processing": queue.oldest_processing,
    })
}
