//! Many endpoints: several servers behind one channel, and several links to one server. The numbers
//! of the tests are those of the pains that they stand for.

mod age;
mod balanced;
mod connections;
mod ejection;
mod given;
mod health;
mod health_peers;
mod idle;
mod load_aware;
mod names;
mod probation;
mod replaced;
mod retries;
mod states;
mod suspicion;

use crate::support::*;
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_supervisor::{
    CallOptions, Config, ConfigBuilder, SupervisedChannel, Supervisor,
    config::Balancing,
    testing::{Fleet, HealthAnswer, MemoryNetwork, Script},
};

/// The defaults with calls to all servers in turn.
fn round_robin() -> ConfigBuilder {
    Config::builder().balancing_policy(Balancing::RoundRobin)
}

/// A supervisor of the servers that `fleet` lists.
fn supervise_fleet(fleet: &Fleet, config: ConfigBuilder) -> Supervisor {
    let config = config.build().expect("a test's configuration is valid");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    builder.endpoints(fleet.endpoints()).rng_seed(1).spawn()
}

/// The same with a fleet of its own, all of whose links are up.
async fn fleet_of(servers: usize, config: ConfigBuilder) -> (MemoryNetwork, Fleet, Supervisor) {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, servers).await;
    let supervisor = supervise_fleet(&fleet, config);
    links_up(&supervisor, servers).await;
    (network, fleet, supervisor)
}

/// The same with several links to each.
async fn fleet_of_links(servers: usize, each: usize) -> (MemoryNetwork, Fleet, Supervisor) {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, servers).await;
    let supervisor = supervise_fleet(&fleet, round_robin().connections(each));
    links_up(&supervisor, servers * each).await;
    (network, fleet, supervisor)
}

/// Waits until exactly so many links take calls.
async fn links_up(supervisor: &Supervisor, links: usize) {
    let mut in_use = supervisor.watch_links();
    let up = in_use.wait_for(|in_use| in_use.iter().count() == links);
    bounded("the links are up", up).await.expect("it lives");
}

/// A call that begins every `1 / per_second` for `time`; how each ended.
async fn calls_at(
    channel: &SupervisedChannel,
    per_second: u32,
    time: Duration,
) -> Vec<JoinHandle<Result<String, Status>>> {
    let every = SECOND / per_second;
    let mut calls = Vec::new();
    for _ in 0..time.as_micros() / every.as_micros() {
        let channel = channel.clone();
        calls.push(tokio::spawn(async move { say(&channel, "x", CallOptions::new()).await }));
        tokio::time::sleep(every).await;
    }
    calls
}

/// How many of the calls failed.
async fn failed(calls: Vec<JoinHandle<Result<String, Status>>>) -> usize {
    let ended = bounded("every call ends", futures::future::join_all(calls)).await;
    ended.into_iter().filter(|end| end.as_ref().expect("no panic").is_err()).count()
}

/// A fleet whose servers say that they serve, with all links up.
async fn healthy_fleet(servers: usize, config: ConfigBuilder) -> (Fleet, Supervisor, EventLog) {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, servers).await;
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Serving));
    let supervisor = supervise_fleet(&fleet, config);
    let log = EventLog::of(&supervisor);
    links_up(&supervisor, servers).await;
    (fleet, supervisor, log)
}

/// Ejects the first server of all of them, which answer anything else.
async fn eject_the_first(fleet: &Fleet, supervisor: &Supervisor) {
    fleet.server(0).script(Script::always(Code::Unavailable));
    for _ in 0..7 * fleet.servers().len() {
        let _ = echo(&supervisor.channel(), "x").await;
    }
    links_up(supervisor, fleet.servers().len() - 1).await;
}

/// Calls with this value of the sticky header `x-user`; which server answered.
async fn server_of(fleet: &Fleet, channel: &SupervisedChannel, user: usize) -> usize {
    let before = fleet.handled();
    let mut request = request("x", CallOptions::new());
    request.metadata_mut().insert("x-user", format!("user-{user}").parse().expect("text"));
    channel.unary::<String, String>(SAY, request).await.expect("answered");
    let now = fleet.handled();
    (0..now.len()).find(|place| now[*place] > before[*place]).expect("some server")
}
