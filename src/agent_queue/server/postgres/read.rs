//! What a queue tells of its tasks: one task, pages, counts, times. And queues themselves.

use super::{
    super::{
        Millis, QueueChange,
        page::{MAX_PAGE, PageRoom},
        record::{age, no_task, task_number, timestamp},
    },
    failure::Failure,
    row, sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::{
    CreateQueueRequest, CreateQueueResponse, GetQueueInfoRequest, GetQueueInfoResponse,
    GetTaskStatsRequest, GetTaskStatsResponse, ListTasksRequest, ListTasksResponse,
    QueryTaskRequest, QueryTaskResponse, TaskCounts, TaskStatus, TypeCount,
};
use prost::Message as _;

pub(super) async fn create_queue(
    transaction: Transaction,
    request: &CreateQueueRequest,
    now: Millis,
) -> Result<(CreateQueueResponse, Option<QueueChange>), Failure> {
    let made = transaction
        .commit_after(transaction.execute(sql::CREATE, [&request.agent_id, &now]))
        .await?
        > 0;
    Ok((CreateQueueResponse { already_exists: !made }, made.then_some(QueueChange::Changed)))
}

pub(super) async fn queue_exists(
    transaction: Transaction,
    agent_id: &str,
) -> Result<(bool, Option<QueueChange>), Failure> {
    Ok((transaction.row(sql::HEAD, [&agent_id, &Millis::MIN, &Millis::MAX]).await?.is_some(), None))
}

pub(super) async fn queue_info(
    transaction: Transaction,
    request: &GetQueueInfoRequest,
    now: Millis,
) -> Result<(GetQueueInfoResponse, Option<QueueChange>), Failure> {
    let agent_id = &*request.agent_id;
    let head = row::head(&transaction, agent_id, now);
    let (head, counted) = futures::try_join!(head, transaction.rows(sql::STATS, [&agent_id]))?;
    let answer = GetQueueInfoResponse {
        agent_id: agent_id.into(),
        created_at: Some(timestamp(head.created_at)),
        tasks: Some(Counted::read(&counted)?.tasks),
    };
    Ok((answer, None))
}

/// Puts a queue out of sight; its number and how many tasks it has, if it was there.
pub(super) async fn hide_queue(
    transaction: Transaction,
    agent_id: &str,
    hidden: &str,
) -> Result<(Option<(i64, u64)>, Option<QueueChange>), Failure> {
    let any: Option<i16> = None;
    let count = transaction.one(sql::COUNT, [&agent_id, &any]);
    let hide = transaction.row(sql::HIDE, [&agent_id, &hidden]);
    let (count, hide) = futures::try_join!(count, hide)?;
    let Some(hide) = hide else { return Ok((None, None)) };
    let (queue, deleted) = (hide.try_get::<_, i64>(0)?, count.try_get::<_, i64>(0)?);
    transaction.commit().await?;
    Ok((Some((queue, deleted.unsigned_abs())), Some(QueueChange::Any)))
}

pub(super) async fn query(
    transaction: Transaction,
    request: &QueryTaskRequest,
    now: Millis,
) -> Result<(QueryTaskResponse, Option<QueueChange>), Failure> {
    let agent_id = &*request.agent_id;
    let number = task_number(&request.task_id).unwrap_or_default();
    let head = row::head(&transaction, agent_id, now);
    let (_, found) = futures::try_join!(head, transaction.row(sql::TASK, [&agent_id, &number]))?;
    let found = found.ok_or_else(|| no_task(agent_id, &request.task_id))?;
    Ok((QueryTaskResponse { task: Some(row::record(&found, agent_id)?.task) }, None))
}

pub(super) async fn list(
    transaction: Transaction,
    request: &ListTasksRequest,
    now: Millis,
) -> Result<(ListTasksResponse, Option<QueueChange>), Failure> {
    let agent_id = &*request.agent_id;
    let status = request.status.map(row::small::<i32>);
    let limit = i64::from(request.limit.unwrap_or(100));
    let offset = i64::try_from(request.offset).unwrap_or(i64::MAX);
    let (_, total, page) = futures::try_join!(
        row::head(&transaction, agent_id, now),
        transaction.one(sql::COUNT, [&agent_id, &status]),
        transaction.rows(sql::PAGE, [&agent_id, &status, &limit, &offset, &(MAX_PAGE as i64)])
    )?;
    let total = total.try_get::<_, i64>(0)?.unsigned_abs();
    let mut room = PageRoom::new();
    let mut tasks = Vec::new();
    for row in &page {
        let task = row::record(row, agent_id)?.task;
        if !room.take(task.encoded_len()) {
            break;
        }
        tasks.push(task);
    }
    let next = request.offset.saturating_add(tasks.len() as u64);
    Ok((ListTasksResponse { tasks, total, next_offset: (next < total).then_some(next) }, None))
}

pub(super) async fn stats(
    transaction: Transaction,
    request: &GetTaskStatsRequest,
    now: Millis,
) -> Result<(GetTaskStatsResponse, Option<QueueChange>), Failure> {
    let agent_id = &*request.agent_id;
    let head = row::head(&transaction, agent_id, now);
    let (_, rows) = futures::try_join!(head, transaction.rows(sql::STATS, [&agent_id]))?;
    let counted = Counted::read(&rows)?;
    let answer = GetTaskStatsResponse {
        tasks: Some(counted.tasks),
        types: counted.types,
        oldest_pending: counted.oldest_pending.map(|at| age(at, now)),
        average_wait: counted.waited.average(),
        average_run: counted.ran.average(),
    };
    Ok((answer, None))
}

/// The rows of [`sql::STATS`], added up.
#[derive(Default)]
struct Counted {
    tasks: TaskCounts,
    types: Vec<TypeCount>,
    oldest_pending: Option<Millis>,
    waited: Total,
    ran: Total,
}

#[derive(Default)]
struct Total {
    millis: f64,
    count: i64,
}

impl Total {
    fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| self.millis / 1000.0 / self.count as f64)
    }
}

impl Counted {
    fn read(rows: &[tokio_postgres::Row]) -> Result<Self, Failure> {
        let mut counted = Self::default();
        for row in rows {
            let status =
                TaskStatus::try_from(i32::from(row.try_get::<_, i16>(0)?)).unwrap_or_default();
            let kind = i32::from(row.try_get::<_, i16>(1)?);
            let tasks = row.try_get::<_, i64>(2)?.unsigned_abs();
            add(&mut counted.tasks, status, tasks);
            match counted.types.last_mut().filter(|last| last.r#type == kind) {
                Some(last) => last.tasks += tasks,
                None => counted.types.push(TypeCount { r#type: kind, tasks }),
            }
            if status == TaskStatus::Pending {
                let oldest: Millis = row.try_get(3)?;
                counted.oldest_pending =
                    Some(counted.oldest_pending.map_or(oldest, |known| known.min(oldest)));
            }
            for (total, index) in [(&mut counted.waited, 4), (&mut counted.ran, 6)] {
                total.millis += row.try_get::<_, f64>(index)?;
                total.count += row.try_get::<_, i64>(index + 1)?;
            }
        }
        Ok(counted)
    }
}

/// Counts tasks of this status.
pub(super) fn add(counts: &mut TaskCounts, status: TaskStatus, tasks: u64) {
    match status {
        TaskStatus::Pending => counts.pending += tasks,
        TaskStatus::Processing => counts.processing += tasks,
        TaskStatus::Completed => counts.completed += tasks,
        TaskStatus::Failed => counts.failed += tasks,
        TaskStatus::Cancelled => counts.cancelled += tasks,
        TaskStatus::Unspecified => {}
    }
}
