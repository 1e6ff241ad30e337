//! The end of the demo: what each agent asked for, held against what the journal says was done.

use super::{
    script::FAULTS,
    tally::{Counts, Numbers, Recovery, Tally},
};
use crate::{
    Trouble,
    terminal::{Terminal, Tone},
};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, path::Path};
use tonic_supervisor::agent_queue::server::{Entry, read};

/// Both agents' results.
#[derive(Debug)]
pub(super) struct Summary {
    supervised: Outcome,
    plain: Outcome,
}

/// One agent's results.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) numbers: Numbers,
    /// Calls without an answer, and tasks that were accepted and not completed.
    pub(super) lost: u64,
    /// Requests that were carried out more than once.
    pub(super) executed_twice: u64,
    counts: Counts,
    recoveries: Vec<Recovery>,
}

impl Summary {
    /// Reads the journal; both arrays are supervised, plain.
    pub(super) fn new(journal: &Path, tallies: [&Tally; 2], counts: [Counts; 2]) -> Result<Self, Trouble> {
        let [left, right] = tallies;
        let [supervised, plain] = counts;
        Ok(Self {
            supervised: Outcome { counts: supervised, ..Outcome::read(journal, left)? },
            plain: Outcome { counts: plain, ..Outcome::read(journal, right)? },
        })
    }

    /// Fails with a sentence where the supervised agent came to harm.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let Outcome { numbers, lost, executed_twice, .. } = &self.supervised;
        if numbers.failed + lost + executed_twice == 0 && numbers.ok > 0 {
            return Ok(());
        }
        let failed = numbers.failed;
        Err(format!(
            "on the supervised channel {failed} calls failed, {lost} were lost and {executed_twice} were executed twice"
        ))
    }

    /// The last line of `--json`.
    pub(super) fn to_json(&self) -> Value {
        json!({ "kind": "summary", "supervised": self.supervised.to_json(), "plain": self.plain.to_json() })
    }

    /// The table for people.
    pub(super) fn table(&self, terminal: Terminal) -> String {
        let mut lines = vec![row("", "supervised", "plain")];
        let left = self.supervised.numbers();
        let right = self.plain.numbers();
        for ((name, left), (_, right)) in left.into_iter().zip(right) {
            // A plain channel has no retries to count.
            let none = name.ends_with("retries");
            let name = name.replace('_', " ");
            lines.push(row(&name, &left.to_string(), &if none { "-".into() } else { right.to_string() }));
        }
        for fault in FAULTS {
            let name = format!("recovered after {fault}");
            lines.push(row(&name, &self.supervised.recovery(fault), &self.plain.recovery(fault)));
        }
        lines.push(String::new());
        lines.push(match self.verdict() {
            Ok(()) => terminal.paint(
                Tone::Good,
                "On the supervised channel nothing failed, nothing was lost, nothing was executed twice.",
            ),
            Err(_) => terminal.paint(Tone::Bad, "The supervised channel did not keep its promise."),
        });
        lines.join("\n")
    }
}

impl Outcome {
    /// Holds an agent's calls against the journal.
    pub(super) fn read(journal: &Path, tally: &Tally) -> Result<Self, Trouble> {
        let entries = read(journal).map_err(|error| Trouble::Failed(error.to_string()))?;
        Ok(Self {
            numbers: tally.numbers(),
            recoveries: tally.recoveries(),
            ..Self::judge(&entries, tally.agent, &tally.tasks(), tally.numbers())
        })
    }

    fn judge(entries: &[Entry], agent: &str, accepted: &[String], numbers: Numbers) -> Self {
        let mut executions: HashMap<(&str, &str), u64> = HashMap::new();
        // A repeated claim is no second claim: it renews the lease, and stands in the journal for that.
        let own = entries.iter().filter(|entry| entry.agent_id == agent && entry.operation != "claim");
        for entry in own {
            *executions.entry((&entry.operation, &entry.name)).or_default() += 1;
        }
        let unanswered = numbers.calls - numbers.ok - numbers.failed;
        let undone = accepted.iter().filter(|task| !executions.contains_key(&("end", task.as_str()))).count() as u64;
        Self {
            lost: unanswered + undone,
            executed_twice: executions.values().filter(|times| **times > 1).count() as u64,
            ..Self::default()
        }
    }

    /// Names and numbers, in the order of the table.
    fn numbers(&self) -> [(&'static str, u64); 9] {
        [
            ("calls", self.numbers.calls),
            ("ok", self.numbers.ok),
            ("failed", self.numbers.failed),
            ("lost", self.lost),
            ("executed_twice", self.executed_twice),
            ("retries", self.counts.retries),
            ("transparent_retries", self.counts.transparent_retries),
            ("dials", self.counts.dials),
            ("reconnects", self.counts.reconnects),
        ]
    }

    fn took_ms(&self, fault: &str) -> Option<u128> {
        let recovery = self.recoveries.iter().find(|recovery| recovery.fault == fault)?;
        Some(recovery.took?.as_millis())
    }

    fn recovery(&self, fault: &str) -> String {
        self.took_ms(fault).map_or("never".into(), |took| format!("{took} ms"))
    }

    fn to_json(&self) -> Value {
        let mut fields: Map<_, _> = self.numbers().into_iter().map(|(name, n)| (name.into(), n.into())).collect();
        let recoveries: Map<_, _> =
            FAULTS.into_iter().map(|fault| (fault.into(), json!(self.took_ms(fault)))).collect();
        fields.insert("recoveries_ms".into(), recoveries.into());
        fields.into()
    }
}

fn row(name: &str, left: &str, right: &str) -> String {
    format!("{name:<28}{left:>12}{right:>12}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(task: &str) -> Entry {
        Entry { at_ms: 0, operation: "end".into(), agent_id: "a".into(), name: task.into(), request: String::new() }
    }

    #[test]
    fn lost_are_calls_without_an_answer_and_accepted_tasks_that_were_not_completed() {
        let numbers = Numbers { calls: 10, ok: 7, failed: 2 };
        let accepted = ["task-1", "task-2", "task-3"].map(String::from);
        let outcome = Outcome::judge(&[ended("task-1"), ended("task-3")], "a", &accepted, numbers);
        assert_eq!((outcome.lost, outcome.executed_twice), (2, 0));
    }

    #[test]
    fn a_request_with_two_entries_was_executed_twice_and_other_agents_do_not_count() {
        let other = Entry { agent_id: "b".into(), ..ended("task-9") };
        let entries = [ended("task-1"), other.clone(), ended("task-2"), ended("task-1"), other];
        assert_eq!(Outcome::judge(&entries, "a", &[], Numbers::default()).executed_twice, 1);
    }

    #[test]
    fn the_supervised_side_alone_decides() {
        let healthy = Numbers { calls: 3, ok: 3, failed: 0 };
        let hurt = Numbers { calls: 3, ok: 1, failed: 2 };
        let outcome = |numbers| Outcome { numbers, ..Outcome::default() };
        let summary = |supervised, plain| Summary { supervised: outcome(supervised), plain: outcome(plain) };
        assert!(summary(healthy, hurt).verdict().is_ok());
        let sentence = summary(hurt, healthy).verdict().expect_err("it failed");
        assert!(sentence.contains("2 calls failed"), "{sentence}");
        assert!(summary(Numbers::default(), healthy).verdict().is_err(), "no call is no success");
    }
}
