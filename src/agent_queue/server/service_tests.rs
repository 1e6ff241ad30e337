//! What the service adds to a store: waiting, watching, draining. Time is paused; the wall clock of
//! these tests follows tokio's.

use super::*;
use crate::agent_queue::server::{MemoryStore, Settings};
use agent_queue_server::AgentQueue as _;
use futures::StreamExt as _;
use std::{sync::OnceLock, time::Instant};
use tonic::Code;

const LEASE: Duration = Duration::from_secs(30);

/// A wall clock that a paused runtime holds: all tests of this process share its start.
fn paused() -> Millis {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(clock::now);
    1_800_000_000_000 + clock::now().saturating_duration_since(start).as_millis() as i64
}

async fn service() -> Service<MemoryStore> {
    let settings = Settings { lease: LEASE, ..Settings::default() };
    let service = Service::with_clock(MemoryStore::new(settings), paused);
    let queue = CreateQueueRequest { agent_id: "a".into() };
    service.create_queue(Request::new(queue)).await.expect("queue");
    service
}

fn submission(name: &str) -> Request<SubmitTaskRequest> {
    let task = NewTask {
        r#type: TaskType::ApiCall as i32,
        payload: "{}".into(),
        client_request_id: name.into(),
        ..NewTask::default()
    };
    Request::new(SubmitTaskRequest { agent_id: "a".into(), task: Some(task) })
}

fn claim(id: &str, timeout: f64) -> Request<GetTaskRequest> {
    Request::new(GetTaskRequest { agent_id: "a".into(), claim_id: id.into(), timeout })
}

