//! The store in memory.

use crate::conformance::{self, Place};
use tonic_supervisor::agent_queue::server::MemoryStore;

struct Memory;

impl Place for Memory {
    type Store = MemoryStore;
    const LASTS: bool = false;

    async fn open(&self) -> MemoryStore {
        MemoryStore::new(conformance::settings())
    }
}

struct Journalled(tempfile::TempDir);

impl Place for Journalled {
    type Store = MemoryStore;
    const LASTS: bool = true;

    async fn open(&self) -> MemoryStore {
        let path = self.0.path().join("journal");
        MemoryStore::with_journal(&path, conformance::settings()).expect("opened")
    }
}

#[test]
fn the_store_in_memory_behaves_as_the_model() {
    conformance::a_store_behaves_as_the_model(300, || Memory);
}

#[test]
fn a_journal_brings_the_store_back_as_it_was() {
    conformance::a_store_behaves_as_the_model(30, || Journalled(tempfile::tempdir().expect("folder")));
}
