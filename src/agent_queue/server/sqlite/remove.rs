//! What deletes tasks and queues, and forgets: in steps, so that others have the writer in between.

use super::{
    super::{
        Millis, QueueChange,
        record::{ClaimEnd, Operation, RememberedAnswer, task_id, task_number},
        steps::{ClearProgress, ClearStep, hidden},
    },
    worker::{JobContext, JobResult},
};
use crate::proto::agent_queue::*;
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;

impl JobContext<'_> {
    /// A step of a clearing; `progress` where it is not the first.
    pub(super) fn clear_queue(
        &mut self,
        request: &ClearQueueRequest,
        progress: Option<ClearProgress>,
        now: Millis,
    ) -> JobResult<ClearStep> {
        let ClearQueueRequest { agent_id, client_request_id: name, status, .. } = request;
        let queue = self.enter(agent_id)?;
        let progress =
            progress.unwrap_or(ClearProgress { until: self.meta.last_task, after: 0, deleted: 0 });
        if let Some(first) = self.remembered(agent_id, queue, name)? {
            return Ok(ClearStep::Done(first.answer(Operation::Clear, name)?));
        }
        let most = self.room;
        let numbers: Vec<i64> = {
            let condition = if status.is_some() { "status = ?2" } else { "?2 IS NULL" };
            let mut select = self.sql.prepare_cached(&format!(
                "SELECT number FROM tasks WHERE queue = ?1 AND {condition} \
                 AND number > ?3 AND number <= ?4 ORDER BY number LIMIT ?5"
            ))?;
            let values = params![queue, status, progress.after, progress.until, most as i64];
            select.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for number in &numbers {
            self.delete(agent_id, queue, *number, now)?;
        }
        self.room -= numbers.len();
        if numbers.len() == most {
            // Where there was no room at all nothing was looked at.
            return Ok(ClearStep::More(if most == 0 {
                progress
            } else {
                progress.after_deleting(&numbers)
            }));
        }
        let deleted = progress.after_deleting(&numbers).deleted;
        if deleted > 0 {
            self.remember(queue, name, &RememberedAnswer::clearing(deleted), now)?;
        }
        Ok(ClearStep::Done(ClearQueueResponse { deleted }))
    }

    /// Puts a queue out of sight; returns its number and how many tasks it has, if it was there.
    /// They are deleted afterwards, in steps.
    pub(super) fn hide_queue(&mut self, agent_id: &str) -> JobResult<Option<(i64, u64)>> {
        let Some(queue) = self.queue(agent_id)? else { return Ok(None) };
        let mut count = self.sql.prepare_cached(
            "SELECT count(*) FROM tasks INDEXED BY tasks_by_age WHERE queue = ?1",
        )?;
        let tasks = count.query_row([queue], |row| row.get(0))?;
        let mut update =
            self.sql.prepare_cached("UPDATE queues SET agent_id = ?2 WHERE id = ?1")?;
        update.execute(params![queue, format!("{}{queue}", hidden())])?;
        self.notify(agent_id, QueueChange::Any);
        Ok(Some((queue, tasks)))
    }

    /// A step of deleting what a queue out of sight holds; returns whether there may be more.
    pub(super) fn empty_queue(&mut self, queue: i64) -> JobResult<bool> {
        for (table, key) in [("tasks", "number"), ("requests", "name"), ("claims", "claim_id")] {
            let gone = self
                .sql
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE queue = ?1 AND {key} IN \
                     (SELECT {key} FROM {table} WHERE queue = ?1 LIMIT ?2)"
                ))?
                .execute([queue, self.room as i64])?;
            self.room = self.room.saturating_sub(gone);
        }
        if self.room > 0 {
            self.sql.prepare_cached("DELETE FROM queues WHERE id = ?1")?.execute([queue])?;
        }
        Ok(self.room == 0)
    }

    /// A queue that was put out of sight and not emptied: its deletion was cut off.
    pub(super) fn hidden_queue(&self) -> JobResult<Option<i64>> {
        let mut select =
            self.sql.prepare_cached("SELECT id FROM queues WHERE agent_id GLOB ?1 LIMIT 1")?;
        Ok(select.query_row([format!("{}*", hidden())], |row| row.get(0)).optional()?)
    }

    pub(super) fn delete_tasks(
        &mut self,
        request: &BatchDeleteTasksRequest,
        now: Millis,
    ) -> JobResult<BatchDeleteTasksResponse> {
        let BatchDeleteTasksRequest { agent_id, task_ids, client_request_id: name } = request;
        let queue = self.enter(agent_id)?;
        if let Some(first) = self.remembered(agent_id, queue, name)? {
            return Ok(first.answer(Operation::Delete, name)?);
        }
        let mut answer = BatchDeleteTasksResponse::default();
        let mut wanted = HashSet::new();
        for id in task_ids.iter().filter(|id| wanted.insert(id.as_str())) {
            let there = match task_number(id) {
                Some(number) => self.delete(agent_id, queue, number, now)?,
                None => false,
            };
            match there {
                true => answer.deleted += 1,
                false => answer.not_found.push(id.clone()),
            }
        }
        if answer.deleted > 0 {
            self.remember(queue, name, &RememberedAnswer::new(Operation::Delete, &answer), now)?;
        }
        Ok(answer)
    }

    /// Whether the task was there.
    fn delete(&mut self, agent_id: &str, queue: i64, number: i64, now: Millis) -> JobResult<bool> {
        const NAMES: &str = "SELECT request_id, claim_id, retry_of <> '' FROM tasks \
                             WHERE number = ?1 AND queue = ?2";
        let names = self.sql.prepare_cached(NAMES)?.query_row([number, queue], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, bool>(2)?))
        });
        let Some((request_id, claim_id, retry)) = names.optional()? else { return Ok(false) };
        self.sql.prepare_cached("DELETE FROM tasks WHERE number = ?1")?.execute([number])?;
        if let Some(claim_id) = claim_id {
            self.claim_is_over(queue, &claim_id, number, ClaimEnd::Deleted, now)?;
        }
        let RememberedAnswer { operation, answer } =
            RememberedAnswer::submission(task_id(number), retry);
        let changed = self.next_cursor();
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO requests (queue, name, operation, at, answer, \
             number, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        insert.execute(params![
            queue,
            request_id,
            operation as i64,
            now,
            answer,
            number,
            changed
        ])?;
        self.notify(agent_id, QueueChange::Changed);
        Ok(true)
    }

    /// Forgets at most `step` of each that were over before `cutoff`; returns whether there may be
    /// more.
    pub(super) fn prune(&mut self, cutoff: Millis, step: i64) -> JobResult<bool> {
        let mut most = 0;
        for sql in [
            "DELETE FROM tasks WHERE number IN \
             (SELECT number FROM tasks WHERE finished_at < ?1 LIMIT ?2)",
            "DELETE FROM requests WHERE (queue, name) IN \
             (SELECT queue, name FROM requests WHERE at < ?1 LIMIT ?2)",
            "DELETE FROM claims WHERE (queue, claim_id) IN \
             (SELECT queue, claim_id FROM claims WHERE at < ?1 LIMIT ?2)",
        ] {
            most = most.max(self.sql.prepare_cached(sql)?.execute([cutoff, step])? as i64);
        }
        Ok(most == step)
    }
}
