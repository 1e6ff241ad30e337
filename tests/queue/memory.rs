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
fn the_histories_come_to_every_point() {
    let seen = conformance::the_same_histories(300, || Memory);
    // Histories that never come to the point would prove nothing.
    for wanted in [
        "Submit Submitted",
        "Submit InvalidArgument",
        "Submit NotFound",
        "Claim Claimed",
        "Claim FailedPrecondition",
        "Update Updated",
        "Update FailedPrecondition",
        "Update NotFound",
        "Delete Deleted",
        "Cancel Cancelled",
        "Cancel FailedPrecondition",
        "Retry Retried",
        "Retry FailedPrecondition",
        "Clear Cleared",
        "DeleteQueue QueueDeleted",
        "Prune Pruned",
        "max_claims",
    ] {
        assert!(seen.contains(wanted), "{wanted} never happened in {seen:?}");
    }
}

#[test]
fn a_journal_brings_the_store_back_as_it_was() {
    conformance::a_store_behaves_as_the_model(30, || Journalled(tempfile::tempdir().expect("folder")));
}

#[tokio::test]
async fn as_many_waiting_claims_wake_as_tasks_come() {
    conformance::as_many_waiting_claims_wake_as_tasks_come(Memory.open().await).await;
}
