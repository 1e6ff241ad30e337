//! A schema that an older program made, from a dump that `pg_dump` took then.

use super::{Database, open};
use crate::versions::{fill, keeps_its_promises};

const POSTGRES_1: &str = include_str!("../versions/postgres_1.sql");

#[tokio::test]
async fn a_schema_of_version_1_opens_with_all_that_was_promised_for_it() {
    let database = Database::new();
    database.connect().await.batch_execute(POSTGRES_1).await.expect("restored");
    keeps_its_promises(&open(&database).await).await;
    open(&database).await;
}

/// `.ci/postgres cargo test --features serve --test queue -- --ignored made_by_this_program
/// --nocapture`
#[tokio::test]
#[ignore = "makes the dump of a new version"]
async fn a_schema_made_by_this_program() {
    let database = Database::new();
    fill(&open(&database).await).await;
    let dump = ["--schema=agent_queue", "--no-owner", "--no-privileges", "--inserts"];
    let dump = std::process::Command::new("pg_dump")
        .args(dump)
        .arg(&database.dsn)
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let text = String::from_utf8(dump.stdout).expect("text");
    // What only psql understands, and what a newer pg_dump says to older servers.
    let kept = text
        .lines()
        .filter(|line| !line.starts_with('\\') && !line.starts_with("SET ") && !line.is_empty());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres_new.sql");
    std::fs::write(&path, kept.fold(String::new(), |text, line| text + line + "\n"))
        .expect("written");
    println!("made {}", path.display());
}
