//! The matrix: every operation, as five identities and as nobody, on an own, another and a missing
//! queue, from one table.

use super::{Server, Signed, bearer, client, grants, server};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Code, Status, body::Body};
use tonic_supervisor::agent_queue::{
    BatchDeleteTasksRequest, BatchSubmitTasksRequest, CancelTaskRequest, ClearQueueRequest,
    CreateQueueRequest, DESCRIPTORS, DeleteQueueRequest, DeleteTaskRequest, GetQueueInfoRequest,
    GetTaskRequest, GetTaskStatsRequest, GetTasksByStatusRequest, HealthCheckRequest,
    ListQueuesRequest, ListTasksRequest, NewTask, QueryTaskRequest, QueueExistsRequest,
    RetryTaskRequest, SubmitTaskRequest, UpdateTaskStatusRequest, WatchQueueRequest,
    agent_queue_client::AgentQueueClient, server::LiveGrants,
};

/// The five: their tokens' numbers and grants.
const IDENTITIES: [super::Line<'static>; 5] = [
    ("agent_001", &[1], ""),
    ("worker", &[2], "{ queues: other, may: [work] }"),
    ("front", &[3], "{ queues: \"agent_*\", may: [submit, look, cancel] }"),
    ("auditor", &[4], "{ queues: \"*\", may: [look] }"),
    ("ops", &[5], "{ queues: \"*\", may: [submit, look, cancel, delete, operate] }"),
];

/// The two that exist, and one that does not.
const QUEUES: [&str; 3] = ["agent_001", "other", "missing"];

/// `y`: it is let through to the store, `n`: PERMISSION_DENIED; for each of the queues, for each
/// identity in order.
const TABLE: [(&str, &str); 20] = [
    ("HealthCheck", "yyy yyy yyy yyy yyy"),
    ("ListQueues", "yyy yyy yyy yyy yyy"),
    ("CreateQueue", "ynn nyn ynn nnn yyy"),
    ("SubmitTask", "ynn nnn ynn nnn yyy"),
    ("BatchSubmitTasks", "ynn nnn ynn nnn yyy"),
    ("RetryTask", "ynn nnn ynn nnn yyy"),
    ("GetTask", "ynn nyn nnn nnn nnn"),
    ("UpdateTaskStatus", "ynn nyn nnn nnn nnn"),
    ("WatchQueue", "ynn nyn ynn yyy yyy"),
    ("QueueExists", "ynn nnn ynn yyy yyy"),
    ("GetQueueInfo", "ynn nnn ynn yyy yyy"),
    ("QueryTask", "ynn nnn ynn yyy yyy"),
    ("ListTasks", "ynn nnn ynn yyy yyy"),
    ("GetTasksByStatus", "ynn nnn ynn yyy yyy"),
    ("GetTaskStats", "ynn nnn ynn yyy yyy"),
    ("CancelTask", "ynn nnn ynn nnn yyy"),
    ("DeleteTask", "ynn nnn nnn nnn yyy"),
    ("BatchDeleteTasks", "ynn nnn nnn nnn yyy"),
    ("ClearQueue", "ynn nnn nnn nnn yyy"),
    ("DeleteQueue", "ynn nnn nnn nnn yyy"),
];

/// A server of its own, with the two queues and a task in each.
async fn start() -> Server {
    let everything = "{ queues: \"*\", may: [submit, work] }";
    let live = Arc::new(LiveGrants::new(grants(&[("maker", &[9], everything)])));
    let server = server(&live);
    let mut maker = client(server.clone(), bearer(9));
    for agent_id in ["agent_001", "other"].map(str::to_owned) {
        maker.create_queue(CreateQueueRequest { agent_id: agent_id.clone() }).await.expect("made");
        maker
            .submit_task(SubmitTaskRequest { agent_id, task: Some(task()) })
            .await
            .expect("submitted");
    }
    live.replace(grants(&IDENTITIES));
    server
}

fn task() -> NewTask {
    NewTask {
        r#type: 1,
        payload: "{}".into(),
        client_request_id: "first".into(),
        ..NewTask::default()
    }
}

