//! The worker loop behind `AgentQueue::process`. This file starts and ends it; `worker` does
//! one task after the other, and `phase` says how far the end has come.

mod claim_backoff;
mod lease;
mod meters;
mod outcome;
mod phase;
mod running_handler;
mod tally;
mod worker;

pub use outcome::Outcome;
pub use tally::Processed;

use super::{AgentQueue, Task};
use claim_backoff::ClaimBackoff;
use futures::{
    StreamExt as _,
    future::{BoxFuture, pending},
    stream::FuturesUnordered,
};
use phase::{GIVE_BACK_TIMEOUT, Phase, Phases, advance};
use std::{
    fmt,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tally::Tally;
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::sleep,
};
use tonic::Status;
use worker::WorkerContext;

/// A worker loop to be, from [`AgentQueue::process`]. Await it to run it.
///
/// It begins by making the queue, if that is not there, and goes on **until** the client is closed
/// or [`until`](Self::until)'s future resolves. Then nothing more is claimed; what runs may finish
/// within the [`grace`](Self::grace), and is reported; what does not is stopped and its task given
/// back, so that another agent can have it at once. 5 seconds after the grace it has ended,
/// whatever the network does; tasks that could not be given back by then come back when their
/// leases end.
///
/// **In an outage**, of any length, it waits: results are kept until the server is back, and claims
/// are made again. A handler whose lease could not be renewed in time is stopped, since its task
/// may be with another agent.
///
/// **A result** is reported until it is taken or refused. Where the server is there and it still
/// does not get through (a proxy that answers in its place, say), it is tried until its lease is
/// over, and given up at the first failure after that, with an ERROR in the log.
///
/// **After a task that was claimed in vain** (lost, or given back by the handler) the loop pauses,
/// 0.5 s growing to 10 s, and claims one task at a time until one gets on.
///
/// **A handler is stopped** (its future is dropped, at its next `.await`) when its claim is lost:
/// the task was cancelled or deleted, or the lease is over. It never runs twice at once in one
/// agent, and at most `concurrency` handlers run. Across agents a task can run again when its
/// holder was cut off: make the work repeatable, or fence it with the task's `claims`.
///
/// # Errors
///
/// A status that asking again does not change, such as NOT_FOUND for a queue deleted meanwhile, or
/// PERMISSION_DENIED. Handlers that run are finished first.
///
/// # Cancel safety
///
/// Dropped, it stops at once, and so do the handlers; their tasks are handed out again when the
/// leases end.
#[must_use = "a worker loop does nothing unless awaited"]
pub struct Process<H> {
    queue: AgentQueue,
    handler: H,
    concurrency: usize,
    grace: Duration,
    until: BoxFuture<'static, ()>,
}

/// A running worker loop: the future of a [`Process`]. It works on in a task of its own, however
/// seldom this is polled.
#[derive(Debug)]
#[must_use = "a worker loop ends when this is dropped"]
pub struct Processing {
    task: JoinHandle<Result<Processed, Status>>,
}

impl AgentQueue {
    /// Works through the queue: claims tasks, hands each to `handler`, `concurrency` (at least 1)
    /// at a time, keeps their leases and reports what came out. Await what it returns; see there
    /// for how it ends.
    ///
    /// What the handler returns is the task's result as JSON text, or why it failed; or an
    /// [`Outcome`], which can also give the task back. A panic is a failure, too.
    ///
    /// ```no_run
    /// use tonic_supervisor::agent_queue::{PrivateAgentTasksQueue, Task};
    ///
    /// async fn work(task: Task) -> Result<String, std::io::Error> {
    ///     println!("{}: {}", task.task_id, task.payload);
    ///     Ok(r#"{"ok": true}"#.into())
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = PrivateAgentTasksQueue::new();
    /// let interrupted = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    /// let done = client.queue("agent_001").process(work, 4).until(interrupted).await?;
    /// println!("{done}");
    /// client.close().await;
    /// # Ok(()) }
    /// ```
    pub fn process<H, F>(&self, handler: H, concurrency: usize) -> Process<H>
    where
        H: Fn(Task) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        Process::new(self.clone(), handler, concurrency)
    }
}

impl<H> Process<H> {
    fn new(queue: AgentQueue, handler: H, concurrency: usize) -> Self {
        let (concurrency, grace) = (concurrency.max(1), Duration::from_secs(30));
        Self { queue, handler, concurrency, grace, until: Box::pin(pending()) }
    }

    /// Ends the loop when `signal` resolves: Ctrl-C, SIGTERM, or whatever tells the program to end.
    /// It is polled in the background.
    pub fn until(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Box::pin(signal);
        self
    }

    /// How long handlers may go on once the loop is to end; 30 s by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

impl<H, F> Process<H>
where
    H: Fn(Task) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    async fn run(self) -> Result<Processed, Status> {
        let _runs = self.queue.client().loop_runs();
        let (phase, tally) = (watch::Sender::new(Phase::Work), Tally::of(self.queue.agent_id()));
        let context = WorkerContext {
            queue: &self.queue,
            handler: Arc::new(self.handler),
            phases: Phases(phase.subscribe()),
            tally: &tally,
            claim_backoff: ClaimBackoff::default(),
            turn: Mutex::new(()),
        };
        let mut failure = None;
        let work = async {
            let open = context.open().await;
            let concurrency = if matches!(open, Ok(true)) { self.concurrency } else { 0 };
            failure = open.err();
            let mut workers: FuturesUnordered<_> =
                (0..concurrency).map(|_| context.work()).collect();
            while let Some(ended) = workers.next().await {
                if let Err(status) = ended {
                    // The other workers would get the same error.
                    advance(&phase, Phase::Finish);
                    failure = Some(status);
                }
            }
        };
        let closing = self.queue.client().closing();
        let end = async {
            tokio::select! {
                () = self.until => {}
                () = closing => {}
                () = context.phases.reached(Phase::Finish) => {}
            }
            advance(&phase, Phase::Finish);
            sleep(self.grace).await;
            advance(&phase, Phase::GiveBack);
            sleep(GIVE_BACK_TIMEOUT).await;
        };
        tokio::select! {
            () = work => {}
            () = end => {
                let agent = self.queue.agent_id();
                log_line!(warn, agent, "not everything could be given back in time");
            }
        }
        failure.map_or_else(|| Ok(tally.done()), Err)
    }
}

impl<H, F> IntoFuture for Process<H>
where
    H: Fn(Task) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    type Output = Result<Processed, Status>;
    type IntoFuture = Processing;

    fn into_future(self) -> Processing {
        Processing { task: tokio::spawn(self.run()) }
    }
}

impl Future for Processing {
    type Output = Result<Processed, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.task).poll(cx)) {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Status::cancelled("the runtime of the worker loop has ended")),
            },
        })
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<H> fmt::Debug for Process<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("queue", &self.queue)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
