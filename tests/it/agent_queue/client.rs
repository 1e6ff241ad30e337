//! The agent queue's client: a generated client, untouched, on the supervised channel, and the
//! seed's own above it. Time is virtual.

use crate::support::{AGENT, LONG, Rig, ScriptedQueue, bounded, config, seconds, secs, timed};
use prost::Message;
use std::collections::HashSet;
use tonic::{Code, Request};
use tonic_supervisor::{
    agent_queue::{
        BatchSubmitTasksRequest, NewTask, PrivateAgentTasksQueue, QueueExistsResponse,
        SubmitTaskRequest, SubmitTaskResponse, TaskChange, TaskType, WatchQueueRequest,
        WatchQueueResponse,
    },
    proto::agent_queue::{
        CreateQueueRequest, CreateQueueResponse, agent_queue_client::AgentQueueClient,
    },
    testing::{Answer, Arrival, Script},
};

/// The seed's own example: the two lines that change are the supervisor's and the channel's.
#[tokio::test(start_paused = true)]
async fn a_generated_client_retries_and_reconnects_by_itself() {
    let rig = Rig::new(config()).await;
    let answer = Answer::message(CreateQueueResponse { already_exists: true }.encode_to_vec());
    let thrice = vec![Answer::status(Code::Unavailable); 3];
    rig.server.on("/agent_queue.v1.AgentQueue/CreateQueue", Script::sequence(thrice, answer));
    let mut queue = AgentQueueClient::new(rig.supervisor.channel());
    let request = CreateQueueRequest { agent_id: "agent_001".into() };
    let response = queue.create_queue(request.clone()).await.expect("the fourth attempt");
    assert!(response.into_inner().already_exists);
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 1.0, 3.0, 7.0]));

    rig.server.restart().await;
    queue.create_queue(Request::new(request)).await.expect("over the new link");
    assert_eq!(rig.server.arrivals().last().map(|arrival| arrival.connection), Some(2));
    rig.supervisor.wait_ready(LONG).await.expect("Ready");
}

/// The seed: `queue = PrivateAgentTasksQueue(); response = queue.create_queue("agent_001")`.
#[tokio::test(start_paused = true)]
async fn the_seeds_client_retries_by_itself() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.answer_wrongly("CreateQueue", vec![Answer::status(Code::Unavailable); 3]);
    let (took, response) = timed(rig.client.create_queue(AGENT)).await;
    assert!(!response.expect("the fourth attempt").already_exists);
    assert_eq!(took, secs(7));
}

/// The seed's own numbers: 5 retries, 2 s growing by half.
#[tokio::test(start_paused = true)]
async fn the_builder_takes_the_seeds_names_and_numbers() {
    let builder = PrivateAgentTasksQueue::builder()
        .grpc_max_retry_attempts(5)
        .grpc_initial_backoff(2.0)
        .grpc_max_backoff(20.0)
        .grpc_backoff_multiplier(1.5);
    let config = builder.config().expect("valid");
    let waits: Vec<_> =
        (0..5).map(|retry| config.retry().backoff.delay(retry).as_secs_f64()).collect();
    assert_eq!(waits, [2.0, 3.0, 4.5, 6.75, 10.125]);
    assert_eq!((config.host(), config.port(), config.tls().is_none()), ("127.0.0.1", 50_051, true));

    let builder = PrivateAgentTasksQueue::builder()
        .grpc_host("queue.internal")
        .grpc_port(443)
        .grpc_timeout(None)
        .grpc_retryable_status_codes([Code::Unavailable])
        .grpc_keepalive_time(15.0)
        .grpc_keepalive_timeout(2.5)
        .grpc_keepalive_permit_without_calls(false)
        .configure(|grpc| grpc.queue_max_calls(7));
    let config = builder.config().expect("valid");
    assert_eq!((config.host(), config.port(), config.timeout()), ("queue.internal", 443, None));
    assert_eq!(
        (config.keepalive().time(), config.keepalive().permit_without_calls()),
        (Some(secs(15)), false)
    );
    assert_eq!(config.queue().max_calls(), 7);
}

#[test]
fn a_wrong_value_names_the_builders_method_the_key_and_the_rule() {
    let builder = PrivateAgentTasksQueue::builder()
        .grpc_initial_backoff(-1.0)
        .grpc_backoff_multiplier(f64::NAN);
    let problems = builder.config().expect_err("both are wrong").to_string();
    for words in [
        "grpc_initial_backoff(..)",
        "grpc.initial_backoff",
        "must not be negative",
        "grpc_backoff_multiplier",
    ] {
        assert!(problems.contains(words), "{words} in {problems}");
    }
}

