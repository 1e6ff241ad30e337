//! Links that are replaced because of what their servers say, or while they are asked: without a
//! gap where another serves, and at all where none does.

use super::*;
use futures::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tonic_supervisor::{
    Address, ConnectivityState, Fact,
    testing::{HealthAnswer, ScriptedServer},
    transport::{Resolution, Resolver},
};

/// How often the channel's state changed.
fn changes_of_state(log: &EventLog) -> usize {
    log.count(|fact| matches!(fact, Fact::StateChanged { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_replaced_while_health_is_watched_leaves_no_gap() {
    let (fleet, supervisor, _) = healthy_fleet(1, Config::builder().health_service("")).await;
    let log = EventLog::of(&supervisor);
    // The successor's question is not answered at all.
    fleet.server(0).health(HealthAnswer::Hangs);
    supervisor.reconnect_now();
    log.until("a successor", 1, |fact| matches!(fact, Fact::LinkEstablished { .. })).await;
    settle().await;
    assert_eq!(echo(&supervisor.channel(), "x").await.expect("at once"), "x");
    assert_eq!(changes_of_state(&log), 0);
}

#[tokio::test(start_paused = true)]
async fn where_all_of_several_servers_answer_no_probe_each_is_dialled_anew() {
    let config = round_robin().health_probe_period(secs(1)).health_probe_timeout(ms(500));
    let (fleet, supervisor, _) = healthy_fleet(2, config).await;
    let log = EventLog::of(&supervisor);
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Hangs));
    let dialled = |endpoint: u32| {
        move |fact: &Fact| match fact {
            Fact::DialStarted { endpoint: of, .. } => of.0 == endpoint,
            _ => false,
        }
    };
    log.until("the first is dialled anew", 1, dialled(1)).await;
    log.until("the second, too", 1, dialled(2)).await;
    fleet.servers().iter().for_each(|server| server.health(HealthAnswer::Serving));
    links_up(&supervisor, 2).await;
    let dials = log.count(|fact| matches!(fact, Fact::DialStarted { .. }));
    assert!(dials <= 4, "{dials} dials");
}

/// A lookup that failed before a rest says nothing about the call that ends it.
#[tokio::test(start_paused = true)]
async fn a_call_that_ends_a_rest_does_not_fail_by_the_lookup_before() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let works = Arc::new(AtomicBool::new(false));
    let config = round_robin().idle_timeout(secs(10)).wait_for_ready(false);
    let config = config.build().expect("valid");
    let resolver = FailsAtFirst(works.clone());
    let supervisor =
        Supervisor::builder(config).connector(network.connector()).resolver(resolver).spawn();
    let log = EventLog::of(&supervisor);
    log.until("it rests", 1, |fact| match fact {
        Fact::StateChanged { to, .. } => *to == ConnectivityState::Idle,
        _ => false,
    })
    .await;
    works.store(true, Relaxed);
    assert_eq!(echo(&supervisor.channel(), "x").await.expect("it waits for the lookup"), "x");
    drop(server);
}

/// Says that it failed until it is told that it works.
struct FailsAtFirst(Arc<AtomicBool>);

impl Resolver for FailsAtFirst {
    fn resolve(&self) -> BoxFuture<'static, Result<Resolution, String>> {
        let works = self.0.load(Relaxed);
        Box::pin(async move {
            let server: Address = ADDRESS.parse().expect("an address");
            if works { Ok(Resolution::new([server.into()])) } else { Err("SERVFAIL".into()) }
        })
    }
}
