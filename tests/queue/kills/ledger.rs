//! What the clients saw, to be held against what the store kept.

use super::ENOUGH;
use parking_lot::Mutex;
use std::collections::HashMap;
use tonic::Status;
use tonic_supervisor::agent_queue::{Task, TaskStatus};

/// Written by all clients.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    /// The payload of each accepted task, by its id.
    submitted: HashMap<String, String>,
    /// The result that was accepted for a task, as often as one was.
    completed: Vec<(String, String)>,
    /// What went wrong for a client.
    troubles: Vec<String>,
}

impl Ledger {
    /// The server took a task on.
    pub(super) fn submitted(&self, task_id: String, payload: String) {
        let mut pages = self.0.lock();
        if let Some(other) = pages.submitted.insert(task_id.clone(), payload) {
            pages
                .troubles
                .push(format!("{task_id} was given to two submissions, the first {other}"));
        }
    }

    /// The server accepted a task's result.
    pub(super) fn completed(&self, task_id: String, result: String) {
        self.0.lock().completed.push((task_id, result));
    }

    /// A call surfaced an error.
    pub(super) fn failed(&self, call: &str, status: &Status) {
        self.0.lock().troubles.push(format!(
            "{call} surfaced {:?}: {}",
            status.code(),
            status.message()
        ));
    }

    /// How many tasks the server took on.
    pub(super) fn tasks(&self) -> usize {
        self.0.lock().submitted.len()
    }

    /// What is wrong, held against `kept`: the tasks that the store shows at the end. Empty: each
    /// submitted task is there, was claimed once and completed once with the result that its agent
    /// reported, and there is nothing else.
    pub(super) fn wrong(&self, kept: &[Task]) -> Vec<String> {
        let pages = self.0.lock();
        let mut wrong: Vec<_> = pages.troubles.iter().take(ENOUGH).cloned().collect();
        let mut results: HashMap<&str, Vec<&str>> = HashMap::new();
        for (task_id, result) in &pages.completed {
            results.entry(task_id).or_default().push(result);
        }
        let shown: HashMap<&str, &Task> = kept.iter().map(|task| (&*task.task_id, task)).collect();

        let lost = pages.submitted.keys().filter(|id| !shown.contains_key(id.as_str()));
        wrong.extend(lost.take(ENOUGH).map(|id| format!("{id} was accepted and is lost")));
        let strange =
            kept.iter().filter(|task| pages.submitted.get(&task.task_id) != Some(&task.payload));
        wrong.extend(
            strange
                .take(ENOUGH)
                .map(|task| format!("nobody submitted {} like this: {task:?}", task.task_id)),
        );
        let odd = kept.iter().filter(|task| {
            let ended = task.status() == TaskStatus::Completed && task.claims == 1;
            !ended || results.get(&*task.task_id) != Some(&vec![&*task.result])
        });
        wrong.extend(odd.take(ENOUGH).map(|task| {
            let reported = results.get(&*task.task_id).map_or(&[][..], |results| results);
            format!("not completed once with what was reported, {reported:?}: {task:?}")
        }));
        if kept.len() != pages.submitted.len() || pages.completed.len() != pages.submitted.len() {
            let (submitted, completed) = (pages.submitted.len(), pages.completed.len());
            wrong.push(format!(
                "{submitted} were submitted, {completed} completed, {} kept",
                kept.len()
            ));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> Task {
        let (payload, result) = (format!("{id} to do"), "done".into());
        Task {
            task_id: id.into(),
            payload,
            result,
            claims: 1,
            status: TaskStatus::Completed as i32,
            ..Task::default()
        }
    }

    /// Two tasks, submitted and completed.
    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        for id in ["1", "2"] {
            ledger.submitted(id.into(), format!("{id} to do"));
            ledger.completed(id.into(), "done".into());
        }
        ledger
    }

    #[test]
    fn a_ledger_that_agrees_with_the_store_finds_nothing_wrong() {
        assert_eq!(ledger().wrong(&[task("1"), task("2")]), [""; 0]);
    }

    #[test]
    fn every_way_to_lose_or_repeat_a_task_is_found() {
        let found = |ledger: Ledger, kept: &[Task], word: &str| {
            let wrong = ledger.wrong(kept);
            assert!(wrong.iter().any(|sentence| sentence.contains(word)), "{word}: {wrong:?}");
        };
        found(ledger(), &[task("1")], "2 was accepted and is lost");
        found(ledger(), &[task("1"), task("2"), task("3")], "nobody submitted 3");
        found(ledger(), &[task("1"), Task { claims: 2, ..task("2") }], "not completed once");
        found(
            ledger(),
            &[task("1"), Task { result: "other".into(), ..task("2") }],
            "not completed once",
        );
        let stuck = Task { status: TaskStatus::Processing as i32, ..task("2") };
        found(ledger(), &[task("1"), stuck], "not completed once");
        let twice = ledger();
        twice.completed("1".into(), "done".into());
        found(twice, &[task("1"), task("2")], "not completed once");
        let same_id = ledger();
        same_id.submitted("1".into(), "other".into());
        found(same_id, &[task("1"), task("2")], "two submissions");
        let failed = ledger();
        failed.failed("get_task", &Status::unavailable("gone"));
        found(failed, &[task("1"), task("2")], "get_task surfaced Unavailable: gone");
    }
}
