//! The queues in PostgreSQL: any number of servers share one database.
//!
//! | place | what it is |
//! |---|---|
//! | `schema` | the tables, and how they come to be |
//! | `sql` | every statement |
//! | `tls` | what the DSN says of TLS, and TLS |
//! | `connect`, `transaction` | connections, and one transaction in few round trips |
//! | `row` | what the rows mean |
//! | `submit`, `claim`, `remove`, `read`, `summary`, `changes` | the operations |
//! | `clock` | the database's time |
//! | `notify_channel` | LISTEN and NOTIFY |
//! | `failure`, `open_error` | what is answered, tried again, or UNAVAILABLE; why it cannot open |

mod changes;
mod claim;
mod clock;
mod connect;
mod failure;
mod notify_channel;
mod open_error;
mod read;
mod remove;
mod row;
mod schema;
mod sql;
mod submit;
mod summary;
mod tls;
mod transaction;

pub use changes::Cursor;
pub use open_error::OpenError;

use super::{
    Changes, Claimed, Millis, Notifier, QueueChange, Settings, Store,
    record::lease_millis,
    steps::{ClearStep, hidden},
};
use crate::proto::agent_queue::*;
use clock::DatabaseClock;
use deadpool_postgres::Pool;
use failure::{Failure, unavailable};
use notify_channel::NotifyChannel;
use std::{fmt, future::Future, time::Duration};
use tokio::time;
use tonic::Status;
use transaction::{TaskEvents, Transaction};

/// How often an operation is tried that other transactions come between.
const TRIES: usize = 20;
/// The longest one step of an operation may take. The database's own limits end sooner what it can
/// end itself.
const LIMIT: Duration = Duration::from_secs(90);

/// The queues in PostgreSQL 13 or newer.
///
/// It has up to 16 connections, and one more that listens for changes of the other servers. While
/// the database is away its answers are UNAVAILABLE; it connects again by itself.
pub struct PostgresStore {
    pool: Pool,
    clock: DatabaseClock,
    channel: NotifyChannel,
    settings: Settings,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What an operation answers, and what it makes known after its commit.
type Done<T> = Result<(T, Option<QueueChange>), Failure>;

impl PostgresStore {
    /// Opens the database that `dsn` names: `postgres://user:password@host:5432/database`, or words
    /// as libpq takes them.
    ///
    /// Makes the tables, in a schema named `agent_queue`, or brings those of an older version up to
    /// date. Refuses a schema that a newer version made. The database's encoding must be UTF8.
    /// Needs a tokio runtime for as long as it lives.
    pub async fn open(dsn: &str, settings: Settings) -> Result<Self, OpenError> {
        let database = connect::database(dsn)?;
        let (mut client, connection) = database.config.connect(database.tls()).await?;
        let connection = tokio::spawn(connection);
        let migrated = schema::migrate(&mut client).await;
        connection.abort();
        migrated?;
        let pool = connect::pool(database.clone())?;
        // The first connection prepares every statement: whatever is wrong with the tables is known
        // now.
        let clock = DatabaseClock::start(pool.clone()).await?;
        Ok(Self { pool, clock, channel: NotifyChannel::start(database), settings })
    }

    /// Carries out an operation in a transaction, again where others came between, and makes known
    /// what it changed.
    async fn execute<T, F: Future<Output = Done<T>>>(
        &self,
        agent_id: &str,
        now: Millis,
        operation: impl Fn(Transaction) -> F,
    ) -> Result<T, Status> {
        let mut tries = 0;
        while tries < TRIES {
            match in_time(self.attempt(agent_id, &operation)).await? {
                Ok(answer) => return Ok(answer),
                Err(Failure::Answer(status)) => return Err(status),
                Err(Failure::Again) => tries += 1,
                // However many leases ended: each step gives some back.
                Err(Failure::Overdue) if in_time(self.give_back(agent_id, now)).await?? => {}
                Err(Failure::Overdue) => tries += 1,
            }
        }
        Err(unavailable(&"other transactions came between, each time it was tried"))
    }

    async fn attempt<T, F: Future<Output = Done<T>>>(
        &self,
        agent_id: &str,
        operation: impl Fn(Transaction) -> F,
    ) -> Result<T, Failure> {
        let events = TaskEvents::default();
        let transaction =
            Transaction::begin(&self.pool, lease_millis(&self.settings), events.clone()).await?;
        let (answer, change) = operation(transaction).await?;
        events.lock().drain(..).for_each(|event| self.notifier().count(agent_id, event));
        if let Some(change) = change {
            self.channel.notify(agent_id, change);
        }
        Ok(answer)
    }

    /// Deletes what a queue out of sight holds.
    async fn empty_queue(&self, queue: i64) -> Result<(), Status> {
        while self.execute("", 0, |transaction| remove::empty_queue(transaction, queue)).await? {}
        Ok(())
    }

    /// Gives back some of what is overdue; returns whether there was something.
    async fn give_back(&self, agent_id: &str, now: Millis) -> Result<bool, Status> {
        match self
            .attempt(agent_id, |transaction| {
                claim::lose(transaction, agent_id, &self.settings, now)
            })
            .await
        {
            Err(Failure::Answer(status)) => Err(status),
            Ok(some) => Ok(some),
            Err(Failure::Again | Failure::Overdue) => Ok(false),
        }
    }
}

/// The longest that one step may take.
async fn in_time<T>(step: impl Future<Output = T>) -> Result<T, Status> {
    let late = |_| unavailable(&format_args!("it did not answer within {} s", LIMIT.as_secs()));
    time::timeout(LIMIT, step).await.map_err(late)
}

impl Store for PostgresStore {
    type Cursor = Cursor;

