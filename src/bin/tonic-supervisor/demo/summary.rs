//! The end of the demo: compares what each agent asked for with what was done according to the
//! journal, in all and for each outage.

use super::{
    outages::{Outage, Outages},
    outcome::{Harm, Outcome},
    served::{self, Served},
    table::table,
    tally::{Call, Counts, Tally},
};
use crate::{CliError, reporter::Reporter, stdout::Stdout};
use serde_json::{Value, json};
use std::{collections::HashMap, path::Path, time::Duration};
use tonic_supervisor::agent_queue::server::{Entry, read};

/// Both agents' results.
#[derive(Debug)]
pub(super) struct Summary {
    outages: Vec<Outage>,
    supervised: Outcome,
    plain: Outcome,
    /// Empty if there was only one.
    servers: Vec<Served>,
}

impl Summary {
    /// Reads the journal; both arrays are supervised, plain.
    pub(super) fn new(
        comparison: &Comparison,
        tallies: [&Tally; 2],
        counts: [Counts; 2],
        servers: Vec<Served>,
    ) -> Result<Self, CliError> {
        let [left, right] = tallies;
        let [supervised, plain] = counts;
        Ok(Self {
            outages: comparison.outages.all().to_vec(),
            supervised: Outcome { counts: supervised, ..comparison.outcome(left)? },
            plain: Outcome { counts: plain, ..comparison.outcome(right)? },
            servers,
        })
    }

    /// Fails with a sentence where the supervised agent came to harm, or its channel has no link to
    /// a server that is back.
    pub(super) fn check(&self) -> Result<(), String> {
        let Harm { failed, lost, executed_twice, .. } = self.supervised.all;
        if failed + lost + executed_twice == 0 && self.supervised.ok > 0 {
            let absent = self.servers.iter().find(|server| !server.is_back());
            return absent.map_or(Ok(()), |server| {
                let (address, state) = (server.address, server.state.as_str());
                Err(format!("the supervised channel sees the server at {address} as {state}"))
            });
        }
        Err(format!(
            "on the supervised channel {failed} calls failed, {lost} tasks were lost and \
             {executed_twice} requests were executed twice"
        ))
    }

    /// Prints it: lines of JSON for programs, a table for people.
    pub(super) fn print(&self, reporter: Reporter) {
        let stdout = reporter.stdout();
        if reporter.json() {
            self.to_json().iter().for_each(|line| stdout.line(&line.to_string()));
        } else {
            if !self.servers.is_empty() {
                stdout.line(&format!("\n{}", served::table(stdout, &self.servers)));
            }
            stdout.line(&format!("\n{}", self.table(stdout)));
        }
    }

    /// The last lines of `--json`: one for each outage, and for each of several servers; then the
    /// summary.
    fn to_json(&self) -> Vec<Value> {
        let harms = self.supervised.outages.iter().zip(&self.plain.outages);
        let outages = self.outages.iter().zip(harms).map(|(outage, (supervised, plain))| {
            json!({
                "kind": "outage", "fault": outage.fault,
                "began": seconds(outage.began), "over": seconds(outage.over),
                "supervised": supervised.to_json(), "plain": plain.to_json(),
            })
        });
        let summary = json!({
            "kind": "summary", "supervised": self.supervised.to_json(),
            "plain": self.plain.to_json(),
        });
        let servers = self.servers.iter().zip(1..).map(|(server, number)| server.to_json(number));
        outages.chain(servers).chain([summary]).collect()
    }

    /// The table for people.
    fn table(&self, stdout: Stdout) -> String {
        let faults: Vec<_> = self.outages.iter().map(|outage| outage.fault).collect();
        table(stdout, &faults, &self.supervised, &self.plain, self.check().is_ok())
    }
}

/// What agents' calls are compared with.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) journal: &'a Path,
    pub(super) outages: &'a Outages,
    /// The demo's start, in milliseconds since 1970.
    pub(super) start_ms: i64,
    /// Until when calls without an answer have waited.
    pub(super) now: Duration,
}

