//! New tasks: submissions, and retries of failed ones.

use super::{
    super::{
        Millis, QueueChange,
        record::{Operation, Record, RememberedAnswer, TaskEvent, no_task, task_id, task_number},
    },
    failure::Failure,
    row, sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::{
    BatchSubmitTasksRequest, BatchSubmitTasksResponse, NewTask, RetryTaskRequest,
    RetryTaskResponse, SubmitTaskResponse,
};
use std::collections::HashMap;

pub(super) async fn submit(
    transaction: Transaction,
    request: &BatchSubmitTasksRequest,
    now: Millis,
) -> Result<(BatchSubmitTasksResponse, Option<QueueChange>), Failure> {
    let agent_id = &*request.agent_id;
    let mut added = add(&transaction, agent_id, &request.tasks, "", now).await?;
    let mut tasks = Vec::with_capacity(request.tasks.len());
    for NewTask { client_request_id: name, .. } in &request.tasks {
        tasks.push(if let Some(number) = added.new.remove(name) {
            // Named again in the same batch, it is submitted already.
            added.known.insert(name.clone(), RememberedAnswer::submission(task_id(number), false));
            transaction.note(TaskEvent::Submitted);
            SubmitTaskResponse { task_id: task_id(number), already_submitted: false }
        } else {
            // A task that was there a moment ago and is gone now: its name is remembered by now.
            added.known.get(name).ok_or(Failure::Again)?.answer(Operation::Submit, name)?
        });
    }
    transaction.commit().await?;
    // Also when all were there before: whoever added them may have died before it told.
    let change = QueueChange::Claimable(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
    Ok((BatchSubmitTasksResponse { tasks }, Some(change)))
}

pub(super) async fn retry(
    transaction: Transaction,
    request: &RetryTaskRequest,
    now: Millis,
) -> Result<(RetryTaskResponse, Option<QueueChange>), Failure> {
    let (agent_id, name) = (&*request.agent_id, &request.client_request_id);
    let number = task_number(&request.task_id).unwrap_or_default();
    let names = std::slice::from_ref(name);
    let (_, named, named_task, failed) = futures::try_join!(
        row::head(&transaction, agent_id, now),
        transaction.row(sql::NAMED, [&agent_id, &names]),
        transaction.row(sql::NAMED_TASKS, [&agent_id, &names]),
        transaction.row(sql::TASK, [&agent_id, &number])
    )?;
    if let Some(row) = named.or(named_task) {
        return Ok((row::remembered(&row)?.1.retried(name)?, Some(QueueChange::Claimable(1))));
    }
    let failed = failed.ok_or_else(|| no_task(agent_id, &request.task_id))?;
    // Its number is given when it is added.
    let Record { task, .. } = row::record(&failed, agent_id)?.again(0, name.clone(), now)?;
    let again = NewTask {
        r#type: task.r#type,
        payload: task.payload,
        custom_type: task.custom_type,
        priority: Some(task.priority),
        client_request_id: name.clone(),
    };
    let added = add(&transaction, agent_id, &[again], &task.retry_of, now).await?;
    let number = added.new.get(name).copied().ok_or(Failure::Again)?;
    transaction.note(TaskEvent::Retried);
    transaction.commit().await?;
    Ok((RetryTaskResponse { task_id: task_id(number) }, Some(QueueChange::Claimable(1))))
}

/// What became of the names of new tasks.
#[derive(Default)]
struct Added {
    /// The tasks that were added.
    new: HashMap<String, i64>,
    /// What the other names named before.
    known: HashMap<String, RememberedAnswer>,
}

/// Adds those tasks whose names are new.
///
/// First they are added, then names are looked up: whoever deletes a task remembers its name in the
/// same transaction, so that one of the two sees a name that was known.
async fn add(
    transaction: &Transaction,
    agent_id: &str,
    tasks: &[NewTask],
    retry_of: &str,
    now: Millis,
) -> Result<Added, Failure> {
    let names: Vec<&str> = tasks.iter().map(|task| &*task.client_request_id).collect();
    let types: Vec<i16> = tasks.iter().map(|task| row::small(task.r#type)).collect();
    let custom_types: Vec<&str> = tasks.iter().map(|task| &*task.custom_type).collect();
    let payloads: Vec<&str> = tasks.iter().map(|task| &*task.payload).collect();
    let priorities: Vec<i16> =
        tasks.iter().map(|task| row::small(task.priority.unwrap_or(5))).collect();
    let (new, named) = futures::try_join!(
        transaction.rows(
            sql::ADD,
            [&agent_id, &names, &types, &custom_types, &payloads, &priorities, &now, &retry_of]
        ),
        transaction.rows(sql::NAMED, [&agent_id, &names])
    )?;
    let mut added = Added::default();
    for row in &new {
        added.new.insert(row.try_get(0)?, row.try_get(1)?);
    }
    for row in &named {
        let (name, remembered) = row::remembered(row)?;
        added.known.insert(name, remembered);
    }
    let taken_back: Vec<i64> =
        added.known.keys().filter_map(|name| added.new.remove(name)).collect();
    if !taken_back.is_empty() {
        transaction.execute(sql::TAKE_BACK, [&agent_id, &taken_back]).await?;
    }
    let other: Vec<&str> = names
        .into_iter()
        .filter(|name| !added.new.contains_key(*name) && !added.known.contains_key(*name))
        .collect();
    if !other.is_empty() {
        for row in &transaction.rows(sql::NAMED_TASKS, [&agent_id, &other]).await? {
            let (name, remembered) = row::remembered(row)?;
            added.known.insert(name, remembered);
        }
    }
    if added.new.is_empty() && added.known.is_empty() {
        row::head(transaction, agent_id, now).await?;
    }
    Ok(added)
}
