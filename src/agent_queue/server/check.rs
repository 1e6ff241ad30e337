//! The rules for what a client may send: each refusal names the field, the value and the rule.

use crate::proto::agent_queue::{SubmitTaskRequest, TaskStatus, TaskType, UpdateTaskStatusRequest};
use std::fmt::Display;
use tonic::Status;

const MAX_ID: usize = 256;
const MAX_JSON: usize = 1024 * 1024;
const MAX_PRIORITY: u32 = 9;
const MAX_WAIT: f64 = 60.0;

/// Names and ids: 1 to 256 bytes.
pub(super) fn id(field: &str, value: &str) -> Result<(), Status> {
    if value.is_empty() || value.len() > MAX_ID {
        return Err(refuse(field, value, "must have 1 to 256 bytes"));
    }
    Ok(())
}

/// A new task.
pub(super) fn submission(request: &SubmitTaskRequest) -> Result<(), Status> {
    id("agent_id", &request.agent_id)?;
    id("client_request_id", &request.client_request_id)?;
    let kind = TaskType::try_from(request.r#type).unwrap_or(TaskType::Unspecified);
    if kind == TaskType::Unspecified {
        return Err(refuse("type", request.r#type, "must be one of the task types"));
    }
    if kind == TaskType::Custom {
        id("custom_type", &request.custom_type)?;
    } else if !request.custom_type.is_empty() {
        return Err(refuse("custom_type", &request.custom_type, "is only for type CUSTOM"));
    }
    if request.priority() > MAX_PRIORITY {
        return Err(refuse("priority", request.priority(), "must be 0 to 9"));
    }
    json("payload", &request.payload)
}

/// How long a claim may wait, in seconds.
pub(super) fn wait(seconds: f64) -> Result<(), Status> {
    if !(0.0..=MAX_WAIT).contains(&seconds) {
        return Err(refuse("wait", seconds, "must be 0 to 60 seconds"));
    }
    Ok(())
}

/// A report on a claimed task.
pub(super) fn report(request: &UpdateTaskStatusRequest) -> Result<TaskStatus, Status> {
    id("task_id", &request.task_id)?;
    id("claim_id", &request.claim_id)?;
    let status = TaskStatus::try_from(request.status).unwrap_or(TaskStatus::Unspecified);
    if matches!(status, TaskStatus::Unspecified | TaskStatus::Pending) {
        return Err(refuse("status", request.status, "must be PROCESSING, COMPLETED, FAILED or CANCELLED"));
    }
    if !request.result.is_empty() {
        if status != TaskStatus::Completed {
            return Err(refuse("result", &request.result, "is only for COMPLETED"));
        }
        json("result", &request.result)?;
    }
    if !request.error_message.is_empty() && status != TaskStatus::Failed {
        return Err(refuse("error_message", &request.error_message, "is only for FAILED"));
    }
    Ok(status)
}

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
mod tests {
    use super::*;

    fn good() -> SubmitTaskRequest {
        SubmitTaskRequest {
            agent_id: "agent".into(),
            r#type: TaskType::TextAnalysis as i32,
            payload: "{}".into(),
            client_request_id: "1".into(),
            ..Default::default()
        }
    }

    #[test]
    fn each_refusal_names_the_field_the_value_and_the_rule() {
        assert!(submission(&good()).is_ok());
        let table = [
            (SubmitTaskRequest { agent_id: "".into(), ..good() }, r#"agent_id: "" must have 1 to 256 bytes"#),
            (SubmitTaskRequest { r#type: 77, ..good() }, r#"type: "77" must be one of the task types"#),
            (SubmitTaskRequest { priority: Some(10), ..good() }, r#"priority: "10" must be 0 to 9"#),
            (SubmitTaskRequest { custom_type: "x".into(), ..good() }, r#"custom_type: "x" is only for type CUSTOM"#),
            (SubmitTaskRequest { r#type: TaskType::Custom as i32, ..good() }, r#"custom_type: "" must have"#),
            (SubmitTaskRequest { payload: "{".into(), ..good() }, r#"payload: "{" must be JSON ("#),
            (SubmitTaskRequest { client_request_id: "".into(), ..good() }, r#"client_request_id: "" must have"#),
        ];
        for (request, text) in table {
            let status = submission(&request).expect_err(text);
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with(text), "{} / {text}", status.message());
        }
        assert!(wait(f64::NAN).is_err() && wait(-1.0).is_err() && wait(61.0).is_err());
        assert!(wait(0.0).is_ok() && wait(60.0).is_ok());
    }
}