impl Comparison<'_> {
    pub(super) fn outcome(&self, tally: &Tally) -> Result<Outcome, CliError> {
        let entries = read(self.journal).map_err(|error| CliError::Failed(error.to_string()))?;
        Ok(self.compare(&entries, tally.agent, &tally.calls(), &tally.tasks()))
    }

    fn compare(
        &self,
        entries: &[Entry],
        agent: &str,
        calls: &[Call],
        tasks: &HashMap<String, Duration>,
    ) -> Outcome {
        let outages = vec![Harm::default(); self.outages.all().len()];
        let mut outcome = Outcome { outages, ..Outcome::default() };
        for call in calls {
            outcome.calls += 1;
            outcome.ok += u64::from(call.ok);
            let ended = call.ended.unwrap_or(self.now);
            outcome.harm(self.outages.of(call.began, ended), |harm| {
                harm.failed += u64::from(!call.ok);
                harm.longest = harm.longest.max(ended.saturating_sub(call.began));
            });
        }
        // A repeated claim is no second claim: it renews the lease, and stands in the journal for
        // that.
        let own =
            entries.iter().filter(|entry| entry.agent_id == agent && entry.operation != "claim");
        let mut executions: HashMap<(&str, &str), u64> = HashMap::new();
        for entry in own {
            let times = executions.entry((&entry.operation, &entry.name)).or_default();
            *times += 1;
            if *times == 2 {
                let at =
                    u64::try_from(entry.at_ms.saturating_sub(self.start_ms)).unwrap_or_default();
                let at = Duration::from_millis(at);
                outcome.harm(self.outages.of(at, at), |harm| harm.executed_twice += 1);
            }
        }
        for (_, seen) in
            tasks.iter().filter(|(task, _)| !executions.contains_key(&("end", task.as_str())))
        {
            // The outage that came after the server last answered about it.
            outcome.harm(self.outages.of(*seen, Duration::MAX), |harm| harm.lost += 1);
        }
        outcome
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ended(task: &str, second: i64) -> Entry {
        let operation = "end".into();
        let mut entry = Entry::default();
        entry.at_ms = 1_000 * second;
        entry.operation = operation;
        entry.agent_id = "a".into();
        entry.name = task.into();
        entry
    }

    fn call(began: u64, ended: u64, ok: bool) -> Call {
        Call { began: s(began), ended: Some(s(ended)), ok }
    }

    fn compare(entries: &[Entry], calls: &[Call], tasks: &[(&str, u64)]) -> Outcome {
        let mut outages = Outages::default();
        outages.begins("kill", s(10));
        outages.is_over(s(20));
        outages.begins("freeze", s(30));
        outages.is_over(s(40));
        let comparison =
            Comparison { journal: Path::new(""), outages: &outages, start_ms: 0, now: s(60) };
        let tasks = tasks.iter().map(|(task, seen)| (task.to_string(), s(*seen))).collect();
        comparison.compare(entries, "a", calls, &tasks)
    }

    #[test]
    fn each_call_counts_in_the_outage_that_caught_it() {
        let unanswered = Call { began: s(35), ended: None, ok: false };
        let calls = [
            call(1, 2, true),
            call(9, 13, true),
            call(12, 13, false),
            call(38, 41, true),
            unanswered,
        ];
        let outcome = compare(&[], &calls, &[]);
        let [kill, freeze] = [outcome.outages[0], outcome.outages[1]];
        assert_eq!((kill.failed, kill.longest), (1, s(4)));
        assert_eq!((freeze.failed, freeze.longest), (1, s(25)), "what has no answer has failed");
        assert_eq!((outcome.all.failed, outcome.all.longest), (2, s(25)));
    }

    #[test]
    fn accepted_tasks_that_were_not_completed_are_lost_in_the_outage_that_follows() {
        let outcome =
            compare(&[ended("t1", 5), ended("t3", 6)], &[], &[("t1", 5), ("t2", 21), ("t3", 5)]);
        assert_eq!((outcome.all.lost, outcome.all.executed_twice), (1, 0));
        assert_eq!(outcome.outages.iter().map(|harm| harm.lost).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_request_with_two_entries_was_executed_twice_and_other_agents_do_not_count() {
        let mut other = ended("t9", 11);
        other.agent_id = "b".into();
        let entries = [
            ended("t1", 9),
            other.clone(),
            ended("t2", 11),
            ended("t1", 12),
            other,
            ended("t1", 13),
        ];
        let outcome = compare(&entries, &[], &[]);
        assert_eq!(outcome.all.executed_twice, 1);
        assert_eq!(
            outcome.outages.iter().map(|harm| harm.executed_twice).collect::<Vec<_>>(),
            [1, 0]
        );
    }

    #[test]
    fn the_supervised_side_alone_decides() {
        let outcome = |ok, failed| Outcome {
            ok,
            all: Harm { failed, ..Harm::default() },
            ..Outcome::default()
        };
        let summary = |supervised, plain| Summary {
            outages: Vec::new(),
            supervised,
            plain,
            servers: Vec::new(),
        };
        assert!(summary(outcome(3, 0), outcome(1, 2)).check().is_ok());
        let sentence = summary(outcome(1, 2), outcome(3, 0)).check().expect_err("it failed");
        assert!(sentence.contains("2 calls failed"), "{sentence}");
        assert!(summary(outcome(0, 0), outcome(3, 0)).check().is_err(), "no call is no success");
    }
}
