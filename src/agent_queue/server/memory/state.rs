//! The queues in memory, as plain data: each operation takes `now` and says what it changed.

use super::{
    super::{
        Changes, Claimed, Mark, Millis, Settings,
        record::{
            Happened, Operation, Over, PastClaim, Record, Remembered, Updated, latest_lease_end,
            no_queue, no_task, not_held, task_id, task_number,
        },
        store::{Clearing, MAX_CHANGES, Room, Step},
    },
    queue::{Claim, Held, Named, Queue},
};
use crate::proto::agent_queue::*;
use prost::Message as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Bound,
};
use tonic::Status;

/// The queues of all agents.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    queues: BTreeMap<String, Queue>,
    last_task: i64,
    /// Counts changes, over all queues.
    cursor: u64,
    /// What the operation at hand changed.
    mark: Option<Mark>,
    happened: Vec<Happened>,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            queues: BTreeMap::new(),
            last_task: 0,
            cursor: 0,
            mark: None,
            happened: Vec::new(),
        }
    }

    /// What has changed since this was asked last.
    pub(super) fn take_mark(&mut self) -> Option<Mark> {
        self.mark.take()
    }

    /// What became of tasks since this was asked last.
    pub(super) fn take_happened(&mut self) -> Vec<Happened> {
        mem::take(&mut self.happened)
    }

    pub(super) fn queue(&self, agent_id: &str) -> Result<&Queue, Status> {
        self.queues.get(agent_id).ok_or_else(|| no_queue(agent_id))
    }

    fn queue_mut(&mut self, agent_id: &str) -> Result<&mut Queue, Status> {
        self.queues.get_mut(agent_id).ok_or_else(|| no_queue(agent_id))
    }

    /// Gives back what is overdue, and shortens what another clock made too long.
    pub(super) fn expire(&mut self, agent_id: &str, now: Millis) {
        let settings = self.settings;
        let latest = latest_lease_end(&settings, now);
        while let Some((until, number)) =
            self.queues.get(agent_id).and_then(|queue| queue.leased.last().copied())
        {
            if until <= latest {
                break;
            }
            self.change(agent_id, number, |_, record| {
                record.shorten(&settings, now);
            });
        }
        while let Some((until, number)) =
            self.queues.get(agent_id).and_then(|queue| queue.leased.first().copied())
        {
            if until > now {
                return;
            }
            self.change(agent_id, number, |queue, record| {
                let past = PastClaim { task_id: record.task.task_id.clone(), over: Over::Lost };
                queue.claims.insert(record.claim_id.clone(), Claim::Past(past, until));
                record.lose(&settings);
            });
        }
    }

    pub(super) fn create_queue(
        &mut self,
        request: &CreateQueueRequest,
        now: Millis,
    ) -> CreateQueueResponse {
        let already_exists = self.queues.contains_key(&request.agent_id);
        if !already_exists {
            self.queues
                .insert(request.agent_id.clone(), Queue { created_at: now, ..Queue::default() });
            self.note(Mark::Changed);
        }
        CreateQueueResponse { already_exists }
    }

    pub(super) fn queue_exists(&self, agent_id: &str) -> bool {
        self.queues.contains_key(agent_id)
    }

    pub(super) fn queue_names(&self, after: &str, limit: usize) -> Vec<String> {
        let later = self.queues.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        later.map(|(agent_id, _)| agent_id.clone()).take(limit).collect()
    }

    /// A step of at most `most` tasks; `going` where it is not the first.
    pub(super) fn clear_queue(
        &mut self,
        request: &ClearQueueRequest,
        going: Option<Clearing>,
        most: usize,
        now: Millis,
    ) -> Result<Step, Status> {
        let going = going.unwrap_or(Clearing { until: self.last_task, after: 0, deleted: 0 });
        let queue = self.queue(&request.agent_id)?;
        if let Some(named) = queue.names.get(&request.client_request_id) {
            return Ok(Step::Done(
                named.remembered.answer(Operation::Clear, &request.client_request_id)?,
            ));
        }
        let wanted =
            |held: &&Held| request.status.is_none_or(|status| status == held.record.task.status);
        let left =
            queue.tasks.range(going.after + 1..).take_while(|(number, _)| **number <= going.until);
        let numbers: Vec<i64> =
            left.map(|(_, held)| held).filter(wanted).filter_map(Held::number).take(most).collect();
        for number in &numbers {
            self.delete(&request.agent_id, *number, now);
        }
        let going = going.went_on(&numbers);
        if numbers.len() >= most {
            return Ok(Step::More(going));
        }
        let deleted = going.deleted;
        if deleted > 0 {
            self.remember(
                &request.agent_id,
                &request.client_request_id,
                Remembered::clearing(deleted),
                now,
            );
        }
        Ok(Step::Done(ClearQueueResponse { deleted }))
    }

    /// Gives the queue out: to free its memory takes a while.
    pub(super) fn delete_queue(
        &mut self,
        request: &DeleteQueueRequest,
    ) -> (DeleteQueueResponse, Option<Queue>) {
        let Some(queue) = self.queues.remove(&request.agent_id) else {
            return (DeleteQueueResponse::default(), None);
        };
        self.note(Mark::Any);
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
                return Err(not_held(&past.task_id, &request.claim_id, Some(past.over)));
            }
            Some(Claim::Of(number)) => {
                let number = *number;
                if self.record(&request.agent_id, number)?.task.status() == TaskStatus::Processing {
                    self.change(&request.agent_id, number, |_, record| {
                        record.renew(&settings, now)
                    });
                }
                self.happened.push(Happened::ClaimedAgain);
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
                    let past = PastClaim { task_id: request.task_id.clone(), over: Over::Released };
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
            let remembered = Remembered::new(Operation::Delete, &answer);
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
        let remembered = Remembered::cancellation(&record.task);
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

    pub(super) fn changes(&self, agent_id: &str, cursor: Option<u64>) -> Result<Changes, Status> {
        let queue = self.queue(agent_id)?;
        let mut answer = Changes { changes: Vec::new(), cursor: cursor.unwrap_or(self.cursor) };
        let mut room = Room::new();
        let Some(after) = answer.cursor.checked_add(1) else { return Ok(answer) };
        for (cursor, (number, _)) in queue.changed.range(after..).take(MAX_CHANGES) {
            let task = queue.tasks.get(number).map(|held| held.record.task.clone());
            let change = TaskChange { task_id: task_id(*number), task };
            if !room.take(change.encoded_len()) {
                break;
            }
            answer.changes.push(change);
            answer.cursor = *cursor;
        }
        Ok(answer)
    }

    /// Forgets everything that was over before `cutoff`.
    pub(super) fn prune(&mut self, cutoff: Millis) {
        self.queues.values_mut().for_each(|queue| queue.prune(cutoff));
    }

    fn record(&self, agent_id: &str, number: i64) -> Result<&Record, Status> {
        let missing = || no_task(agent_id, &task_id(number));
        Ok(&self.queue(agent_id)?.tasks.get(&number).ok_or_else(missing)?.record)
    }

    /// A copy of the task with this id.
    fn find(&self, agent_id: &str, id: &str) -> Result<(i64, Record), Status> {
        let queue = self.queue(agent_id)?;
        let found = task_number(id)
            .and_then(|number| Some((number, queue.tasks.get(&number)?.record.clone())));
        found.ok_or_else(|| no_task(agent_id, id))
    }

    fn add(&mut self, agent_id: &str, mut record: Record) -> String {
        self.happened.extend(record.happened.take());
        self.last_task += 1;
        let (number, id) = (self.last_task, record.task.task_id.clone());
        let named = Named { remembered: record.remembered(), at: None };
        self.cursor += 1;
        let cursor = self.cursor;
        if let Some(queue) = self.queues.get_mut(agent_id) {
            queue.names.insert(record.request_id.clone(), named);
            queue.put(number, Held { record, cursor });
            self.note(Mark::Claimable(1));
        }
        id
    }

    /// Changes a task, and every index it stands in.
    fn change(&mut self, agent_id: &str, number: i64, edit: impl FnOnce(&mut Queue, &mut Record)) {
        let Some(queue) = self.queues.get_mut(agent_id) else { return };
        let Some(mut held) = queue.take(number) else { return };
        edit(queue, &mut held.record);
        self.happened.extend(held.record.happened.take());
        self.cursor += 1;
        held.cursor = self.cursor;
        let claimable = held.record.task.status() == TaskStatus::Pending;
        queue.put(number, held);
        self.note(if claimable { Mark::Claimable(1) } else { Mark::Changed });
    }

    /// To be told, with what else the operation changed.
    fn note(&mut self, mark: Mark) {
        self.mark = Some(self.mark.map_or(mark, |known| known.and(mark)));
    }

    /// Whether the task was there.
    fn delete(&mut self, agent_id: &str, number: i64, now: Millis) -> bool {
        let Ok(queue) = self.queue_mut(agent_id) else { return false };
        let Some(Held { record, .. }) = queue.take(number) else { return false };
        if let Some(named) = queue.names.get_mut(&record.request_id) {
            named.at = Some(now);
        }
        if !record.claim_id.is_empty() {
            let past = PastClaim { task_id: record.task.task_id, over: Over::Deleted };
            queue.claims.insert(record.claim_id, Claim::Past(past, now));
        }
        self.cursor += 1;
        let cursor = self.cursor;
        if let Ok(queue) = self.queue_mut(agent_id) {
            queue.changed.insert(cursor, (number, Some(now)));
        }
        self.note(Mark::Changed);
        true
    }

    fn remember(&mut self, agent_id: &str, name: &str, remembered: Remembered, now: Millis) {
        if let Some(queue) = self.queues.get_mut(agent_id) {
            queue.names.insert(name.into(), Named { remembered, at: Some(now) });
        }
    }
}
