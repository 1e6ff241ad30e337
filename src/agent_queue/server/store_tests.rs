//! What the store promises: repeating is harmless, order is kept, leases come back.

use super::*;
use crate::proto::agent_queue::TaskType;
use tonic::Code;

const LEASE: Duration = Duration::from_secs(10);

fn store() -> (Store, Instant) {
    let now = Instant::now();
    let mut store = Store::new(LEASE);
    store.create_queue(CreateQueueRequest { agent_id: "a".into() }, now).expect("queue");
    (store, now)
}

fn submission(request: &str, priority: Option<u32>) -> SubmitTaskRequest {
    SubmitTaskRequest {
        agent_id: "a".into(),
        r#type: TaskType::ApiCall as i32,
        payload: "{}".into(),
        priority,
        client_request_id: request.into(),
        ..Default::default()
    }
}

fn claim(id: &str) -> GetTaskRequest {
    GetTaskRequest { agent_id: "a".into(), claim_id: id.into(), wait: 0.0 }
}

fn report(task: &str, claim: &str, status: TaskStatus) -> UpdateTaskStatusRequest {
    UpdateTaskStatusRequest {
        task_id: task.into(),
        claim_id: claim.into(),
        status: status as i32,
        ..Default::default()
    }
}

/// The claimed task's id.
fn got(store: &mut Store, id: &str, now: Instant) -> Option<String> {
    let (answer, _) = store.get_task(&claim(id), now).expect("answer");
    answer.task.map(|task| task.task_id)
}

#[test]
fn submitting_twice_with_one_request_id_gives_one_task_and_one_effect() {
    let (mut store, now) = store();
    let (first, effect) = store.submit_task(submission("r", None), now).expect("first");
    assert!(effect.is_some() && !first.already_submitted);
    let (again, effect) = store.submit_task(submission("r", None), now).expect("again");
    assert!(effect.is_none() && again.already_submitted);
    assert_eq!(first.task_id, again.task_id);
}

#[test]
fn the_highest_priority_goes_first_and_the_oldest_of_these() {
    let (mut store, now) = store();
    for (request, priority) in [("r1", None), ("r2", Some(9)), ("r3", Some(0)), ("r4", Some(9))] {
        store.submit_task(submission(request, priority), now).expect("submitted");
    }
    let order: Vec<_> = ["c1", "c2", "c3", "c4", "c5"].map(|id| got(&mut store, id, now)).into();
    assert_eq!(
        order,
        ["task-2", "task-4", "task-1", "task-3"]
            .map(String::from)
            .map(Some)
            .into_iter()
            .chain([None])
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_repeated_claim_gives_the_same_task() {
    let (mut store, now) = store();
    store.submit_task(submission("r1", None), now).expect("submitted");
    store.submit_task(submission("r2", None), now).expect("submitted");
    assert_eq!(got(&mut store, "c", now), got(&mut store, "c", now));
    let (_, effect) = store.get_task(&claim("c"), now).expect("answer");
    assert!(effect.is_none());
}

#[test]
fn an_unfinished_task_is_handed_out_again_after_the_lease_and_its_old_holder_is_refused() {
    let (mut store, now) = store();
    store.submit_task(submission("r", None), now).expect("submitted");
    assert_eq!(got(&mut store, "old", now).as_deref(), Some("task-1"));
    assert_eq!(got(&mut store, "new", now + LEASE / 2), None);
    assert_eq!(store.next_lease_end("a"), Some(now + LEASE));
    assert_eq!(got(&mut store, "new", now + LEASE).as_deref(), Some("task-1"));
    let late = store.update_task_status(report("task-1", "old", TaskStatus::Completed), now + LEASE);
    assert_eq!(late.expect_err("refused").code(), Code::FailedPrecondition);
    let again = store.get_task(&claim("old"), now + LEASE);
    assert_eq!(again.expect_err("refused").code(), Code::FailedPrecondition);
    store.update_task_status(report("task-1", "new", TaskStatus::Completed), now + LEASE).expect("done");
}

#[test]
fn reporting_processing_keeps_the_claim() {
    let (mut store, now) = store();
    store.submit_task(submission("r", None), now).expect("submitted");
    got(&mut store, "c", now);
    let kept = store.update_task_status(report("task-1", "c", TaskStatus::Processing), now + LEASE / 2);
    assert!(kept.expect("kept").1.is_none());
    assert_eq!(got(&mut store, "other", now + LEASE), None);
    assert_eq!(store.next_lease_end("a"), Some(now + LEASE / 2 + LEASE));
}

#[test]
fn ending_a_task_twice_has_one_effect_and_ending_it_otherwise_is_refused() {
    let (mut store, now) = store();
    store.submit_task(submission("r", None), now).expect("submitted");
    got(&mut store, "c", now);
    let mut end = |status| store.update_task_status(report("task-1", "c", status), now);
    assert!(end(TaskStatus::Completed).expect("ended").1.is_some());
    assert!(end(TaskStatus::Completed).expect("again").1.is_none());
    assert_eq!(end(TaskStatus::Failed).expect_err("final").code(), Code::FailedPrecondition);
    assert_eq!(store.next_lease_end("a"), None);
}

#[test]
fn unknown_agents_and_tasks_are_not_found() {
    let (mut store, now) = store();
    let elsewhere = GetTaskRequest { agent_id: "b".into(), ..claim("c") };
    assert_eq!(store.get_task(&elsewhere, now).expect_err("none").code(), Code::NotFound);
    for task in ["task-1", "task-0", "task--1", "x"] {
        let end = store.update_task_status(report(task, "c", TaskStatus::Completed), now);
        assert_eq!(end.expect_err("none").code(), Code::NotFound);
    }
}

#[test]
fn a_store_read_back_from_its_effects_goes_on_where_it_was() {
    let (mut store, now) = store();
    let mut effects = vec![Effect::QueueCreated { agent_id: "a".into() }];
    for request in ["r1", "r2"] {
        effects.extend(store.submit_task(submission(request, None), now).expect("submitted").1);
    }
    effects.extend(store.get_task(&claim("c1"), now).expect("claimed").1);

    let mut again = Store::new(LEASE);
    let later = now + LEASE * 2;
    effects.iter().for_each(|effect| again.apply(effect, later));
    assert_eq!(got(&mut again, "c1", later).as_deref(), Some("task-1"), "the claim is remembered");
    assert_eq!(got(&mut again, "c2", later).as_deref(), Some("task-2"));
    let (answer, effect) = again.submit_task(submission("r1", None), later).expect("known");
    assert!(answer.already_submitted && effect.is_none(), "the request id is remembered");
}
