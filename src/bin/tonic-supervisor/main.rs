//! The command `tonic-supervisor`: reads the arguments, runs one subcommand, says how it went by its exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it worked |
//! | 1 | it failed |
//! | 2 | wrong usage |
//! | 3 | the configuration is not valid |
//! | 130 | interrupted |

// A command lives in real time.
#![allow(clippy::disallowed_methods)]

#[cfg(unix)]
mod agent;
mod check_config;
#[cfg(unix)]
mod demo;
#[cfg(unix)]
mod facts;
#[cfg(unix)]
mod job;
#[cfg(unix)]
mod keeper;
mod queue;
#[cfg(all(unix, feature = "serve"))]
mod serve;
#[cfg(unix)]
mod starts;
#[cfg(all(unix, feature = "serve"))]
mod store;
mod terminal;
#[cfg(unix)]
mod tls;
#[cfg(unix)]
mod voice;

use clap::{Parser, Subcommand};
use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

const EXIT_CODES: &str =
    "Exit codes: 0 it worked, 1 it failed, 2 wrong usage, 3 the configuration is not valid, 130 interrupted.";

/// Keeps gRPC connections alive, and shows that it does. Log lines go to standard error, as
/// RUST_LOG says; an agent's errors always do.
#[derive(Debug, Parser)]
#[command(name = "tonic-supervisor", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    json: bool,
    /// The configuration to use, a YAML file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a supervised and a plain channel through the same 15 seconds of trouble, side by side.
    #[command(after_help = EXIT_CODES)]
    Demo,
    /// Let the demo's supervised agent work for minutes through faults at random, and count what failed, was lost or leaked.
    #[cfg(unix)]
    #[command(after_help = EXIT_CODES)]
    Soak(demo::SoakArguments),
    /// Serve the agent queue.
    #[cfg(all(unix, feature = "serve"))]
    #[command(after_help = EXIT_CODES)]
    Serve(serve::ServeArguments),
    /// Work through an agent's queue: one run of a command for each task.
    #[cfg(unix)]
    #[command(after_help = agent::HELP)]
    Agent(agent::AgentArguments),
    /// Look at the queues of a server, and act on them.
    #[command(after_help = queue::HELP)]
    Queue(queue::QueueArguments),
    /// Run one task's command for `agent`, and end what it has started.
    #[cfg(unix)]
    #[command(hide = true)]
    Keep(keeper::KeepArguments),
    /// The server of the demo.
    #[cfg(unix)]
    #[command(hide = true)]
    DemoServer(demo::ServerArguments),
    /// Say what is wrong with a configuration.
    #[command(after_help = EXIT_CODES)]
    CheckConfig {
        /// The YAML file; without it, the one given by --config.
        file: Option<PathBuf>,
    },
}

impl Command {
    /// What is logged to standard error; nothing if none. An agent says its errors even where
    /// nobody asked for a log, and a keeper never does: its standard error is the command's.
    fn log(&self) -> Option<EnvFilter> {
        match self {
            #[cfg(unix)]
            Self::Keep(_) => None,
            _ if env::var_os("RUST_LOG").is_some() => Some(EnvFilter::from_default_env()),
            #[cfg(unix)]
            Self::Agent(_) => Some(EnvFilter::new("tonic_supervisor=error")),
            _ => None,
        }
    }
}

/// Why a command ended without doing its work.
#[derive(Debug)]
enum Trouble {
    /// It did not work; one sentence.
    Failed(String),
    /// It was called wrongly; one sentence.
    Usage(String),
    /// The configuration is not valid; one line per problem.
    Config(String),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(filter) = arguments.command.log() {
        let colours = terminal::wants_colours(&io::stderr());
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr).init();
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let (code, text) = match trouble {
                Trouble::Failed(text) => (1, text),
                Trouble::Usage(text) => (2, text),
                Trouble::Config(text) => (3, text),
                Trouble::Interrupted => (130, "interrupted".into()),
            };
            let lines: Vec<_> = text.lines().map(tonic_supervisor::printable).collect();
            // Whoever closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "tonic-supervisor: {}", lines.join("\n"));
            ExitCode::from(code)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Trouble> {
    match arguments.command {
        #[cfg(unix)]
        Command::Demo => demo::run(arguments.json, arguments.config.as_deref()),
        #[cfg(unix)]
        Command::Soak(soak) => demo::soak(&soak, arguments.json, arguments.config.as_deref()),
        #[cfg(all(unix, feature = "serve"))]
        Command::Serve(server) => serve::run(&server, arguments.config.as_deref(), arguments.json),
        #[cfg(unix)]
        Command::Agent(agent) => agent::run(agent, arguments.config.as_deref(), arguments.json),
        Command::Queue(action) => queue::run(action, arguments.config.as_deref(), arguments.json),
        #[cfg(unix)]
        Command::Keep(keeper) => keeper::run(&keeper),
        #[cfg(unix)]
        Command::DemoServer(server) => demo::serve(&server, arguments.config.as_deref()),
        #[cfg(not(unix))]
        Command::Demo => {
            Err(Trouble::Failed("the demo freezes and kills a process by signals, so it needs a Unix system".into()))
        }
        Command::CheckConfig { file } => {
            let missing = || Trouble::Usage("check-config needs a file".into());
            check_config::run(&file.or(arguments.config).ok_or_else(missing)?, arguments.json)
        }
    }
}

impl Trouble {
    /// For `map_err`: what was tried, and the error's own words.
    fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}
