//! `call`: one call of any method of any server, from a shell, through a supervised channel of its
//! own, with all that the policy does; and what was done, in words, with `--explain`.
//!
//! | place | what it is |
//! |---|---|
//! | `session` | one run: spawn, connect, ask, close |
//! | `invoke` | the call: what is sent, what is written, how it ends |
//! | `input`, `metadata` | `-d` and `-H` |
//! | `ask`, `reflection`, `schema` | what the server's methods and messages are |
//! | `codec`, `json`, `any` | messages on the wire, and as JSON |
//! | `details` | the details of a status |
//! | `describe` | services and messages in the words of a `.proto` file |
//! | `health` | how the server says that it is |
//! | `journal`, `explain` | `--explain`: when lines are written, and what they say |
//!
//! It knows nothing that the library does not tell: `--explain` is the events of the supervisor and
//! the report of the call.

mod account;
mod any;
mod ask;
mod codec;
mod describe;
mod details;
mod explain;
#[cfg(all(test, feature = "test-util"))]
mod explain_dials_tests;
#[cfg(all(test, feature = "test-util"))]
mod explain_streams_tests;
#[cfg(all(test, feature = "test-util"))]
mod explain_tests;
mod health;
mod input;
mod invoke;
mod journal;
mod json;
mod metadata;
mod reflection;
mod schema;
mod session;
#[cfg(all(test, feature = "test-util"))]
mod session_tests;

use crate::{CliError, stdout::Stdout};
use input::Input;
use journal::Output;
use schema::MethodName;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::runtime;
use tonic::metadata::MetadataMap;
use tonic_supervisor::Config;

pub(crate) const HELP: &str = "\
What the server's methods are is asked of its reflection, or stands in --descriptors. Everything \
else (TLS, credentials, retries) is as --config and TONIC_SUPERVISOR_GRPC_... in the environment \
say; TARGET goes before their target.

Answers go to standard output, one line of JSON each; --explain and errors to standard error. What \
servers say is escaped.

  tonic-supervisor call localhost:50051
  tonic-supervisor call localhost:50051 list
  tonic-supervisor call localhost:50051 describe pkg.Service
  tonic-supervisor call localhost:50051 pkg.Service/Method -d '{\"id\": 7}'

Exit codes: 0 it worked, 1 it failed, 2 wrong usage, 3 the configuration is not valid, 4 not \
connected within the time, 130 interrupted; with --exit-code grpc 64 + n, where the call ended \
with the status code n.";

