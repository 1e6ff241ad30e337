//! A thread with a connection of its own, and jobs for it. The writer's jobs share transactions:
//! many commits become one.

use super::{
    super::{Board, Mark, record::Happened, store::STEP},
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
pub(super) enum Trouble {
    /// It was refused, and changed nothing.
    Refused(Status),
    /// The database failed it.
    Sql(rusqlite::Error),
}

/// What a job works with: the transaction that it shares, and what is told after the commit.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) sql: &'a Connection,
    pub(super) meta: Meta,
    pub(super) news: HashMap<String, Mark>,
    pub(super) happened: Vec<(String, Happened)>,
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
type Job = Box<dyn FnOnce(&mut Work<'_>) -> Result<Done, Trouble> + Send>;
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
        board: Board,
        damage: Damage,
    ) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let run = move || run(connection, behavior, inbox, &board, &damage);
        let thread = thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Carries out `job` in a transaction and returns its answer after the commit.
    ///
    /// UNAVAILABLE where the database fails. Once the job has been taken, dropping the future does
    /// not stop it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Work<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Status> {
        let gone = || Status::unavailable("the database's thread has ended");
        let (answer, mut answered) = oneshot::channel();
        let (failed, failure) = oneshot::channel();
        let job: Job = Box::new(move |work| {
            let found = job(work)?;
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
    board: &Board,
    damage: &Damage,
) {
    let mut batch = Vec::with_capacity(BATCH);
    // What comes while a batch is on its way to the disk is the next one.
    while inbox.blocking_recv_many(&mut batch, BATCH) > 0 {
        let (jobs, failures): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match transact(&mut connection, behavior, jobs) {
            Ok((outcomes, news, happened)) => {
                happened
                    .iter()
                    .for_each(|(agent_id, happened)| board.happened(agent_id, *happened));
                news.iter().for_each(|(agent_id, mark)| board.mark(agent_id, *mark));
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

type Outcomes = (Vec<Result<Done, Status>>, HashMap<String, Mark>, Vec<(String, Happened)>);

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
    let mut work = Work {
        sql: &transaction,
        meta: before,
        news: HashMap::new(),
        happened: Vec::new(),
        room: STEP,
    };
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(match job(&mut work) {
            Ok(done) => Ok(done),
            Err(Trouble::Refused(status)) => Err(status),
            Err(Trouble::Sql(error)) => return Err(error),
        });
    }
    let Work { meta, news, happened, .. } = work;
    if meta != before {
        let mut update =
            transaction.prepare_cached("UPDATE meta SET cursor = ?1, last_task = ?2")?;
        update.execute([meta.cursor, meta.last_task])?;
    }
    transaction.commit()?;
    Ok((outcomes, news, happened))
}

impl Work<'_> {
    /// The cursor of a change made now.
    pub(super) fn next_cursor(&mut self) -> i64 {
        self.meta.cursor += 1;
        self.meta.cursor
    }

    /// To be counted after the commit.
    pub(super) fn note(&mut self, agent_id: &str, happened: Option<Happened>) {
        self.happened.extend(happened.map(|happened| (agent_id.to_owned(), happened)));
    }

    /// To be told after the commit.
    pub(super) fn mark(&mut self, agent_id: &str, mark: Mark) {
        match self.news.get_mut(agent_id) {
            Some(known) => *known = known.and(mark),
            None => drop(self.news.insert(agent_id.to_owned(), mark)),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}
