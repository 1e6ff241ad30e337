//! The queues in one SQLite file: WAL, `synchronous=FULL`, and one writer whose commits are shared
//! by everybody who waits.

mod damage;
mod file;
mod names;
mod read;
mod remove;
mod rows;
mod schema;
mod worker;
mod write;

use super::{Changes, Claimed, Millis, Notifier, Settings, Store, steps::ClearStep};
use crate::proto::agent_queue::*;
use damage::{Damage, Inspector};
use file::DatabaseFile;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::{fmt, path::Path, thread, time::Duration};
use tonic::{Code, Status};
use worker::{JobContext, JobResult, Worker};

/// How long the file may be held by another process before a call is UNAVAILABLE.
const BUSY: Duration = Duration::from_secs(5);
/// Between two tries where SQLite does not wait itself.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How many tasks, names and claims one step of pruning forgets.
const PRUNE_STEP: i64 = 200;

/// A store in a SQLite file: durable, for one machine.
///
/// An answer goes out when its transaction is on the disk. Several processes may use one file, for
/// example while one takes over from the other; but only the process that makes a change wakes
/// those who wait for it. Elsewhere a waiting claim looks again when its wait ends, a watch when
/// that process makes a change.
#[derive(Debug)]
pub struct SqliteStore {
    place: DatabaseFile,
    settings: Settings,
    notifier: Notifier,
    damage: Damage,
    // Dropped in this order: the writer is the last, because only it can leave the file whole, with
    // nothing beside it.
    _inspector: Inspector,
    reader: Worker,
    /// For what reads a whole queue: counts and times.
    counter: Worker,
    writer: Worker,
}

/// Why a file cannot be used: a sentence that names it.
#[derive(Clone, Debug)]
pub struct SqliteError(String);

impl SqliteStore {
    /// Opens the file, or makes it; brings an older one to this version. Blocks.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, SqliteError> {
        let trouble = |error: &dyn fmt::Display| {
            SqliteError(format!("the database {} cannot be used: {error}", path.display()))
        };
        let place = DatabaseFile::make(path).map_err(|error| trouble(&error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer =
            Connection::open_with_flags(path, flags).map_err(|error| trouble(&error))?;
        tune(&writer).map_err(|error| trouble(&error))?;
        schema::migrate(&mut writer, schema::STEPS).map_err(|error| trouble(&error))?;
        let reader = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let reader =
                Connection::open_with_flags(path, flags).map_err(|error| trouble(&error))?;
            reader.busy_timeout(BUSY).map_err(|error| trouble(&error))?;
            reader.set_prepared_statement_cache_capacity(64);
            Ok(reader)
        };
        let (notifier, damage) = (Notifier::default(), Damage::default());
        let worker = |name, connection, behavior| {
            Worker::start(name, connection, behavior, notifier.clone(), damage.clone())
                .map_err(|error| trouble(&error))
        };
        Ok(Self {
            place,
            settings,
            _inspector: Inspector::start(reader()?, damage.clone())
                .map_err(|error| trouble(&error))?,
            reader: worker("sqlite-reader", reader()?, TransactionBehavior::Deferred)?,
            counter: worker("sqlite-counter", reader()?, TransactionBehavior::Deferred)?,
            writer: worker("sqlite-writer", writer, TransactionBehavior::Immediate)?,
            notifier,
            damage,
        })
    }

    /// Changes something in a queue, once what is overdue in it has been given back.
    async fn write<T: Send + 'static>(
        &self,
        agent_id: &str,
        now: Millis,
        mut job: impl FnOnce(&mut JobContext<'_>, &Settings) -> JobResult<T> + Send + 'static,
    ) -> Result<T, Status> {
        loop {
            let (settings, agent_id) = (self.settings, agent_id.to_owned());
            let tried = self.writer.run(move |context| {
                match context.expire(&agent_id, &settings, now)? {
                    true => job(context, &settings).map(Ok),
                    false => Ok(Err(job)),
                }
            });
            match tried.await? {
                Ok(answer) => return Ok(answer),
                // Others have their turn before it goes on.
                Err(again) => job = again,
            }
        }
    }

    /// Looks at a queue; what is overdue is given back first. What reads much has a reader of its
    /// own.
    async fn read<T: Send + 'static>(
        &self,
        reader: &Worker,
        agent_id: &str,
        now: Millis,
        mut job: impl FnOnce(&JobContext<'_>, &str) -> JobResult<T> + Send + 'static,
    ) -> Result<T, Status> {
        loop {
            let (settings, agent) = (self.settings, agent_id.to_owned());
            let looked =
                reader.run(move |context| match context.overdue(&agent, &settings, now)? {
                    true => Ok(Err(job)),
                    false => job(context, &agent).map(Ok),
                });
            match looked.await? {
                Ok(answer) => return Ok(answer),
                Err(again) => job = again,
            }
            self.write(agent_id, now, |_, _| Ok(())).await?;
        }
    }

    /// Deletes what a queue out of sight holds.
    async fn empty_queue(&self, queue: i64) -> Result<(), Status> {
        while self.writer.run(move |context| context.empty_queue(queue)).await? {}
        Ok(())
    }
}

/// For durable commits and few of them.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    write_ahead(connection)?;
    connection.pragma_update(None, "synchronous", "full")?;
    // In KiB: the indexes of some 100,000 tasks.
    connection.pragma_update(None, "cache_size", -65536)?;
    // The WAL is cut to this once it has been copied back.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Turns on the WAL. Where another process does so at the same moment SQLite does not wait, as it