#[derive(Debug, clap::Args)]
pub(crate) struct CallArguments {
    /// The server: `HOST:PORT`, `http://HOST:PORT`, `https://HOST:PORT`, `unix:PATH`, and what else
    /// the key `target` takes.
    target: String,
    /// The method to call, `pkg.Service/Method`; or `list`, or `describe`. Without it: connect, and
    /// say which services there are and how they are.
    #[arg(value_name = "METHOD|list|describe")]
    method: Option<String>,
    /// With `list` a service whose methods to list; with `describe` what to describe: a service, a
    /// method, a message or an enum.
    symbol: Option<String>,
    /// The message to send, as JSON; for a client stream any number, one after the other. `@FILE`
    /// reads a file, `-` standard input: a stream's messages are sent as they come.
    #[arg(short, long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    data: Option<String>,
    /// Metadata to send along, also to reflection. Can be given more than once. The value of a name
    /// that ends in -bin is base64.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// What the server's methods are, in place of its reflection: a set of descriptors, as `protoc
    /// --descriptor_set_out --include_imports` or `buf build -o` writes it.
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// How many seconds all of it may take: connecting, reflection, and the call with its retries.
    /// Without it the call has what the configuration says.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Do not retry the call; what the server certainly never saw is sent again all the same.
    #[arg(long)]
    no_retry: bool,
    /// Whether the call may run twice; false: what the server may have acted on is not repeated.
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    idempotent: Option<bool>,
    /// Wait for the server until the time is over, rather than fail with the first dial.
    #[arg(long)]
    wait: bool,
    /// Say what is done and why, with times: dials, attempts, waits.
    #[arg(long)]
    explain: bool,
    /// Print an example of the method's message, or of the one described, and call nothing.
    #[arg(long)]
    template: bool,
    /// `grpc`: exit with 64 + n where the call ended with the status code n.
    #[arg(long, value_name = "grpc")]
    exit_code: Option<ExitCodes>,
    /// Speak TLS; the configuration says more about it.
    #[arg(long)]
    tls: bool,
    /// Speak TLS, and trust the authorities in this file, in PEM.
    #[arg(long, value_name = "FILE")]
    cafile: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ExitCodes {
    Grpc,
}

/// What is to be done.
enum What {
    /// Only connect, and look.
    Dial,
    /// List the services, or a service's methods.
    List(Option<String>),
    Describe(String),
    Method(MethodName),
}

/// The arguments, read.
struct Plan {
    what: What,
    input: Input,
    metadata: MetadataMap,
    /// The file's name and what it holds.
    descriptors: Option<(PathBuf, Vec<u8>)>,
    timeout: Option<Duration>,
    retry: bool,
    idempotent: Option<bool>,
    wait: bool,
    explain: bool,
    template: bool,
    exit_with_code: bool,
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("must be 0.001 to 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Does one thing and ends.
pub(crate) fn run(
    arguments: CallArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), CliError> {
    let mut builder = Config::builder();
    // What is wrong with the target alone is wrong usage, and no mistake of a file.
    if let Err(error) = Config::builder().target(&*arguments.target).build() {
        let words = error.to_string();
        let rule = words.split_once(", but ").map_or(&*words, |(_, rule)| rule);
        return Err(CliError::Usage(format!("TARGET {:?} {rule}", arguments.target)));
    }
    builder = builder.environment().target(&*arguments.target);
    if let Some(file) = config {
        builder = builder.file(file);
    }
    if arguments.tls {
        builder = builder.use_tls(true);
    }
    if let Some(file) = &arguments.cafile {
        builder = builder.tls_ca(file);
    }
    let config = builder.build().map_err(|error| CliError::Config(error.to_string()))?;
    let plan = Plan::of(arguments, json)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::failed("cannot start the runtime"))?;
    let done = runtime.block_on(async {
        let interrupted = async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending().await
            }
        };
        session::run(config, &plan, Output::Terminal(Stdout::new()), None, interrupted).await
    });
    // A write that nobody takes shall not keep the command.
    runtime.shutdown_background();
    done
}

impl Plan {
    fn of(arguments: CallArguments, json: bool) -> Result<Self, CliError> {
        let usage = |words: &str| Err(CliError::Usage(words.to_owned()));
        let what = match (arguments.method.as_deref(), arguments.symbol) {
            (None, _) => What::Dial,
            (Some("list"), service) => What::List(service),
            (Some("describe"), Some(symbol)) => What::Describe(symbol),
            (Some("describe"), None) => {
                return usage("describe needs what to describe, such as pkg.Service");
            }
            (Some(_), Some(more)) => {
                return Err(CliError::Usage(format!(
                    "{more:?} is one word too many: the message to send is given with -d"
                )));
            }
            (Some(method), None) => What::Method(method.parse().map_err(CliError::Usage)?),
        };
        let sends = matches!(what, What::Method(_)) && !arguments.template;
        if arguments.data.is_some() && !sends {
            return usage("-d is for a call: name a method, pkg.Service/Method");
        }
        if arguments.template && matches!(what, What::Dial | What::List(_)) {
            return usage("--template is for a method or for `describe MESSAGE`");
        }
        let descriptors = arguments.descriptors.map(|path| {
            let error = format!("cannot read {}", path.display());
            fs::read(&path).map_err(CliError::failed(&error)).map(|set| (path, set))
        });
        Ok(Self {
            what,
            input: Input::of(arguments.data.as_deref()).map_err(CliError::Failed)?,
            metadata: metadata::read(&arguments.headers).map_err(CliError::Usage)?,
            descriptors: descriptors.transpose()?,
            timeout: arguments.timeout,
            retry: !arguments.no_retry,
            idempotent: arguments.idempotent,
            wait: arguments.wait,
            explain: arguments.explain,
            template: arguments.template,
            exit_with_code: arguments.exit_code.is_some(),
            json,
        })
    }
}
