//! A thread with a connection of its own, and jobs for it. The writer's jobs share transactions:
//! many commits become one.

use super::{
    super::{Notifier, QueueChange, record::TaskEvent, steps::STEP},
    damage::Damage,
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    collections::HashMap,
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// Jobs that wait; who finds no room waits with the job.
const QUEUE: usize = 1024;
/// Jobs of one transaction.
const BATCH: usize = 256;

/// Why a job has no answer.
#[derive(Debug)]
pub(super) enum JobError {
    /// It was refused, and changed nothing.
    Refused(Status),
    /// The database failed it.
    Sql(rusqlite::Error),
}

/// What a job gives.
pub(super) type JobResult<T> = Result<T, JobError>;

/// What a job works with: the transaction that it shares, and what is told after the commit.
#[derive(Debug)]
pub(super) struct JobContext<'a> {
    pub(super) sql: &'a Connection,
    pub(super) meta: Meta,
    pub(super) changes: HashMap<String, QueueChange>,
    pub(super) events: Vec<(String, TaskEvent)>,
    /// How many rows the long operations of this transaction may still change.
    pub(super) room: usize,
}

/// The row of counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Meta {
    pub(super) cursor: i64,
    pub(super) last_task: i64,
}

/// Runs within the transaction, and returns what is done once it is over.
type Job = Box<dyn FnOnce(&mut JobContext<'_>) -> JobResult<Done> + Send>;
/// Sends the answer, if there was no error.
type Done = Box<dyn FnOnce() + Send>;

/// The thread. Dropped, it finishes the jobs it has.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<(Job, oneshot::Sender<Status>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// A thread that carries out jobs on `connection`; `behavior` of their transactions.
    pub(super) fn start(
        name: &str,
        connection: Connection,
        behavior: TransactionBehavior,
        notifier: Notifier,
        damage: Damage,
    ) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let run = move || run(connection, behavior, inbox, &notifier, &damage);
        let thread = thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Carries out `job` in a transaction and returns its answer after the commit.
    ///
    /// UNAVAILABLE where the database fails. Once the job has been taken, dropping the future does
    /// not stop it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut JobContext<'_>) -> JobResult<T> + Send + 'static,
    ) -> Result<T, Status> {
        let gone = || Status::unavailable("the database's thread has ended");
        let (answer, mut answered) = oneshot::channel();
        let (failed, failure) = oneshot::channel();
        let job: Job = Box::new(move |context| {
            let found = job(context)?;
            // A caller that went away is not told.
            Ok(Box::new(move || drop(answer.send(found))))
        });
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send((job, failed)).await.map_err(|_| gone())?;
        // The answer goes out before the failure's end is dropped.
        match failure.await {
            Ok(status) => Err(status),
            Err(_) => answered.try_recv().map_err(|_| gone()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked about was printed when it did.
            let _ = thread.join();
        }
    }
}

fn run(
    mut connection: Connection,
    behavior: TransactionBehavior,
    mut inbox: mpsc::Receiver<(Job, oneshot::Sender<Status>)>,
    notifier: &Notifier,
    damage: &Damage,
) {
    let mut batch = Vec::with_capacity(BATCH);
    // What comes while a batch is on its way to the disk is the next one.
    while inbox.blocking_recv_many(&mut batch, BATCH) > 0 {
        let (jobs, failures): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match transact(&mut connection, behavior, jobs) {
            Ok((outcomes, changes, events)) => {
                events.iter().for_each(|(agent_id, event)| notifier.count(agent_id, *event));
                changes.iter().for_each(|(agent_id, change)| notifier.notify(agent_id, *change));
                for (outcome, failure) in outcomes.into_iter().zip(failures) {
                    match outcome {
                        Ok(done) => done(),
                        Err(status) => drop(failure.send(status)),
                    }
                }
            }
            Err(error) => {
                damage.note(&error);
                let status = Status::unavailable(format!("the database failed: {error}"));
                failures.into_iter().for_each(|failure| drop(failure.send(status.clone())));
            }
        }
    }
    close(connection);
}

/// Puts everything into the one file, so that a copy of it is a copy of the queues.
fn close(connection: Connection) {
    if !connection.is_readonly("main").unwrap_or(true) {
        let copied = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        // Another process has the file open, or the disk is full: what is beside the file belongs
        // to it.
        if copied != Ok(false) {
            log_line!(
                warn,
                ?copied,
                "the database's -wal file could not be put into it; keep the two together"
            );
        }
    }
    if let Err((_, error)) = connection.close() {
        log_line!(warn, %error, "the database could not be closed");
    }
}

type Outcomes = (Vec<Result<Done, Status>>, HashMap<String, QueueChange>, Vec<(String, TaskEvent)>);

/// One transaction with all these jobs. A refused job has changed nothing; one that the database
/// fails takes all with it.
fn transact(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    jobs: Vec<Job>,
) -> Result<Outcomes, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let read = |row: &rusqlite::Row<'_>| Ok(Meta { cursor: row.get(0)?, last_task: row.get(1)? });
    let before =
        transaction.prepare_cached("SELECT cursor, last_task FROM meta")?.query_row([], read)?;
    let mut context = JobContext {
        sql: &transaction,
        meta: before,
        changes: HashMap::new(),
        events: Vec::new(),
        room: STEP,
    };
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(match job(&mut context) {
            Ok(done) => Ok(done),
            Err(JobError::Refused(status)) => Err(status),
            Err(JobError::Sql(error)) => return Err(error),
        });
    }
    let JobContext { meta, changes, events, .. } = context;
    if meta != before {
        let mut update =
            transaction.prepare_cached("UPDATE meta SET cursor = ?1, last_task = ?2")?;
        update.execute([meta.cursor, meta.last_task])?;
    }
    transaction.commit()?;
    Ok((outcomes, changes, events))
}

impl JobContext<'_> {
    /// The cursor of a change made now.
    pub(super) fn next_cursor(&mut self) -> i64 {
        self.meta.cursor += 1;
        self.meta.cursor
    }

    /// To be counted after the commit.
    pub(super) fn note(&mut self, agent_id: &str, event: Option<TaskEvent>) {
        self.events.extend(event.map(|event| (agent_id.to_owned(), event)));
    }

    /// To be told after the commit.
    pub(super) fn notify(&mut self, agent_id: &str, change: QueueChange) {
        match self.changes.get_mut(agent_id) {
            Some(known) => *known = known.merge(change),
            None => drop(self.changes.insert(agent_id.to_owned(), change)),
        }
    }
}

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Status> for JobError {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}
