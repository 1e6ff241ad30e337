//! Which queues there are, and the summary of one.

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

/// A queue's summary, if it is there; and whether leases of it are overdue, so that its counts are
/// not true yet.
pub(super) async fn summary(
    transaction: Transaction,
    agent_id: &str,
    now: Millis,
) -> Result<((Option<QueueSummary>, bool), Option<QueueChange>), Failure> {
    let (mut found, mut overdue) = (None, false);
    for row in transaction.rows(sql::SUMMARY, [&agent_id, &now]).await? {
        let summary = found.get_or_insert_with(|| QueueSummary {
            agent_id: agent_id.to_owned(),
            tasks: Some(Default::default()),
            ..QueueSummary::default()
        });
        summary.created_at = Some(timestamp(row.try_get(0)?));
        let status = TaskStatus::try_from(i32::from(row.try_get::<_, i16>(1)?)).unwrap_or_default();
        let tasks = row.try_get::<_, i64>(2)?.unsigned_abs();
        add(summary.tasks.get_or_insert_default(), status, tasks);
        let oldest = |index| {
            Ok::<_, Failure>(row.try_get::<_, Option<Millis>>(index)?.map(|at| age(at, now)))
        };
        match status {
            TaskStatus::Pending => summary.oldest_pending = oldest(3)?,
            TaskStatus::Processing => summary.oldest_processing = oldest(4)?,
            _ => {}
        }
        overdue |= row.try_get::<_, bool>(5)?;
    }
    Ok(((found, overdue), None))
}
