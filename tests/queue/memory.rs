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
        "Queues Queues",
        "DeleteQueue QueueDeleted",
        "Prune Pruned",
        "max_claims",
    ] {
        assert!(seen.contains(wanted), "{wanted} never happened in {seen:?}");
    }
}

#[test]
fn a_journal_brings_the_store_back_as_it_was() {
    conformance::a_store_behaves_as_the_model(30, || {
        Journalled(tempfile::tempdir().expect("folder"))
    });
}

#[tokio::test]
async fn as_many_waiting_claims_wake_as_tasks_come() {
    conformance::as_many_waiting_claims_wake_as_tasks_come(Memory.open().await).await;
}

#[tokio::test]
async fn a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began() {
    conformance::a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began(
        Memory.open().await,
    )
    .await;
}

#[tokio::test]
async fn a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated() {
    conformance::a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated(
        Memory.open().await,
    )
    .await;
}

#[tokio::test]
async fn a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in() {
    conformance::a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in(
        Memory.open().await,
    )
    .await;
}

#[tokio::test]
async fn thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks() {
    conformance::thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks(
        Memory.open().await,
    )
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease() {
    conformance::a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease(
        Memory.open().await,
    )
    .await;
}

#[tokio::test]
async fn queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones() {
    conformance::queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones(Memory.open().await)
        .await;
}

#[test]
fn what_becomes_of_tasks_is_counted_once() {
    conformance::what_becomes_of_tasks_is_counted_once(async || Memory.open().await);
}
