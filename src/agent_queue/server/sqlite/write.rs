//! The operations that change something, each within the writer's transaction.

use super::{
    super::{
        Claimed, Mark, Millis, Settings,
        record::{
            Happened, Operation, Over, PastClaim, Record, Remembered, Updated, latest_lease_end,
            millis, no_queue, no_task, not_held, task_id, task_number,
        },
        store::{Clearing, Step, hidden},
    },
    rows::number,
    worker::{Trouble, Work},
};
use crate::proto::agent_queue::*;
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;

type Outcome<T> = Result<T, Trouble>;

impl Work<'_> {
    /// The queue's number. What is overdue in it was given back before the operation.
    fn enter(&self, agent_id: &str) -> Outcome<i64> {
        Ok(self.queue(agent_id)?.ok_or_else(|| no_queue(agent_id))?)
    }

    pub(super) fn queue(&self, agent_id: &str) -> rusqlite::Result<Option<i64>> {
        let mut select = self.sql.prepare_cached("SELECT id FROM queues WHERE agent_id = ?1")?;
        select.query_row([agent_id], |row| row.get(0)).optional()
    }

    /// Gives back what is overdue in a queue, if it is there, and shortens leases that another
    /// clock made too long. Returns whether all
    /// is done; otherwise the transaction has no more room.
    pub(super) fn expire(
        &mut self,
        agent_id: &str,
        settings: &Settings,
        now: Millis,
    ) -> Outcome<bool> {
        const OVERDUE: &str =
            "queue = ?1 AND status = 2 AND lease_until <= ?2 ORDER BY lease_until";
        const TOO_LONG: &str =
            "queue = ?1 AND status = 2 AND lease_until > ?2 ORDER BY lease_until DESC";
        let Some(queue) = self.queue(agent_id)? else { return Ok(true) };
        while let Some(mut record) = self.first(agent_id, OVERDUE, [queue, now])? {
            if self.room == 0 {
                return Ok(false);
            }
            self.room -= 1;
            let ended_at = millis(record.task.lease_until.as_ref());
            self.claim_is_over(queue, &record.claim_id, number(&record), Over::Lost, ended_at)?;
            record.lose(settings);
            self.keep(&record)?;
        }
        let latest = latest_lease_end(settings, now);
        while let Some(mut record) = self.first(agent_id, TOO_LONG, [queue, latest])? {
            if self.room == 0 {
                return Ok(false);
            }
            self.room -= 1;
            record.shorten(settings, now);
            self.keep(&record)?;
        }
        Ok(true)
    }

    pub(super) fn create_queue(
        &mut self,
        request: &CreateQueueRequest,
        now: Millis,
    ) -> Outcome<CreateQueueResponse> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO queues (agent_id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?;
        let made = insert.execute(params![request.agent_id, now])?;
        Ok(CreateQueueResponse { already_exists: made == 0 })
    }

    /// A step of a clearing; `going` where it is not the first.
    pub(super) fn clear_queue(
        &mut self,
        request: &ClearQueueRequest,
        going: Option<Clearing>,
        now: Millis,
    ) -> Outcome<Step> {
        let ClearQueueRequest { agent_id, client_request_id: name, status, .. } = request;
        let queue = self.enter(agent_id)?;
        let going = going.unwrap_or(Clearing { until: self.meta.last_task, after: 0, deleted: 0 });
        if let Some(first) = self.remembered(agent_id, queue, name)? {
            return Ok(Step::Done(first.answer(Operation::Clear, name)?));
        }
        let most = self.room;
        let numbers: Vec<i64> = {
            let condition = if status.is_some() { "status = ?2" } else { "?2 IS NULL" };
            let mut select = self.sql.prepare_cached(&format!(
                "SELECT number FROM tasks WHERE queue = ?1 AND {condition} AND number > ?3 AND \
                 number <= ?4 \
                 ORDER BY number LIMIT ?5"
            ))?;
            let values = params![queue, status, going.after, going.until, most as i64];
            select.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for number in &numbers {
            self.delete(agent_id, queue, *number, now)?;
        }
        self.room -= numbers.len();
        if numbers.len() == most {
            // Where there was no room at all nothing was looked at.
            return Ok(Step::More(if most == 0 { going } else { going.went_on(&numbers) }));
        }
        let deleted = going.went_on(&numbers).deleted;
        if deleted > 0 {
            self.remember(queue, name, &Remembered::clearing(deleted), now)?;
        }
        Ok(Step::Done(ClearQueueResponse { deleted }))
    }

    /// Puts a queue out of sight; returns its number and how many tasks it has, if it was there.
    /// They are deleted afterwards, in steps.
    pub(super) fn hide_queue(&mut self, agent_id: &str) -> Outcome<Option<(i64, u64)>> {
        let Some(queue) = self.queue(agent_id)? else { return Ok(None) };
        let mut count = self.sql.prepare_cached(
            "SELECT count(*) FROM tasks INDEXED BY tasks_by_age WHERE queue = ?1",
        )?;
        let tasks = count.query_row([queue], |row| row.get(0))?;
        let mut update =
            self.sql.prepare_cached("UPDATE queues SET agent_id = ?2 WHERE id = ?1")?;
        update.execute(params![queue, format!("{}{queue}", hidden())])?;
        self.mark(agent_id, Mark::Any);
        Ok(Some((queue, tasks)))
    }

    /// A step of deleting what a queue out of sight holds; returns whether there may be more.
    pub(super) fn empty_queue(&mut self, queue: i64) -> Outcome<bool> {
        for (table, key) in [("tasks", "number"), ("requests", "name"), ("claims", "claim_id")] {
            let gone = self
                .sql
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE queue = ?1 AND {key} IN (SELECT {key} FROM {table} \
                     WHERE queue = ?1 LIMIT ?2)"
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
    pub(super) fn hidden_queue(&self) -> Outcome<Option<i64>> {
        let mut select =
            self.sql.prepare_cached("SELECT id FROM queues WHERE agent_id GLOB ?1 LIMIT 1")?;
        Ok(select.query_row([format!("{}*", hidden())], |row| row.get(0)).optional()?)
    }

    pub(super) fn submit(
        &mut self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> Outcome<BatchSubmitTasksResponse> {
        let BatchSubmitTasksRequest { agent_id, tasks } = request;
        let queue = self.enter(&agent_id)?;
        // A name of another operation refuses the whole batch, so all are looked up before the
        // first is added.
        let mut known = Vec::with_capacity(tasks.len());
        for NewTask { client_request_id: name, .. } in &tasks {
            let first = self.remembered(&agent_id, queue, name)?;
            known.push(first.map(|first| first.answer(Operation::Submit, name)).transpose()?);
        }
        let mut answers: Vec<SubmitTaskResponse> = Vec::with_capacity(tasks.len());
        let mut fresh = HashSet::new();
        for (task, known) in tasks.into_iter().zip(known) {
            if let Some(first) = known {
                answers.push(first);
            } else if !fresh.insert(task.client_request_id.clone()) {
                let twin = self.remembered(&agent_id, queue, &task.client_request_id)?;
                answers.extend(
                    twin.map(|twin| twin.answer(Operation::Submit, &task.client_request_id))
                        .transpose()?,
                );
            } else {
                let record = Record::new(self.meta.last_task + 1, &agent_id, task, now);
                answers.push(SubmitTaskResponse {
                    task_id: self.add(queue, &record)?,
                    already_submitted: false,
                });
            }
        }
        Ok(BatchSubmitTasksResponse { tasks: answers })
    }

    pub(super) fn claim(
        &mut self,
        request: &GetTaskRequest,
        settings: &Settings,
        now: Millis,
    ) -> Outcome<Claimed> {
        let GetTaskRequest { agent_id, claim_id, .. } = request;
        let queue = self.enter(agent_id)?;
        const OF_CLAIM: &str = "queue = ?1 AND claim_id = ?2";
        let answered =
            |record: &Record| Claimed { answer: record.claimed(now), next_lease_end: None };
        if let Some(mut record) = self.first(agent_id, OF_CLAIM, params![queue, claim_id])? {
            if record.task.status() == TaskStatus::Processing {
                record.renew(settings, now);
                self.keep(&record)?;
            }
            self.note(agent_id, Some(Happened::ClaimedAgain));
            return Ok(answered(&record));
        }
        if let Some(past) = self.past_claim(queue, claim_id)? {
            return Err(not_held(&past.task_id, claim_id, Some(past.over)).into());
        }
        const NEXT: &str = "queue = ?1 AND status = 1 ORDER BY priority DESC, number";
        let Some(mut record) = self.first(agent_id, NEXT, [queue])? else {
            let mut select = self.sql.prepare_cached(
                "SELECT lease_until FROM tasks WHERE queue = ?1 AND status = 2 ORDER BY \
                 lease_until LIMIT 1",
            )?;
            let next_lease_end = select.query_row([queue], |row| row.get(0)).optional()?;
            return Ok(Claimed { answer: GetTaskResponse::default(), next_lease_end });
        };
        record.claim(claim_id.clone(), settings, now);
        self.keep(&record)?;
        Ok(answered(&record))
    }

    pub(super) fn update(
        &mut self,
        request: &UpdateTaskStatusRequest,
        settings: &Settings,
        now: Millis,
    ) -> Outcome<UpdateTaskStatusResponse> {
        let UpdateTaskStatusRequest { agent_id, task_id, claim_id, .. } = request;
        let queue = self.enter(agent_id)?;
        let mut record = self.find(agent_id, queue, task_id)?;
        let past =
            if record.claim_id == *claim_id { None } else { self.past_claim(queue, claim_id)? };
        let updated = record.update(request, past.as_ref(), settings, now)?;
        if updated == Updated::Released {
            self.claim_is_over(queue, claim_id, number(&record), Over::Released, now)?;
        }
        if updated != Updated::Unchanged {
            self.keep(&record)?;
        }
        Ok(record.updated(now))
    }

    pub(super) fn delete_tasks(
        &mut self,
        request: &BatchDeleteTasksRequest,
        now: Millis,
    ) -> Outcome<BatchDeleteTasksResponse> {
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
            self.remember(queue, name, &Remembered::new(Operation::Delete, &answer), now)?;
        }
        Ok(answer)
    }

    pub(super) fn cancel(
        &mut self,
        request: &CancelTaskRequest,
        now: Millis,
    ) -> Outcome<CancelTaskResponse> {
        let CancelTaskRequest { agent_id, task_id, client_request_id: name, .. } = request;
        let queue = self.enter(agent_id)?;
        if let Some(first) = self.remembered(agent_id, queue, name)? {
            let first: CancelTaskResponse = first.answer(Operation::Cancel, name)?;
            let id = first.task.as_ref().map(|task| &*task.task_id).unwrap_or_default();
            return match self.find(agent_id, queue, id) {
                Ok(record) => Ok(CancelTaskResponse { task: Some(record.task) }),
                Err(Trouble::Refused(_)) => Ok(first),
                Err(error) => Err(error),
            };
        }
        let mut record = self.find(agent_id, queue, task_id)?;
        record.cancel(request, now)?;
        self.keep(&record)?;
        self.remember(queue, name, &Remembered::cancellation(&record.task), now)?;
        Ok(CancelTaskResponse { task: Some(record.task) })
    }

    pub(super) fn retry(
        &mut self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> Outcome<RetryTaskResponse> {
        let RetryTaskRequest { agent_id, task_id, client_request_id: name } = request;
        let queue = self.enter(&agent_id)?;
        if let Some(first) = self.remembered(&agent_id, queue, &name)? {
            return Ok(first.retried(&name)?);
        }
        let failed = self.find(&agent_id, queue, &task_id)?;
        let record = failed.again(self.meta.last_task + 1, name, now)?;
        Ok(RetryTaskResponse { task_id: self.add(queue, &record)? })
    }

    pub(super) fn find(&self, agent_id: &str, queue: i64, id: &str) -> Outcome<Record> {
        const THIS: &str = "number = ?1 AND queue = ?2";
        let record = match task_number(id) {
            Some(number) => self.first(agent_id, THIS, [number, queue])?,
            None => None,
        };
        Ok(record.ok_or_else(|| no_task(agent_id, id))?)
    }

    fn add(&mut self, queue: i64, record: &Record) -> Outcome<String> {
        self.meta.last_task += 1;
        self.insert(queue, record)?;
        self.note(&record.task.agent_id, record.happened);
        self.mark(&record.task.agent_id, Mark::Claimable(1));
        Ok(record.task.task_id.clone())
    }

    fn keep(&mut self, record: &Record) -> Outcome<()> {
        self.save(record)?;
        self.note(&record.task.agent_id, record.happened);
        let claimable = record.task.status() == TaskStatus::Pending;
        self.mark(
            &record.task.agent_id,
            if claimable { Mark::Claimable(1) } else { Mark::Changed },
        );
        Ok(())
    }

    /// Whether the task was there.
    fn delete(&mut self, agent_id: &str, queue: i64, number: i64, now: Millis) -> Outcome<bool> {
        const NAMES: &str = "SELECT request_id, claim_id, retry_of <> '' FROM tasks WHERE number \
                             = ?1 AND queue = ?2";
        let names = self.sql.prepare_cached(NAMES)?.query_row([number, queue], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, bool>(2)?))
        });
        let Some((request_id, claim_id, retry)) = names.optional()? else { return Ok(false) };
        self.sql.prepare_cached("DELETE FROM tasks WHERE number = ?1")?.execute([number])?;
        if let Some(claim_id) = claim_id {
            self.claim_is_over(queue, &claim_id, number, Over::Deleted, now)?;
        }
        let Remembered { operation, answer } = Remembered::submission(task_id(number), retry);
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
        self.mark(agent_id, Mark::Changed);
        Ok(true)
    }

    /// What a name of this queue named: a task that is there, or anything else.
    fn remembered(&self, agent_id: &str, queue: i64, name: &str) -> Outcome<Option<Remembered>> {
        const TASK: &str =
            "SELECT number, retry_of <> '' FROM tasks WHERE queue = ?1 AND request_id = ?2";
        let task = self.sql.prepare_cached(TASK)?.query_row(params![queue, name], |row| {
            Ok(Remembered::submission(task_id(row.get(0)?), row.get(1)?))
        });
        if let Some(task) = task.optional()? {
            return Ok(Some(task));
        }
        const REQUEST: &str =
            "SELECT operation, answer FROM requests WHERE queue = ?1 AND name = ?2";
        let request = self.sql.prepare_cached(REQUEST)?.query_row(params![queue, name], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let Some((operation, answer)) = request.optional()? else { return Ok(None) };
        let damaged =
            || tonic::Status::data_loss(format!("{agent_id:?}: the name {name:?} is damaged"));
        Ok(Some(Remembered {
            operation: Operation::from_number(operation).ok_or_else(damaged)?,
            answer,
        }))
    }

    fn remember(
        &mut self,
        queue: i64,
        name: &str,
        remembered: &Remembered,
        now: Millis,
    ) -> Outcome<()> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO requests (queue, name, operation, at, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![
            queue,
            name,
            remembered.operation as i64,
            now,
            remembered.answer
        ])?;
        Ok(())
    }

    fn past_claim(&self, queue: i64, claim_id: &str) -> Outcome<Option<PastClaim>> {
        const PAST: &str = "SELECT number, over FROM claims WHERE queue = ?1 AND claim_id = ?2";
        let found = self.sql.prepare_cached(PAST)?.query_row(params![queue, claim_id], |row| {
            let over = Over::from_number(row.get(1)?).unwrap_or(Over::Lost);
            Ok(PastClaim { task_id: task_id(row.get(0)?), over })
        });
        Ok(found.optional()?)
    }

    fn claim_is_over(
        &mut self,
        queue: i64,
        claim_id: &str,
        number: i64,
        over: Over,
        at: Millis,
    ) -> Outcome<()> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO claims (queue, claim_id, number, over, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![queue, claim_id, number, over as i64, at])?;
        Ok(())
    }

    /// Forgets at most `step` of each that were over before `cutoff`; returns whether there may be
    /// more.
    pub(super) fn prune(&mut self, cutoff: Millis, step: i64) -> Outcome<bool> {
        let mut most = 0;
        for sql in [
            "DELETE FROM tasks WHERE number IN (SELECT number FROM tasks WHERE finished_at < ?1 \
             LIMIT ?2)",
            "DELETE FROM requests WHERE (queue, name) IN (SELECT queue, name FROM requests WHERE \
             at < ?1 LIMIT ?2)",
            "DELETE FROM claims WHERE (queue, claim_id) IN (SELECT queue, claim_id FROM claims \
             WHERE at < ?1 LIMIT ?2)",
        ] {
            most = most.max(self.sql.prepare_cached(sql)?.execute([cutoff, step])? as i64);
        }
        Ok(most == step)
    }
}
