//! The worker loop: every task is done and reported, whatever happens between its claim and its
//! report. Time is virtual.

use crate::support::{
    AGENT, LEASE, ScriptedQueue, bounded, config, eventually, hide_injected_panics, ms, secs, timed,
};
use futures::future::BoxFuture;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::sleep,
};
use tonic::{Code, Status};
use tonic_supervisor::{
    agent_queue::{Processed, Task, TaskStatus},
    testing::Answer,
};

pub(super) type Ended = Result<Processed, Status>;

/// What a handler did to its tasks: so many begun, so many ended by themselves.
#[derive(Clone, Default)]
pub(super) struct Work {
    pub(super) begun: Arc<AtomicUsize>,
    pub(super) ended: Arc<AtomicUsize>,
    pub(super) dropped: Arc<AtomicUsize>,
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Work {
    /// A handler that takes so many seconds.
    pub(super) fn taking(
        &self,
        seconds: u64,
    ) -> impl Fn(Task) -> BoxFuture<'static, Result<String, String>> + use<> {
        let work = self.clone();
        move |task| {
            let work = work.clone();
            Box::pin(async move {
                let _gone = OnDrop(work.dropped.clone());
                work.begun.fetch_add(1, SeqCst);
                sleep(secs(seconds)).await;
                work.ended.fetch_add(1, SeqCst);
                Ok(format!("{:?}", task.task_id))
            })
        }
    }

    pub(super) fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.load(SeqCst)
    }

    /// How many are over, by themselves or not.
    pub(super) fn over(&self) -> usize {
        self.dropped.load(SeqCst)
    }
}

/// A loop in the background with one worker, and how to end it.
pub(super) fn start(
    rig: &ScriptedQueue,
    work: &Work,
    seconds: u64,
) -> (oneshot::Sender<()>, JoinHandle<Ended>) {
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or_default() };
    let process =
        rig.client.queue(AGENT).process(work.taking(seconds), 1).grace(secs(10)).until(stopped);
    (stop, tokio::spawn(async move { process.await }))
}

pub(super) async fn finish((stop, ended): (oneshot::Sender<()>, JoinHandle<Ended>)) -> Processed {
    stop.send(()).expect("it runs");
    bounded("the loop ends", ended).await.expect("no panic").expect("no failure")
}

pub(super) fn counts(done: Processed) -> [u64; 5] {
    [done.completed, done.failed, done.given_back, done.lost, done.left]
}

