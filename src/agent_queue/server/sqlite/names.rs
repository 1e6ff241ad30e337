//! What the names of a queue stand for: requests with their first answers, and claims that are
//! over.

use super::{
    super::{
        Millis,
        record::{ClaimEnd, Operation, PastClaim, RememberedAnswer, task_id},
    },
    worker::{JobContext, JobResult},
};
use rusqlite::{OptionalExtension, params};

impl JobContext<'_> {
    /// What a name of this queue named: a task that is there, or anything else.
    pub(super) fn remembered(
        &self,
        agent_id: &str,
        queue: i64,
        name: &str,
    ) -> JobResult<Option<RememberedAnswer>> {
        const TASK: &str =
            "SELECT number, retry_of <> '' FROM tasks WHERE queue = ?1 AND request_id = ?2";
        let task = self.sql.prepare_cached(TASK)?.query_row(params![queue, name], |row| {
            Ok(RememberedAnswer::submission(task_id(row.get(0)?), row.get(1)?))
        });
        if let Some(task) = task.optional()? {
            return Ok(Some(task));
        }
        const REQUEST: &str =
            "SELECT operation, answer FROM requests WHERE queue = ?1 AND name = ?2";
        let request = self.sql.prepare_cached(REQUEST)?.query_row(params![queue, name], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let Some((operation, answer)) = request.optional()? else { return Ok(None) };
        let damaged =
            || tonic::Status::data_loss(format!("{agent_id:?}: the name {name:?} is damaged"));
        Ok(Some(RememberedAnswer {
            operation: Operation::from_number(operation).ok_or_else(damaged)?,
            answer,
        }))
    }

    pub(super) fn remember(
        &mut self,
        queue: i64,
        name: &str,
        remembered: &RememberedAnswer,
        now: Millis,
    ) -> JobResult<()> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO requests (queue, name, operation, at, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![
            queue,
            name,
            remembered.operation as i64,
            now,
            remembered.answer
        ])?;
        Ok(())
    }

    pub(super) fn past_claim(&self, queue: i64, claim_id: &str) -> JobResult<Option<PastClaim>> {
        const PAST: &str = "SELECT number, over FROM claims WHERE queue = ?1 AND claim_id = ?2";
        let found = self.sql.prepare_cached(PAST)?.query_row(params![queue, claim_id], |row| {
            let end = ClaimEnd::from_number(row.get(1)?).unwrap_or(ClaimEnd::Lost);
            Ok(PastClaim { task_id: task_id(row.get(0)?), end })
        });
        Ok(found.optional()?)
    }

    pub(super) fn claim_is_over(
        &mut self,
        queue: i64,
        claim_id: &str,
        number: i64,
        end: ClaimEnd,
        at: Millis,
    ) -> JobResult<()> {
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO claims (queue, claim_id, number, over, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        insert.execute(params![queue, claim_id, number, end as i64, at])?;
        Ok(())
    }
}
