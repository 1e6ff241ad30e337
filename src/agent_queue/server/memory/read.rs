//! What a queue in memory tells of its tasks: counts, pages, times.

use super::{
    super::{
        Millis,
        page::PageRoom,
        record::{age, millis, timestamp},
    },
    queue::Queue,
};
use crate::proto::agent_queue::{
    GetQueueInfoResponse, GetTaskStatsResponse, ListTasksRequest, ListTasksResponse, QueueSummary,
    Task, TaskCounts, TaskStatus, TaskType, TypeCount,
};
use prost::Message as _;
use std::collections::BTreeMap;

impl Queue {
    pub(super) fn info(&self, agent_id: &str) -> GetQueueInfoResponse {
        GetQueueInfoResponse {
            agent_id: agent_id.into(),
            created_at: Some(timestamp(self.created_at)),
            tasks: Some(self.counts()),
        }
    }

    pub(super) fn summary(&self, agent_id: &str, now: Millis) -> QueueSummary {
        let task = |number: i64| self.tasks.get(&number).map(|stored| &stored.record.task);
        let pending = self.pending.iter().map(|(_, number)| *number).min().and_then(task);
        let processing =
            self.leased.iter().filter_map(|(_, number)| task(*number)?.claimed_at.as_ref());
        let submitted = pending.and_then(|task| task.created_at.as_ref());
        let claimed = processing.map(|at| millis(Some(at))).min();
        QueueSummary {
            agent_id: agent_id.into(),
            created_at: Some(timestamp(self.created_at)),
            tasks: Some(self.counts()),
            oldest_pending: submitted.map(|at| age(millis(Some(at)), now)),
            oldest_processing: claimed.map(|at| age(at, now)),
        }
    }

    pub(super) fn list(&self, request: &ListTasksRequest) -> ListTasksResponse {
        let wanted =
            || self.all().filter(|task| request.status.is_none_or(|status| status == task.status));
        let total = wanted().count() as u64;
        let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
        let limit = request.limit.unwrap_or(100) as usize;
        let mut room = PageRoom::new();
        let page =
            wanted().skip(offset).take(limit).take_while(|task| room.take(task.encoded_len()));
        let tasks: Vec<Task> = page.cloned().collect();
        let next = request.offset.saturating_add(tasks.len() as u64);
        ListTasksResponse { tasks, total, next_offset: (next < total).then_some(next) }
    }

    pub(super) fn stats(&self, now: Millis) -> GetTaskStatsResponse {
        let mut types: BTreeMap<i32, u64> = BTreeMap::new();
        self.all().for_each(|task| *types.entry(task.r#type).or_default() += 1);
        let kinds = types
            .into_iter()
            .filter_map(|(kind, tasks)| Some((TaskType::try_from(kind).ok()?, tasks)));
        let pending = self.all().filter(|task| task.status() == TaskStatus::Pending);
        let waits = self.all().filter(|task| task.claimed_at.is_some());
        let runs = waits.clone().filter(|task| task.finished_at.is_some());
        GetTaskStatsResponse {
            tasks: Some(self.counts()),
            types: kinds.map(|(kind, tasks)| TypeCount { r#type: kind as i32, tasks }).collect(),
            oldest_pending: pending
                .map(|task| millis(task.created_at.as_ref()))
                .min()
                .map(|at| age(at, now)),
            average_wait: average(waits.map(|task| {
                age(millis(task.created_at.as_ref()), millis(task.claimed_at.as_ref()))
            })),
            average_run: average(runs.map(|task| {
                age(millis(task.claimed_at.as_ref()), millis(task.finished_at.as_ref()))
            })),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Task> + Clone {
        self.tasks.values().map(|stored| &stored.record.task)
    }

    fn counts(&self) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for task in self.all() {
            match task.status() {
                TaskStatus::Pending => counts.pending += 1,
                TaskStatus::Processing => counts.processing += 1,
                TaskStatus::Completed => counts.completed += 1,
                TaskStatus::Failed => counts.failed += 1,
                TaskStatus::Cancelled => counts.cancelled += 1,
                TaskStatus::Unspecified => {}
            }
        }
        counts
    }
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
