//! One queue in memory: its tasks and the indexes over them.

use super::super::{
    Millis,
    record::{PastClaim, Record, RememberedAnswer, millis, task_number},
};
use crate::proto::agent_queue::TaskStatus;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

/// One agent's tasks, and how they are found.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) created_at: Millis,
    /// By age.
    pub(super) tasks: BTreeMap<i64, StoredTask>,
    /// Highest priority first, then oldest first.
    pub(super) pending: BTreeSet<(Reverse<u32>, i64)>,
    /// By the end of the lease.
    pub(super) leased: BTreeSet<(Millis, i64)>,
    /// By cursor: the last change of each task, deleted ones with the time.
    pub(super) changed: BTreeMap<u64, (i64, Option<Millis>)>,
    pub(super) names: HashMap<String, NamedRequest>,
    pub(super) claims: HashMap<String, Claim>,
}

/// A task, and its last change.
#[derive(Debug)]
pub(super) struct StoredTask {
    pub(super) record: Record,
    pub(super) cursor: u64,
}

/// What a request id named.
#[derive(Debug)]
pub(super) struct NamedRequest {
    pub(super) remembered: RememberedAnswer,
    /// When its work was done; none while its task is there.
    pub(super) at: Option<Millis>,
}

/// What a claim id names.
#[derive(Debug)]
pub(super) enum Claim {
    /// Holds or ended this task.
    Of(i64),
    /// Is over since then.
    Past(PastClaim, Millis),
}

impl StoredTask {
    pub(super) fn number(&self) -> Option<i64> {
        task_number(&self.record.task.task_id)
    }
}

impl Queue {
    /// Out of the tasks and their indexes.
    pub(super) fn take(&mut self, number: i64) -> Option<StoredTask> {
        let stored = self.tasks.remove(&number)?;
        self.changed.remove(&stored.cursor);
        self.pending.remove(&(Reverse(stored.record.task.priority), number));
        self.leased.remove(&(millis(stored.record.task.lease_until.as_ref()), number));
        Some(stored)
    }

    /// Into the tasks and their indexes.
    pub(super) fn put(&mut self, number: i64, stored: StoredTask) {
        let task = &stored.record.task;
        match task.status() {
            TaskStatus::Pending => {
                self.pending.insert((Reverse(task.priority), number));
            }
            TaskStatus::Processing => {
                self.leased.insert((millis(task.lease_until.as_ref()), number));
            }
            _ => {}
        }
        self.changed.insert(stored.cursor, (number, None));
        self.tasks.insert(number, stored);
    }

    /// Forgets everything that was over before `cutoff`.
    pub(super) fn prune(&mut self, cutoff: Millis) {
        let Queue { tasks, changed, names, claims, .. } = self;
        let finished = |stored: &StoredTask| {
            stored.record.task.finished_at.as_ref().map(|at| millis(Some(at)))
        };
        tasks.retain(|_, stored| {
            let keep = finished(stored).is_none_or(|at| at >= cutoff);
            if !keep {
                changed.remove(&stored.cursor);
                names.remove(&stored.record.request_id);
                claims.remove(&stored.record.claim_id);
            }
            keep
        });
        changed.retain(|_, (_, deleted_at)| deleted_at.is_none_or(|at| at >= cutoff));
        names.retain(|_, named| named.at.is_none_or(|at| at >= cutoff));
        claims.retain(|_, claim| !matches!(claim, Claim::Past(_, at) if *at < cutoff));
    }
}
