//! How the worker loop ends: what runs may finish within the grace, the rest is given back.

use super::worker_loop::{Work, counts, finish, start};
use crate::support::{AGENT, ScriptedQueue, bounded, eventually, ms, secs, timed};
use std::collections::HashSet;
use tonic::Code;
use tonic_supervisor::{
    agent_queue::{Processed, TaskStatus},
    testing::Answer,
};

#[tokio::test(start_paused = true)]
async fn at_the_end_what_runs_may_finish_within_the_grace() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a", "b"]);
    let work = Work::default();
    let running = start(&rig, &work, 8);
    eventually("it has begun", || work.begun() == 1).await;
    let (took, done) = timed(finish(running)).await;
    assert!(took >= secs(7) && took <= secs(9), "{took:?}");
    assert_eq!(counts(done), [1, 0, 0, 0, 0]);
    assert_eq!(work.begun(), 1, "nothing new is begun");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_within_the_grace_is_stopped_and_given_back() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 1_000);
    eventually("it has begun", || work.begun() == 1).await;
    let (took, done) = timed(finish(running)).await;
    assert!(took >= secs(10) && took <= secs(11), "{took:?}");
    assert_eq!(counts(done), [0, 0, 1, 0, 0]);
    assert_eq!((work.ended(), work.over()), (0, 1));
    assert_eq!(rig.tasks.outcomes(), [("a".into(), TaskStatus::Pending, String::new())]);
}

#[tokio::test(start_paused = true)]
async fn a_task_claimed_as_the_loop_ends_is_given_back_and_not_begun() {
    let rig = ScriptedQueue::start().await;
    // The rig hands out the task, and its answer is on its way for as long as it takes.
    rig.tasks.put(&["a"]);
    rig.tasks.answer_wrongly("GetTask", vec![Answer::hang()]);
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("it is claimed", || rig.tasks.asked().len() == 1).await;
    let (took, done) = timed(finish(running)).await;
    assert!(took <= secs(1), "{took:?}");
    assert_eq!(counts(done), [0, 0, 1, 0, 0]);
    assert_eq!(work.begun(), 0);
    assert_eq!(rig.tasks.outcomes(), [("a".into(), TaskStatus::Pending, String::new())]);
    let names: HashSet<_> = rig.tasks.asked().into_iter().map(|request| request.claim_id).collect();
    assert_eq!(names.len(), 1, "it is found again by the name of its claim");
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_in_time_even_in_an_outage() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 1_000);
    eventually("it has begun", || work.begun() == 1).await;
    rig.server.kill().await;
    let (took, done) = timed(finish(running)).await;
    assert!(took <= secs(15) + ms(10), "grace and 5 seconds: {took:?}");
    assert_eq!(counts(done), [0, 0, 0, 0, 1], "its lease gives it back");
    assert_eq!(work.over(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_loop_with_nothing_to_do_ends_at_once() {
    let rig = ScriptedQueue::start().await;
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("it waits for a task", || rig.tasks.asked().len() == 1).await;
    let (took, done) = timed(finish(running)).await;
    assert!(took <= ms(100), "{took:?}");
    assert_eq!(done, Processed::default());
}

#[tokio::test(start_paused = true)]
async fn closing_the_client_ends_its_loops_cleanly() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let (_stop, ended) = start(&rig, &work, 5);
    eventually("it has begun", || work.begun() == 1).await;
    rig.client.close().await;
    assert_eq!(rig.tasks.outcomes().len(), 1, "close waits for the report");
    let done = ended.await.expect("no panic").expect("no failure");
    assert_eq!(counts(done), [1, 0, 0, 0, 0]);
    let after = rig.client.queue(AGENT).process(work.taking(1), 1).await;
    assert_eq!(after.expect("it ends at once"), Processed::default());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_shut_down_under_it_ends_the_loop() {
    let rig = ScriptedQueue::start().await;
    let work = Work::default();
    let (_stop, ended) = start(&rig, &work, 1);
    eventually("it waits for a task", || rig.tasks.asked().len() == 1).await;
    rig.client.supervisor().shutdown(secs(0)).await;
    let done = bounded("the loop ends", ended).await.expect("no panic").expect("no failure");
    assert_eq!(done, Processed::default());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_deleted_ends_the_loop_with_the_servers_words() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.answer_wrongly("GetTask", vec![Answer::status(Code::NotFound).text("no queue"); 4]);
    let ended = rig.client.queue(AGENT).process(Work::default().taking(1), 4).await;
    let status = ended.expect_err("nothing more to do");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no queue"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_loop_stops_its_handlers_at_once() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let (_stop, ended) = start(&rig, &work, 1_000);
    eventually("it has begun", || work.begun() == 1).await;
    ended.abort();
    eventually("it is stopped", || work.over() == 1).await;
    assert_eq!(rig.tasks.outcomes(), [], "its lease gives it back");
    bounded("the client closes", rig.client.close()).await;
}
