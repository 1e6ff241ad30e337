//! The database's clock, which is the one clock of all its servers.
//!
//! It is asked now and then; in between passes what passes here.

use super::{
    super::Millis,
    failure::Failure,
    sql,
    transaction::{TaskEvents, Transaction},
};
use crate::clock;
use deadpool_postgres::Pool;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// An answer that took longer says too little.
const TOO_LATE: Millis = 1000;

/// Dropping it ends the asking.
#[derive(Debug)]
pub(super) struct DatabaseClock {
    /// Stands alone: whoever reads it reads nothing else that was written with it, so `Relaxed` is
    /// enough.
    ahead: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl DatabaseClock {
    /// Asks once, and then again and again.
    pub(super) async fn start(pool: Pool) -> Result<Self, Failure> {
        let ahead = Arc::new(AtomicI64::new(ask(&pool).await?.0));
        let known = ahead.clone();
        let task = tokio::spawn(async move {
            loop {
                time::sleep(EVERY).await;
                // While the database is away, or slow, what was known goes on.
                if let Ok((ahead, took)) = ask(&pool).await
                    && took <= TOO_LATE
                {
                    known.store(ahead, Relaxed);
                }
            }
        });
        Ok(Self { ahead, task })
    }

    pub(super) fn now(&self) -> Millis {
        clock::steady_millis().saturating_add(self.ahead.load(Relaxed))
    }
}

impl Drop for DatabaseClock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How far the database's clock is ahead of this server's, and how long the answer took.
async fn ask(pool: &Pool) -> Result<(Millis, Millis), Failure> {
    let transaction = Transaction::begin(pool, 0, TaskEvents::default()).await?;
    let asked = clock::steady_millis();
    let there: Millis = transaction.one(sql::CLOCK, []).await?.try_get(0)?;
    let took = clock::steady_millis().saturating_sub(asked);
    // The database looked at its clock at some time between the two; the middle is wrong by half of
    // that at most. `TOO_LATE` limits this for all answers but the first.
    Ok((there.saturating_sub(asked.saturating_add(took / 2)), took))
}
