//! What changed in a queue, told by transactions and snapshots.
//!
//! A row knows the transaction that changed it last, and transactions commit in any order; what is
//! new for a watch are the rows whose transaction was not committed in the snapshot of its last
//! look. So that nothing is told twice a watch remembers that snapshot. Its cursor for others is
//! the oldest transaction that was open then: it tells some changes twice, and leaves none out.

use super::{
    super::{
        Changes, Millis, QueueChange,
        page::{MAX_CHANGES, MAX_PAGE, PageRoom},
        record::task_id,
    },
    failure::{Failure, unavailable},
    row, sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::{Task, TaskChange};
use prost::Message as _;
use std::collections::HashMap;

/// How far a watch of a queue in PostgreSQL has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// All changes that were committed in this snapshot are told.
    told: String,
    /// The round of looking that it is in the middle of.
    round: Option<Round>,
}

/// Where a watch stands that has more to tell than one answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Round {
    /// What is told when it ends.
    until: String,
    /// The last change it told: its transaction and its task.
    last: (u64, i64),
}

impl From<u64> for Cursor {
    fn from(cursor: u64) -> Self {
        // Transactions count from 3, and a snapshot's from 1.
        let oldest = cursor.max(1);
        Self { told: format!("{oldest}:{oldest}:"), round: None }
    }
}

impl From<Cursor> for u64 {
    fn from(cursor: Cursor) -> Self {
        cursor.oldest()
    }
}

impl Cursor {
    /// All transactions before this one are told.
    fn oldest(&self) -> u64 {
        let oldest = self.told.split(':').next().and_then(|oldest| oldest.parse().ok());
        oldest.unwrap_or_default()
    }
}

pub(super) async fn changes(
    transaction: Transaction,
    agent_id: &str,
    cursor: Option<&Cursor>,
    now: Millis,
) -> Result<(Changes<Cursor>, Option<QueueChange>), Failure> {
    // The snapshot is older than what is read after it: what is committed in between is told twice
    // rather than never.
    let head = row::head(&transaction, agent_id, now);
    let (_, snapshot) = futures::try_join!(head, transaction.one(sql::SNAPSHOT, []))?;
    let snapshot: String = snapshot.try_get(0)?;
    let Some(cursor) = cursor else {
        return Ok((
            Changes { changes: Vec::new(), cursor: Cursor { told: snapshot, round: None } },
            None,
        ));
    };
    let Round { until, mut last } = cursor
        .round
        .clone()
        .unwrap_or(Round { until: snapshot, last: (cursor.oldest(), i64::MIN) });
    let from = last.0.to_string();
    let rows = transaction
        .rows(sql::CHANGES, [&agent_id, &cursor.told, &from, &last.1, &(MAX_CHANGES as i64)])
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in &rows {
        let changed: u64 = row
            .try_get::<_, &str>(0)?
            .parse()
            .map_err(|_| unavailable(&"a transaction has no number"))?;
        bytes += row.try_get::<_, i32>(2)?.unsigned_abs() as usize;
        if bytes > MAX_PAGE && !found.is_empty() {
            break;
        }
        found.push((changed, row.try_get::<_, i64>(1)?));
    }
    let mut tasks =
        tasks(&transaction, agent_id, found.iter().map(|(_, number)| *number).collect()).await?;
    let mut changes = Vec::with_capacity(found.len());
    let mut room = PageRoom::new();
    for (changed, number) in &found {
        let change = TaskChange { task_id: task_id(*number), task: tasks.remove(number) };
        if !room.take(change.encoded_len()) {
            break;
        }
        changes.push(change);
        last = (*changed, *number);
    }
    let all = rows.len() < MAX_CHANGES && changes.len() == rows.len();
    let cursor = if all {
        Cursor { told: until, round: None }
    } else {
        Cursor { told: cursor.told.clone(), round: Some(Round { until, last }) }
    };
    Ok((Changes { changes, cursor }, None))
}

/// The tasks with these numbers that are there.
async fn tasks(
    transaction: &Transaction,
    agent_id: &str,
    numbers: Vec<i64>,
) -> Result<HashMap<i64, Task>, Failure> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = transaction.rows(sql::TASKS, [&agent_id, &numbers]).await?;
    let records = rows
        .iter()
        .map(|row| row::record(row, agent_id).map(|record| (row::number(&record), record.task)));
    records.collect()
}