    fn notifier(&self) -> &Notifier {
        self.channel.notifier()
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    async fn health(&self) -> Result<String, Status> {
        let asked = self.execute("", 0, async |transaction: Transaction| {
            let row = transaction.one(sql::HEALTH, []).await?;
            Ok(((row.try_get::<_, String>(0)?, row.try_get::<_, bool>(1)?), None))
        });
        match asked.await? {
            (version, false) => Ok(format!("PostgreSQL {version}")),
            (_, true) => Err(unavailable(&"the database is a standby, which cannot be written to")),
        }
    }

    async fn create_queue(
        &self,
        request: CreateQueueRequest,
        now: Millis,
    ) -> Result<CreateQueueResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| {
            read::create_queue(transaction, &request, now)
        })
        .await
    }

    async fn queue_exists(
        &self,
        request: QueueExistsRequest,
    ) -> Result<QueueExistsResponse, Status> {
        let agent_id = &*request.agent_id;
        let exists =
            self.execute(agent_id, 0, |transaction| read::queue_exists(transaction, agent_id));
        Ok(QueueExistsResponse { exists: exists.await? })
    }

    async fn queue_info(
        &self,
        request: GetQueueInfoRequest,
        now: Millis,
    ) -> Result<GetQueueInfoResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| {
            read::queue_info(transaction, &request, now)
        })
        .await
    }

    async fn queue_names(&self, after: &str, limit: usize) -> Result<Vec<String>, Status> {
        self.execute("", 0, |transaction| summary::queue_names(transaction, after, limit)).await
    }

    async fn summary(&self, agent_id: &str, now: Millis) -> Result<Option<QueueSummary>, Status> {
        let mut tries = 0;
        loop {
            let read = |transaction| summary::summary(transaction, agent_id, now);
            let (found, overdue) = self.execute(agent_id, now, read).await?;
            tries += 1;
            // Counts that are a moment old are better than none where leases end without pause.
            if !overdue || tries == TRIES {
                return Ok(found);
            }
            while in_time(self.give_back(agent_id, now)).await?? {}
        }
    }

    async fn clear_queue(
        &self,
        request: ClearQueueRequest,
        now: Millis,
    ) -> Result<ClearQueueResponse, Status> {
        let mut progress = None;
        loop {
            let step = |transaction| remove::clear_queue(transaction, &request, progress, now);
            match self.execute(&request.agent_id, now, step).await? {
                ClearStep::Done(answer) => return Ok(answer),
                ClearStep::More(clearing) => progress = Some(clearing),
            }
        }
    }

    async fn delete_queue(
        &self,
        request: DeleteQueueRequest,
        now: Millis,
    ) -> Result<DeleteQueueResponse, Status> {
        let (agent_id, hidden) = (&*request.agent_id, hidden());
        let hide = |transaction| read::hide_queue(transaction, agent_id, &hidden);
        let Some((queue, deleted)) = self.execute(agent_id, now, hide).await? else {
            return Ok(DeleteQueueResponse::default());
        };
        self.empty_queue(queue).await?;
        Ok(DeleteQueueResponse { existed: true, deleted })
    }

    async fn submit(
        &self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| {
            submit::submit(transaction, &request, now)
        })
        .await
    }

    async fn claim(&self, request: GetTaskRequest, now: Millis) -> Result<Claimed, Status> {
        let settings = &self.settings;
        self.execute(&request.agent_id, now, |transaction| {
            claim::claim(transaction, &request, settings, now)
        })
        .await
    }

    async fn update(
        &self,
        request: UpdateTaskStatusRequest,
        now: Millis,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        let settings = &self.settings;
        self.execute(&request.agent_id, now, |transaction| {
            claim::update(transaction, &request, settings, now)
        })
        .await
    }

    async fn query(
        &self,
        request: QueryTaskRequest,
        now: Millis,
    ) -> Result<QueryTaskResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| read::query(transaction, &request, now))
            .await
    }

    async fn delete_tasks(
        &self,
        request: BatchDeleteTasksRequest,
        now: Millis,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| {
            remove::delete_tasks(transaction, &request, now)
        })
        .await
    }

    async fn cancel(
        &self,
        request: CancelTaskRequest,
        now: Millis,
    ) -> Result<CancelTaskResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| {
            remove::cancel(transaction, &request, now)
        })
        .await
    }

    async fn retry(
        &self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> Result<RetryTaskResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| {
            submit::retry(transaction, &request, now)
        })
        .await
    }

    async fn list(
        &self,
        request: ListTasksRequest,
        now: Millis,
    ) -> Result<ListTasksResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| read::list(transaction, &request, now))
            .await
    }

    async fn stats(
        &self,
        request: GetTaskStatsRequest,
        now: Millis,
    ) -> Result<GetTaskStatsResponse, Status> {
        self.execute(&request.agent_id, now, |transaction| read::stats(transaction, &request, now))
            .await
    }

    async fn changes(
        &self,
        agent_id: &str,
        cursor: Option<Cursor>,
        now: Millis,
    ) -> Result<Changes<Cursor>, Status> {
        self.execute(agent_id, now, |transaction| {
            changes::changes(transaction, agent_id, cursor.as_ref(), now)
        })
        .await
    }

    async fn prune(&self, now: Millis) -> Result<bool, Status> {
        if let Some(queue) = self.execute("", now, remove::hidden_queue).await? {
            self.empty_queue(queue).await?;
        }
        let kept = i64::try_from(self.settings.keep_finished.as_millis()).unwrap_or(i64::MAX);
        let cutoff = now.saturating_sub(kept);
        self.execute("", now, |transaction| remove::prune(transaction, cutoff)).await
    }
}
