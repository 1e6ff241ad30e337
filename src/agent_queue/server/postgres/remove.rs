//! What is named and ends tasks: deletions, clearings, cancellations; and forgetting.

use super::{
    super::{
        Millis, QueueChange,
        record::{Operation, RememberedAnswer, no_task, task_number},
        steps::{ClearProgress, ClearStep, STEP, hidden},
    },
    failure::Failure,
    row, sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::{
    BatchDeleteTasksRequest, BatchDeleteTasksResponse, CancelTaskRequest, CancelTaskResponse,
    ClearQueueRequest, ClearQueueResponse,
};
use std::collections::HashSet;

/// A step of a clearing; `progress` where it is not the first.
pub(super) async fn clear_queue(
    transaction: Transaction,
    request: &ClearQueueRequest,
    progress: Option<ClearProgress>,
    now: Millis,
) -> Result<(ClearStep, Option<QueueChange>), Failure> {
    let (agent_id, name) = (&*request.agent_id, &*request.client_request_id);
    let (head, remembered) = named(&transaction, agent_id, name, now).await?;
    if let Some(remembered) = remembered {
        return Ok((ClearStep::Done(remembered.answer(Operation::Clear, name)?), None));
    }
    let progress = match progress {
        Some(progress) => progress,
        None => {
            let last: Option<i64> =
                transaction.one(sql::LAST_TASK, [&agent_id]).await?.try_get(0)?;
            ClearProgress { until: last.unwrap_or_default(), after: 0, deleted: 0 }
        }
    };
    let (status, most) = (request.status.map(row::small::<i32>), STEP as i64);
    let row = transaction
        .one(sql::CLEAR, [&agent_id, &progress.after, &progress.until, &status, &now, &most])
        .await?;
    let numbers = row.try_get::<_, Option<Vec<i64>>>(0)?.unwrap_or_default();
    let change = (!numbers.is_empty()).then_some(QueueChange::Changed);
    let progress = progress.after_deleting(&numbers);
    if numbers.len() == STEP {
        transaction.commit().await?;
        return Ok((ClearStep::More(progress), change));
    }
    let deleted = progress.deleted;
    if deleted > 0 {
        let remembered = RememberedAnswer::clearing(deleted);
        transaction
            .commit_after(remember(&transaction, head.queue, name, &remembered, now))
            .await?;
    }
    Ok((ClearStep::Done(ClearQueueResponse { deleted }), change))
}

/// A step of deleting what a queue out of sight holds; returns whether there may be more.
pub(super) async fn empty_queue(
    transaction: Transaction,
    queue: i64,
) -> Result<(bool, Option<QueueChange>), Failure> {
    let mut room = STEP as i64;
    for statement in [sql::EMPTY_TASKS, sql::EMPTY_NAMES, sql::EMPTY_CLAIMS] {
        let gone = transaction.execute(statement, [&queue, &room]).await?;
        room -= i64::try_from(gone).unwrap_or(room);
    }
    if room > 0 {
        transaction.execute(sql::DELETE_QUEUE, [&queue]).await?;
    }
    transaction.commit().await?;
    Ok((room <= 0, None))
}

/// A queue that was put out of sight and not emptied: its deletion was cut off.
pub(super) async fn hidden_queue(
    transaction: Transaction,
) -> Result<(Option<i64>, Option<QueueChange>), Failure> {
    let row = transaction.row(sql::HIDDEN, [&hidden()]).await?;
    Ok((row.map(|row| row.try_get(0)).transpose()?, None))
}

pub(super) async fn delete_tasks(
    transaction: Transaction,
    request: &BatchDeleteTasksRequest,
    now: Millis,
) -> Result<(BatchDeleteTasksResponse, Option<QueueChange>), Failure> {
    let (agent_id, name) = (&*request.agent_id, &*request.client_request_id);
    let (head, remembered) = named(&transaction, agent_id, name, now).await?;
    if let Some(remembered) = remembered {
        return Ok((remembered.answer(Operation::Delete, name)?, None));
    }
    let wanted: Vec<i64> = request.task_ids.iter().filter_map(|id| task_number(id)).collect();
    let gone: HashSet<i64> =
        delete(&transaction, agent_id, &wanted, now).await?.into_iter().collect();
    let mut seen = HashSet::new();
    let once = request.task_ids.iter().filter(|id| seen.insert(id.as_str()));
    let missing = once.filter(|id| task_number(id).is_none_or(|number| !gone.contains(&number)));
    let not_found = missing.cloned().collect();
    let answer = BatchDeleteTasksResponse { deleted: gone.len() as u64, not_found };
    if gone.is_empty() {
        return Ok((answer, None));
    }
    let remembered = RememberedAnswer::new(Operation::Delete, &answer);
    transaction.commit_after(remember(&transaction, head.queue, name, &remembered, now)).await?;
    Ok((answer, Some(QueueChange::Changed)))
}

pub(super) async fn cancel(
    transaction: Transaction,
    request: &CancelTaskRequest,
    now: Millis,
) -> Result<(CancelTaskResponse, Option<QueueChange>), Failure> {
    let (agent_id, name) = (&*request.agent_id, &*request.client_request_id);
    let (head, remembered) = named(&transaction, agent_id, name, now).await?;
    if let Some(remembered) = remembered {
        let first: CancelTaskResponse = remembered.answer(Operation::Cancel, name)?;
        let number =
            first.task.as_ref().and_then(|task| task_number(&task.task_id)).unwrap_or_default();
        let row = transaction.row(sql::TASK, [&agent_id, &number]).await?;
        let task =
            row.map(|row| row::record(&row, agent_id)).transpose()?.map(|record| record.task);
        return Ok((task.map_or(first, |task| CancelTaskResponse { task: Some(task) }), None));
    }
    let locked =
        row::lock(&transaction, agent_id, task_number(&request.task_id).unwrap_or_default())
            .await?;
    let mut record = locked.ok_or_else(|| no_task(agent_id, &request.task_id))?;
    record.cancel(request, now)?;
    let remembered = RememberedAnswer::cancellation(&record.task);
    let writes = async {
        let save = row::save(&transaction, &record);
        futures::try_join!(save, remember(&transaction, head.queue, name, &remembered, now))
    };
    transaction.commit_after(writes).await?;
    Ok((CancelTaskResponse { task: Some(record.task) }, Some(QueueChange::Changed)))
}

/// Forgets some of what was over before `cutoff`; returns whether there may be more.
pub(super) async fn prune(
    transaction: Transaction,
    cutoff: Millis,
) -> Result<(bool, Option<QueueChange>), Failure> {
    let mut more = false;
    for statement in [sql::PRUNE_TASKS, sql::PRUNE_NAMES, sql::PRUNE_CLAIMS] {
        more |= transaction.execute(statement, [&cutoff]).await? > 0;
    }
    transaction.commit().await?;
    Ok((more, None))
}

/// The queue's head, and what a request's name named. Another request of this name waits until the
/// transaction ends.
async fn named(
    transaction: &Transaction,
    agent_id: &str,
    name: &str,
    now: Millis,
) -> Result<(row::QueueHead, Option<RememberedAnswer>), Failure> {
    let names = [name];
    let names = names.as_slice();
    let (_, head, named, named_task) = futures::try_join!(
        transaction.rows(sql::LOCK_NAME, [&agent_id, &name]),
        row::head(transaction, agent_id, now),
        transaction.row(sql::NAMED, [&agent_id, &names]),
        transaction.row(sql::NAMED_TASKS, [&agent_id, &names])
    )?;
    let remembered = named.or(named_task).map(|row| row::remembered(&row)).transpose()?;
    Ok((head, remembered.map(|(_, remembered)| remembered)))
}

/// Deletes tasks and remembers what they and their claims were called; returns their numbers.
async fn delete(
    transaction: &Transaction,
    agent_id: &str,
    numbers: &[i64],
    now: Millis,
) -> Result<Vec<i64>, Failure> {
    let row = transaction.one(sql::DELETE_TASKS, [&agent_id, &numbers, &now]).await?;
    Ok(row.try_get::<_, Option<Vec<i64>>>(0)?.unwrap_or_default())
}

async fn remember(
    transaction: &Transaction,
    queue: i64,
    name: &str,
    remembered: &RememberedAnswer,
    now: Millis,
) -> Result<(), Failure> {
    let operation = remembered.operation as i16;
    transaction
        .execute(sql::REMEMBER, [&queue, &name, &operation, &remembered.answer, &now])
        .await?;
    Ok(())
}
