//! The operations that only look, each within one snapshot of the file.

use super::{
    super::{
        Changes, Millis, Settings,
        page::{MAX_CHANGES, PageRoom},
        record::{age, latest_lease_end, no_queue, task_id, timestamp},
    },
    rows::{COLUMNS, record},
    worker::{JobContext, JobResult},
};
use crate::proto::agent_queue::*;
use prost::Message as _;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

impl JobContext<'_> {
    /// The queue's number.
    fn look(&self, agent_id: &str) -> JobResult<i64> {
        Ok(self.queue(agent_id)?.ok_or_else(|| no_queue(agent_id))?)
    }

    /// Whether a lease of the queue has ended, or is too long, and nobody has noticed yet.
    pub(super) fn overdue(
        &self,
        agent_id: &str,
        settings: &Settings,
        now: Millis,
    ) -> JobResult<bool> {
        let queue = self.look(agent_id)?;
        let mut select = self.sql.prepare_cached(
            "SELECT EXISTS (\
             SELECT 1 FROM tasks WHERE queue = ?1 AND status = 2 AND lease_until <= ?2) \
             OR EXISTS (\
             SELECT 1 FROM tasks WHERE queue = ?1 AND status = 2 AND lease_until > ?3)",
        )?;
        Ok(select.query_row([queue, now, latest_lease_end(settings, now)], |row| row.get(0))?)
    }

    pub(super) fn info(&self, agent_id: &str) -> JobResult<GetQueueInfoResponse> {
        let queue = self.look(agent_id)?;
        let mut select = self.sql.prepare_cached("SELECT created_at FROM queues WHERE id = ?1")?;
        let created_at = select.query_row([queue], |row| row.get(0))?;
        let tasks = Some(self.counts(queue)?);
        Ok(GetQueueInfoResponse {
            agent_id: agent_id.into(),
            created_at: Some(timestamp(created_at)),
            tasks,
        })
    }

    /// Queues that are not being deleted: those have longer names than an id may have.
    pub(super) fn queue_names(&self, after: &str, limit: usize) -> JobResult<Vec<String>> {
        let mut select = self.sql.prepare_cached(
            "SELECT agent_id FROM queues WHERE agent_id > ?1 AND octet_length(agent_id) <= 256 \
             ORDER BY agent_id LIMIT ?2",
        )?;
        let names = select.query_map(params![after, limit as i64], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Finds the oldest by their numbers, or among the few that are claimed: no task is read that
    /// is only counted.
    pub(super) fn summary(&self, agent_id: &str, now: Millis) -> JobResult<QueueSummary> {
        let queue = self.look(agent_id)?;
        let GetQueueInfoResponse { created_at, tasks, .. } = self.info(agent_id)?;
        let mut pending = self.sql.prepare_cached(
            "SELECT created_at FROM tasks WHERE queue = ?1 AND status = 1 ORDER BY number LIMIT 1",
        )?;
        let pending = pending.query_row([queue], |row| row.get(0)).optional()?;
        let mut claimed = self
            .sql
            .prepare_cached("SELECT min(claimed_at) FROM tasks WHERE queue = ?1 AND status = 2")?;
        let claimed: Option<Millis> = claimed.query_row([queue], |row| row.get(0))?;
        Ok(QueueSummary {
            agent_id: agent_id.into(),
            created_at,
            tasks,
            oldest_pending: pending.map(|at| age(at, now)),
            oldest_processing: claimed.map(|at| age(at, now)),
        })
    }

    pub(super) fn query(&self, request: &QueryTaskRequest) -> JobResult<QueryTaskResponse> {
        let queue = self.look(&request.agent_id)?;
        Ok(QueryTaskResponse {
            task: Some(self.find(&request.agent_id, queue, &request.task_id)?.task),
        })
    }

    pub(super) fn list(&self, request: &ListTasksRequest) -> JobResult<ListTasksResponse> {
        let queue = self.look(&request.agent_id)?;
        let condition = match request.status {
            Some(_) => "queue = ?1 AND status = ?2",
            None => "queue = ?1 AND ?2 IS NULL",
        };
        let mut count =
            self.sql.prepare_cached(&format!("SELECT count(*) FROM tasks WHERE {condition}"))?;
        let total: u64 = count.query_row(params![queue, request.status], |row| row.get(0))?;
        let mut select = self.sql.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM tasks WHERE {condition} ORDER BY number LIMIT ?3 OFFSET ?4"
        ))?;
        let limit = request.limit.unwrap_or(100);
        let offset = i64::try_from(request.offset).unwrap_or(i64::MAX);
        let mut rows = select.query(params![queue, request.status, limit, offset])?;
        let (mut tasks, mut room) = (Vec::new(), PageRoom::new());
        while let Some(row) = rows.next()? {
            let task = record(row, &request.agent_id)?.task;
            if !room.take(task.encoded_len()) {
                break;
            }
            tasks.push(task);
        }
        let next = request.offset.saturating_add(tasks.len() as u64);
        Ok(ListTasksResponse { tasks, total, next_offset: (next < total).then_some(next) })
    }

    pub(super) fn stats(&self, agent_id: &str, now: Millis) -> JobResult<GetTaskStatsResponse> {
        let queue = self.look(agent_id)?;
        let mut kinds = self.sql.prepare_cached(
            "SELECT type, count(*) FROM tasks INDEXED BY tasks_by_status WHERE queue = ?1 \
             GROUP BY type ORDER BY type",
        )?;
        let types = kinds
            .query_map([queue], |row| Ok(TypeCount { r#type: row.get(0)?, tasks: row.get(1)? }))?
            .collect::<Result<_, _>>()?;
        let mut times = self.sql.prepare_cached(
            "SELECT min(created_at) FILTER (WHERE status = 1), \
             avg(max(claimed_at - created_at, 0)), avg(max(finished_at - claimed_at, 0)) \
             FROM tasks WHERE queue = ?1",
        )?;
        let (oldest, wait, run) = times.query_row([queue], |row| {
            Ok((
                row.get::<_, Option<i64>>(0)?,
                row.get::<_, Option<f64>>(1)?,
                row.get::<_, Option<f64>>(2)?,
            ))
        })?;
        Ok(GetTaskStatsResponse {
            tasks: Some(self.counts(queue)?),
            types,
            oldest_pending: oldest.map(|at| age(at, now)),
            average_wait: wait.map(|wait| wait / 1000.0),
            average_run: run.map(|run| run / 1000.0),
        })
    }

    pub(super) fn changes(&self, agent_id: &str, cursor: Option<u64>) -> JobResult<Changes> {
        let queue = self.look(agent_id)?;
        let Some(after) = cursor else {
            return Ok(Changes { changes: Vec::new(), cursor: self.meta.cursor.unsigned_abs() });
        };
        let mut answer = Changes { changes: Vec::new(), cursor: after };
        let Ok(after) = i64::try_from(after) else { return Ok(answer) };
        // Kept and deleted tasks stand in two tables; the first so many of both hold the first so
        // many.
        let mut found = BTreeMap::new();
        let limit = MAX_CHANGES as i64;
        for sql in [
            "SELECT changed, number FROM tasks WHERE queue = ?1 AND changed > ?2 ORDER BY changed \
             LIMIT ?3",
            "SELECT changed, number FROM requests WHERE queue = ?1 AND changed > ?2 ORDER BY \
             changed LIMIT ?3",
        ] {
            let mut select = self.sql.prepare_cached(sql)?;
            let mut rows = select.query([queue, after, limit])?;
            while let Some(row) = rows.next()? {
                found.insert(row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            }
        }
        let mut room = PageRoom::new();
        for (changed, number) in found.into_iter().take(MAX_CHANGES) {
            let task = self
                .first(agent_id, "number = ?1 AND queue = ?2", [number, queue])?
                .map(|record| record.task);
            let change = TaskChange { task_id: task_id(number), task };
            if !room.take(change.encoded_len()) {
                break;
            }
            answer.changes.push(change);
            answer.cursor = changed.unsigned_abs();
        }
        Ok(answer)
    }

    pub(super) fn answers(&self) -> JobResult<()> {
        self.sql.prepare_cached("SELECT 1 FROM meta")?.query_row([], |_| Ok(())).optional()?;
        Ok(())
    }

    fn counts(&self, queue: i64) -> JobResult<TaskCounts> {
        let mut select = self.sql.prepare_cached(
            "SELECT status, count(*) FROM tasks WHERE queue = ?1 GROUP BY status",
        )?;
        let mut counts = TaskCounts::default();
        let mut rows = select.query([queue])?;
        while let Some(row) = rows.next()? {
            let tasks = row.get(1)?;
            match TaskStatus::try_from(row.get::<_, i32>(0)?).unwrap_or_default() {
                TaskStatus::Pending => counts.pending = tasks,
                TaskStatus::Processing => counts.processing = tasks,
                TaskStatus::Completed => counts.completed = tasks,
                TaskStatus::Failed => counts.failed = tasks,
                TaskStatus::Cancelled => counts.cancelled = tasks,
                TaskStatus::Unspecified => {}
            }
        }
        Ok(counts)
    }
}
