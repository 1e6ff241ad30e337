//! Claims, what their holders say, and leases that end.

use super::{
    super::{
        Claimed, Millis, QueueChange, Settings,
        record::{ClaimEnd, TaskEvent, Updated, millis, no_task, not_held, task_number},
    },
    failure::Failure,
    row, sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::{
    GetTaskRequest, GetTaskResponse, TaskStatus, UpdateTaskStatusRequest, UpdateTaskStatusResponse,
};

/// When to look again for a task that another transaction worked on: it may be given back without a
/// word.
const WORKED_ON: Millis = 50;

pub(super) async fn claim(
    transaction: Transaction,
    request: &GetTaskRequest,
    settings: &Settings,
    now: Millis,
) -> Result<(Claimed, Option<QueueChange>), Failure> {
    let (agent_id, claim_id) = (&*request.agent_id, &*request.claim_id);
    // A claim that is repeated while its first try is at work waits for that one, and finds what it
    // took.
    let (_, known, picked) = futures::try_join!(
        transaction.rows(sql::LOCK_NAME, [&agent_id, &claim_id]),
        row::claim_head(&transaction, agent_id, claim_id, now),
        transaction.row(sql::PICK, [&agent_id])
    )?;
    if let Some(past) = known.past {
        return Err(not_held(&past.task_id, claim_id, Some(past.end)).into());
    }
    let record = if let Some(number) = known.task {
        let held = row::lock(&transaction, agent_id, number).await?;
        let mut record =
            held.filter(|record| record.claim_id == *claim_id).ok_or(Failure::Again)?;
        transaction.note(TaskEvent::ClaimedAgain);
        if record.task.status() != TaskStatus::Processing {
            return Ok((Claimed { answer: record.claimed(now), next_lease_end: None }, None));
        }
        record.renew(settings, now);
        record
    } else if let Some(picked) = picked {
        let mut record = row::record(&picked, agent_id)?;
        record.claim(claim_id.into(), settings, now);
        record
    } else {
        let row = transaction.one(sql::NOTHING_TO_PICK, [&agent_id]).await?;
        let lease_end: Option<Millis> = row.try_get(0)?;
        let worked_on = row.try_get::<_, bool>(1)?.then_some(now + WORKED_ON);
        let next_lease_end = lease_end.into_iter().chain(worked_on).min();
        return Ok((Claimed { answer: GetTaskResponse::default(), next_lease_end }, None));
    };
    transaction.commit_after(row::save(&transaction, &record)).await?;
    Ok((Claimed { answer: record.claimed(now), next_lease_end: None }, Some(QueueChange::Changed)))
}

pub(super) async fn update(
    transaction: Transaction,
    request: &UpdateTaskStatusRequest,
    settings: &Settings,
    now: Millis,
) -> Result<(UpdateTaskStatusResponse, Option<QueueChange>), Failure> {
    let (agent_id, claim_id) = (&*request.agent_id, &*request.claim_id);
    let number = task_number(&request.task_id).unwrap_or_default();
    // The task is locked before its claim is looked up, so that the two belong together.
    let locked = row::lock(&transaction, agent_id, number);
    let known = row::claim_head(&transaction, agent_id, claim_id, now);
    let (locked, known) = futures::try_join!(locked, known)?;
    let mut record = locked.ok_or_else(|| no_task(agent_id, &request.task_id))?;
    match record.update(request, known.past.as_ref(), settings, now)? {
        Updated::Unchanged => Ok((record.updated(now), None)),
        Updated::Changed => {
            transaction.commit_after(row::save(&transaction, &record)).await?;
            Ok((record.updated(now), Some(QueueChange::Changed)))
        }
        Updated::Released => {
            let writes = async {
                let save = row::save(&transaction, &record);
                futures::try_join!(
                    save,
                    row::end_claim(&transaction, &record, claim_id, ClaimEnd::Released, now)
                )
            };
            transaction.commit_after(writes).await?;
            Ok((record.updated(now), Some(QueueChange::Claimable(1))))
        }
    }
}

/// Gives back some of what is overdue, and shortens leases that another clock made too long;
/// returns whether there was something.
pub(super) async fn lose(
    transaction: Transaction,
    agent_id: &str,
    settings: &Settings,
    now: Millis,
) -> Result<(bool, Option<QueueChange>), Failure> {
    let latest = transaction.latest_lease_end(now);
    let rows = transaction.rows(sql::LOCK_OVERDUE, [&agent_id, &now, &latest]).await?;
    let mut change: Option<QueueChange> = None;
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut record = row::record(row, agent_id)?;
        let lost = match record.shorten(settings, now) {
            true => None,
            false => {
                let lost = (record.claim_id.clone(), millis(record.task.lease_until.as_ref()));
                record.lose(settings);
                Some(lost)
            }
        };
        let claimable = record.task.status() == TaskStatus::Pending;
        let one = if claimable { QueueChange::Claimable(1) } else { QueueChange::Changed };
        change = Some(change.map_or(one, |known| known.merge(one)));
        records.push((record, lost));
    }
    let writes = records.iter().map(async |(record, lost)| {
        let save = row::save(&transaction, record);
        match lost {
            None => save.await,
            Some((claim_id, ended_at)) => {
                let over =
                    row::end_claim(&transaction, record, claim_id, ClaimEnd::Lost, *ended_at);
                futures::try_join!(save, over).map(drop)
            }
        }
    });
    transaction.commit_after(futures::future::try_join_all(writes)).await?;
    Ok((!rows.is_empty(), change))
}
