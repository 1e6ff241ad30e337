//! One transaction, with as few round trips as its logic allows: what can be sent together is sent
//! together.

use super::{
    super::{Millis, record::TaskEvent},
    failure::{Failure, unavailable},
};
use deadpool_postgres::{Object, Pool};
use futures::FutureExt;
use parking_lot::Mutex;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio_postgres::{Row, types::ToSql};

/// An argument of a statement.
pub(super) type Argument<'a> = &'a (dyn ToSql + Sync);

/// An open transaction; READ COMMITTED, so that each statement sees what others committed before
/// it.
///
/// The statements of one `try_join!` go out together and are carried out in their order. Dropped
/// without a commit, it rolls back.
pub(super) struct Transaction {
    client: Object,
    open: AtomicBool,
    lease: Millis,
    events: TaskEvents,
}

/// What became of tasks in a transaction, to be counted when it is committed.
pub(super) type TaskEvents = Arc<Mutex<Vec<TaskEvent>>>;

impl Transaction {
    /// Begins one. The message goes out with the first statement's.
    pub(super) async fn begin(
        pool: &Pool,
        lease: Millis,
        events: TaskEvents,
    ) -> Result<Self, Failure> {
        let transaction =
            Self { client: pool.get().await?, open: AtomicBool::new(true), lease, events };
        transaction.send("BEGIN");
        Ok(transaction)
    }

    /// Something became of a task.
    pub(super) fn note(&self, event: TaskEvent) {
        self.events.lock().push(event);
    }

    /// When a lease ends that begins now.
    pub(super) fn latest_lease_end(&self, now: Millis) -> Millis {
        now.saturating_add(self.lease)
    }

    /// Carries out a statement, which every connection has prepared
    /// ([`sql::ALL`](super::sql::ALL)).
    pub(super) async fn rows<const N: usize>(
        &self,
        sql: &'static str,
        arguments: [Argument<'_>; N],
    ) -> Result<Vec<Row>, Failure> {
        let statement = self.client.prepare_cached(sql).await?;
        Ok(self.client.query(&statement, &arguments).await?)
    }

    /// The only row, if there is one.
    pub(super) async fn row<const N: usize>(
        &self,
        sql: &'static str,
        arguments: [Argument<'_>; N],
    ) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, arguments).await?.pop())
    }

    /// The only row of a statement that always has one.
    pub(super) async fn one<const N: usize>(
        &self,
        sql: &'static str,
        arguments: [Argument<'_>; N],
    ) -> Result<Row, Failure> {
        self.row(sql, arguments).await?.ok_or_else(|| unavailable(&"an answer has no row").into())
    }

    /// Carries out a statement and returns how many rows it changed.
    pub(super) async fn execute<const N: usize>(
        &self,
        sql: &'static str,
        arguments: [Argument<'_>; N],
    ) -> Result<u64, Failure> {
        let statement = self.client.prepare_cached(sql).await?;
        Ok(self.client.execute(&statement, &arguments).await?)
    }

    /// Commits after these last statements; all goes out together. Where one of them fails nothing
    /// is committed: PostgreSQL carries out no more of a transaction that has failed, and its
    /// COMMIT rolls back. Dropped before the answer, it may have committed or not; a ROLLBACK after
    /// a COMMIT changes nothing.
    pub(super) async fn commit_after<T>(
        &self,
        last: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let commit = async { Ok(self.client.batch_execute("COMMIT").await?) };
        let (last, ()) = futures::try_join!(last, commit)?;
        self.open.store(false, Ordering::Relaxed);
        Ok(last)
    }

    /// Commits.
    pub(super) async fn commit(&self) -> Result<(), Failure> {
        self.commit_after(async { Ok(()) }).await
    }

    /// Sends a command and does not wait: the connection carries out in order, and what comes after
    /// it fails if it does. The driver hands a command to the connection when it is polled first,
    /// so it is sent although its answer is thrown away.
    fn send(&self, command: &str) {
        let _ = self.client.batch_execute(command).now_or_never();
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if *self.open.get_mut() {
            self.send("ROLLBACK");
        }
    }
}
