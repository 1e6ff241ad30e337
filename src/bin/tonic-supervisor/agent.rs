//! `agent`: works through an agent's queue by running a command for each task. It outlives every
//! outage, and ends cleanly on SIGTERM and Ctrl-C: what runs may finish, the rest is given back.

use crate::{
    Trouble, facts,
    job::{self, NotStarted, Recipe},
    starts::Starts,
    terminal::Terminal,
    terminal::Tone,
    voice::Voice,
};
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
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
    /// The command to run for each task, with its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn concurrency() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

/// Works until it is told to end. The server is the one of `config`, overruled by the environment.
pub(crate) fn run(
    arguments: AgentArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), Trouble> {
    let mut builder = Config::builder().environment();
    if let Some(file) = config {
        builder = builder.file(file);
    }
    let config = builder.build().map_err(|error| Trouble::Config(error.to_string()))?;
    if !job::can_be_run(&arguments.command[0]) {
        return Err(Trouble::Usage(format!(
            "there is no command {:?} that can be run",
            arguments.command[0]
        )));
    }
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Trouble::failed("cannot start the runtime"))?
        .block_on(work(arguments, config, Voice::by_the_clock(Terminal::new(), json)))
}

async fn work(arguments: AgentArguments, config: Config, voice: Voice) -> Result<(), Trouble> {
    let AgentArguments { queue: agent, concurrency, grace, give_up, command } = arguments;
    let recipe =
        Recipe::new(command).map_err(Trouble::failed("cannot find this program's own file"))?;
    let mut signals = Signals::new()?;
    let supervisor = Supervisor::spawn(config);
    let events = tokio::spawn(tell(supervisor.events(), voice));
    let client = PrivateAgentTasksQueue::over(supervisor);

    let starts = Arc::new(Starts::new(give_up.map(|seconds| Duration::from_secs(seconds.into()))));
    let handler = {
        let starts = starts.clone();
        move |task: Task| {
            let (recipe, starts) = (recipe.clone(), starts.clone());
            async move { do_task(voice, &recipe, &starts, &task).await }
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
                    voice.tell("end", Tone::Notice, "agent", &text, json!({ "signal": name }));
                }
                why = starts.given_up() => {
                    let text = format!("gives up: {why}");
                    voice.tell("end", Tone::Bad, "agent", &text, json!({ "reason": why }));
                    gave_up = Some(why);
                }
            }
        } => {
            drop(stop);
            tokio::select! {
                done = processing => done,
                _ = signals.next() => return Err(Trouble::Interrupted),
            }
        }
    };
    client.close().await;
    // It ends with the client.
    let _ = events.await;
    let done = done.map_err(|status| {
        let story = CallReport::of(&status).map_or(String::new(), |report| format!("; {report}"));
        Trouble::Failed(format!("{:?}: {}{story}", status.code(), printable(status.message())))
    })?;
    let Processed { completed, failed, given_back, lost, left, .. } = done;
    let fields = json!({
        "completed": completed, "failed": failed, "given_back": given_back, "lost": lost,
        "left": left,
    });
    voice.tell("summary", Tone::Quiet, "agent", &done.to_string(), fields);
    gave_up.map_or(Ok(()), |why| Err(Trouble::Failed(format!("gave up: {why}"))))
}

/// Has one task done by the command.
async fn do_task(voice: Voice, recipe: &Recipe, starts: &Starts, task: &Task) -> Outcome {
    let told = Told::begun(voice, task);
    let outcome = match recipe.start(task).await {
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
    told.ended(&outcome);
    outcome
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Trouble> {
        let listen = |kind| signal(kind).map_err(Trouble::failed("cannot listen for signals"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The next one's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Tells what becomes of the connection, until it is closed: every event for programs, and the
/// log's choice of them for people.
async fn tell(mut events: EventStream, voice: Voice) {
    let mut lines = EventLines::default();
    while let Some(item) = events.next().await {
        if voice.json() {
            let (text, fields) = told(item);
            voice.tell("event", Tone::Quiet, "channel", &text, fields);
        } else if let Some(line) = lines.line(&item) {
            voice.tell("event", Tone::Quiet, "channel", &line, json!({}));
        }
    }
}

/// An item in words and in fields.
fn told(item: EventItem) -> (String, Value) {
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
    };
    fields["event"] = json!(name);
    (text, fields)
}

/// Tells how a task ends, even where its handler is stopped.
struct Told {
    voice: Voice,
    task_id: String,
    begun: Instant,
    told: bool,
}

impl Told {
    fn begun(voice: Voice, task: &Task) -> Self {
        let told =
            Self { voice, task_id: task.task_id.clone(), begun: Instant::now(), told: false };
        told.tell("begun", Tone::Quiet, "begun");
        told
    }

    fn ended(mut self, outcome: &Outcome) {
        self.told = true;
        let took = self.begun.elapsed().as_millis();
        match outcome {
            Outcome::Completed(_) => self.tell("done", Tone::Good, &format!("done in {took} ms")),
            Outcome::Failed(why) => {
                self.tell("failed", Tone::Bad, &format!("failed after {took} ms: {why}"))
            }
            Outcome::GivenBack(why) => {
                self.tell("given back", Tone::Notice, &format!("given back: {why}"))
            }
        }
    }

    fn tell(&self, step: &str, tone: Tone, text: &str) {
        let fields = json!({ "task": self.task_id, "step": step });
        self.voice.tell("task", tone, &self.task_id, text, fields);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.told {
            self.tell("stopped", Tone::Notice, "stopped before its end");
        }
    }
}
