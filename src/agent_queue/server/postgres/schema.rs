//! The tables, and how they come to be: each version is a step from the one before.

use super::OpenError;
use tokio_postgres::Client;

/// The steps; the schema's version is how many of them were taken.
const STEPS: &[&str] = &[include_str!("schema_1.sql")];
/// Which advisory lock keeps two servers from taking the same step: "agent_qu" in ASCII.
const LOCK: i64 = 0x6167_656e_745f_7175;

/// Brings the database to this binary's version; refuses one that a newer binary has brought
/// further.
///
/// Servers that start together do it one after the other. All steps are one transaction: they are
/// taken, or none is.
pub(super) async fn migrate(client: &mut Client) -> Result<(), OpenError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let encoding: String = transaction.query_one("SHOW server_encoding", &[]).await?.try_get(0)?;
    if encoding != "UTF8" {
        return Err(OpenError::refused(format!(
            "the database's encoding is {encoding} and must be UTF8"
        )));
    }
    // Asked for first, because making what is there already needs the right to make it.
    let made =
        transaction.query_one("SELECT to_regnamespace('agent_queue') IS NOT NULL", &[]).await?;
    if !made.try_get::<_, bool>(0)? {
        transaction.batch_execute("CREATE SCHEMA agent_queue").await?;
    }
    let made =
        transaction.query_one("SELECT to_regclass('agent_queue.version') IS NOT NULL", &[]).await?;
    if !made.try_get::<_, bool>(0)? {
        let version = "CREATE TABLE agent_queue.version (version integer NOT NULL); INSERT INTO \
                       agent_queue.version VALUES (0)";
        transaction.batch_execute(version).await?;
    }
    let version: i32 =
        transaction.query_one("SELECT version FROM agent_queue.version", &[]).await?.try_get(0)?;
    let taken = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(steps) = STEPS.get(taken..) else {
        let known = STEPS.len();
        return Err(OpenError::refused(format!(
            "the schema agent_queue has version {version}, made by a newer tonic-supervisor; this \
             one knows versions up to {known}"
        )));
    };
    for step in steps {
        transaction.batch_execute(step).await?;
    }
    if !steps.is_empty() {
        let version = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
        transaction.execute("UPDATE agent_queue.version SET version = $1", &[&version]).await?;
    }
    transaction.commit().await?;
    Ok(())
}