fn task_of(answer: Result<Response<GetTaskResponse>, Status>) -> Option<String> {
    answer.expect("an answer").into_inner().task.map(|task| task.task_id)
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_gets_the_task_that_comes() {
    let service = service().await;
    let (got, submitted) =
        tokio::join!(service.get_task(claim("c", 60.0)), service.submit_task(submission("r")));
    assert_eq!(task_of(got), Some(submitted.expect("submitted").into_inner().task_id));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_is_answered_empty_at_the_end_of_its_wait_and_leaves_no_trace() {
    let service = service().await;
    let began = clock::now();
    assert_eq!(task_of(service.get_task(claim("c", 12.5)).await), None);
    assert_eq!(clock::now() - began, Duration::from_millis(12_500));
    service.submit_task(submission("r")).await.expect("submitted");
    assert!(task_of(service.get_task(claim("c", 0.0)).await).is_some(), "the claim id is free");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_gets_the_task_whose_lease_ends() {
    let service = service().await;
    service.submit_task(submission("r")).await.expect("submitted");
    let first = task_of(service.get_task(claim("dies", 0.0)).await);
    let began = clock::now();
    assert_eq!(task_of(service.get_task(claim("lives", 60.0)).await), first);
    assert_eq!(clock::now() - began, LEASE);
}

#[tokio::test(start_paused = true)]
async fn two_claims_that_wait_for_two_tasks_get_one_each() {
    let service = service().await;
    let both = async {
        service.submit_task(submission("r1")).await.expect("submitted");
        service.submit_task(submission("r2")).await.expect("submitted");
    };
    let (one, two, ()) = tokio::join!(
        service.get_task(claim("c1", 60.0)),
        service.get_task(claim("c2", 60.0)),
        both
    );
    let mut got = [task_of(one), task_of(two)];
    got.sort();
    assert_eq!(got, [Some("task-1".to_owned()), Some("task-2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_waiting_claims_empty_at_once_and_ends_watches_with_unavailable() {
    let service = service().await;
    let watch = WatchQueueRequest { agent_id: "a".into(), cursor: None };
    let mut watch = service.watch_queue(Request::new(watch)).await.expect("watched").into_inner();
    watch.next().await.expect("at once").expect("an answer");
    let began = clock::now();
    let (got, end, ()) =
        tokio::join!(service.get_task(claim("c", 60.0)), watch.next(), async { service.drain() });
    assert_eq!((task_of(got), clock::now() - began), (None, Duration::ZERO));
    assert_eq!(end.expect("an end").expect_err("an error").code(), Code::Unavailable);
    assert!(watch.next().await.is_none());
    assert_eq!(task_of(service.get_task(claim("c", 60.0)).await), None, "later ones, too");
}

#[tokio::test(start_paused = true)]
async fn a_claim_and_a_watch_that_wait_hear_that_their_queue_is_deleted() {
    let service = service().await;
    let watch = WatchQueueRequest { agent_id: "a".into(), cursor: None };
    let mut watch = service.watch_queue(Request::new(watch)).await.expect("watched").into_inner();
    watch.next().await.expect("at once").expect("an answer");
    let delete = DeleteQueueRequest { agent_id: "a".into(), confirm: true };
    let (got, told, deleted) = tokio::join!(
        service.get_task(claim("c", 60.0)),
        watch.next(),
        service.delete_queue(Request::new(delete))
    );
    assert!(deleted.is_ok());
    assert_eq!(got.expect_err("no queue").code(), Code::NotFound);
    assert_eq!(told.expect("told").expect_err("no queue").code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_changed_and_goes_on_from_its_cursor() {
    let service = service().await;
    let watch = |cursor| Request::new(WatchQueueRequest { agent_id: "a".into(), cursor });
    let mut first = service.watch_queue(watch(None)).await.expect("watched").into_inner();
    let start = first.next().await.expect("at once").expect("an answer");
    assert_eq!(start.changes, []);
    let (told, submitted) = tokio::join!(first.next(), service.submit_task(submission("r1")));
    let told = told.expect("told").expect("an answer");
    let task_id = submitted.expect("submitted").into_inner().task_id;
    assert_eq!(told.changes.iter().map(|change| &change.task_id).collect::<Vec<_>>(), [&task_id]);
    drop(first);

    service.submit_task(submission("r2")).await.expect("submitted");
    let delete = DeleteTaskRequest {
        agent_id: "a".into(),
        task_id: task_id.clone(),
        client_request_id: "d".into(),
    };
    service.delete_task(Request::new(delete)).await.expect("deleted");
    let mut second =
        service.watch_queue(watch(Some(told.cursor))).await.expect("watched").into_inner();
    let missed = second.next().await.expect("at once").expect("an answer").changes;
    assert_eq!(missed.len(), 2);
    assert!(
        missed[0].task.is_some() && missed[1].task_id == task_id && missed[1].task.is_none(),
        "{missed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn deleting_a_task_that_is_not_there_is_not_found_but_a_repeated_deletion_is() {
    let service = service().await;
    let task_id =
        service.submit_task(submission("r")).await.expect("submitted").into_inner().task_id;
    let delete = |name: &str| {
        Request::new(DeleteTaskRequest {
            agent_id: "a".into(),
            task_id: task_id.clone(),
            client_request_id: name.into(),
        })
    };
    service.delete_task(delete("d1")).await.expect("deleted");
    service.delete_task(delete("d1")).await.expect("the first answer again");
    let missing = service.delete_task(delete("d2")).await.expect_err("gone");
    assert_eq!(missing.code(), Code::NotFound);
    assert!(missing.message().contains(&task_id), "{missing}");
}

#[tokio::test(start_paused = true)]
async fn claims_that_wait_are_served_in_the_order_they_came() {
    let service = service().await;
    let wait = |number: usize| {
        let service = service.clone();
        async move { task_of(service.get_task(claim(&format!("c{number}"), 60.0)).await) }
    };
    let waiting: Vec<_> = (0..50).map(|number| tokio::spawn(wait(number))).collect();
    tokio::task::yield_now().await;
    for number in 0..50 {
        service.submit_task(submission(&format!("r{number}"))).await.expect("submitted");
    }
    for (number, got) in waiting.into_iter().enumerate() {
        assert_eq!(got.await.expect("joined"), Some(format!("task-{}", number + 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_dropped_after_its_wake_leaves_the_task_to_the_next() {
    let service = service().await;
    let dropped = service.get_task(claim("dropped", 60.0));
    let mut dropped = Box::pin(dropped);
    assert!(futures::poll!(&mut dropped).is_pending());
    let other = service.clone();
    let next = tokio::spawn(async move { task_of(other.get_task(claim("next", 60.0)).await) });
    tokio::task::yield_now().await;
    service.submit_task(submission("r")).await.expect("submitted");
    drop(dropped);
    let began = clock::now();
    assert_eq!(next.await.expect("joined"), Some("task-1".to_owned()));
    assert_eq!(clock::now(), began, "at once");
}
