//! The operations that add and change tasks, each within the writer's transaction.

use super::{
    super::{
        Claimed, Millis, QueueChange, Settings,
        record::{
            ClaimEnd, Operation, Record, RememberedAnswer, TaskEvent, Updated, latest_lease_end,
            millis, no_queue, no_task, not_held, task_number,
        },
    },
    rows::number,
    worker::{JobContext, JobError, JobResult},
};
use crate::proto::agent_queue::*;
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;

impl JobContext<'_> {
    /// The queue's number. What is overdue in it was given back before the operation.
    pub(super) fn enter(&self, agent_id: &str) -> JobResult<i64> {
        Ok(self.queue(agent_id)?.ok_or_else(|| no_queue(agent_id))?)
    }

    pub(super) fn queue(&self, agent_id: &str) -> rusqlite::Result<Option<i64>> {
        let mut select = self.sql.prepare_cached("SELECT id FROM queues WHERE agent_id = ?1")?;
        select.query_row([agent_id], |row| row.get(0)).optional()
    }

    /// Gives back what is overdue in a queue, if it is there, and shortens leases that another
    /// clock made too long. Returns whether all is done; otherwise the transaction has no more
    /// room.
    pub(super) fn expire(
        &mut self,
        agent_id: &str,
        settings: &Settings,
        now: Millis,
    ) -> JobResult<bool> {
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
            self.claim_is_over(queue, &record.claim_id, number(&record), ClaimEnd::Lost, ended_at)?;
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
    ) -> JobResult<CreateQueueResponse> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO queues (agent_id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?;
        let made = insert.execute(params![request.agent_id, now])?;
        Ok(CreateQueueResponse { already_exists: made == 0 })
    }

    pub(super) fn submit(
        &mut self,
        request: BatchSubmitTasksRequest,
        now: Millis,
    ) -> JobResult<BatchSubmitTasksResponse> {
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
    ) -> JobResult<Claimed> {
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
            self.note(agent_id, Some(TaskEvent::ClaimedAgain));
            return Ok(answered(&record));
        }
        if let Some(past) = self.past_claim(queue, claim_id)? {
            return Err(not_held(&past.task_id, claim_id, Some(past.end)).into());
        }
        const NEXT: &str = "queue = ?1 AND status = 1 ORDER BY priority DESC, number";
        let Some(mut record) = self.first(agent_id, NEXT, [queue])? else {
            let mut select = self.sql.prepare_cached(
                "SELECT lease_until FROM tasks WHERE queue = ?1 AND status = 2 \
                 ORDER BY lease_until LIMIT 1",
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
    ) -> JobResult<UpdateTaskStatusResponse> {
        let UpdateTaskStatusRequest { agent_id, task_id, claim_id, .. } = request;
        let queue = self.enter(agent_id)?;
        let mut record = self.find(agent_id, queue, task_id)?;
        let past =
            if record.claim_id == *claim_id { None } else { self.past_claim(queue, claim_id)? };
        let updated = record.update(request, past.as_ref(), settings, now)?;
        if updated == Updated::Released {
            self.claim_is_over(queue, claim_id, number(&record), ClaimEnd::Released, now)?;
        }
        if updated != Updated::Unchanged {
            self.keep(&record)?;
        }
        Ok(record.updated(now))
    }

    pub(super) fn cancel(
        &mut self,
        request: &CancelTaskRequest,
        now: Millis,
    ) -> JobResult<CancelTaskResponse> {
        let CancelTaskRequest { agent_id, task_id, client_request_id: name, .. } = request;
        let queue = self.enter(agent_id)?;
        if let Some(first) = self.remembered(agent_id, queue, name)? {
            let first: CancelTaskResponse = first.answer(Operation::Cancel, name)?;
            let id = first.task.as_ref().map(|task| &*task.task_id).unwrap_or_default();
            return match self.find(agent_id, queue, id) {
                Ok(record) => Ok(CancelTaskResponse { task: Some(record.task) }),
                Err(JobError::Refused(_)) => Ok(first),
                Err(error) => Err(error),
            };
        }
        let mut record = self.find(agent_id, queue, task_id)?;
        record.cancel(request, now)?;
        self.keep(&record)?;
        self.remember(queue, name, &RememberedAnswer::cancellation(&record.task), now)?;
        Ok(CancelTaskResponse { task: Some(record.task) })
    }

    pub(super) fn retry(
        &mut self,
        request: RetryTaskRequest,
        now: Millis,
    ) -> JobResult<RetryTaskResponse> {
        let RetryTaskRequest { agent_id, task_id, client_request_id: name } = request;
        let queue = self.enter(&agent_id)?;
        if let Some(first) = self.remembered(&agent_id, queue, &name)? {
            return Ok(first.retried(&name)?);
        }
        let failed = self.find(&agent_id, queue, &task_id)?;
        let record = failed.again(self.meta.last_task + 1, name, now)?;
        Ok(RetryTaskResponse { task_id: self.add(queue, &record)? })
    }

    pub(super) fn find(&self, agent_id: &str, queue: i64, id: &str) -> JobResult<Record> {
        const THIS: &str = "number = ?1 AND queue = ?2";
        let record = match task_number(id) {
            Some(number) => self.first(agent_id, THIS, [number, queue])?,
            None => None,
        };
        Ok(record.ok_or_else(|| no_task(agent_id, id))?)
    }

    fn add(&mut self, queue: i64, record: &Record) -> JobResult<String> {
        self.meta.last_task += 1;
        self.insert(queue, record)?;
        self.note(&record.task.agent_id, record.event);
        self.notify(&record.task.agent_id, QueueChange::Claimable(1));
        Ok(record.task.task_id.clone())
    }

    fn keep(&mut self, record: &Record) -> JobResult<()> {
        self.save(record)?;
        self.note(&record.task.agent_id, record.event);
        let claimable = record.task.status() == TaskStatus::Pending;
        self.notify(
            &record.task.agent_id,
            if claimable { QueueChange::Claimable(1) } else { QueueChange::Changed },
        );
        Ok(())
    }
}