#[tokio::test(start_paused = true)]
async fn every_task_is_done_once_and_no_more_at_a_time_than_was_said() {
    let rig = ScriptedQueue::start().await;
    let ids: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    rig.tasks.put(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, high) = (running.clone(), most.clone());
    let handler = move |task: Task| {
        let (now, high) = (now.clone(), high.clone());
        async move {
            high.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            sleep(secs(1)).await;
            now.fetch_sub(1, SeqCst);
            Ok::<_, Status>(format!("{:?}", task.task_id))
        }
    };
    let tasks = rig.tasks.clone();
    let all = async move { eventually("all are reported", || tasks.outcomes().len() == 20).await };
    let done = rig.client.queue(AGENT).process(handler, 3).until(all).await.unwrap();
    assert_eq!(counts(done), [20, 0, 0, 0, 0]);
    assert_eq!(most.load(SeqCst), 3);
    let outcomes = rig.tasks.outcomes();
    assert!(
        outcomes.iter().all(
            |(id, status, text)| *status == TaskStatus::Completed && *text == format!("{id:?}")
        )
    );
    assert_eq!(outcomes.iter().map(|(id, ..)| id).collect::<HashSet<_>>().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn each_claim_has_a_name_of_its_own_that_nobody_can_guess() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a", "b", "c"]);
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("all are done", || work.ended() == 3).await;
    finish(running).await;
    let asked = rig.tasks.asked();
    let names: HashSet<_> = asked.iter().map(|request| &request.claim_id).collect();
    assert!(names.len() >= 3 && names.iter().all(|name| name.len() == 32), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_at_each_third_while_the_handler_runs() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 35);
    eventually("it is reported", || !rig.tasks.outcomes().is_empty()).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
    let renewals = rig.tasks.renewals();
    assert_eq!(
        renewals.iter().map(|at| at.round()).collect::<Vec<_>>(),
        [10.0, 20.0, 30.0],
        "{renewals:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_and_a_panic_of_the_handler_fail_the_task_with_their_text() {
    hide_injected_panics();
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["error", "panic", "early", "good"]);
    let handler = |task: Task| {
        assert!(task.task_id != "early", "injected by a test: before any future");
        async move {
            match task.task_id.as_str() {
                "error" => Err("the disk is full"),
                "panic" => panic!("injected by a test"),
                _ => Ok("1".to_owned()),
            }
        }
    };
    let tasks = rig.tasks.clone();
    let all = async move { eventually("all are reported", || tasks.outcomes().len() == 4).await };
    let done = rig.client.queue(AGENT).process(handler, 1).until(all).await.unwrap();
    assert_eq!(counts(done), [1, 3, 0, 0, 0]);
    let expected = [
        ("error", TaskStatus::Failed, "the disk is full"),
        ("panic", TaskStatus::Failed, "the handler panicked: injected by a test"),
        (
            "early",
            TaskStatus::Failed,
            "the handler panicked: injected by a test: before any future",
        ),
        ("good", TaskStatus::Completed, "1"),
    ];
    assert_eq!(
        rig.tasks.outcomes(),
        expected.map(|(id, status, text)| (id.to_owned(), status, text.to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_cancelled_stops_its_handler_and_is_not_reported() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    rig.tasks.refuse(TaskStatus::Processing, Code::FailedPrecondition, "the task is CANCELLED");
    let work = Work::default();
    let running = start(&rig, &work, 1_000);
    eventually("it is stopped", || work.over() == 1).await;
    assert_eq!((work.begun(), work.ended()), (1, 0));
    let done = finish(running).await;
    assert_eq!(counts(done), [0, 0, 0, 1, 0]);
    assert_eq!(rig.tasks.outcomes(), []);
    assert_eq!(rig.tasks.renewals().len(), 1, "it hears so at the first renewal");
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_lease_ends_in_an_outage_is_stopped_and_work_goes_on_later() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 100);
    eventually("it has begun", || work.begun() == 1).await;
    rig.server.kill().await;
    let (took, ()) = timed(eventually("it is stopped", || work.over() == 1)).await;
    assert!(
        took <= LEASE && took >= LEASE - ms(100),
        "the lease ends before the handler: {took:?}"
    );
    sleep(secs(3_600)).await;
    rig.tasks.put(&["b"]);
    rig.server.restart().await;
    eventually("the next has begun", || work.begun() == 2).await;
    eventually("it is reported", || rig.tasks.outcomes().len() == 1).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 1, 0]);
    assert_eq!(rig.tasks.outcomes()[0].0, "b");
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_lease_costs_nothing() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 60);
    eventually("it has begun", || work.begun() == 1).await;
    for _ in 0..2 {
        sleep(secs(5)).await;
        rig.server.kill().await;
        sleep(secs(15)).await;
        rig.server.restart().await;
    }
    eventually("it is reported", || !rig.tasks.outcomes().is_empty()).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_result_waits_out_an_outage_of_hours() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 5);
    eventually("it has begun", || work.begun() == 1).await;
    rig.server.kill().await;
    sleep(secs(7_200)).await;
    assert_eq!(work.ended(), 1);
    rig.server.restart().await;
    eventually("it is reported", || !rig.tasks.outcomes().is_empty()).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_made_again_under_its_name() {
    let rig = ScriptedQueue::start_with(config().max_retry_attempts(0)).await;
    rig.tasks.put(&["a", "b"]);
    rig.tasks.answer_wrongly(
        "GetTask",
        vec![Answer::status(Code::Unavailable), Answer::cut_after_processing()],
    );
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("both are reported", || rig.tasks.outcomes().len() == 2).await;
    assert_eq!(counts(finish(running).await), [2, 0, 0, 0, 0]);
    let names: Vec<_> = rig.tasks.asked().into_iter().map(|request| request.claim_id).collect();
    assert_eq!([&names[1], &names[2]], [&names[0]; 2]);
    assert_eq!(
        rig.tasks.outcomes().iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_beyond_its_lease_is_made_under_a_new_name() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    rig.tasks.answer_wrongly("GetTask", vec![Answer::cut_after_processing()]);
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("it is claimed", || rig.tasks.asked().len() == 1).await;
    rig.server.kill().await;
    sleep(LEASE).await;
    rig.tasks.end_leases();
    rig.server.restart().await;
    eventually("it is reported", || rig.tasks.outcomes().len() == 1).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
    let asked = rig.tasks.asked();
    assert!(
        asked[0].claim_id == asked[1].claim_id && asked[1].claim_id != asked[2].claim_id,
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_answer_was_lost_is_made_again() {
    let rig = ScriptedQueue::start_with(config().max_retry_attempts(0)).await;
    rig.tasks.put(&["a"]);
    rig.tasks.answer_wrongly(
        "UpdateTaskStatus",
        vec![Answer::cut_after_processing(), Answer::status(Code::Internal)],
    );
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("it is reported", || rig.tasks.outcomes().len() == 3).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
    let outcomes = rig.tasks.outcomes();
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_comes_too_late_counts_as_lost() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    rig.tasks.refuse(TaskStatus::Completed, Code::FailedPrecondition, "the claim is over");
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("it is reported", || rig.tasks.outcomes().len() == 1).await;
    assert_eq!(counts(finish(running).await), [0, 0, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_server_refuses_fails_the_task() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    rig.tasks.refuse(TaskStatus::Completed, Code::InvalidArgument, "result is not JSON");
    let work = Work::default();
    let running = start(&rig, &work, 1);
    eventually("both are said", || rig.tasks.outcomes().len() == 2).await;
    assert_eq!(counts(finish(running).await), [0, 1, 0, 0, 0]);
    assert_eq!(rig.tasks.outcomes()[1].2, "the result was refused: result is not JSON");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_done_as_its_lease_ends_is_reported() {
    let rig = ScriptedQueue::start_with(config().max_retry_attempts(0)).await;
    rig.tasks.put(&["a"]);
    // No renewal comes through, and the handler ends in the millisecond in which the lease does.
    rig.tasks.answer_wrongly("UpdateTaskStatus", vec![Answer::hang()]);
    let work = Work::default();
    let running = start(&rig, &work, LEASE.as_secs());
    eventually("it is reported", || !rig.tasks.outcomes().is_empty()).await;
    assert_eq!(rig.tasks.outcomes()[0].1, TaskStatus::Completed);
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_nothing_to_do_one_worker_waits_for_all() {
    let rig = ScriptedQueue::start().await;
    let work = Work::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let process = rig.client.queue(AGENT).process(work.taking(1), 16).until(stopped);
    let ended = tokio::spawn(async move { process.await });
    sleep(secs(100)).await;
    let asked = rig.tasks.asked();
    assert!(asked.len() <= 6 && asked.iter().all(|request| request.timeout == 20.0), "{asked:?}");
    rig.tasks.put(&["a", "b", "c", "d"]);
    eventually("all are at work", || work.begun() == 4).await;
    finish((stop, ended)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_waits_at_once_is_not_asked_without_end() {
    let rig = ScriptedQueue::start().await;
    let empty = Answer::message(Vec::<u8>::new());
    rig.tasks.answer_wrongly("GetTask", vec![empty; 1_000]);
    let running = start(&rig, &Work::default(), 1);
    sleep(secs(60)).await;
    assert!(rig.calls("GetTask") <= 62, "{}", rig.calls("GetTask"));
    finish(running).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let rig = ScriptedQueue::start().await;
    rig.server.kill().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let running = start(&rig, &work, 1);
    sleep(secs(7_200)).await;
    rig.server.restart().await;
    eventually("it is done", || work.ended() == 1).await;
    eventually("it is reported", || rig.tasks.outcomes().len() == 1).await;
    assert_eq!(counts(finish(running).await), [1, 0, 0, 0, 0]);
}

/// Renewals do not depend on whoever awaits the loop.
#[tokio::test(start_paused = true)]
async fn a_loop_works_on_while_nobody_polls_it() {
    let rig = ScriptedQueue::start().await;
    rig.tasks.put(&["a"]);
    let work = Work::default();
    let go = Arc::new(Notify::new());
    let gone = go.clone();
    let process = rig
        .client
        .queue(AGENT)
        .process(work.taking(50), 1)
        .until(async move { gone.notified().await });
    let processing = process.into_future();
    eventually("it is reported", || rig.tasks.outcomes().len() == 1).await;
    assert_eq!(rig.tasks.renewals().len(), 4);
    go.notify_one();
    assert_eq!(counts(processing.await.unwrap()), [1, 0, 0, 0, 0]);
}
