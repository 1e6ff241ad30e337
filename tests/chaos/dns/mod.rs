//! Names as a real name server gives them, in a namespace of its own: what this crate's client and
//! grpcio's do in the same minute with the same answers. Run by `.ci/dns`, which prints the table
//! that `docs/dns.md` shows.

mod clients;
mod grpcio_servers;
mod name_server;
mod process;
mod script;
mod servers;
mod stage;

use super::inside;
use clients::KINDS;
use name_server::NameServer;
use script::{Outcome, STEPS, Step};
use std::collections::BTreeMap;

#[test]
#[ignore = "takes three minutes and needs grpcio: .ci/dns"]
fn names_are_followed_and_trouble_with_names_costs_no_call() {
    inside::run("dns::inside_with_a_name_server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a namespace"]
async fn inside_with_a_name_server() {
    let mut names = NameServer::start();
    let titles: Vec<_> = KINDS.iter().map(|kind| kind.title).collect();
    println!("\n| what happens | timed | {} |", titles.join(" | "));
    println!("|---|---|{}", "---|".repeat(KINDS.len()));
    let mut played = Vec::new();
    for step in STEPS {
        let outcomes = step.play(&mut names).await;
        let cells: Vec<_> = outcomes.iter().map(|outcome| cell(step, outcome)).collect();
        let (happens, timed) = step.title();
        println!("| {happens} | {timed} | {} |", cells.join(" | "));
        played.push((step, outcomes));
    }
    // All of the table is of use, even where something in it is wrong.
    for (step, outcomes) in played {
        KINDS.iter().zip(&outcomes).for_each(|(kind, outcome)| step.judge(kind, outcome));
    }
}

fn cell(step: Step, outcome: &Outcome) -> String {
    let seen = &outcome.seen;
    let time = match outcome.time {
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
        None => step.without_time().to_owned(),
    };
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    seen.met.failed.iter().for_each(|code| *codes.entry(code).or_default() += 1);
    let codes: Vec<_> = codes.iter().map(|(code, times)| format!(" {times} {code}")).collect();
    format!(
        "{time}; {} of {} failed{}, slowest {:.2} s; {} closed; {} questions; {} called",
        seen.met.failed.len(),
        seen.met.ok + seen.met.failed.len() as u64,
        if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(",").trim()) },
        seen.met.slowest.as_secs_f64(),
        seen.closed,
        seen.questions,
        seen.called,
    )
}
