//! The file's tables, their version, and the steps from one version to the next.

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// The steps: the n-th makes version n out of version n - 1.
pub(super) const STEPS: &[&str] = &[include_str!("schema.sql")];

/// Brings the file to this program's version. An error is a sentence.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), String> {
    let words = |error: rusqlite::Error| error.to_string();
    // One process at a time; the others find the work done.
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(words)?;
    let version: i64 =
        transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(words)?;
    let newest = steps.len() as i64;
    if version > newest {
        return Err(format!(
            "it has version {version}, and this program knows versions up to {newest}: a newer \
             program has used it"
        ));
    }
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(words)?;
    if version == 0 && tables > 0 {
        return Err(FOREIGN.into());
    }
    for step in steps.iter().skip(version as usize) {
        transaction.execute_batch(step).map_err(words)?;
    }
    if version < newest {
        transaction.execute_batch(&format!("PRAGMA user_version = {newest}")).map_err(words)?;
    }
    // Others count versions in the same place.
    for columns in OURS {
        transaction.prepare(columns).map_err(|error| match error {
            rusqlite::Error::SqlInputError { .. } => FOREIGN.to_owned(),
            error if error.sqlite_error_code() == Some(ErrorCode::Unknown) => FOREIGN.to_owned(),
            error => words(error),
        })?;
    }
    transaction.commit().map_err(words)
}

const FOREIGN: &str = "it is the database of something else";
/// What every version has.
const OURS: [&str; 5] = [
    "SELECT cursor, last_task FROM meta",
    "SELECT id, agent_id, created_at FROM queues",
    "SELECT queue, number, status, changed, request_id, claim_id, lease_until FROM tasks",
    "SELECT queue, name, operation, answer, number, changed FROM requests",
    "SELECT queue, claim_id, number, over FROM claims",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_program_migrates_and_an_older_one_refuses() {
        let mut file = Connection::open_in_memory().expect("opened");
        migrate(&mut file, STEPS).expect("made");
        file.execute("INSERT INTO queues VALUES (1, 'a', 7)", []).expect("inserted");
        migrate(&mut file, STEPS).expect("nothing to do");

        let newer =
            [STEPS, &["ALTER TABLE queues ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"]].concat();
        migrate(&mut file, &newer).expect("migrated");
        let colour: String = file
            .query_row("SELECT colour FROM queues WHERE agent_id = 'a'", [], |row| row.get(0))
            .expect("kept");
        assert_eq!(colour, "red");

        let refused = migrate(&mut file, STEPS).expect_err("too new");
        let version = newer.len();
        assert!(refused.contains(&format!("it has version {version}")), "{refused}");
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut file = Connection::open_in_memory().expect("opened");
        migrate(&mut file, STEPS).expect("made");
        let broken = [STEPS, &["CREATE TABLE colours (name TEXT); CREATE NONSENSE"]].concat();
        migrate(&mut file, &broken).expect_err("broken");
        migrate(&mut file, STEPS).expect("as before");
        assert!(file.prepare("SELECT * FROM colours").is_err());
    }

    #[test]
    fn the_database_of_something_else_is_left_alone() {
        let mut file = Connection::open_in_memory().expect("opened");
        file.execute_batch("CREATE TABLE songs (name TEXT)").expect("made");
        assert_eq!(migrate(&mut file, STEPS), Err("it is the database of something else".into()));
        file.execute_batch("PRAGMA user_version = 1").expect("written");
        assert_eq!(migrate(&mut file, STEPS), Err("it is the database of something else".into()));
    }
}
