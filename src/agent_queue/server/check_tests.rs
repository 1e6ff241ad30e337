//! What the checks refuse, and in which words.

use super::*;

fn good() -> NewTask {
    NewTask {
        r#type: TaskType::TextAnalysis as i32,
        payload: "{}".into(),
        client_request_id: "1".into(),
        ..Default::default()
    }
}

fn submit(task: NewTask) -> SubmitTaskRequest {
    SubmitTaskRequest { agent_id: "agent".into(), task: Some(task) }
}

#[track_caller]
fn refused(request: &impl Check, text: &str) {
    let status = request.check().expect_err(text);
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().starts_with(text), "{} / {text}", status.message());
}

#[test]
fn each_refusal_of_a_task_names_the_field_the_value_and_the_rule() {
    assert!(submit(good()).check().is_ok());
    let max = format!("\"{}\"", "x".repeat(1024 * 1024 - 2));
    assert!(submit(NewTask { payload: max.clone(), ..good() }).check().is_ok());
    let table = [
        (NewTask { r#type: 77, ..good() }, r#"task.type: "77" must be one of the task types"#),
        (NewTask { priority: Some(10), ..good() }, r#"task.priority: "10" must be 0 to 9"#),
        (
            NewTask { custom_type: "x".into(), ..good() },
            r#"task.custom_type: "x" is only for type CUSTOM"#,
        ),
        (
            NewTask { r#type: TaskType::Custom as i32, ..good() },
            r#"task.custom_type: "" must have"#,
        ),
        (NewTask { payload: "{".into(), ..good() }, r#"task.payload: "{" must be JSON ("#),
        (NewTask { payload: format!("{max} "), ..good() }, "task.payload: \"\\\"xxx"),
        (
            NewTask { client_request_id: "".into(), ..good() },
            r#"task.client_request_id: "" must have"#,
        ),
        (
            NewTask { client_request_id: "a\0".into(), ..good() },
            r#"task.client_request_id: "a\0" must not contain"#,
        ),
    ];
    for (task, text) in table {
        refused(&submit(task), text);
    }
    refused(
        &SubmitTaskRequest { agent_id: "".into(), task: Some(good()) },
        r#"agent_id: "" must have 1 to 256 bytes"#,
    );
    refused(&SubmitTaskRequest { agent_id: "a".into(), task: None }, r#"task: "" must be given"#);
}

#[test]
fn batches_have_1_to_1000_tasks_of_at_most_3_mib() {
    let batch = |tasks| BatchSubmitTasksRequest { agent_id: "agent".into(), tasks };
    assert!(batch(vec![good(); 1000]).check().is_ok());
    refused(&batch(vec![]), r#"tasks: "0" must be 1 to 1000"#);
    refused(&batch(vec![good(); 1001]), r#"tasks: "1001" must be 1 to 1000"#);
    refused(
        &batch(vec![good(), NewTask { priority: Some(11), ..good() }]),
        r#"tasks[1].priority: "11""#,
    );
    let large = NewTask { payload: format!("\"{}\"", "x".repeat(1_000_000)), ..good() };
    assert!(batch(vec![large.clone(); 3]).check().is_ok());
    refused(&batch(vec![large; 4]), r#"tasks: "4000"#);
    let delete = |task_ids| BatchDeleteTasksRequest {
        agent_id: "a".into(),
        task_ids,
        client_request_id: "1".into(),
    };
    refused(&delete(vec![]), r#"task_ids: "0" must be 1 to 1000"#);
    refused(&delete(vec!["task-1".into(), "".into()]), r#"task_ids[1]: "" must have"#);
}

#[test]
fn a_claim_waits_0_to_60_seconds() {
    let claim = |timeout| GetTaskRequest { agent_id: "a".into(), claim_id: "c".into(), timeout };
    for bad in [f64::NAN, -1.0, 60.1, f64::INFINITY] {
        refused(&claim(bad), "timeout: ");
    }
    assert!(claim(0.0).check().is_ok() && claim(60.0).check().is_ok());
}

#[test]
fn results_belong_to_completed_tasks_and_reasons_to_the_others_that_ended() {
    let update = |status: TaskStatus, result: &str, error: &str| UpdateTaskStatusRequest {
        agent_id: "a".into(),
        task_id: "task-1".into(),
        claim_id: "c".into(),
        status: status as i32,
        result: result.into(),
        error_message: error.into(),
    };
    assert!(update(TaskStatus::Completed, "{}", "").check().is_ok());
    assert!(update(TaskStatus::Cancelled, "", "why").check().is_ok());
    refused(&update(TaskStatus::Unspecified, "", ""), r#"status: "0" must be one"#);
    refused(&update(TaskStatus::Failed, "{}", ""), r#"result: "{}" is only for COMPLETED"#);
    refused(&update(TaskStatus::Pending, "", "why"), r#"error_message: "why" is only for"#);
    refused(&update(TaskStatus::Failed, "", &"x".repeat(16 * 1024 + 1)), "error_message: ");
}

#[test]
fn what_cannot_be_undone_must_be_confirmed_and_pages_are_limited() {
    refused(
        &DeleteQueueRequest { agent_id: "a".into(), confirm: false },
        r#"confirm: "false" must be true"#,
    );
    let list =
        |limit, offset| ListTasksRequest { agent_id: "a".into(), status: None, limit, offset };
    assert!(list(None, 0).check().is_ok() && list(Some(1000), 7).check().is_ok());
    refused(&list(Some(0), 0), r#"limit: "0" must be 1 to 1000"#);
    let queues = |limit, after: &str| ListQueuesRequest { limit, after: after.into() };
    assert!(queues(None, "").check().is_ok());
    refused(&queues(Some(0), ""), r#"limit: "0" must be 1 to 1000"#);
    refused(&queues(None, &"x".repeat(257)), "after: \"xxx");
    refused(&list(Some(1001), 0), r#"limit: "1001" must be 1 to 1000"#);
    refused(&list(None, u64::MAX), "offset: ");
}
