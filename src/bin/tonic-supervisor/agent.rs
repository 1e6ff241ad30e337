//! `agent`: works through an agent's queue by running a command for each task. It outlives every
//! outage, and ends cleanly on SIGTERM and Ctrl-C: what runs may finish, the rest is given back.

use crate::{
    CliError,
    admin::AdminArguments,
    facts,
    job::{self, NotStarted, TaskCommand},
    reporter::Reporter,
    signals::Signals,
    starts::Starts,
    stdout::{Stdout, Tone},
};
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime, sync::oneshot};
use tonic_supervisor::{
    CallReport, Config, Event, EventItem, EventLines, EventStream, Supervisor,
    agent_queue::{Outcome, PrivateAgentTasksQueue, Processed, Task},
    printable,
};

pub(crate) const HELP: &str = "\
The command gets the task's payload on its standard input, and AGENT_ID, TASK_ID, TASK_TYPE, \
TASK_CUSTOM_TYPE, TASK_PRIORITY and TASK_CLAIMS (how many times the task was claimed) in its \
environment. What it writes to its standard output is the result: as it is where it is JSON, \
otherwise as a JSON string. Another exit code than 0 fails the task with the end of its standard \
error. It is killed, with all of its process group, when the task is no longer the agent's: \
cancelled, deleted, or out of reach for longer than its lease.

The task ends with the command. Where what it has started holds its output open, that is read for \
2 seconds more. Then whatever is left in its process group gets a SIGTERM, and 2 seconds later a \
SIGKILL; the same when the agent itself has been killed. A helper that made a process group or \
session of its own (setsid, a daemon) lives on.

A command that cannot be started (its file is gone, no file descriptors or memory are left) does \
not fail its task: the task is given back, which does not count towards the server's --max-claims, \
and the agent pauses, half a second growing to 10, and tries one task at a time until one can be \
started. It says so once, as an ERROR on standard error. A shell that finds no command (codes 126 \
and 127) was started, and fails the task.

On SIGTERM or Ctrl-C nothing more is claimed, what runs may finish within --grace, and what does \
not is killed and given back. A second signal ends the agent at once; its commands are ended, and \
its tasks come back when their leases end.

Exit codes: 0 it was asked to end and has, 1 it failed or gave up, 2 wrong usage, 3 the \
configuration is not valid, 130 interrupted twice.";

