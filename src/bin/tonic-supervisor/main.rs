//! The command `tonic-supervisor`: reads the arguments, runs one subcommand, and ends with an exit
//! code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it worked |
//! | 1 | it failed |
//! | 2 | wrong usage |
//! | 3 | the configuration is not valid |
//! | 4 | a channel is not READY, or `call` was not connected within the time |
//! | 64 + n | `call --exit-code grpc`: the call ended with status code n |
//! | 130 | interrupted |

// A command runs in real time, so the clock of the tests does not apply to it.
#![allow(clippy::disallowed_methods)]

#[cfg(unix)]
mod address;
#[cfg(unix)]
mod admin;
#[cfg(unix)]
mod agent;
mod call;
mod check_config;
#[cfg(unix)]
mod demo;
#[cfg(unix)]
mod facts;
#[cfg(unix)]
mod job;
#[cfg(unix)]
mod listening;
mod manual;
#[cfg(unix)]
mod proxy;
mod queue;
#[cfg(unix)]
mod reporter;
#[cfg(all(unix, feature = "serve"))]
mod serve;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod starts;
#[cfg(unix)]
mod status;
mod stdout;
#[cfg(all(unix, feature = "serve"))]
mod store;
#[cfg(unix)]
mod tls;
#[cfg(feature = "serve")]
mod token;
#[cfg(unix)]
mod wrapper;

use clap::{Parser, Subcommand};
use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

const EXIT_CODES: &str = "Exit codes: 0 it worked, 1 it failed, 2 wrong usage, 3 the configuration \
                          is not valid, 130 interrupted.";

/// Keeps gRPC connections alive, and shows that it does. Log lines go to standard error, as
/// RUST_LOG says; an agent's and a server's errors always do.
#[derive(Debug, Parser)]
#[command(name = "tonic-supervisor", version)]
#[command(after_help = EXIT_CODES, arg_required_else_help = true)]
#[command(max_term_width = 80)]
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
    #[cfg(unix)]
    #[command(after_help = EXIT_CODES)]
    Demo(demo::DemoArguments),
    /// Let the demo's supervised agent work for minutes through faults at random, and count what
    /// failed, was lost or leaked.
    #[cfg(unix)]
    #[command(after_help = EXIT_CODES)]
    Soak(demo::SoakArguments),
    /// Serve the agent queue.
    #[cfg(all(unix, feature = "serve"))]
    #[command(after_help = EXIT_CODES)]
    Serve(serve::ServeArguments),
    /// Serve the agent queue. Not in this build: it needs the feature `serve`.
    #[cfg(all(unix, not(feature = "serve")))]
    #[command(disable_help_flag = true)]
    Serve(NotInThisBuild),
    /// Pass calls of clients in any language on to a server, through a supervised channel.
    #[cfg(unix)]
    #[command(after_help = proxy::HELP)]
    Proxy(proxy::ProxyArguments),
    /// Make a token for an identity of `serve --auth`, and show it once.
    #[cfg(feature = "serve")]
    #[command(after_help = EXIT_CODES)]
    Token(token::TokenArguments),
    /// Work through an agent's queue: one run of a command for each task.
    #[cfg(unix)]
    #[command(after_help = agent::HELP)]
    Agent(agent::AgentArguments),
    /// Say what is the matter with the channels of a program that runs.
    #[cfg(unix)]
    #[command(after_help = status::HELP)]
    Status(status::StatusArguments),
    /// Look at the queues of a server, and act on them.
    #[command(after_help = queue::HELP)]
    Queue(queue::QueueArguments),
    /// Call a method of a server, list what it has, or only connect to it.
    #[command(after_help = call::HELP)]
    Call(call::CallArguments),
    /// Say what is wrong with a configuration, what may stand in it, and what holds.
    #[command(after_help = EXIT_CODES)]
    CheckConfig(check_config::CheckArguments),
    /// Print what a shell completes commands and options by.
    #[command(after_help = EXIT_CODES)]
    Completions(manual::CompletionsArguments),
    /// Print the manual as a page for man, in roff.
    #[command(after_help = EXIT_CODES)]
    Man(manual::ManArguments),
    /// These are not in this build: they need a Unix system.
    #[cfg(not(unix))]
    #[command(disable_help_flag = true, aliases = ["soak", "serve", "agent", "proxy", "status"])]
    Demo(NotInThisBuild),
}

/// The arguments of a command that is not in this build, whatever they are.
#[cfg(not(all(unix, feature = "serve")))]
#[derive(Debug, clap::Args)]
struct NotInThisBuild {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _any: Vec<std::ffi::OsString>,
}

/// The commands that this program starts itself. They are read apart from the others, so that no
/// help and no suggestion names them.
#[cfg(unix)]
#[derive(Debug, Parser)]
#[command(name = "tonic-supervisor")]
enum InternalCommand {
    /// Run one task's command for `agent`, and end what it has started.
    Keep(wrapper::WrapperArguments),
    /// The server of the demo.
    DemoServer(demo::ServerArguments),
}