async fn ask(
    client: &mut AgentQueueClient<Signed<Server>>,
    operation: &str,
    queue: &str,
) -> Result<(), Status> {
    let agent_id = queue.to_owned();
    let (task_id, client_request_id) = ("task-1".to_owned(), "name".to_owned());
    match operation {
        "HealthCheck" => client.health_check(HealthCheckRequest {}).await.map(drop),
        "ListQueues" => client.list_queues(ListQueuesRequest::default()).await.map(drop),
        "CreateQueue" => client.create_queue(CreateQueueRequest { agent_id }).await.map(drop),
        "SubmitTask" => {
            client.submit_task(SubmitTaskRequest { agent_id, task: Some(task()) }).await.map(drop)
        }
        "BatchSubmitTasks" => client
            .batch_submit_tasks(BatchSubmitTasksRequest { agent_id, tasks: vec![task()] })
            .await
            .map(drop),
        "RetryTask" => client
            .retry_task(RetryTaskRequest { agent_id, task_id, client_request_id })
            .await
            .map(drop),
        "GetTask" => client
            .get_task(GetTaskRequest { agent_id, claim_id: "claim".into(), timeout: 0.0 })
            .await
            .map(drop),
        "UpdateTaskStatus" => {
            let claim_id = "claim".to_owned();
            let update = UpdateTaskStatusRequest {
                agent_id,
                task_id,
                claim_id,
                status: 2,
                ..UpdateTaskStatusRequest::default()
            };
            client.update_task_status(update).await.map(drop)
        }
        "WatchQueue" => {
            match client.watch_queue(WatchQueueRequest { agent_id, cursor: None }).await {
                Ok(answers) => answers.into_inner().message().await.map(drop),
                Err(status) => Err(status),
            }
        }
        "QueueExists" => client.queue_exists(QueueExistsRequest { agent_id }).await.map(drop),
        "GetQueueInfo" => client.get_queue_info(GetQueueInfoRequest { agent_id }).await.map(drop),
        "QueryTask" => client.query_task(QueryTaskRequest { agent_id, task_id }).await.map(drop),
        "ListTasks" => client
            .list_tasks(ListTasksRequest { agent_id, ..ListTasksRequest::default() })
            .await
            .map(drop),
        "GetTasksByStatus" => {
            let request = GetTasksByStatusRequest {
                agent_id,
                status: 1,
                ..GetTasksByStatusRequest::default()
            };
            client.get_tasks_by_status(request).await.map(drop)
        }
        "GetTaskStats" => client.get_task_stats(GetTaskStatsRequest { agent_id }).await.map(drop),
        "CancelTask" => {
            let request = CancelTaskRequest {
                agent_id,
                task_id,
                client_request_id,
                ..CancelTaskRequest::default()
            };
            client.cancel_task(request).await.map(drop)
        }
        "DeleteTask" => client
            .delete_task(DeleteTaskRequest { agent_id, task_id, client_request_id })
            .await
            .map(drop),
        "BatchDeleteTasks" => {
            let request =
                BatchDeleteTasksRequest { agent_id, task_ids: vec![task_id], client_request_id };
            client.batch_delete_tasks(request).await.map(drop)
        }
        "ClearQueue" => {
            let request =
                ClearQueueRequest { agent_id, confirm: true, client_request_id, status: None };
            client.clear_queue(request).await.map(drop)
        }
        "DeleteQueue" => {
            client.delete_queue(DeleteQueueRequest { agent_id, confirm: true }).await.map(drop)
        }
        other => panic!("the table names {other}, which nobody asks"),
    }
}

#[tokio::test]
async fn a_list_shows_the_queues_that_whoever_asks_may_look_at() {
    let server = start().await;
    let seen =
        [&["agent_001"][..], &[], &["agent_001"], &["agent_001", "other"], &["agent_001", "other"]];
    for ((name, tokens, _), seen) in IDENTITIES.iter().zip(seen) {
        let mut client = client(server.clone(), bearer(tokens[0]));
        let list =
            client.list_queues(ListQueuesRequest::default()).await.expect("listed").into_inner();
        let names: Vec<_> = list.queues.iter().map(|queue| &*queue.agent_id).collect();
        assert_eq!(names, seen, "{name}");
    }
}

