//! The queues in memory, as plain data: how a task is found, added, changed and deleted, with every
//! index it stands in, and what has changed since it was last asked.

use super::{
    super::{
        Changes, Millis, QueueChange, Settings,
        page::{MAX_CHANGES, PageRoom},
        record::{
            ClaimEnd, PastClaim, Record, RememberedAnswer, TaskEvent, latest_lease_end, no_queue,
            no_task, task_id, task_number,
        },
    },
    queue::{Claim, NamedRequest, Queue, StoredTask},
};
use crate::proto::agent_queue::*;
use prost::Message as _;
use std::{collections::BTreeMap, mem, ops::Bound};
use tonic::Status;

/// The queues of all agents.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) last_task: i64,
    /// Counts changes, over all queues.
    cursor: u64,
    /// What the operation at hand changed.
    queue_change: Option<QueueChange>,
    pub(super) events: Vec<TaskEvent>,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            queues: BTreeMap::new(),
            last_task: 0,
            cursor: 0,
            queue_change: None,
            events: Vec::new(),
        }
    }

    /// What has changed since this was asked last.
    pub(super) fn take_change(&mut self) -> Option<QueueChange> {
        self.queue_change.take()
    }

    /// What became of tasks since this was asked last.
    pub(super) fn take_events(&mut self) -> Vec<TaskEvent> {
        mem::take(&mut self.events)
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
                let past = PastClaim { task_id: record.task.task_id.clone(), end: ClaimEnd::Lost };
                queue.claims.insert(record.claim_id.clone(), Claim::Past(past, until));
                record.lose(&settings);
            });
        }
    }

    pub(super) fn queue_exists(&self, agent_id: &str) -> bool {
        self.queues.contains_key(agent_id)
    }

    pub(super) fn queue_names(&self, after: &str, limit: usize) -> Vec<String> {
        let later = self.queues.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        later.map(|(agent_id, _)| agent_id.clone()).take(limit).collect()
    }

    pub(super) fn changes(&self, agent_id: &str, cursor: Option<u64>) -> Result<Changes, Status> {
        let queue = self.queue(agent_id)?;
        let mut answer = Changes { changes: Vec::new(), cursor: cursor.unwrap_or(self.cursor) };
        let mut room = PageRoom::new();
        let Some(after) = answer.cursor.checked_add(1) else { return Ok(answer) };
        for (cursor, (number, _)) in queue.changed.range(after..).take(MAX_CHANGES) {
            let task = queue.tasks.get(number).map(|stored| stored.record.task.clone());
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

    pub(super) fn record(&self, agent_id: &str, number: i64) -> Result<&Record, Status> {
        let missing = || no_task(agent_id, &task_id(number));
        Ok(&self.queue(agent_id)?.tasks.get(&number).ok_or_else(missing)?.record)
    }

    /// A copy of the task with this id.
    pub(super) fn find(&self, agent_id: &str, id: &str) -> Result<(i64, Record), Status> {
        let queue = self.queue(agent_id)?;
        let found = task_number(id)
            .and_then(|number| Some((number, queue.tasks.get(&number)?.record.clone())));
        found.ok_or_else(|| no_task(agent_id, id))
    }

    pub(super) fn add(&mut self, agent_id: &str, mut record: Record) -> String {
        self.events.extend(record.event.take());
        self.last_task += 1;
        let (number, id) = (self.last_task, record.task.task_id.clone());
        let named = NamedRequest { remembered: record.remembered(), at: None };
        self.cursor += 1;
        let cursor = self.cursor;
        if let Some(queue) = self.queues.get_mut(agent_id) {
            queue.names.insert(record.request_id.clone(), named);
            queue.put(number, StoredTask { record, cursor });
            self.note(QueueChange::Claimable(1));
        }
        id
    }

    /// Changes a task, and every index it stands in.
    pub(super) fn change(
        &mut self,
        agent_id: &str,
        number: i64,
        edit: impl FnOnce(&mut Queue, &mut Record),
    ) {
        let Some(queue) = self.queues.get_mut(agent_id) else { return };
        let Some(mut stored) = queue.take(number) else { return };
        edit(queue, &mut stored.record);
        self.events.extend(stored.record.event.take());
        self.cursor += 1;
        stored.cursor = self.cursor;
        let claimable = stored.record.task.status() == TaskStatus::Pending;
        queue.put(number, stored);
        self.note(if claimable { QueueChange::Claimable(1) } else { QueueChange::Changed });
    }

    /// To be told, with what else the operation changed.
    pub(super) fn note(&mut self, change: QueueChange) {
        self.queue_change = Some(self.queue_change.map_or(change, |known| known.merge(change)));
    }

    /// Whether the task was there.
    pub(super) fn delete(&mut self, agent_id: &str, number: i64, now: Millis) -> bool {
        let Ok(queue) = self.queue_mut(agent_id) else { return false };
        let Some(StoredTask { record, .. }) = queue.take(number) else { return false };
        if let Some(named) = queue.names.get_mut(&record.request_id) {
            named.at = Some(now);
        }
        if !record.claim_id.is_empty() {
            let past = PastClaim { task_id: record.task.task_id, end: ClaimEnd::Deleted };
            queue.claims.insert(record.claim_id, Claim::Past(past, now));
        }
        self.cursor += 1;
        let cursor = self.cursor;
        if let Ok(queue) = self.queue_mut(agent_id) {
            queue.changed.insert(cursor, (number, Some(now)));
        }
        self.note(QueueChange::Changed);
        true
    }

    pub(super) fn remember(
        &mut self,
        agent_id: &str,
        name: &str,
        remembered: RememberedAnswer,
        now: Millis,
    ) {
        if let Some(queue) = self.queues.get_mut(agent_id) {
            queue.names.insert(name.into(), NamedRequest { remembered, at: Some(now) });
        }
    }
}
