//! The price of a call: one generated-style client over `tonic::transport::Channel` and over a
//! `SupervisedChannel`, against one server in another process, in turns. Every ratio is between
//! neighbours in time. There are three shapes, because what a call costs depends on what else its
//! process and its cores do: `together`, `apart` and `one_worker`.
//!
//! `cargo bench --bench call_path -- [--quick] [--json] [--shape NAME] [--in-flight N]`; with
//! `--features cli,test-util` over TLS, too (`tls_calls_per_s` and so on), because that builds
//! tonic's own; `--tcp` leaves that out.

#[path = "../common/mod.rs"]
mod common;

mod apart;
mod load;
mod process;
mod together;

use common::{Run, client, row::Row, server};
use load::Cell;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(&arguments[at + 1..])
    };
    if let Some(arguments) = after("--profile") {
        return alone(profile(arguments));
    }
    match after("--client") {
        Some(arguments) => alone(process::serve(arguments)),
        None => common::main(run),
    }
}

fn alone(work: impl Future<Output = ()>) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work);
    ExitCode::SUCCESS
}

/// One side alone, for a profiler: `--profile tonic|supervised|mailbox PAYLOAD IN_FLIGHT CALLS`.
/// As apart, but by mailbox, every call has a deadline.
async fn profile(arguments: &[String]) {
    let [side, numbers @ ..] = arguments else { panic!("a side, and numbers") };
    let [payload, in_flight, calls] = [0, 1, 2].map(|n| numbers[n].parse().expect("a number"));
    let server = server::Child::start();
    let cell = Cell { payload, in_flight };
    if side == "tonic" {
        let plain = client::plain(server.address).await;
        return cell.make(&plain.within(Some(process::DEADLINE)), calls).await;
    }
    let supervisor = client::supervise(server.address).await;
    match side.as_str() {
        "mailbox" => cell.make(&client::Mailboxed(supervisor.mailbox()), calls).await,
        _ => {
            let supervised = client::over(supervisor.channel());
            cell.make(&supervised.within(Some(process::DEADLINE)), calls).await;
        }
    }
}

async fn run(how: Run) -> Vec<Row> {
    let shape = argument("--shape");
    let wanted = |name: &str| shape.as_ref().is_none_or(|shape| shape == name);
    let mut rows = Vec::new();
    if wanted("together") {
        rows.extend(together::rows(how).await);
    }
    if wanted("apart") {
        rows.extend(apart::rows(how));
    }
    if wanted("one_worker") {
        rows.extend(apart::rows_of_one_worker(how));
    }
    rows
}

/// Whether a cell with so many calls in flight is asked for: `--in-flight N` asks for these alone.
fn is_wanted(in_flight: usize, how: Run) -> bool {
    match argument("--in-flight") {
        Some(only) => only.parse() == Ok(in_flight),
        None => !how.quick || in_flight < 128,
    }
}

/// What stands behind this name.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
