//! One suite for every store: a state machine that does the same to the store and to a small model,
//! and holds their answers together.
//!
//! Ids of tasks differ between stores, so both sides speak of the n-th task that was ever made. A
//! watcher follows every queue by its cursor the whole time, and must know at each moment what a
//! list shows.

mod counted;
mod model;
mod operation;
mod queues;
mod requests;
mod steps;
mod subject;
mod together;
mod waiting;

pub(crate) use counted::{Recorded, record, recorded, what_becomes_of_tasks_is_counted_once};
pub(crate) use queues::queues_are_listed_in_pages_that_tell_nothing_of_hidden_ones;
pub(crate) use requests::{claim, fill, submission};
pub(crate) use steps::*;
pub(crate) use together::what_many_ask_of_two_stores_at_once_is_done_once;
pub(crate) use waiting::as_many_waiting_claims_wake_as_tasks_come;

use model::Model;
use operation::Step;
use proptest::{
    collection::vec,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{cell::RefCell, collections::BTreeSet, fmt::Debug, future::Future};
use subject::Subject;
use tonic_supervisor::agent_queue::{
    Task,
    server::{Settings, Store},
};

/// The settings of every run; short and few, so that everything happens.
pub(crate) fn settings() -> Settings {
    use std::time::Duration;
    Settings::default()
        .with_lease(Duration::from_secs(10))
        .with_max_claims(1)
        .with_keep_finished(Duration::from_secs(7 * 24 * 60 * 60))
}

/// A place for stores: opened again, it gives the same queues again, if it lasts.
pub(crate) trait Place {
    /// What is opened there.
    type Store: Store;
    /// Opens a store, or goes on with it.
    fn open(&self) -> impl Future<Output = Self::Store>;
    /// Whether what is closed and opened again is still there.
    const LASTS: bool;
}

/// Runs `cases` random histories, each in a new place.
pub(crate) fn a_store_behaves_as_the_model<P: Place>(cases: u32, place: impl Fn() -> P) {
    let cases =
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    run(TestRunner::new(config(cases)), place);
}

/// Runs `cases` histories that are the same each time. Returns what happened in them: each kind of
/// step with its outcomes.
pub(crate) fn the_same_histories<P: Place>(cases: u32, place: impl Fn() -> P) -> BTreeSet<String> {
    run(
        TestRunner::new_with_rng(config(cases), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        place,
    )
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

fn run<P: Place>(mut runner: TestRunner, place: impl Fn() -> P) -> BTreeSet<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let histories = vec(operation::step(), 1..80);
    let seen = RefCell::new(BTreeSet::new());
    let ran = runner.run(&histories, |history| {
        seen.borrow_mut().extend(runtime.block_on(live(&place(), &history)));
        Ok(())
    });
    if let Err(found) = ran {
        panic!("{found}");
    }
    seen.into_inner()
}

/// One history, step by step; returns what happened.
async fn live<P: Place>(place: &P, history: &[Step]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut model = Model::new(settings());
    let mut subject = Subject::new(place.open().await);
    let mut now = 1_800_000_000_000;
    for (index, step) in history.iter().enumerate() {
        let step = &model.aim(step, now);
        if let Step::Pass(millis) = step {
            now += millis;
        } else if matches!(step, Step::Reopen) {
            if P::LASTS {
                subject = subject.reopen(async || place.open().await).await;
            }
        } else {
            let expected = model.act(step, now);
            let answer = subject.act(step, now).await;
            seen.insert(format!(
                "{} {}",
                first_word(step),
                expected.as_ref().map_or_else(first_word, first_word)
            ));
            assert_eq!(answer, expected, "step {index}: {step:?}\nhistory: {history:#?}");
        }
        for agent in operation::AGENTS {
            let expected = model.all(agent, now);
            assert_eq!(
                subject.all(agent, now).await,
                expected,
                "after step {index}: {step:?}\nhistory: {history:#?}"
            );
            subject.follow(agent, expected.as_deref(), now).await;
            let poisoned = |task: &Task| task.error_message.starts_with("claimed and lost");
            seen.extend(expected.iter().flatten().any(poisoned).then(|| "max_claims".to_owned()));
        }
    }
    seen
}

fn first_word(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}
