//! E13: links that have reached their age are replaced one after another, and no call feels it.

use super::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tonic_supervisor::{Fact, testing::Script};

#[tokio::test(start_paused = true)]
async fn e13_links_are_replaced_at_their_age_before_they_close_and_no_call_feels_it() {
    let config = round_robin().max_connection_age(secs(60));
    let (_network, fleet, supervisor) = fleet_of(3, config).await;
    fleet.servers().iter().for_each(|server| server.script(Script::delay(ms(20))));
    let log = EventLog::of(&supervisor);
    let (least, mut links) = (Arc::new(AtomicUsize::new(3)), supervisor.watch_links());
    let seen = least.clone();
    let watching = tokio::spawn(async move {
        while links.changed().await.is_ok() {
            seen.fetch_min(links.borrow().iter().count(), Relaxed);
        }
    });
    let calls = calls_at(&supervisor.channel(), 50, secs(600)).await;
    assert_eq!(failed(calls).await, 0);
    let now = supervisor.snapshot();
    assert_eq!((now.retries, now.transparent_retries), (0, 0));
    let lived = log.all(|fact| match fact {
        Fact::LinkLost { lived, .. } => Some(*lived),
        _ => None,
    });
    assert!(lived.len() >= 24, "{}", lived.len());
    for (_, lived) in &lived {
        assert!(*lived >= secs(54) && *lived <= secs(66) + ms(100), "{lived:?}");
    }
    assert_eq!(one_replacement_at_a_time(&log), 0);
    assert_eq!(least.load(Relaxed), 3, "never fewer links than servers");
    watching.abort();
}

/// How often a dial began while another of the same endpoint was under way.
fn one_replacement_at_a_time(log: &EventLog) -> usize {
    let mut under_way = BTreeMap::new();
    let dials = log.all(|fact| match fact {
        Fact::DialStarted { endpoint, .. } => Some((*endpoint, 1)),
        Fact::LinkEstablished { endpoint, .. } | Fact::DialFailed { endpoint, .. } => {
            Some((*endpoint, -1))
        }
        _ => None,
    });
    let mut twice = 0;
    for (_, (endpoint, change)) in dials {
        let now = under_way.entry(endpoint).or_insert(0);
        *now += change;
        twice += usize::from(*now > 1);
    }
    twice
}

/// With several links to one server, whose ages come at about the same time.
#[tokio::test(start_paused = true)]
async fn e13_of_several_links_to_one_server_one_is_replaced_at_a_time() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let config = round_robin().connections(4).max_connection_age(secs(60));
    let supervisor = supervise_fleet(&fleet, config);
    links_up(&supervisor, 4).await;
    let log = EventLog::of(&supervisor);
    let calls = calls_at(&supervisor.channel(), 100, secs(130)).await;
    assert_eq!(failed(calls).await, 0);
    assert!(log.links_lost().len() >= 4, "{:?}", log.links_lost());
    assert_eq!(one_replacement_at_a_time(&log), 0);
    links_up(&supervisor, 4).await;
}

#[tokio::test(start_paused = true)]
async fn e13_a_replacement_that_fails_leaves_the_old_link_and_is_tried_again() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let config = config_for(&fleet.address(0)).max_connection_age(secs(60));
    let supervisor = supervise(&network, config.connect_timeout(secs(5)));
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let log = EventLog::of(&supervisor);
    tokio::time::sleep(secs(30)).await;
    network.only(&fleet.address(0).to_string()).black_hole(true);
    let calls = calls_at(&supervisor.channel(), 10, secs(90)).await;
    assert_eq!(failed(calls).await, 0);
    assert!(log.dials_failed().len() >= 3, "{:?}", log.dials_failed());
    assert_eq!(log.links_lost().len(), 0);
    network.only(&fleet.address(0).to_string()).black_hole(false);
    log.until("it is replaced", 1, |fact| matches!(fact, Fact::LinkLost { .. })).await;
    echo(&supervisor.channel(), "x").await.expect("answered");
}

/// A stream keeps its link for as long as it lasts, however old that is.
#[tokio::test(start_paused = true)]
async fn e13_streams_are_never_cut() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let answer = tonic_supervisor::testing::Answer::stream(vec![""; 600], tonic::Code::Ok);
    fleet.server(0).script(answer.every(secs(1)));
    let config = config_for(&fleet.address(0)).max_connection_age(secs(10)).max_draining_links(2);
    let supervisor = supervise(&network, config);
    let mut streams = Vec::new();
    for _ in 0..6 {
        let channel = supervisor.channel();
        let stream = generated_stream(&channel, CallOptions::new()).await.expect("begins");
        streams.push(tokio::spawn(async move {
            let mut stream = stream;
            let mut messages = 0;
            while stream.message().await.expect("never cut").is_some() {
                messages += 1;
            }
            messages
        }));
        tokio::time::sleep(secs(12)).await;
    }
    assert_eq!(join(streams).await, [600; 6]);
}
