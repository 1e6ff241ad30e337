//! The agent queue's client against the real service, in one process and in virtual time: every
//! operation, and worker loops in trouble.

use crate::support::{AGENT, LONG, QueueService, bounded, eventually, lease, secs};
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tonic::Code;
use tonic_supervisor::agent_queue::{
    AgentQueue, NewTask, PrivateAgentTasksQueue, Processed, Task, TaskStatus, TaskType, Update,
};

fn work(kind: TaskType) -> NewTask {
    NewTask::new(kind, r#"{"rows": 100}"#)
}

async fn queue(client: &PrivateAgentTasksQueue) -> AgentQueue {
    client.get_queue(AGENT, true).await.expect("a queue")
}

async fn submit(queue: &AgentQueue) -> String {
    queue.submit_task(work(TaskType::DataProcessing)).await.expect("submitted").task_id
}

async fn status(queue: &AgentQueue, task_id: &str) -> TaskStatus {
    queue.query_task(task_id).await.expect("it is there").status()
}

#[tokio::test(start_paused = true)]
async fn queues_are_made_described_and_deleted() {
    let service = QueueService::start().await;
    let client = service.client(AGENT);
    assert!(client.health_check().await.unwrap().healthy);
    assert!(!client.queue_exists(AGENT).await.unwrap());
    assert_eq!(client.get_queue(AGENT, false).await.unwrap_err().code(), Code::NotFound);
    assert!(!client.create_queue(AGENT).await.unwrap().already_exists);
    assert!(client.create_queue(AGENT).await.unwrap().already_exists);
    let queue = client.get_queue(AGENT, false).await.expect("it is there now");

    submit(&queue).await;
    let info = queue.get_queue_info().await.unwrap();
    assert_eq!((info.agent_id.as_str(), info.tasks.unwrap().pending), (AGENT, 1));
    let refused = client.delete_queue(AGENT, false).await.unwrap_err();
    assert!(
        refused.code() == Code::InvalidArgument && refused.message().contains("confirm"),
        "{refused}"
    );
    let deleted = client.delete_queue(AGENT, true).await.unwrap();
    assert_eq!((deleted.existed, deleted.deleted), (true, 1));
    assert!(!client.delete_queue(AGENT, true).await.unwrap().existed);
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_from_submission_to_completion() {
    let service = QueueService::start().await;
    let queue = queue(&service.client(AGENT)).await;
    let low = queue.submit_task(work(TaskType::FileUpload).with_priority(0)).await.unwrap().task_id;
    let high = queue
        .submit_task(work(TaskType::ApiCall).with_priority(9).with_request_id("r"))
        .await
        .unwrap();
    let again = queue
        .submit_task(work(TaskType::ApiCall).with_priority(9).with_request_id("r"))
        .await
        .unwrap();
    assert_eq!((&again.task_id, again.already_submitted), (&high.task_id, true));

    let claim = queue.get_task(secs(0)).await.unwrap().expect("two tasks wait");
    assert_eq!((claim.task.task_id.as_str(), claim.lease), (high.task_id.as_str(), lease()));
    let renewed = queue.update_task_status(&claim, Update::Processing).await.unwrap();
    assert_eq!(renewed.lease, lease().as_secs_f64());
    for _ in 0..2 {
        queue
            .update_task_status(&claim, Update::Completed(r#"{"ok": true}"#.into()))
            .await
            .expect("repeatable");
    }
    let done = queue.query_task(&high.task_id).await.unwrap();
    assert_eq!((done.status(), done.result.as_str()), (TaskStatus::Completed, r#"{"ok": true}"#));
    let late = queue.update_task_status(&claim, Update::Failed("no".into())).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);

    let claim = queue.get_task(secs(0)).await.unwrap().expect("one task waits");
    queue.update_task_status(&claim, Update::Pending).await.unwrap();
    assert_eq!(status(&queue, &low).await, TaskStatus::Pending);
    let claim = queue.get_task(secs(0)).await.unwrap().expect("it was given back");
    queue.update_task_status(&claim, Update::Failed("the disk is full".into())).await.unwrap();
    let retried = queue.retry_task(&low).await.unwrap();
    assert_eq!(queue.query_task(&retried).await.unwrap().retry_of, low);
    let cancelled = queue.cancel_task(&retried, "not needed").await.unwrap();
    assert_eq!(
        (cancelled.status(), cancelled.error_message.as_str()),
        (TaskStatus::Cancelled, "not needed")
    );
}

#[tokio::test(start_paused = true)]
async fn tasks_are_listed_counted_and_deleted() {
    let service = QueueService::start().await;
    let queue = queue(&service.client(AGENT)).await;
    let batch =
        (0..5).map(|_| work(TaskType::TextAnalysis)).chain([NewTask::custom("thumbnail", "[]")]);
    let ids: Vec<_> = queue
        .batch_submit_tasks(batch)
        .await
        .unwrap()
        .tasks
        .into_iter()
        .map(|t| t.task_id)
        .collect();
    let page = queue.list_tasks(None, 4, 0).await.unwrap();
    assert_eq!((page.tasks.len(), page.total, page.next_offset), (4, 6, Some(4)));
    let rest = queue.list_tasks(TaskStatus::Pending, None, 4).await.unwrap();
    assert_eq!((rest.tasks.len(), rest.next_offset), (2, None));
    assert_eq!(rest.tasks[1].custom_type, "thumbnail");
    assert!(queue.get_tasks_by_status(TaskStatus::Failed, None, 0).await.unwrap().tasks.is_empty());
    let stats = queue.get_task_stats().await.unwrap();
    assert_eq!((stats.tasks.unwrap().pending, stats.types.len()), (6, 2));

    queue.delete_task(&ids[0]).await.unwrap();
    assert_eq!(
        queue.delete_task(&ids[0]).await.unwrap_err().code(),
        Code::NotFound,
        "another wish, another answer"
    );
    let deleted = queue.batch_delete_tasks(&ids[..2]).await.unwrap();
    assert_eq!((deleted.deleted, deleted.not_found), (1, vec![ids[0].clone()]));
    assert_eq!(queue.clear_queue(TaskStatus::Failed, true).await.unwrap(), 0);
    assert_eq!(queue.clear_queue(None, true).await.unwrap(), 4);
    let wrong = queue.list_tasks(None, 1_001, 0).await.unwrap_err();
    assert!(wrong.code() == Code::InvalidArgument && wrong.message().contains("1001"), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_is_answered_as_soon_as_there_is_a_task() {
    let service = QueueService::start().await;
    let waiting = queue(&service.client(AGENT)).await;
    let submitter = queue(&service.client("submitter")).await;
    let began = Instant::now();
    let claim = tokio::spawn(async move { waiting.get_task(secs(300)).await });
    sleep(secs(100)).await;
    let id = submit(&submitter).await;
    let claim = bounded("the claim", claim).await.unwrap().unwrap().expect("a task");
    assert_eq!((claim.task.task_id, began.elapsed().as_secs()), (id, 100));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_the_life_of_a_task_and_goes_on_over_a_cut() {
    let service = QueueService::start().await;
    let queue = queue(&service.client(AGENT)).await;
    let mut watch = queue.watch_queue(None);
    let first = bounded("the first answer", watch.next()).await.unwrap().unwrap();
    assert!(first.changes.is_empty());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let changes = seen.clone();
    tokio::spawn(async move {
        while let Some(Ok(answer)) = watch.next().await {
            changes.lock().extend(
                answer
                    .changes
                    .into_iter()
                    .map(|change| (change.task_id, change.task.map(|t| t.status()))),
            );
        }
    });
    let id = submit(&queue).await;
    eventually("it is told", || {
        seen.lock().last() == Some(&(id.clone(), Some(TaskStatus::Pending)))
    })
    .await;
    service.network(AGENT).reset_all();
    let claim = queue.get_task(secs(0)).await.unwrap().unwrap();
    eventually("it is told", || {
        seen.lock().last() == Some(&(id.clone(), Some(TaskStatus::Processing)))
    })
    .await;
    service.stop(AGENT).await;
    service.resume(AGENT);
    queue.update_task_status(&claim, Update::Completed("1".into())).await.unwrap();
    eventually("it is told", || {
        seen.lock().last() == Some(&(id.clone(), Some(TaskStatus::Completed)))
    })
    .await;
    queue.delete_task(&id).await.unwrap();
    eventually("it is told", || seen.lock().last() == Some(&(id.clone(), None))).await;
}

/// Who ran what, from when to when.
type Runs = Arc<Mutex<Vec<(&'static str, String, Instant, Option<Instant>)>>>;

struct Run(Runs, usize);

impl Run {
    fn begin(runs: &Runs, agent: &'static str, task: &Task) -> Self {
        let mut all = runs.lock();
        all.push((agent, task.task_id.clone(), Instant::now(), None));
        Self(runs.clone(), all.len() - 1)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.lock()[self.1].3 = Some(Instant::now());
    }
}

/// A worker loop of `agent` on its own link, in the background.
fn agent(
    service: &QueueService,
    name: &'static str,
    runs: &Runs,
    seconds: u64,
    stop: &watch::Sender<bool>,
) -> tokio::task::JoinHandle<Processed> {
    let (runs, mut stop) = (runs.clone(), stop.subscribe());
    let handler = move |task: Task| {
        let runs = runs.clone();
        async move {
            let _run = Run::begin(&runs, name, &task);
            sleep(secs(seconds)).await;
            Ok::<_, String>("1".into())
        }
    };
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let client = service.client(name);
    let process = client.queue(AGENT).process(handler, 3).until(stopped).grace(secs(5));
    tokio::spawn(async move { process.await.expect("no failure") })
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_agent_was_cut_off_never_runs_twice_at_once() {
    let service = QueueService::start().await;
    let (runs, stop) = (Runs::default(), watch::Sender::new(false));
    let first = agent(&service, "first", &runs, 100, &stop);
    let id = submit(&queue(&service.client("submitter")).await).await;
    eventually("it has begun", || runs.lock().len() == 1).await;
    let second = agent(&service, "second", &runs, 100, &stop);
    // Nothing passes, in neither direction, and nobody is told.
    service.network("first").freeze_all();
    service.network("first").black_hole(true);
    eventually("the other has begun", || runs.lock().len() == 2).await;
    let begun = runs.lock().clone();
    let ended = begun[0].3.expect("the first was stopped");
    assert!(begun[0].0 == "first" && begun[1].0 == "second" && ended <= begun[1].2, "{begun:?}");
    service.network("first").thaw_all();
    service.network("first").black_hole(false);

    let queue = queue(&service.client("submitter")).await;
    sleep(secs(101)).await;
    assert_eq!(status(&queue, &id).await, TaskStatus::Completed);
    stop.send_replace(true);
    let (first, second) =
        (bounded("the end", first).await.unwrap(), bounded("the end", second).await.unwrap());
    assert_eq!((first.lost, first.completed, second.completed), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_or_deleted_task_stops_its_handler_by_the_next_renewal() {
    let service = QueueService::start().await;
    let (runs, stop) = (Runs::default(), watch::Sender::new(false));
    let running = agent(&service, "first", &runs, 10_000, &stop);
    let queue = queue(&service.client("submitter")).await;
    let ids = [submit(&queue).await, submit(&queue).await];
    eventually("both have begun", || runs.lock().len() == 2).await;
    queue.cancel_task(&ids[0], "not needed").await.unwrap();
    queue.delete_task(&ids[1]).await.unwrap();
    let told = Instant::now();
    eventually("both are stopped", || runs.lock().iter().all(|run| run.3.is_some())).await;
    assert!(told.elapsed() <= lease() / 3 + secs(1), "{:?}", told.elapsed());
    stop.send_replace(true);
    assert_eq!(bounded("the end", running).await.unwrap().lost, 2);
    assert_eq!(status(&queue, &ids[0]).await, TaskStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_leaves_nothing_behind() {
    let service = QueueService::start().await;
    let queue = queue(&service.client("submitter")).await;
    let (runs, stop) = (Runs::default(), watch::Sender::new(false));
    for _ in 0..6 {
        submit(&queue).await;
    }
    let running = agent(&service, "first", &runs, 1_000, &stop);
    eventually("three have begun", || runs.lock().len() == 3).await;
    stop.send_replace(true);
    let done = bounded("the end", running).await.unwrap();
    assert_eq!((done.given_back, done.left), (3, 0));
    let counts = queue.get_queue_info().await.unwrap().tasks.unwrap();
    assert_eq!((counts.pending, counts.processing), (6, 0), "another agent can have them at once");
}

/// Agents and submitters on bad links, over hours of virtual time: everything is done in the end.
#[tokio::test(start_paused = true)]
async fn every_task_is_completed_whatever_happens_to_the_links() {
    const TASKS: usize = 200;
    let service = QueueService::start().await;
    let (runs, stop) = (Runs::default(), watch::Sender::new(false));
    let names = ["first", "second", "third"];
    let agents: Vec<_> = names.iter().map(|name| agent(&service, name, &runs, 7, &stop)).collect();
    let client = service.client("submitter");
    // One claim is certain to be lost: whoever has the first task is cut off until well after its
    // lease.
    submit(&queue(&client).await).await;
    eventually("it has begun", || runs.lock().len() == 1).await;
    let network = service.network(runs.lock()[0].0);
    network.freeze_all();
    network.black_hole(true);
    sleep(lease() * 2).await;
    network.black_hole(false);
    network.thaw_all();
    // The rest is chance.
    let submitting = tokio::spawn(async move {
        let queue = queue(&client).await;
        for n in 1..TASKS {
            // A name of its own, since a submission that failed for us may have been taken.
            let task = work(TaskType::ModelInference).with_request_id(format!("work-{n}"));
            while queue.submit_task(task.clone()).await.is_err() {}
            sleep(secs(2)).await;
        }
    });
    let mut rng = StdRng::seed_from_u64(4);
    while !submitting.is_finished() {
        let name = ["first", "second", "third", "submitter"][rng.random_range(0..4)];
        let network = service.network(name);
        match rng.random_range(0..4) {
            0 => network.reset_all(),
            1 => network.cut_all(),
            2 => {
                // Longer than a lease, at times.
                network.freeze_all();
                network.black_hole(true);
                sleep(secs(rng.random_range(1..150))).await;
                network.black_hole(false);
                network.thaw_all();
            }
            _ => {
                service.stop(name).await;
                sleep(secs(rng.random_range(0..30))).await;
                service.resume(name);
            }
        }
        sleep(secs(rng.random_range(1..10))).await;
    }
    let queue = queue(&service.client("reader")).await;
    let ended = async {
        loop {
            let counts = queue.get_queue_info().await.unwrap().tasks.unwrap();
            if counts.pending + counts.processing == 0 {
                return counts;
            }
            sleep(secs(1)).await;
        }
    };
    let counts = tokio::time::timeout(LONG, ended).await.expect("nothing is stuck");
    assert_eq!((counts.completed, counts.failed, counts.cancelled), (TASKS as u64, 0, 0));
    stop.send_replace(true);
    let (mut completed, mut lost) = (0, 0);
    for agent in agents {
        let done = bounded("an agent's end", agent).await.unwrap();
        completed += done.completed;
        lost += done.lost;
    }
    assert!(
        completed <= TASKS as u64 && lost > 0,
        "none is completed twice, and the links do hurt: {completed}, {lost}"
    );
    let mut by_task = BTreeMap::<String, Vec<(Instant, Option<Instant>)>>::new();
    for (_, task, from, to) in runs.lock().iter() {
        by_task.entry(task.clone()).or_default().push((*from, *to));
    }
    assert_eq!(by_task.len(), TASKS, "every task was run");
    for (task, runs) in by_task {
        let overlap = runs.windows(2).any(|pair| pair[0].1.is_none_or(|ended| ended > pair[1].0));
        assert!(!overlap, "{task} ran twice at once: {runs:?}");
    }
}
