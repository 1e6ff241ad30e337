//! `demo`: two agents do the same work through the same outages, one on a supervised channel and
//! one on a plain one.
//!
//! The server is a child process with a journal on disk; what was really executed is read from
//! there at the end. With `--servers` several are called in turns, and the outages befall one of
//! them after another.

mod agent;
mod child;
mod colours;
mod forward;
mod outages;
mod outcome;
mod picture;
mod plain;
mod process_stats;
mod report;
mod script;
mod served;
mod server;
mod servers;
mod soak;
mod summary;
mod supervised;
mod table;
mod tally;
mod temp_folder;

pub(crate) use server::{ServerArguments, serve};
pub(crate) use soak::{SoakArguments, run as soak};

use crate::{CliError, admin::AdminArguments, stdout::Stdout, tls::Tls};
use agent::Agent;
use outages::Outages;
use picture::Picture;
use report::Report;
use script::ChaosRun;
use served::Served;
use servers::Servers;
use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use summary::{Comparison, Summary};
use tally::report_progress;
use temp_folder::TempFolder;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// How long calls may still take when the script is over: longer than any backoff of a call caught
/// by the last fault.
const FINISH: Duration = Duration::from_secs(15);

/// How long a server may take to come back when the script is over: it may have been ejected for
/// 3 s just before.
const BACK: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Draw every call of both channels over time, and write the picture to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How many servers both channels call in turns; the outages befall one after another.
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=8))]
    servers: u8,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Runs the demo. It succeeds when the supervised agent lost nothing.
pub(crate) fn run(
    arguments: &DemoArguments,
    json: bool,
    config: Option<&Path>,
) -> Result<(), CliError> {
    let file = arguments.report.as_deref();
    file.map_or(Ok(()), can_be_written)?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?;
    // On this thread: the child dies with the thread that started it.
    let summary = runtime.block_on(async {
        let interrupted = interrupted()?;
        let _admin = arguments.admin.start().await?;
        tokio::select! {
            summary = play(usize::from(arguments.servers), json, config, file) => summary,
            () = interrupted => Err(CliError::Interrupted),
        }
    })?;
    summary.check().map_err(CliError::Failed)
}

async fn play(
    servers: usize,
    json: bool,
    config: Option<&Path>,
    file: Option<&Path>,
) -> Result<Summary, CliError> {
    let report = Arc::new(Report::new(Stdout::new(), json));
    let folder = TempFolder::new()?;
    let tls = Tls::for_both_ends(config)?;
    let mut servers = Servers::start(servers, &folder, config).await?;
    let addresses = servers.addresses();
    report.started(&addresses);

    let (channel, supervised) = supervised::start("supervised", &addresses, config, &report)?;
    let mut left = Agent::start("supervised", channel, &report);
    let (channel, plain) = plain::start("plain", &addresses, tls.as_ref(), &report)?;
    let mut right = Agent::start("plain", channel, &report);

    let tallies = [left.tally().clone(), right.tally().clone()];
    let progress = report_progress(report.clone(), tallies.clone());
    let run = ChaosRun { report: &report, tallies: &tallies, outages: Outages::default() };
    let outages = run.run(&mut servers).await?;
    supervised.all_back(BACK).await;

    // Both agents finish what they began, side by side.
    tokio::join!(left.finish(FINISH), right.finish(FINISH));
    progress.abort();
    let now = report.now();
    let counts = [supervised.counts(), plain.counts().await];
    let (states, ()) = tokio::join!(supervised.close(), plain.close());
    servers.stop().await?;

    let comparison = Comparison {
        journal: &folder.journal(),
        outages: &outages,
        start_ms: report.start_ms(),
        now,
    };
    let tallies = [left.tally(), right.tally()].map(|tally| &**tally);
    let served = match &addresses[..] {
        [_] => Vec::new(),
        several => (several.iter().zip(&states.servers).zip(1..))
            .map(|((address, states), number)| {
                Served::new(*address, states, now, tallies.map(|tally| tally.served(number)))
            })
            .collect(),
    };
    let summary = Summary::new(&comparison, tallies, counts, served.clone())?;
    let drawn = file.map_or(Ok(()), |file| {
        let calls = [left.tally().calls(), right.tally().calls()];
        let svg = Picture {
            outages: outages.all(),
            states: &states,
            calls: [&calls[0], &calls[1]],
            servers: &served,
            end: now,
        }
        .svg()?;
        fs::write(file, svg)
            .map_err(CliError::failed(&format!("cannot write {}", file.display())))?;
        report.drawn(file);
        Ok(())
    });
    summary.print(report.reporter());
    drawn.map(|()| summary)
}

/// Whether there is a folder to put the picture in: said before the demo, not after it.
fn can_be_written(file: &Path) -> Result<(), CliError> {
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.display();
    if !folder.is_dir() {
        return Err(CliError::Usage(format!(
            "--report {name}: there is no folder {}",
            folder.display()
        )));
    }
    if file.is_dir() {
        return Err(CliError::Usage(format!(
            "--report {name}: that is a folder; name a file in it"
        )));
    }
    Ok(())
}

/// Completes on Ctrl-C, or when somebody asks the process to end.
fn interrupted() -> Result<impl Future<Output = ()>, CliError> {
    let error = "cannot listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed(error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed(error))?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