#[cfg(feature = "yaml")]
#[tokio::test]
async fn a_client_is_configured_by_the_seeds_file() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("grpc.yaml");
    std::fs::write(&file, "grpc:\n  max_retry_attempts: 3\n  keepalive_time: 30\n")
        .expect("written");
    let client = PrivateAgentTasksQueue::from_config(&file).expect("valid");
    client.close().await;
    std::fs::write(&file, "grpc:\n  max_retries: 3\n").expect("written");
    let problem = PrivateAgentTasksQueue::from_config(&file).expect_err("misspelt").to_string();
    assert!(problem.contains("grpc.yaml:2:3"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claims_deadline_is_its_wait_plus_the_timeout() {
    let rig = ScriptedQueue::start_with(config().timeout(secs(5)).attempt_timeout(secs(2))).await;
    let queue = rig.client.queue(AGENT);
    let (took, claim) = timed(queue.get_task(secs(8))).await;
    assert!(claim.expect("the attempt's timeout counts after the wait").is_none());
    assert_eq!(took, secs(8));
    let arrival = rig.server.arrivals().pop().expect("one call");
    let deadline = arrival.grpc_timeout.expect("a deadline");
    let millis: u64 = deadline.trim_end_matches('m').parse().expect("in milliseconds");
    // The attempt may take its wait and 2 s; the call 3 s more, for attempts after it.
    assert!((9_990..=13_000).contains(&millis), "{deadline}");

    rig.tasks.answer_wrongly("GetTask", vec![Answer::hang(); 9]);
    let (took, claim) = timed(queue.get_task(secs(8))).await;
    assert_eq!((claim.expect_err("no answer").code(), took), (Code::DeadlineExceeded, secs(13)));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_several_calls_under_one_claims_name() {
    let rig = ScriptedQueue::start().await;
    let (took, claim) = timed(rig.client.queue(AGENT).get_task(secs(50))).await;
    assert!(claim.expect("answers").is_none());
    assert_eq!(took, secs(50));
    let asked = rig.tasks.asked();
    assert_eq!(
        asked.iter().map(|request| request.timeout.round()).collect::<Vec<_>>(),
        [20.0, 20.0, 10.0]
    );
    assert_eq!(asked.iter().map(|request| &request.claim_id).collect::<HashSet<_>>().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_one_call_says_whether_there_is_a_task() {
    let rig = ScriptedQueue::start().await;
    let queue = rig.client.queue(AGENT);
    assert!(queue.get_task(secs(0)).await.expect("an answer").is_none());
    rig.tasks.put(&["a"]);
    let claim = queue.get_task(secs(0)).await.expect("an answer").expect("a task");
    assert_eq!((claim.task.task_id.as_str(), claim.lease), ("a", secs(30)));
    assert_eq!(rig.calls("GetTask"), 2);
}

/// A submission is named before it is first sent, so that every retry carries the same name.
#[tokio::test(start_paused = true)]
async fn the_client_names_each_submission_itself_and_retries_keep_the_name() {
    let rig = Rig::new(config()).await;
    let taken = Answer::message(
        SubmitTaskResponse { task_id: "t".into(), already_submitted: false }.encode_to_vec(),
    );
    rig.server.script(Script::sequence(
        vec![Answer::cut_after_processing(), Answer::status(Code::Internal)],
        taken,
    ));
    let queue = PrivateAgentTasksQueue::over(rig.supervisor.clone()).queue(AGENT);
    let task = || NewTask::new(TaskType::TextAnalysis, "{}").with_priority(9);
    queue.submit_task(task()).await.expect("the third attempt");
    queue.submit_task(task()).await.expect("at once");
    queue.submit_task(task().with_request_id("mine")).await.expect("at once");
    let sent = rig.server.arrivals();
    let names: Vec<_> = sent
        .iter()
        .map(|call| {
            SubmitTaskRequest::decode(&*call.message).unwrap().task.unwrap().client_request_id
        })
        .collect();
    assert!(names[0].len() == 32 && names[..3].iter().all(|name| *name == names[0]), "{names:?}");
    assert!(names[3] != names[0] && names[4] == "mine", "{names:?}");
    let first = SubmitTaskRequest::decode(&*sent[0].message).unwrap().task.unwrap();
    assert_eq!(
        (first.r#type(), first.priority, first.payload.as_str()),
        (TaskType::TextAnalysis, Some(9), "{}")
    );

    rig.server.script(Answer::message(Vec::<u8>::new()));
    queue.batch_submit_tasks([task(), NewTask::custom("thumbnail", "[]")]).await.expect("answered");
    let batch =
        BatchSubmitTasksRequest::decode(&*rig.server.arrivals().pop().unwrap().message).unwrap();
    assert_ne!(batch.tasks[0].client_request_id, batch.tasks[1].client_request_id);
    assert_eq!(
        (batch.tasks[1].r#type(), batch.tasks[1].custom_type.as_str()),
        (TaskType::Custom, "thumbnail")
    );
}

/// Whatever the configuration says of methods in general: this service can be asked twice.
#[tokio::test(start_paused = true)]
async fn every_operation_is_retried_even_where_the_file_says_not_idempotent() {
    let careful = tonic_supervisor::MethodOptions::new().idempotent(false);
    let rig = Rig::new(config().method("*", careful)).await;
    let exists = Answer::message(QueueExistsResponse { exists: true }.encode_to_vec());
    rig.server.script(Script::sequence(vec![Answer::cut_after_processing()], exists));
    let client = PrivateAgentTasksQueue::over(rig.supervisor.clone());
    assert!(client.queue_exists(AGENT).await.expect("the second attempt"));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_is_made_only_if_asked_for() {
    let rig = ScriptedQueue::start().await;
    let missing = Answer::message(QueueExistsResponse { exists: false }.encode_to_vec());
    rig.tasks.answer_wrongly("QueueExists", vec![missing]);
    let error = rig.client.get_queue(AGENT, false).await.expect_err("not there");
    assert_eq!(
        (error.code(), error.message()),
        (Code::NotFound, r#"agent_id: "agent_001" has no queue"#)
    );
    assert_eq!(rig.calls("CreateQueue"), 0);
    let queue = rig.client.get_queue(AGENT, true).await.expect("made");
    assert_eq!((queue.agent_id(), rig.calls("CreateQueue")), (AGENT, 1));
}

const WATCH: &str = "/agent_queue.v1.AgentQueue/WatchQueue";

fn change(cursor: u64) -> Vec<u8> {
    let changes = vec![TaskChange { task_id: format!("t{cursor}"), task: None }];
    WatchQueueResponse { changes, cursor }.encode_to_vec()
}

/// Tells one change after the cursor it is asked for, then ends as `ending` says.
fn watcher(ending: impl Fn(Answer, u64) -> Answer + Send + Sync + 'static) -> Script {
    Script::new(move |call: &Arrival| {
        let next = WatchQueueRequest::decode(&*call.message)
            .unwrap()
            .cursor
            .map_or(1, |cursor| cursor + 1);
        ending(Answer::stream([change(next)], Code::Ok).early(true), next)
    })
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_from_its_cursor_however_its_streams_end() {
    let rig = Rig::new(config()).await;
    rig.server.on(
        WATCH,
        watcher(|answer, next| match next {
            1 => answer.then_cut(),
            2 => answer.then_reset(8),
            3 => answer.then_status(Code::Unavailable),
            4 => answer,
            _ => answer.then_hang(),
        }),
    );
    let client = PrivateAgentTasksQueue::over(rig.supervisor.clone());
    let mut watch = client.queue(AGENT).watch_queue(None);
    for cursor in 1..=5 {
        let answer =
            bounded("a change", watch.next()).await.expect("it goes on").expect("no error");
        assert_eq!(
            (answer.cursor, answer.changes[0].task_id.as_str()),
            (cursor, &*format!("t{cursor}"))
        );
    }
    let next = tokio::spawn(async move { watch.next().await });
    tokio::task::yield_now().await;
    client.close().await;
    assert!(bounded("the watch ends", next).await.expect("no panic").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_waits_out_an_outage_and_ends_with_an_error_that_stays() {
    let rig = Rig::new(config()).await;
    rig.server.on(WATCH, watcher(|answer, _| answer.then_hang()));
    let client = PrivateAgentTasksQueue::over(rig.supervisor.clone());
    let mut watch = client.queue(AGENT).watch_queue(41);
    assert_eq!(bounded("a change", watch.next()).await.unwrap().unwrap().cursor, 42);
    rig.server.kill().await;
    let next = tokio::spawn(async move {
        let next = watch.next().await;
        (next, watch)
    });
    tokio::time::sleep(secs(3_600)).await;
    rig.server.restart().await;
    let (answer, mut watch) = bounded("the next change", next).await.unwrap();
    assert_eq!(answer.unwrap().unwrap().cursor, 43);

    rig.server.on(WATCH, Answer::status(Code::NotFound).text("the queue was deleted"));
    rig.server.restart().await;
    let error = bounded("the end", watch.next()).await.expect("told").expect_err("an error");
    assert_eq!((error.code(), error.message()), (Code::NotFound, "the queue was deleted"));
    assert!(watch.next().await.is_none());
}
