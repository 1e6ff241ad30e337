//! The store in PostgreSQL. Needs one:
//! `.ci/postgres cargo test --features serve --test queue postgres`

mod database;
mod outage;
mod servers;
mod tls;
mod versions;

use crate::{
    conformance::{self, Place},
    kills::{self, Leases},
};
use database::Database;
use tonic_supervisor::agent_queue::server::{PostgresStore, Store as _, postgres::Cursor};

struct Postgres(Database);

impl Place for Postgres {
    type Store = PostgresStore;
    const LASTS: bool = true;

    async fn open(&self) -> PostgresStore {
        open(&self.0).await
    }
}

async fn open(database: &Database) -> PostgresStore {
    PostgresStore::open(&database.dsn, conformance::settings()).await.expect("opened")
}

#[test]
fn the_postgres_store_behaves_as_the_model() {
    conformance::a_store_behaves_as_the_model(40, || Postgres(Database::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_over_postgres_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    kills::every_task_is_completed_once(&Database::new().dsn, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_that_are_killed_in_turn_lose_and_repeat_nothing() {
    kills::every_task_is_completed_once(&Database::new().dsn, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_loops_over_postgres_run_every_task_once_while_servers_are_killed() {
    kills::worker_loops_end_every_task_as_its_work_says(&Database::new().dsn, Leases::Long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_loops_over_postgres_whose_leases_are_lost_by_kills_run_no_claim_twice() {
    kills::worker_loops_end_every_task_as_its_work_says(&Database::new().dsn, Leases::Short).await;
}

#[tokio::test]
async fn as_many_waiting_claims_wake_as_tasks_come() {
    let store = open(&Database::new()).await;
    // When it begins to listen it wakes everybody, once.
    store.notifier().subscribe("a").changed().await;
    conformance::as_many_waiting_claims_wake_as_tasks_come(store).await;
}

#[tokio::test]
async fn a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began() {
    conformance::a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began(
        open(&Database::new()).await,
    )
    .await;
}

#[tokio::test]
async fn a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated() {
    conformance::a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated(
        open(&Database::new()).await,
    )
    .await;
}

#[tokio::test]
async fn a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in() {
    conformance::a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in(
        open(&Database::new()).await,
    )
    .await;
}

#[tokio::test]
async fn thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks() {
    conformance::thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks(
        open(&Database::new()).await,
    )
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease() {
    conformance::a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease(
        open(&Database::new()).await,
    )
    .await;
}

#[tokio::test]
async fn queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones() {
    conformance::queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones(
        open(&Database::new()).await,
    )
    .await;
}

#[test]
fn what_becomes_of_tasks_is_counted_once() {
    let database = Database::new();
    conformance::what_becomes_of_tasks_is_counted_once(async || open(&database).await);
}
