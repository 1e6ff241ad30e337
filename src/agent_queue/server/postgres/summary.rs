//! Which queues there are, and how many of them stand.

use super::{
    super::{
        Millis, QueueChange,
        record::{age, timestamp},
    },
    failure::Failure,
    read::add,
    sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::{QueueSummary, TaskStatus};
use std::collections::{BTreeSet, HashMap};

pub(super) async fn queue_names(
    transaction: Transaction,
    after: &str,
    limit: usize,
) -> Result<(Vec<String>, Option<QueueChange>), Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = transaction.rows(sql::NAMES, [&after, &limit]).await?;
    let names = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok((names, None))
}

/// Queues, in the order they were asked for; and those of which leases are overdue, whose counts
/// are not true yet.
type Summaries = (Vec<QueueSummary>, BTreeSet<String>);

pub(super) async fn summaries(
    transaction: Transaction,
    agent_ids: &[String],
    now: Millis,
) -> Result<(Summaries, Option<QueueChange>), Failure> {
    let (mut found, mut overdue) = (HashMap::new(), BTreeSet::new());
    for row in transaction.rows(sql::SUMMARIES, [&agent_ids, &now]).await? {
        let agent_id: String = row.try_get(0)?;
        let summary = found.entry(agent_id.clone()).or_insert_with(|| QueueSummary {
            agent_id: agent_id.clone(),
            tasks: Some(Default::default()),
            ..QueueSummary::default()
        });
        summary.created_at = Some(timestamp(row.try_get(1)?));
        let status = TaskStatus::try_from(i32::from(row.try_get::<_, i16>(2)?)).unwrap_or_default();
        let tasks = row.try_get::<_, i64>(3)?.unsigned_abs();
        add(summary.tasks.get_or_insert_default(), status, tasks);
        let oldest = |index| {
            Ok::<_, Failure>(row.try_get::<_, Option<Millis>>(index)?.map(|at| age(at, now)))
        };
        match status {
            TaskStatus::Pending => summary.oldest_pending = oldest(4)?,
            TaskStatus::Processing => summary.oldest_processing = oldest(5)?,
            _ => {}
        }
        if row.try_get(6)? {
            overdue.insert(agent_id);
        }
    }
    Ok(((agent_ids.iter().filter_map(|id| found.remove(id)).collect(), overdue), None))
}
