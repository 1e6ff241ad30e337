//! Several links in one channel, against tonic's `Channel::balance_list` over as many copies of the
//! endpoint: calls a second over several links to one server and over one link to each of three,
//! what a thousand endpoints cost, a call's way around a server that is killed, and around one that
//! is slow.
//!
//! `cargo bench --bench fleet --features test-util -- [--quick] [--json] [PART]`; the parts are
//! `calls`, `thousand`, `killed` and `slow`.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod killed;
mod slow;
mod thousand;

use common::{Run, cell, client, row::Row};
use std::{net::SocketAddr, process::ExitCode, time::Duration};
use tonic::transport::{Channel, Endpoint, channel::Change};
use tonic_supervisor::{Config, ConfigBuilder, Supervisor, config::Balancing};

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    cell::main(run, thousand::measure)
}

async fn run(how: Run) -> Vec<Row> {
    let parts = ["calls", "thousand", "killed", "slow"];
    let asked = std::env::args().find(|argument| parts.contains(&&**argument));
    let wanted = |part: &str| asked.as_ref().is_none_or(|asked| asked == part);
    let mut rows = Vec::new();
    if wanted("calls") {
        rows.extend(calls::rows(how).await);
    }
    if wanted("thousand") {
        rows.extend(thousand::rows(how));
    }
    if wanted("killed") {
        rows.extend(killed::rows(how).await);
    }
    if wanted("slow") {
        rows.extend(slow::rows(how).await);
    }
    rows
}

/// A supervisor of these endpoints under round_robin.
fn supervise(addresses: &[SocketAddr], adjust: fn(ConfigBuilder) -> ConfigBuilder) -> Supervisor {
    let config = Config::builder()
        .endpoints(addresses.iter().map(ToString::to_string))
        .balancing_policy(Balancing::RoundRobin);
    Supervisor::spawn(adjust(config).build().expect("a valid configuration"))
}

/// Waits until so many of its links take calls.
async fn links_up(supervisor: &Supervisor, links: usize) {
    let mut in_use = supervisor.watch_links();
    let up = in_use.wait_for(|in_use| in_use.iter().count() == links);
    let up = tokio::time::timeout(PATIENCE, up).await;
    up.expect("the servers listen").expect("it lives");
}

/// What `Channel::balance_list` makes of these addresses. The list itself takes copies of an
/// endpoint for one, because it knows them by their addresses; so each has a number here.
fn balance(addresses: &[SocketAddr]) -> client::Client<Channel> {
    let (channel, list) = Channel::balance_channel::<usize>(addresses.len().max(1));
    for (number, address) in addresses.iter().enumerate() {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        list.try_send(Change::Insert(number, endpoint)).expect("there is room for all");
    }
    client::over(channel)
}
