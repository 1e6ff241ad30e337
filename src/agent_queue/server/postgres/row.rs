//! Rows and what they mean: a task's record, a queue's head, a remembered name.

use super::{
    super::{
        Millis,
        record::{
            ClaimEnd, Operation, PastClaim, Record, RememberedAnswer, millis, no_queue, task_id,
            task_number, timestamp,
        },
    },
    failure::{Failure, unavailable},
    sql,
    transaction::Transaction,
};
use crate::proto::agent_queue::Task;
use tokio_postgres::Row;

/// The task of a row of `columns!()`.
pub(super) fn record(row: &Row, agent_id: &str) -> Result<Record, Failure> {
    let moment = |index| Ok::<_, Failure>(row.try_get::<_, Option<Millis>>(index)?.map(timestamp));
    Ok(Record {
        task: Task {
            task_id: task_id(row.try_get(0)?),
            agent_id: agent_id.into(),
            r#type: row.try_get::<_, i16>(4)?.into(),
            custom_type: row.try_get(5)?,
            payload: row.try_get(6)?,
            priority: unsigned(row.try_get::<_, i16>(7)?),
            status: row.try_get::<_, i16>(8)?.into(),
            result: row.try_get(9)?,
            error_message: row.try_get(10)?,
            created_at: moment(11)?,
            claimed_at: moment(12)?,
            finished_at: moment(13)?,
            lease_until: moment(14)?,
            claims: unsigned(row.try_get::<_, i32>(15)?),
            retry_of: row.try_get(16)?,
        },
        request_id: row.try_get(1)?,
        claim_id: row.try_get::<_, Option<String>>(2)?.unwrap_or_default(),
        lost: unsigned(row.try_get::<_, i32>(3)?),
        event: None,
    })
}

/// Task `number` as nobody else can change it until the transaction ends; none where it is not
/// there.
pub(super) async fn lock(
    transaction: &Transaction,
    agent_id: &str,
    number: i64,
) -> Result<Option<Record>, Failure> {
    let row = transaction.row(sql::LOCK_TASK, [&agent_id, &number]).await?;
    row.map(|row| record(&row, agent_id)).transpose()
}

/// Keeps what became of a task that is locked.
pub(super) async fn save(transaction: &Transaction, record: &Record) -> Result<(), Failure> {
    let Record { task, claim_id, lost, event, .. } = record;
    event.iter().for_each(|event| transaction.note(*event));
    let moment = |at: &Option<_>| at.as_ref().map(|at| millis(Some(at)));
    let claim_id = Some(claim_id).filter(|id| !id.is_empty());
    let (number, status, lost, claims) =
        (number(record), small(task.status), signed(*lost), signed(task.claims));
    transaction
        .execute(
            sql::SAVE,
            [
                &number,
                &task.agent_id,
                &claim_id,
                &lost,
                &status,
                &task.result,
                &task.error_message,
                &moment(&task.claimed_at),
                &moment(&task.finished_at),
                &moment(&task.lease_until),
                &claims,
            ],
        )
        .await?;
    Ok(())
}

/// A task's number.
pub(super) fn number(record: &Record) -> i64 {
    task_number(&record.task.task_id).unwrap_or_default()
}

/// Remembers that a claim is over.
pub(super) async fn end_claim(
    transaction: &Transaction,
    record: &Record,
    claim_id: &str,
    end: ClaimEnd,
    at: Millis,
) -> Result<(), Failure> {
    let (number, end) = (number(record), end as i16);
    transaction.execute(sql::OVER, [&record.task.agent_id, &claim_id, &number, &end, &at]).await?;
    Ok(())
}

/// A queue that is there and has nothing overdue.
#[derive(Debug)]
pub(super) struct QueueHead {
    pub(super) queue: i64,
    pub(super) created_at: Millis,
}

/// The queue's head; NOT_FOUND where there is no queue, and not before its overdue leases are given
/// back.
pub(super) async fn head(
    transaction: &Transaction,
    agent_id: &str,
    now: Millis,
) -> Result<QueueHead, Failure> {
    let row =
        transaction.row(sql::HEAD, [&agent_id, &now, &transaction.latest_lease_end(now)]).await?;
    read_head(row.as_ref(), agent_id)
}

fn read_head(row: Option<&Row>, agent_id: &str) -> Result<QueueHead, Failure> {
    let row = row.ok_or_else(|| no_queue(agent_id))?;
    if row.try_get(2)? {
        return Err(Failure::Overdue);
    }
    Ok(QueueHead { queue: row.try_get(0)?, created_at: row.try_get(1)? })
}

/// What is known of a claim.
#[derive(Debug)]
pub(super) struct KnownClaim {
    /// The number of the task that it holds or ended.
    pub(super) task: Option<i64>,
    /// Why it is over otherwise.
    pub(super) past: Option<PastClaim>,
}

/// The queue's head, and what is known of a claim.
pub(super) async fn claim_head(
    transaction: &Transaction,
    agent_id: &str,
    claim_id: &str,
    now: Millis,
) -> Result<KnownClaim, Failure> {
    let row = transaction
        .row(sql::CLAIM_HEAD, [&agent_id, &now, &transaction.latest_lease_end(now), &claim_id])
        .await?;
    read_head(row.as_ref(), agent_id)?;
    let row = row.ok_or_else(|| no_queue(agent_id))?;
    let past = match (row.try_get::<_, Option<i64>>(4)?, row.try_get::<_, Option<i16>>(5)?) {
        (Some(number), Some(over)) => {
            let end =
                ClaimEnd::from_number(over.into()).ok_or_else(|| damaged("past_claim.over"))?;
            Some(PastClaim { task_id: task_id(number), end })
        }
        _ => None,
    };
    Ok(KnownClaim { task: row.try_get(3)?, past })
}

/// The name and the first answer of a row of [`sql::NAMED`] or [`sql::NAMED_TASKS`].
pub(super) fn remembered(row: &Row) -> Result<(String, RememberedAnswer), Failure> {
    let operation = Operation::from_number(row.try_get::<_, i16>(1)?.into())
        .ok_or_else(|| damaged("name.operation"))?;
    let remembered = match row.try_get::<_, Option<i64>>(3)? {
        Some(number) => {
            RememberedAnswer::submission(task_id(number), operation == Operation::Retry)
        }
        None => RememberedAnswer {
            operation,
            answer: row.try_get::<_, Option<Vec<u8>>>(2)?.unwrap_or_default(),
        },
    };
    Ok((row.try_get(0)?, remembered))
}

fn damaged(column: &str) -> Failure {
    unavailable(&format_args!("agent_queue.{column} has a number that this server does not know"))
        .into()
}

/// Counts that cannot be negative.
pub(super) fn unsigned<T: TryInto<u32>>(number: T) -> u32 {
    number.try_into().unwrap_or_default()
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Enum numbers and priorities, which are small.
pub(super) fn small<T: TryInto<i16>>(number: T) -> i16 {
    number.try_into().unwrap_or_default()
}
