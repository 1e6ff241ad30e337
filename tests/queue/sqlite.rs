//! The store in a SQLite file.

use crate::{
    conformance::{self, Place},
    kills::{self, Leases},
};
use std::thread;
use tonic_supervisor::agent_queue::server::{SqliteStore, Store as _};

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

/// What `--store` takes for a new file in this folder.
fn store(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("queue.db").display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_over_sqlite_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    kills::every_task_is_completed_once(&store(&tempfile::tempdir().expect("folder")), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_file_that_are_killed_in_turn_lose_and_repeat_nothing() {
    kills::every_task_is_completed_once(&store(&tempfile::tempdir().expect("folder")), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_loops_over_sqlite_run_every_task_once_while_servers_are_killed() {
    let folder = tempfile::tempdir().expect("folder");
    kills::worker_loops_end_every_task_as_its_work_says(&store(&folder), Leases::Long).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_loops_over_sqlite_whose_leases_are_lost_by_kills_run_no_claim_twice() {
    let folder = tempfile::tempdir().expect("folder");
    kills::worker_loops_end_every_task_as_its_work_says(&store(&folder), Leases::Short).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_ask_of_two_servers_at_once_is_done_once() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::what_many_ask_of_two_stores_at_once_is_done_once([
        place.open().await,
        place.open().await,
    ])
    .await;
}

#[test]
fn servers_that_start_together_on_no_file_make_it_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("folder");
        let path = &folder.path().join("queue.db");
        let open = || SqliteStore::open(path, conformance::settings());
        thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            let opened: Result<Vec<_>, _> =
                opening.into_iter().map(|one| one.join().expect("no panic")).collect();
            opened.expect("all opened");
        });
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_with_a_clear_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("queue.db");
    drop(SqliteStore::open(&path, conformance::settings()).expect("made"));
    let file = rusqlite::Connection::open(&path).expect("opened");
    file.pragma_update(None, "user_version", 99).expect("written");
    drop(file);
    let error = SqliteStore::open(&path, conformance::settings()).expect_err("newer").to_string();
    assert!(
        error.contains("queue.db")
            && error.contains("has version 99")
            && error.contains("a newer program"),
        "{error}"
    );
}

/// No claim reads more than it gives out, however many tasks wait: every step of it is a search in
/// an index.
#[tokio::test]
async fn a_claim_among_100_000_pending_tasks_is_an_index_look_up() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("queue.db");
    let store = SqliteStore::open(&path, conformance::settings()).expect("opened");
    conformance::fill(&store).await;
    let task = store
        .claim(conformance::claim("c", 0.0), 200)
        .await
        .expect("claimed")
        .answer
        .task
        .expect("a task");
    assert_eq!(
        (task.priority, &*task.task_id),
        (9, "task-10"),
        "the first of the highest priority"
    );

    let file = rusqlite::Connection::open(&path).expect("opened");
    let plan = |sql: &str| {
        let mut plan = file
            .prepare(&format!("EXPLAIN QUERY PLAN SELECT payload FROM tasks WHERE {sql}"))
            .expect("prepared");
        let unknown = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan
            .query_map(rusqlite::params_from_iter(unknown), |row| row.get::<_, String>(3))
            .expect("planned");
        steps.collect::<Result<Vec<_>, _>>().expect("text").join("; ")
    };
    for (sql, index) in [
        (
            "queue = ?1 AND status = 1 ORDER BY priority DESC, number LIMIT 1",
            "tasks_pending (queue=?)",
        ),
        (
            "queue = ?1 AND status = 2 AND lease_until <= ?2 ORDER BY lease_until LIMIT 1",
            "tasks_leased (queue=? AND lease_until<?)",
        ),
        ("queue = ?1 AND status = 2 ORDER BY lease_until LIMIT 1", "tasks_leased (queue=?)"),
        ("queue = ?1 AND claim_id = ?2 LIMIT 1", "tasks_by_claim (queue=? AND claim_id=?)"),
        ("queue = ?1 AND request_id = ?2", "tasks_by_request (queue=? AND request_id=?)"),
        (
            "queue = ?1 AND changed > ?2 ORDER BY changed LIMIT 9",
            "tasks_by_change (queue=? AND changed>?)",
        ),
    ] {
        let steps = plan(sql);
        assert!(
            steps.starts_with("SEARCH tasks USING INDEX ") && steps.ends_with(index),
            "{sql}: {steps}"
        );
    }
}

#[tokio::test]
async fn as_many_waiting_claims_wake_as_tasks_come() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::as_many_waiting_claims_wake_as_tasks_come(place.open().await).await;
}

#[tokio::test]
async fn a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::a_long_clearing_lets_others_in_and_takes_what_was_there_when_it_began(
        place.open().await,
    )
    .await;
}

#[tokio::test]
async fn a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::a_clearing_that_is_cut_off_leaves_part_done_and_goes_on_when_it_is_repeated(
        place.open().await,
    )
    .await;
}

#[tokio::test]
async fn a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::a_queue_with_thousands_of_tasks_is_gone_at_once_and_others_are_let_in(
        place.open().await,
    )
    .await;
}

#[tokio::test]
async fn thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::thousands_of_leases_that_end_at_once_are_given_back_before_anybody_looks(
        place.open().await,
    )
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::a_clock_that_is_set_back_holds_no_task_for_longer_than_a_lease(place.open().await)
        .await;
}

#[tokio::test]
async fn queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones(place.open().await)
        .await;
}

#[test]
fn what_becomes_of_tasks_is_counted_once() {
    let place = Sqlite(tempfile::tempdir().expect("folder"));
    conformance::what_becomes_of_tasks_is_counted_once(async || place.open().await);
}
