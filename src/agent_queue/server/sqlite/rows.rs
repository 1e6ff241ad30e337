//! Tasks as rows: reading one, writing one.

use super::{
    super::record::{Record, millis, task_id, task_number, timestamp},
    worker::{JobContext, JobResult},
};
use crate::proto::agent_queue::Task;
use rusqlite::{OptionalExtension, Params, Row, params};

/// The columns that [`record`] reads.
pub(super) const COLUMNS: &str = "number, type, priority, status, created_at, claimed_at, \
                                  finished_at, lease_until, claims, lost, request_id, claim_id, \
                                  retry_of, custom_type, error_message, result, payload";

/// The row of a `SELECT` of [`COLUMNS`].
pub(super) fn record(row: &Row<'_>, agent_id: &str) -> rusqlite::Result<Record> {
    let time =
        |column| -> rusqlite::Result<_> { Ok(row.get::<_, Option<i64>>(column)?.map(timestamp)) };
    let task = Task {
        task_id: task_id(row.get(0)?),
        agent_id: agent_id.into(),
        r#type: row.get(1)?,
        priority: row.get(2)?,
        status: row.get(3)?,
        created_at: time(4)?,
        claimed_at: time(5)?,
        finished_at: time(6)?,
        lease_until: time(7)?,
        claims: row.get(8)?,
        retry_of: row.get(12)?,
        custom_type: row.get(13)?,
        error_message: row.get(14)?,
        result: row.get(15)?,
        payload: row.get(16)?,
    };
    let claim_id: Option<String> = row.get(11)?;
    let (request_id, claim_id) = (row.get(10)?, claim_id.unwrap_or_default());
    Ok(Record { task, lost: row.get(9)?, request_id, claim_id, event: None })
}

/// The record's row in its queue.
pub(super) fn number(record: &Record) -> i64 {
    task_number(&record.task.task_id).unwrap_or_default()
}

impl JobContext<'_> {
    /// The first task of a queue for which `condition` holds.
    pub(super) fn first(
        &self,
        agent_id: &str,
        condition: &'static str,
        values: impl Params,
    ) -> rusqlite::Result<Option<Record>> {
        let mut select = self
            .sql
            .prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE {condition} LIMIT 1"))?;
        select.query_row(values, |row| record(row, agent_id)).optional()
    }

    /// A new row.
    pub(super) fn insert(&mut self, queue: i64, record: &Record) -> JobResult<()> {
        let changed = self.next_cursor();
        let task = &record.task;
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO tasks (number, queue, changed, type, priority, status, created_at, \
             claims, lost, request_id, retry_of, custom_type, error_message, result, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8, ?9, ?10, '', '', ?11)",
        )?;
        insert.execute(params![
            number(record),
            queue,
            changed,
            task.r#type,
            task.priority,
            task.status,
            millis(task.created_at.as_ref()),
            record.request_id,
            task.retry_of,
            task.custom_type,
            task.payload,
        ])?;
        Ok(())
    }

    /// What may change of a row, as it is now.
    pub(super) fn save(&mut self, record: &Record) -> JobResult<()> {
        let changed = self.next_cursor();
        let task = &record.task;
        let time = |at: &Option<_>| at.as_ref().map(|at| millis(Some(at)));
        let claim_id = Some(&record.claim_id).filter(|id| !id.is_empty());
        let mut update = self.sql.prepare_cached(
            "UPDATE tasks SET changed = ?2, status = ?3, claimed_at = ?4, finished_at = ?5, \
             lease_until = ?6, claims = ?7, lost = ?8, claim_id = ?9, error_message = ?10, \
             result = ?11 WHERE number = ?1",
        )?;
        update.execute(params![
            number(record),
            changed,
            task.status,
            time(&task.claimed_at),
            time(&task.finished_at),
            time(&task.lease_until),
            task.claims,
            record.lost,
            claim_id,
            task.error_message,
            task.result,
        ])?;
        Ok(())
    }
}