#[tokio::test]
async fn every_operation_is_refused_to_whom_no_grant_allows_it_and_to_nobody_else() {
    let mut faults = Vec::new();
    for (operation, row) in TABLE {
        for ((name, tokens, _), cells) in IDENTITIES.iter().zip(row.split(' ')) {
            let mut refusals = BTreeSet::new();
            for (queue, cell) in QUEUES.iter().zip(cells.chars()) {
                let mut client = client(start().await, bearer(tokens[0]));
                let said = ask(&mut client, operation, queue).await;
                let code = said.as_ref().map_or_else(Status::code, |()| Code::Ok);
                let as_told = match cell {
                    'n' => code == Code::PermissionDenied,
                    _ => matches!(code, Code::Ok | Code::NotFound | Code::FailedPrecondition),
                };
                if !as_told {
                    faults.push(format!(
                        "{operation} as {name} on {queue}: {cell}, and it was {said:?}"
                    ));
                }
                refusals.extend(
                    said.err()
                        .filter(|_| cell == 'n')
                        .map(|status| status.message().replace(queue, "..")),
                );
            }
            if refusals.len() > 1 {
                faults.push(format!(
                    "{operation} as {name} is refused in different words: {refusals:?}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[tokio::test]
async fn without_an_identity_every_operation_is_unauthenticated() {
    let wrong = ["Bearer aqt_wrong", "Bearer ", "Basic eDp5"].map(|value| Some(value.to_owned()));
    for (operation, _) in TABLE {
        for authorization in [None].into_iter().chain(wrong.clone()) {
            let mut client = client(start().await, authorization.clone());
            for queue in QUEUES {
                let refused = ask(&mut client, operation, queue).await.expect_err("nobody");
                assert_eq!(
                    refused.code(),
                    Code::Unauthenticated,
                    "{operation} {queue} {authorization:?}: {refused}"
                );
            }
        }
    }
}

#[test]
fn the_table_has_every_operation_of_the_service() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let services = files.file.iter().flat_map(|file| &file.service);
    let methods: BTreeSet<_> =
        services.flat_map(|service| &service.method).map(|method| method.name()).collect();
    assert_eq!(methods, TABLE.iter().map(|(operation, _)| *operation).collect());
}

#[tokio::test]
async fn a_refusal_names_identity_action_and_queue_and_changes_nothing() {
    let server = start().await;
    let mut auditor = client(server.clone(), bearer(4));
    for (operation, words) in [
        ("CreateQueue", r#"identity "auditor" may not work on or submit to queue "missing""#),
        ("GetTask", r#"identity "auditor" may not work on queue "missing""#),
        ("DeleteQueue", r#"identity "auditor" may not delete from queue "missing""#),
        ("CancelTask", r#"identity "auditor" may not cancel tasks of queue "missing""#),
    ] {
        let refused = ask(&mut auditor, operation, "missing").await.expect_err("refused");
        assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, words));
    }
    let exists = auditor
        .queue_exists(QueueExistsRequest { agent_id: "missing".into() })
        .await
        .expect("answered");
    assert!(!exists.into_inner().exists);
}

#[tokio::test]
async fn a_request_that_breaks_its_own_rules_is_told_so_before_who_may() {
    let mut agent = client(start().await, bearer(1));
    let request =
        GetTaskRequest { agent_id: "other".into(), claim_id: String::new(), timeout: 0.0 };
    let refused = agent.get_task(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

/// A body that nobody may touch.
struct Untouched;

impl http_body::Body for Untouched {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        panic!("the body was read");
    }
}

#[tokio::test]
async fn the_body_of_a_request_without_identity_is_not_read() {
    let request = http::Request::post("/agent_queue.v1.AgentQueue/SubmitTask")
        .header("authorization", "Bearer x");
    let request = request.body(Body::new(Untouched)).expect("a request");
    let answer =
        tower_service::Service::call(&mut start().await, request).await.expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], (Code::Unauthenticated as i32).to_string());
}
