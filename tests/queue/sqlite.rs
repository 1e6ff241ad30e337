//! The store in a SQLite file.

use crate::conformance::{self, Place};
use tonic_supervisor::agent_queue::server::SqliteStore;

struct Sqlite(tempfile::TempDir);

impl Place for Sqlite {
    type Store = SqliteStore;
    const LASTS: bool = true;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.0.path().join("queue.db"), conformance::settings()).expect("opened")
    }
}

#[test]
fn the_sqlite_store_behaves_as_the_model() {
    conformance::a_store_behaves_as_the_model(40, || Sqlite(tempfile::tempdir().expect("folder")));
}
