//! Worker loops, as an agent would write them, whose server is killed again and again: whatever is
//! killed, each claim runs at most once, every task ends as its work says, and the loops live on.

use super::{
    END, ENOUGH, Trial, number,
    program::{self, Party},
};
use crate::process::Serve;
use futures::future::{join_all, try_join_all};
use parking_lot::Mutex;
use rand::RngExt;
use std::{
    collections::{BTreeSet, HashMap},
    future::IntoFuture as _,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{sleep, timeout},
};
use tonic::Status;
use tonic_supervisor::agent_queue::{
    AgentQueue, NewTask, PrivateAgentTasksQueue, Processed, Processing, Task, TaskCounts,
    TaskStatus,
};

const QUEUE: &str = "loops";
/// How often each loop's client tries again. A loop goes on by itself where its client gives up.
const RETRIES: [u32; 4] = [0, 1, 3, 10];
const CONCURRENCY: usize = 4;
const WORKERS: usize = RETRIES.len() * CONCURRENCY;
/// Longer than a short lease.
const SLOW: Duration = Duration::from_millis(2500);
/// So many tasks wait at least: a kill finds the workers in the midst of claims and reports.
const BACKLOG: u64 = 64;
/// Between two looks at what waits.
const PAUSE: Duration = Duration::from_millis(20);

/// How long claims hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leases {
    /// As long as they do by default: none is lost by a kill, so each task is claimed once.
    Long,
    /// So short that they are renewed in the midst of kills, and some are lost. No task fails by
    /// that.
    Short,
}

/// Kills the server of some worker loops 10 times, or as often as `QUEUE_LOOP_KILLS` says, and
/// panics if anything is wrong with what they did.
///
/// `store` is what `--store` takes, and must be new.
pub(crate) async fn worker_loops_end_every_task_as_its_work_says(store: &str, leases: Leases) {
    let trial = Trial::of(store, 1, number("QUEUE_LOOP_KILLS").unwrap_or(10));
    trial.announce();
    let arguments = match leases {
        Leases::Long => &[][..],
        Leases::Short => &["--lease", "1", "--max-claims", "1000"],
    };
    let mut server = [block_in_place(|| Serve::start(store, arguments))];
    let (supervisor, mut reader) = program::supervise(server[0].address);
    let client = PrivateAgentTasksQueue::over(supervisor);
    let queue = client.queue(QUEUE);
    let work = Arc::new(Work::default());
    // They are started first: a loop makes its queue itself.
    let (clients, loops): (Vec<_>, Vec<_>) =
        RETRIES.iter().map(|retries| work.start(&server[0], *retries)).unzip();

    let (stop, stopped) = watch::channel(false);
    let (_, mut submitted) = tokio::join!(
        async {
            trial.kill(&mut server).await;
            stop.send_replace(true);
        },
        submit(client.get_queue(QUEUE, true).await.expect("made"), trial.seed, stopped),
    );
    let gather = (0..WORKERS).map(|_| NewTask::custom("gather", "{}").with_priority(9));
    let gather = queue.batch_submit_tasks(gather).await.expect("submitted");
    submitted.extend(gather.tasks.into_iter().map(|answer| (answer.task_id, "gather")));
    let ended = timeout(END, all_ended(&queue)).await;
    join_all(clients.iter().map(PrivateAgentTasksQueue::close)).await;
    let done = try_join_all(loops).await;

    // What counts is what the store still knows when it is opened anew.
    block_in_place(|| server[0].kill());
    block_in_place(|| server[0].restart());
    let kept = program::tasks_of(&mut reader, QUEUE).await.expect("listed");
    let again = kept.iter().filter(|task| task.claims > 1).count();
    println!("{leases:?} leases: {} tasks, {again} claimed again; {done:?}", submitted.len());
    let mut wrong = work.wrong(&submitted, &kept, &done);
    if ended.is_err() {
        wrong.insert(0, format!("tasks were not ended {} s after the last kill", END.as_secs()));
    }
    if leases == Leases::Long && again > 0 {
        wrong.push(format!("{again} tasks were claimed again, though no lease was over"));
    }
    assert!(
        wrong.is_empty() && submitted.len() > WORKERS,
        "{}\n{}",
        trial.seed_hint(),
        wrong.join("\n")
    );
    client.close().await;
}

/// Keeps the queue full of tasks of all kinds until it is told to stop; returns them, id and kind.
async fn submit(
    queue: AgentQueue,
    seed: u64,
    stopped: watch::Receiver<bool>,
) -> HashMap<String, &'static str> {
    let (mut rng, mut submitted) = (Party::rng(seed, 0), HashMap::new());
    while !*stopped.borrow() {
        if counts(&queue).await.pending >= BACKLOG {
            sleep(PAUSE).await;
            continue;
        }
        let kinds: Vec<_> = (0..BACKLOG).map(|_| kind(rng.random_range(0..400))).collect();
        let tasks = kinds
            .iter()
            .map(|kind| NewTask::custom(*kind, "{}").with_priority(rng.random_range(0..10)));
        let answer = queue.batch_submit_tasks(tasks).await.expect("submitted");
        for (answer, kind) in answer.tasks.into_iter().zip(kinds) {
            assert_eq!(submitted.insert(answer.task_id, kind), None, "two tasks have one id");
        }
    }
    submitted
}

