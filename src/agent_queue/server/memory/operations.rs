//! The operations on the queues in memory: each takes a request and `now`, and gives the answer.

use super::{
    super::{
        Claimed, Millis, QueueChange,
        record::{
            ClaimEnd, Operation, PastClaim, Record, RememberedAnswer, TaskEvent, Updated, not_held,
            task_number,
        },
        steps::{ClearProgress, ClearStep},
    },
    queue::{Claim, Queue, StoredTask},
    state::State,
};
use crate::proto::agent_queue::*;
use std::collections::BTreeSet;
use tonic::Status;

impl State {
    pub(super) fn create_queue(
        &mut self,
        request: &CreateQueueRequest,
        now: Millis,
    ) -> CreateQueueResponse {
        let already_exists = self.queues.contains_key(&request.agent_id);
        if !already_exists {
            self.queues
                .insert(request.agent_id.clone(), Queue { created_at: now, ..Queue::default() });
            self.note(QueueChange::Changed);
        }
        CreateQueueResponse { already_exists }
    }

    /// A step of at most `most` tasks; `progress` where it is not the first.
    pub(super) fn clear_queue(
        &mut self,
        request: &ClearQueueRequest,
        progress: Option<ClearProgress>,
        most: usize,
        now: Millis,
    ) -> Result<ClearStep, Status> {
        let progress =
            progress.unwrap_or(ClearProgress { until: self.last_task, after: 0, deleted: 0 });
        let queue = self.queue(&request.agent_id)?;
        if let Some(named) = queue.names.get(&request.client_request_id) {
            return Ok(ClearStep::Done(
                named.remembered.answer(Operation::Clear, &request.client_request_id)?,
            ));
        }
        let wanted = |stored: &&StoredTask| {
            request.status.is_none_or(|status| status == stored.record.task.status)
        };
        let left = queue
            .tasks
            .range(progress.after + 1..)
            .take_while(|(number, _)| **number <= progress.until);
        let numbers: Vec<i64> = left
            .map(|(_, stored)| stored)
            .filter(wanted)
            .filter_map(StoredTask::number)
            .take(most)
            .collect();
        for number in &numbers {
            self.delete(&request.agent_id, *number, now);
        }
        let progress = progress.after_deleting(&numbers);
        if numbers.len() >= most {
            return Ok(ClearStep::More(progress));
        }
        let deleted = progress.deleted;
        if deleted > 0 {
            self.remember(
                &request.agent_id,
                &request.client_request_id,
                RememberedAnswer::clearing(deleted),
                now,
            );
        }
        Ok(ClearStep::Done(ClearQueueResponse { deleted }))
    }

    /// Gives the queue out: to free its memory takes a while.
    pub(super) fn delete_queue(
        &mut self,
        request: &DeleteQueueRequest,
    ) -> (DeleteQueueResponse, Option<Queue>) {
        let Some(queue) = self.queues.remove(&request.agent_id) else {
            return (DeleteQueueResponse::default(), None);
        };
        self.note(QueueChange::Any);
        (DeleteQueueResponse { existed: true, deleted: queue.tasks.len() as u64 }, Some(queue))
    }

    pub(super) fn submit(
        &mut self,
        request: &BatchSubmitTasksRequest,
        now: Millis,
    ) -> Result<BatchSubmitTasksResponse, Status> {
        let queue = self.queue(&request.agent_id)?;
        for NewTask { client_request_id, .. } in &request.tasks {
            if let Some(named) = queue.names.get(client_request_id) {
                named
                    .remembered
                    .answer::<SubmitTaskResponse>(Operation::Submit, client_request_id)?;
            }
        }
        let mut tasks = Vec::with_capacity(request.tasks.len());
        for task in &request.tasks {
            let known = self.queue(&request.agent_id)?.names.get(&task.client_request_id);
            tasks.push(match known {
                Some(named) => {
                    named.remembered.answer(Operation::Submit, &task.client_request_id)?
                }
                None => {
                    let record =
                        Record::new(self.last_task + 1, &request.agent_id, task.clone(), now);
                    SubmitTaskResponse {
                        task_id: self.add(&request.agent_id, record),
                        already_submitted: false,
                    }
                }
            });
        }
        Ok(BatchSubmitTasksResponse { tasks })
    }

