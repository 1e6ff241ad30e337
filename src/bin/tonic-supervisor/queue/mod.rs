//! `queue`: looks at the queues of any server of the agent queue, and acts on them, from a shell.
//!
//! | place | what it is |
//! |---|---|
//! | `table` | columns, numbers, ages and times for people |
//! | `render` | tasks and queues as JSON, and the names of statuses and kinds |
//! | `read` | `ls`, `show`, `list`, `stats` |
//! | `signature` | which failures are of one kind |
//! | `failures` | `failures`, and the tasks of one of its groups |
//! | `change` | `submit`, `retry`, `cancel`, `rm` |
//!
//! Every action carries a name that is made of what it is done to, so that a command that is given
//! twice does nothing the second time.

mod change;
mod failures;
mod read;
mod render;
mod signature;
mod table;

use crate::{
    CliError,
    stdout::{Stdout, plain_json},
};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::runtime;
use tonic::{Code, Request, Status};
use tonic_supervisor::{
    CallOptions, Config, SupervisedChannel, Supervisor,
    agent_queue::{DESCRIPTORS, agent_queue_client::AgentQueueClient},
    printable,
};

pub(crate) const HELP: &str = "\
The server is the one of --config, overruled by TONIC_SUPERVISOR_GRPC_... in the environment and \
by --target. Calls are retried as the configuration says, for at most --timeout. Tables have at \
most 80 columns; what does not fit is cut, and whole with --json. What servers say is escaped.

retry, cancel and rm of tasks can be given twice: the second time does nothing.

Exit codes: 0 it worked, 1 it failed (for at least one of the tasks named), 2 wrong usage, 3 the \
configuration is not valid.";

/// How long calls that run may go on when the command is done: none does.
const CLOSING: Duration = Duration::ZERO;

#[derive(Debug, clap::Args)]
pub(crate) struct QueueArguments {
    /// The server, in place of the configuration's: `http://HOST:PORT`, `https://HOST:PORT` or
    /// `unix:///PATH`.
    #[arg(long, global = true, value_name = "URI")]
    target: Option<String>,
    /// How many seconds each call may take, retries and the wait for a connection included.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10.0)]
    #[arg(value_parser = seconds)]
    timeout: f64,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// The queues that you may look at, by name.
    Ls,
    /// One task with everything that is known of it.
    Show {
        /// Whose queue.
        queue: String,
        /// Which task.
        task: String,
    },
    /// Add a task.
    Submit(change::SubmitArguments),
    /// The tasks of a queue, oldest first.
    List(read::ListArguments),
    /// What a queue holds, and how long its tasks wait and run.
    Stats {
        /// Whose queue.
        queue: String,
    },
    /// Failed tasks, grouped by what went wrong.
    Failures(failures::FailuresArguments),
    /// Do the work of failed tasks again, as new tasks.
    Retry(change::RetryArguments),
    /// Give up tasks that are PENDING or PROCESSING.
    Cancel(change::CancelArguments),
    /// Delete tasks, or a whole queue.
    Rm(change::RmArguments),
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("must be 0.1 to 3600 seconds".into());
    }
    Ok(seconds)
}

/// The server that a command asks, and the output that it writes to.
struct QueueCli {
    client: AgentQueueClient<SupervisedChannel>,
    stdout: Stdout,
    json: bool,
}

/// Does one thing and ends.
pub(crate) fn run(
    arguments: QueueArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), CliError> {
    let QueueArguments { target, timeout, action } = arguments;
    let mut builder = Config::builder().environment();
    if let Some(file) = config {
        builder = builder.file(file);
    }
    if let Some(target) = target {
        builder = builder.target(target);
    }
    let builder = builder.timeout(Duration::from_secs_f64(timeout));
    let config = builder.build().map_err(|error| CliError::Config(error.to_string()))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CliError::failed("cannot start the runtime"))?.block_on(async {
        let builder = Supervisor::builder(config).descriptor_set(DESCRIPTORS);
        let builder = builder.map_err(CliError::failed("cannot read the service's descriptors"))?;
        let supervisor = builder.spawn();
        let client = AgentQueueClient::new(supervisor.channel());
        let mut cli = QueueCli { client, stdout: Stdout::new(), json };
        let done = cli.run(action).await;
        supervisor.shutdown(CLOSING).await;
        done
    })
}

impl QueueCli {
    async fn run(&mut self, action: Action) -> Result<(), CliError> {
        match action {
            Action::Ls => self.ls().await,
            Action::Show { queue, task } => self.show(queue, task).await,
            Action::Submit(task) => self.submit(task).await,
            Action::List(list) => self.list(list).await,
            Action::Stats { queue } => self.stats(queue).await,
            Action::Failures(failures) => self.failures(failures).await,
            Action::Retry(retry) => self.retry(retry).await,
            Action::Cancel(cancel) => self.cancel(cancel).await,
            Action::Rm(rm) => self.rm(rm).await,
        }
    }

    /// A line for people; nothing where programs read.
    fn line(&self, text: &str) {
        if !self.json {
            self.stdout.line(text);
        }
    }

    /// An object for programs; nothing where people read.
    fn object(&self, value: &Value) {
        if self.json {
            self.stdout.line(&plain_json(&value.to_string()));
        }
    }
}

/// A request that may be sent again: all of the agent queue may.
fn request<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(CallOptions::new().idempotent(true));
    request
}

/// For `map_err`: what could not be done, and why, in one sentence.
fn refused(what: &str) -> impl FnOnce(Status) -> CliError {
    move |status| {
        let cause = printable(status.message());
        CliError::Failed(match status.code() {
            Code::Unimplemented => format!(
                "{what}: the server does not know this operation; it is older than this command, \
                 or another program ({cause})"
            ),
            code => format!("{what}: {code:?}: {cause}"),
        })
    }
}