fn kind(die: u32) -> &'static str {
    match die {
        0 => "slow",
        1..40 => "fail",
        _ => "quick",
    }
}

async fn counts(queue: &AgentQueue) -> TaskCounts {
    queue.get_queue_info().await.expect("told").tasks.expect("counted")
}

/// Returns when no task of the queue waits or is worked on.
async fn all_ended(queue: &AgentQueue) {
    while let TaskCounts { pending: 1.., .. } | TaskCounts { processing: 1.., .. } =
        counts(queue).await
    {
        sleep(PAUSE).await;
    }
}

/// What the handlers of all loops did.
#[derive(Default)]
struct Work {
    /// The claims of each task that began to run, by their number.
    begun: Mutex<HashMap<String, Vec<u32>>>,
    /// How many tasks that are to run all at once have begun.
    gathered: watch::Sender<usize>,
}

impl Work {
    /// A loop on a client of its own.
    fn start(
        self: &Arc<Self>,
        server: &Serve,
        retries: u32,
    ) -> (PrivateAgentTasksQueue, Processing) {
        let builder = PrivateAgentTasksQueue::builder()
            .grpc_port(server.address.port())
            .grpc_initial_backoff(0.1);
        let client = builder.grpc_max_retry_attempts(retries).build().expect("valid");
        let work = self.clone();
        let handler = move |task| {
            let work = work.clone();
            async move { work.run(task).await }
        };
        let processing = client.queue(QUEUE).process(handler, CONCURRENCY).into_future();
        (client, processing)
    }

    async fn run(&self, task: Task) -> Result<String, String> {
        self.begun.lock().entry(task.task_id.clone()).or_default().push(task.claims);
        match &*task.custom_type {
            "slow" => sleep(SLOW).await,
            // Only if every worker of every loop lives are there enough.
            "gather" => {
                self.gathered.send_modify(|gathered| *gathered += 1);
                let all = self
                    .gathered
                    .subscribe()
                    .wait_for(|gathered| *gathered >= WORKERS)
                    .await
                    .map(drop);
                all.expect("the sender is ours");
            }
            _ => {}
        }
        outcome(&task)
    }

    /// What is wrong, held against the tasks that the store shows at the end.
    fn wrong(
        &self,
        submitted: &HashMap<String, &str>,
        kept: &[Task],
        loops: &Result<Vec<Processed>, Status>,
    ) -> Vec<String> {
        let begun = self.begun.lock();
        let shown: BTreeSet<_> =
            kept.iter().map(|task| (&*task.task_id, &*task.custom_type)).collect();
        let accepted: BTreeSet<_> = submitted.iter().map(|(id, kind)| (&**id, *kind)).collect();
        let differ = shown.symmetric_difference(&accepted).take(ENOUGH);
        let mut wrong: Vec<_> =
            differ.map(|id| format!("either lost, or never submitted: {id:?}")).collect();

        let odd = kept.iter().filter(|task| {
            let runs = begun.get(&task.task_id).map_or(&[][..], Vec::as_slice);
            let claims: BTreeSet<_> = runs.iter().collect();
            let once_per_claim = claims.len() == runs.len() && claims.last() == Some(&&task.claims);
            let status = task.status();
            let as_it_should = match outcome(task) {
                Ok(result) => status == TaskStatus::Completed && task.result == result,
                Err(text) => status == TaskStatus::Failed && task.error_message == text,
            };
            !once_per_claim || !as_it_should
        });
        wrong.extend(odd.take(ENOUGH).map(|task| {
            let runs = begun.get(&task.task_id);
            format!(
                "it did not end as its last claim's work says, or a claim ran twice, \
                     {runs:?}: {task:?}"
            )
        }));

        let failed = kept.iter().filter(|task| task.status() == TaskStatus::Failed).count() as u64;
        let sum = |count: fn(&Processed) -> u64| {
            loops.as_ref().map(|loops| loops.iter().map(count).sum::<u64>())
        };
        if (
            sum(|done| done.completed).ok(),
            sum(|done| done.failed).ok(),
            sum(|done| done.left).ok(),
        ) != (Some(kept.len() as u64 - failed), Some(failed), Some(0))
        {
            wrong.push(format!(
                "{} tasks, {failed} of them FAILED, and the loops say {loops:?}",
                kept.len()
            ));
        }
        wrong
    }
}

/// What comes of a claim of this task; its number in the result says which claim it was.
fn outcome(task: &Task) -> Result<String, String> {
    let claim = task.claims.to_string();
    if task.custom_type == "fail" { Err(claim) } else { Ok(claim) }
}