#[derive(Debug, clap::Args)]
pub(crate) struct AgentArguments {
    /// Whose queue to work through; it is made if it is not there.
    #[arg(long, value_name = "AGENT_ID")]
    queue: String,
    /// How many tasks at a time.
    #[arg(long, default_value_t = 1, value_parser = concurrency())]
    concurrency: usize,
    /// How many seconds what runs may take to finish, once the agent is to end.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    grace: u32,
    /// End, with exit code 1, when no command could be started for so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    give_up: Option<u32>,
    #[command(flatten)]
    admin: AdminArguments,
    /// The command to run for each task, with its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn concurrency() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

/// Works until a signal ends it. The server is the one of `config`, overruled by the environment.
pub(crate) fn run(
    arguments: AgentArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), CliError> {
    let mut builder = Config::builder().environment();
    if let Some(file) = config {
        builder = builder.file(file);
    }
    let config = builder.build().map_err(|error| CliError::Config(error.to_string()))?;
    if !job::can_be_run(&arguments.command[0]) {
        return Err(CliError::Usage(format!(
            "there is no command {:?} that can be run",
            arguments.command[0]
        )));
    }
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?
        .block_on(work(arguments, config, Reporter::time_of_day(Stdout::new(), json)))
}

async fn work(
    arguments: AgentArguments,
    config: Config,
    reporter: Reporter,
) -> Result<(), CliError> {
    let AgentArguments { queue: agent, concurrency, grace, give_up, admin, command } = arguments;
    let _admin = admin.start().await?;
    let task_command = TaskCommand::new(command)
        .map_err(CliError::failed("cannot find this program's own file"))?;
    let mut signals = Signals::new()?;
    let supervisor = Supervisor::spawn(config);
    let events = tokio::spawn(report_events(supervisor.events(), reporter));
    let client = PrivateAgentTasksQueue::over(supervisor);

    let starts = Arc::new(Starts::new(give_up.map(|seconds| Duration::from_secs(seconds.into()))));
    let handler = {
        let starts = starts.clone();
        move |task: Task| {
            let (task_command, starts) = (task_command.clone(), starts.clone());
            async move { do_task(reporter, &task_command, &starts, &task).await }
        }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async { stopped.await.unwrap_or_default() };
    let grace = Duration::from_secs(grace.into());
    let processing =
        client.queue(agent).process(handler, concurrency).until(until).grace(grace).into_future();
    tokio::pin!(processing);
    let mut gave_up = None;
    let done = tokio::select! {
        done = &mut processing => done,
        () = async {
            tokio::select! {
                name = signals.next() => {
                    let text = format!("{name}: what runs may finish");
                    reporter.report("end", Tone::Notice, "agent", &text, json!({ "signal": name }));
                }
                why = starts.given_up() => {
                    let text = format!("gives up: {why}");
                    reporter.report("end", Tone::Bad, "agent", &text, json!({ "reason": why }));
                    gave_up = Some(why);
                }
            }
        } => {
            drop(stop);
            tokio::select! {
                done = processing => done,
                _ = signals.next() => return Err(CliError::Interrupted),
            }
        }
    };
    client.close().await;
    // It ends with the client.
    let _ = events.await;
    let done = done.map_err(|status| {
        let story = CallReport::of(&status).map_or(String::new(), |report| format!("; {report}"));
        CliError::Failed(format!("{:?}: {}{story}", status.code(), printable(status.message())))
    })?;
    let Processed { completed, failed, given_back, lost, left, .. } = done;
    let fields = json!({
        "completed": completed, "failed": failed, "given_back": given_back, "lost": lost,
        "left": left,
    });
    reporter.report("summary", Tone::Quiet, "agent", &done.to_string(), fields);
    gave_up.map_or(Ok(()), |why| Err(CliError::Failed(format!("gave up: {why}"))))
}

/// Has one task done by the command.
async fn do_task(
    reporter: Reporter,
    task_command: &TaskCommand,
    starts: &Starts,
    task: &Task,
) -> Outcome {
    let report = TaskReport::begun(reporter, task);
    let outcome = match task_command.start(task).await {
        Ok(job) => {
            starts.worked();
            job.finish().await.into()
        }
        Err(NotStarted::Anywhere(why)) => Outcome::Failed(why),
        Err(NotStarted::Here(why)) => {
            starts.failed(&why);
            Outcome::GivenBack(why)
        }
    };
    report.ended(&outcome);
    outcome
}

/// Reports the events of the connection until it is closed: every event for programs, and those
/// that the log would show for people.
async fn report_events(mut events: EventStream, reporter: Reporter) {
    let mut lines = EventLines::default();
    while let Some(item) = events.next().await {
        if reporter.json() {
            let (text, fields) = describe(item);
            reporter.report("event", Tone::Quiet, "channel", &text, fields);
        } else if let Some(line) = lines.line(&item) {
            reporter.report("event", Tone::Quiet, "channel", &line, json!({}));
        }
    }
}

/// An item as text for people, and as fields for programs.
fn describe(item: EventItem) -> (String, Value) {
    let (name, text, mut fields) = match item {
        EventItem::Snapshot(now) => {
            let text = format!("{} is {}", now.target, now.state);
            ("Snapshot", text, json!({ "target": *now.target, "state": now.state.as_str() }))
        }
        EventItem::Lagged(missed) => {
            ("Lagged", format!("{missed} events were missed"), json!({ "missed": missed }))
        }
        EventItem::Event(Event { seq, fact, .. }) => {
            let mut fields = facts::fields(&fact);
            fields["seq"] = json!(seq);
            (fact.name(), fact.to_string(), fields)
        }
        _ => ("Unknown", "something that this version does not know".to_owned(), json!({})),
    };
    fields["event"] = json!(name);
    (text, fields)
}

/// Reports how a task ends, even where its handler is stopped.
struct TaskReport {
    reporter: Reporter,
    task_id: String,
    begun: Instant,
    reported: bool,
}

impl TaskReport {
    fn begun(reporter: Reporter, task: &Task) -> Self {
        let report = Self {
            reporter,
            task_id: task.task_id.clone(),
            begun: Instant::now(),
            reported: false,
        };
        report.step("begun", Tone::Quiet, "begun");
        report
    }

    fn ended(mut self, outcome: &Outcome) {
        self.reported = true;
        let took = self.begun.elapsed().as_millis();
        match outcome {
            Outcome::Completed(_) => self.step("done", Tone::Good, &format!("done in {took} ms")),
            Outcome::Failed(why) => {
                self.step("failed", Tone::Bad, &format!("failed after {took} ms: {why}"))
            }
            Outcome::GivenBack(why) => {
                self.step("given back", Tone::Notice, &format!("given back: {why}"))
            }
            _ => self.step("ended", Tone::Quiet, &format!("ended after {took} ms")),
        }
    }

    fn step(&self, step: &str, tone: Tone, text: &str) {
        let fields = json!({ "task": self.task_id, "step": step });
        self.reporter.report("task", tone, &self.task_id, text, fields);
    }
}

impl Drop for TaskReport {
    fn drop(&mut self) {
        if !self.reported {
            self.step("stopped", Tone::Notice, "stopped before its end");
        }
    }
}
