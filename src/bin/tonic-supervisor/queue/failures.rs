//! Failed tasks, grouped by what went wrong, because a few groups are read more easily than
//! thousands of rows.
//!
//! The server knows nothing of groups; the newest failures are read and grouped here. So this works
//! with any server, and prints how many tasks it has read.

use super::{
    QueueCli,
    signature::{group_id, signature},
    table::{WIDTH, age, count, cut, since},
};
use crate::CliError;
use serde_json::json;
use std::{cmp::Reverse, collections::HashMap};
use tonic_supervisor::agent_queue::{Task, TaskStatus};

#[derive(Debug, clap::Args)]
pub(super) struct FailuresArguments {
    /// Whose queue.
    queue: String,
    #[command(flatten)]
    look: LookArguments,
}

/// How much is read before it is grouped.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct LookArguments {
    /// How many failed tasks to look at: those submitted last.
    #[arg(long, value_name = "TASKS", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    look: u64,
}

/// Failures of one kind.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) text: String,
    /// Oldest first.
    pub(super) tasks: Vec<String>,
    /// How many seconds ago the first and the last of them failed.
    first: Option<f64>,
    last: Option<f64>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct FailureGroups {
    pub(super) groups: Vec<Group>,
    tasks: u64,
    /// How many failed tasks there are.
    total: u64,
}

impl Group {
    pub(super) fn id(&self) -> String {
        group_id(&self.text)
    }

    fn add(&mut self, task: Task) {
        let ago = since(task.finished_at);
        self.first = self.first.into_iter().chain(ago).reduce(f64::max);
        self.last = self.last.into_iter().chain(ago).reduce(f64::min);
        self.tasks.push(task.task_id);
    }
}

impl FailureGroups {
    /// `looked at the newest 10,000 of 54,321 failed tasks`.
    pub(super) fn describe(&self) -> String {
        match self.tasks < self.total {
            true => {
                format!("the newest {} of {} failed tasks", count(self.tasks), count(self.total))
            }
            false => format!("all {} failed tasks", count(self.tasks)),
        }
    }
}

impl QueueCli {
    /// The newest failures in groups, the largest first.
    pub(super) async fn group(
        &mut self,
        queue: &str,
        look: LookArguments,
    ) -> Result<FailureGroups, CliError> {
        let (mut groups, mut tasks) = (HashMap::<String, Group>::new(), 0);
        let total =
            self.page_through(queue, Some(TaskStatus::Failed), look.look, true, |_, task| {
                tasks += 1;
                let text = signature(&task.error_message);
                groups
                    .entry(text.clone())
                    .or_insert_with(|| Group { text, ..Group::default() })
                    .add(task);
            });
        let total = total.await?;
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by(|a, b| {
            (Reverse(a.tasks.len()), &a.text).cmp(&(Reverse(b.tasks.len()), &b.text))
        });
        Ok(FailureGroups { groups, tasks, total })
    }

    pub(super) async fn failures(&mut self, arguments: FailuresArguments) -> Result<(), CliError> {
        let FailuresArguments { queue, look } = arguments;
        let looked = self.group(&queue, look).await?;
        for group in &looked.groups {
            let newest = group.tasks.last().map_or("", String::as_str);
            self.object(&json!({
                "kind": "group", "group": group.id(), "tasks": group.tasks.len(),
                "text": group.text, "first_seconds_ago": group.first,
                "last_seconds_ago": group.last, "newest": newest,
            }));
            let tasks = count(group.tasks.len() as u64);
            self.line(&cut(&format!("{tasks:>9} x {}", group.text), WIDTH));
            let ago = |seconds: Option<f64>| seconds.map_or("?".into(), age);
            let (last, first) = (ago(group.last), ago(group.first));
            let more = format!(
                "group {}, last {last} ago, first {first} ago, newest {newest}",
                group.id()
            );
            self.line(&cut(&format!("{:12}{more}", ""), WIDTH));
        }
        self.object(&json!({ "kind": "looked", "tasks": looked.tasks, "total": looked.total }));
        self.line(&cut(&format!("looked at {} of {queue}", looked.describe()), WIDTH));
        Ok(())
    }
}