    pub(super) fn claim(
        &mut self,
        request: &GetTaskRequest,
        now: Millis,
    ) -> Result<Claimed, Status> {
        let settings = self.settings;
        let queue = self.queue(&request.agent_id)?;
        let number = match queue.claims.get(&request.claim_id) {
            Some(Claim::Past(past, _)) => {
                return Err(not_held(&past.task_id, &request.claim_id, Some(past.end)));
            }
            Some(Claim::Of(number)) => {
                let number = *number;
                if self.record(&request.agent_id, number)?.task.status() == TaskStatus::Processing {
                    self.change(&request.agent_id, number, |_, record| {
                        record.renew(&settings, now)
                    });
                }
                self.events.push(TaskEvent::ClaimedAgain);
                number
            }
            None => {
                let Some((_, number)) = queue.pending.first().copied() else {
                    let next_lease_end = queue.leased.first().map(|(until, _)| *until);
                    return Ok(Claimed { answer: GetTaskResponse::default(), next_lease_end });
                };
                self.change(&request.agent_id, number, |queue, record| {
                    queue.claims.insert(request.claim_id.clone(), Claim::Of(number));
                    record.claim(request.claim_id.clone(), &settings, now);
                });
                number
            }
        };
        let answer = self.record(&request.agent_id, number)?.claimed(now);
        Ok(Claimed { answer, next_lease_end: None })
    }

    pub(super) fn update(
        &mut self,
        request: &UpdateTaskStatusRequest,
        now: Millis,
    ) -> Result<UpdateTaskStatusResponse, Status> {
        let settings = self.settings;
        let (number, mut record) = self.find(&request.agent_id, &request.task_id)?;
        let past = match self.queue(&request.agent_id)?.claims.get(&request.claim_id) {
            Some(Claim::Past(past, _)) => Some(past.clone()),
            _ => None,
        };
        let updated = record.update(request, past.as_ref(), &settings, now)?;
        let answer = record.updated(now);
        if updated != Updated::Unchanged {
            self.change(&request.agent_id, number, |queue, kept| {
                if updated == Updated::Released {
                    let past =
                        PastClaim { task_id: request.task_id.clone(), end: ClaimEnd::Released };
                    queue.claims.insert(request.claim_id.clone(), Claim::Past(past, now));
                }
                *kept = record;
            });
        }
        Ok(answer)
    }

    pub(super) fn delete_tasks(
        &mut self,
        request: &BatchDeleteTasksRequest,
        now: Millis,
    ) -> Result<BatchDeleteTasksResponse, Status> {
        let queue = self.queue(&request.agent_id)?;
        if let Some(named) = queue.names.get(&request.client_request_id) {
            return named.remembered.answer(Operation::Delete, &request.client_request_id);
        }
        let mut answer = BatchDeleteTasksResponse::default();
        let mut wanted = BTreeSet::new();
        for id in request.task_ids.iter().filter(|id| wanted.insert(id.as_str())) {
            match task_number(id).filter(|number| self.delete(&request.agent_id, *number, now)) {
                Some(_) => answer.deleted += 1,
                None => answer.not_found.push(id.clone()),
            }
        }
        if answer.deleted > 0 {
            let remembered = RememberedAnswer::new(Operation::Delete, &answer);
            self.remember(&request.agent_id, &request.client_request_id, remembered, now);
        }
        Ok(answer)
    }

    pub(super) fn cancel(
        &mut self,
        request: &CancelTaskRequest,
        now: Millis,
    ) -> Result<CancelTaskResponse, Status> {
        let queue = self.queue(&request.agent_id)?;
        if let Some(named) = queue.names.get(&request.client_request_id) {
            let first: CancelTaskResponse =
                named.remembered.answer(Operation::Cancel, &request.client_request_id)?;
            let id = first.task.as_ref().map(|task| task.task_id.clone()).unwrap_or_default();
            let task = self.find(&request.agent_id, &id).ok().map(|(_, record)| record.task);
            return Ok(task.map_or(first, |task| CancelTaskResponse { task: Some(task) }));
        }
        let (number, mut record) = self.find(&request.agent_id, &request.task_id)?;
        record.cancel(request, now)?;
        let remembered = RememberedAnswer::cancellation(&record.task);
        let answer = CancelTaskResponse { task: Some(record.task.clone()) };
        self.change(&request.agent_id, number, |_, kept| *kept = record);
        self.remember(&request.agent_id, &request.client_request_id, remembered, now);
        Ok(answer)
    }

    pub(super) fn retry(
        &mut self,
        request: &RetryTaskRequest,
        now: Millis,
    ) -> Result<RetryTaskResponse, Status> {
        if let Some(named) = self.queue(&request.agent_id)?.names.get(&request.client_request_id) {
            return named.remembered.retried(&request.client_request_id);
        }
        let (_, failed) = self.find(&request.agent_id, &request.task_id)?;
        let record = failed.again(self.last_task + 1, request.client_request_id.clone(), now)?;
        Ok(RetryTaskResponse { task_id: self.add(&request.agent_id, record) })
    }

    pub(super) fn query(&self, request: &QueryTaskRequest) -> Result<QueryTaskResponse, Status> {
        let (_, record) = self.find(&request.agent_id, &request.task_id)?;
        Ok(QueryTaskResponse { task: Some(record.task) })
    }
}