impl Command {
    /// What is logged to standard error; nothing if none. An agent and a server say their errors,
    /// and a proxy its warnings, even where nobody asked for a log.
    fn log(&self) -> Option<EnvFilter> {
        match self {
            _ if env::var_os("RUST_LOG").is_some() => Some(EnvFilter::from_default_env()),
            #[cfg(all(unix, feature = "serve"))]
            Self::Serve(_) => Some(EnvFilter::new("tonic_supervisor=error")),
            #[cfg(unix)]
            Self::Agent(_) => Some(EnvFilter::new("tonic_supervisor=error")),
            // Nobody sees but here what it costs that nobody said whether a call may run twice.
            #[cfg(unix)]
            Self::Proxy(_) => Some(EnvFilter::new("tonic_supervisor=warn")),
            _ => None,
        }
    }
}

/// Why a command ended without doing its work.
#[derive(Debug)]
enum CliError {
    /// It did not work; one sentence.
    Failed(String),
    /// It was called wrongly; one sentence.
    Usage(String),
    /// The configuration is not valid; one line per problem.
    Config(String),
    /// It did not work, in a way that has an exit code of its own; one sentence.
    Exit(u8, String),
    /// What was asked about is not READY; one sentence.
    #[cfg(unix)]
    NotReady(String),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (code, text) = match error {
                CliError::Failed(text) => (1, text),
                CliError::Usage(text) => (2, text),
                CliError::Config(text) => (3, text),
                CliError::Exit(code, text) => (code, text),
                #[cfg(unix)]
                CliError::NotReady(text) => (4, text),
                CliError::Interrupted => (130, "interrupted".into()),
            };
            let lines: Vec<_> = text.lines().map(tonic_supervisor::printable).collect();
            // Whoever closed standard error does not want to know. A problem of a configuration
            // begins with its file, line and column.
            let name = if code == 3 { "" } else { "tonic-supervisor: " };
            let _ = writeln!(io::stderr(), "{name}{}", lines.join("\n"));
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<(), CliError> {
    #[cfg(unix)]
    if env::args_os()
        .nth(1)
        .is_some_and(|first| first.to_str().is_some_and(InternalCommand::has_subcommand))
    {
        return match InternalCommand::parse() {
            // A wrapper never logs: its standard error is the command's.
            InternalCommand::Keep(wrapper) => wrapper::run(&wrapper),
            InternalCommand::DemoServer(server) => {
                log(env::var_os("RUST_LOG").map(|_| EnvFilter::from_default_env()));
                demo::serve(&server)
            }
        };
    }
    let Arguments { command, json, config } = Arguments::parse();
    log(command.log());
    match command {
        #[cfg(unix)]
        Command::Demo(demo) => demo::run(&demo, json, config.as_deref()),
        #[cfg(unix)]
        Command::Soak(soak) => demo::soak(&soak, json, config.as_deref()),
        #[cfg(all(unix, feature = "serve"))]
        Command::Serve(server) => serve::run(&server, config.as_deref(), json),
        #[cfg(all(unix, not(feature = "serve")))]
        Command::Serve(_) => Err(CliError::Usage(
            "serve is not in this build: build or install the program with --features serve".into(),
        )),
        #[cfg(unix)]
        Command::Proxy(proxy) => proxy::run(&proxy, config.as_deref(), json),
        #[cfg(feature = "serve")]
        Command::Token(token) => token::run(&token, json),
        #[cfg(unix)]
        Command::Agent(agent) => agent::run(agent, config.as_deref(), json),
        #[cfg(unix)]
        Command::Status(status) => status::run(&status, json),
        Command::Queue(action) => queue::run(action, config.as_deref(), json),
        Command::Call(call) => call::run(call, config.as_deref(), json),
        #[cfg(not(unix))]
        Command::Demo(_) => Err(CliError::Usage(
            "demo, soak, serve, agent, proxy and status need a Unix system: they start processes, \
             or wait for signals"
                .into(),
        )),
        Command::CheckConfig(check) => check_config::run(check, config, json),
        Command::Completions(shell) => {
            manual::completions(&shell);
            Ok(())
        }
        Command::Man(page) => manual::man(&page),
    }
}

/// Logs to standard error what `filter` lets through.
fn log(filter: Option<EnvFilter>) {
    if let Some(filter) = filter {
        let colours = stdout::wants_colours(&io::stderr());
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(colours)
            .with_writer(io::stderr)
            .init();
    }
}

impl CliError {
    /// What happened, as a sentence.
    #[cfg(all(unix, feature = "serve"))]
    fn text(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Config(text) | Self::NotReady(text) => {
                text
            }
            Self::Exit(_, text) => text,
            Self::Interrupted => "interrupted",
        }
    }

    /// For `map_err`: what was tried, and the error's own text.
    fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}