/// does for all other locks.
#[allow(clippy::disallowed_methods, reason = "opening blocks, and says so")]
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let mut left = BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && !left.is_zero() =>
            {
                thread::sleep(BUSY_PAUSE);
                left = left.saturating_sub(BUSY_PAUSE);
            }
            done => return done,
        }
    }
}

impl Store for SqliteStore {
    type Cursor = u64;

    fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    async fn health(&self) -> Result<String, Status> {
        self.damage.check()?;
        let place = self.place.clone();
        self.reader
            .run(move |context| Ok(place.still_there().and(Ok(context.answers()?))?))
            .await?;
        self.writer.run(|context| context.answers()).await?;
        Ok(format!("SQLite {}", rusqlite::version()))
    }

    async fn create_queue(
        &self,
        request: CreateQueueRequest,
        now: Millis,
    ) -> Result<CreateQueueResponse, Status> {
        self.writer.run(move |context| context.create_queue(&request, now)).await
    }

    async fn queue_exists(
        &self,
        request: QueueExistsRequest,
    ) -> Result<QueueExistsResponse, Status> {
        self.reader
            .run(move |context| {
                Ok(QueueExistsResponse { exists: context.queue(&request.agent_id)?.is_some() })
            })
            .await
    }

    async fn queue_info(
        &self,
        request: GetQueueInfoRequest,
        now: Millis,
    ) -> Result<GetQueueInfoResponse, Status> {
        self.read(&self.counter, &request.agent_id, now, |context, agent_id| context.info(agent_id))
            .await
    }

    async fn queue_names(&self, after: &str, limit: usize) -> Result<Vec<String>, Status> {
        let after = after.to_owned();
        self.reader.run(move |context| context.queue_names(&after, limit)).await
    }

    async fn summary(&self, agent_id: &str, now: Millis) -> Result<Option<QueueSummary>, Status> {
        let summary = self.read(&self.counter, agent_id, now, move |context, agent_id| {
            context.summary(agent_id, now)
        });
        match summary.await {
            Ok(summary) => Ok(Some(summary)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    async fn clear_queue(
        &self,
        request: ClearQueueRequest,
        now: Millis,
    ) -> Result<ClearQueueResponse, Status> {
        let mut progress = None;
        loop {
            let step = request.clone();
            let step = self.write(&request.agent_id, now, move |context, _| {
                context.clear_queue(&step, progress, now)
            });
            match step.await? {
                ClearStep::Done(answer) => return Ok(answer),
                ClearStep::More(clearing) => progress = Some(clearing),
            }
        }
    }

    async fn delete_queue(
        &self,
        request: DeleteQueueRequest,
        _: Millis,
    ) -> Result<DeleteQueueResponse, Status> {
        let hidden = self.writer.run(move |context| context.hide_queue(&request.agent_id)).await?;
        let Some((queue, deleted)) = hidden else { return Ok(DeleteQueueResponse::default()) };
        self.empty_queue(queue).await?;
        Ok(DeleteQueueResponse { existed: true, deleted })
    }

    async fn submit(
        &self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.write(&agent_id, now, move |context, _| context.submit(request, now)).await
    }

    async fn claim(&self, request: GetTaskRequest, now: Millis) -> Result<Claimed, Status> {
        let agent_id = request.agent_id.clone();
        self.write(&agent_id, now, move |context, settings| context.claim(&request, settings, now))
            .await
    }

    async fn update(
        &self,
        request: UpdateTaskStatusRequest,
        now: Millis,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.write(&agent_id, now, move |context, settings| context.update(&request, settings, now))
            .await
    }

    async fn query(
        &self,
        request: QueryTaskRequest,
        now: Millis,
    ) -> Result<QueryTaskResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.read(&self.reader, &agent_id, now, move |context, _| context.query(&request)).await
    }

    async fn delete_tasks(
        &self,
        request: BatchDeleteTasksRequest,
        now: Millis,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.write(&agent_id, now, move |context, _| context.delete_tasks(&request, now)).await
    }

    async fn cancel(
        &self,
        request: CancelTaskRequest,
        now: Millis,
    ) -> Result<CancelTaskResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.write(&agent_id, now, move |context, _| context.cancel(&request, now)).await
    }

    async fn retry(
        &self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> Result<RetryTaskResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.write(&agent_id, now, move |context, _| context.retry(request, now)).await
    }

    async fn list(
        &self,
        request: ListTasksRequest,
        now: Millis,
    ) -> Result<ListTasksResponse, Status> {
        let agent_id = request.agent_id.clone();
        self.read(&self.counter, &agent_id, now, move |context, _| context.list(&request)).await
    }

    async fn stats(
        &self,
        request: GetTaskStatsRequest,
        now: Millis,
    ) -> Result<GetTaskStatsResponse, Status> {
        self.read(&self.counter, &request.agent_id, now, move |context, agent_id| {
            context.stats(agent_id, now)
        })
        .await
    }

    async fn changes(
        &self,
        agent_id: &str,
        cursor: Option<u64>,
        now: Millis,
    ) -> Result<Changes, Status> {
        self.read(&self.reader, agent_id, now, move |context, agent_id| {
            context.changes(agent_id, cursor)
        })
        .await
    }

    async fn prune(&self, now: Millis) -> Result<bool, Status> {
        if let Some(queue) = self.writer.run(|context| context.hidden_queue()).await? {
            self.empty_queue(queue).await?;
        }
        let kept = i64::try_from(self.settings.keep_finished.as_millis()).unwrap_or(i64::MAX);
        self.writer.run(move |context| context.prune(now.saturating_sub(kept), PRUNE_STEP)).await
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SqliteError {}
