//! What the benches share: a server in a process of its own, clients over any channel, and rows of
//! figures.

#![allow(dead_code, reason = "each bench uses its own part of this")]

pub(crate) mod cell;
pub(crate) mod client;
pub(crate) mod row;
pub(crate) mod server;

use std::{future::Future, process::ExitCode};

/// How a bench was asked to run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// A short run that only shows that the bench works.
    pub(crate) quick: bool,
    json: bool,
}

/// Runs a bench: as a server if this is the server's process, and otherwise `bench`, whose rows are
/// printed.
pub(crate) fn main<F: Future<Output = Vec<row::Row>>>(bench: impl FnOnce(Run) -> F) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("--serve") {
        server::stay_on_one_core();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        runtime
            .block_on(server::serve(&arguments[at + 1], arguments.get(at + 2).map(String::as_str)));
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs benches, too: then a short run shows that they work.
    let run = Run { quick: has("--quick") || !has("--bench"), json: has("--json") };
    for row in runtime.block_on(bench(run)) {
        println!("{}", if run.json { row.json() } else { row.text() });
    }
    ExitCode::SUCCESS
}
