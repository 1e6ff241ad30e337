//! Lists of endpoints that the user gives: whole lists, the last counts.

use super::*;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic_supervisor::{ConnectivityState, Fact, LinkEnd, testing::Script};

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_listed_gets_its_share_and_one_that_is_not_finishes_its_calls() {
    let (_network, mut fleet, supervisor) = fleet_of(2, round_robin()).await;
    let log = EventLog::of(&supervisor);
    let place = fleet.grow().await;
    let channel = supervisor.channel();
    fleet.server(0).script(Script::delay(secs(5)));
    let riders = start_many(&channel, CallOptions::new(), 2);
    fleet.server(0).arrived(1).await;
    fleet.list([1, place]);
    let listed = || -> Vec<_> {
        let snapshot = supervisor.snapshot();
        let ready = |state| state == ConnectivityState::Ready;
        snapshot.endpoints.iter().map(|it| (it.endpoint.0, ready(it.state))).collect()
    };
    eventually("the list is in use", || listed() == [(2, true), (3, true)]).await;
    let before = fleet.handled();
    for _ in 0..100 {
        echo(&channel, "x").await.expect("answered");
    }
    let now = fleet.handled();
    let share = now[1] - before[1];
    assert!(share.abs_diff(50) <= 1 && share + now[place] - before[place] == 100, "{now:?}");
    // What ran on the one that went is answered there.
    assert!(join(riders).await.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(fleet.handled()[0], 1);
    let ends = log
        .facts(|fact| match fact {
            Fact::LinkLost { end, current, .. } => Some((end.clone(), *current)),
            _ => None,
        })
        .await;
    assert!(matches!(ends[..], [(LinkEnd::HungUp, false)]), "{ends:?}");
    assert_eq!(listed(), [(2, true), (3, true)]);
}

/// E14: thousands of lists, one a millisecond, end with exactly the last one's links.
#[tokio::test(start_paused = true)]
async fn e14_ten_thousand_lists_end_with_exactly_the_last_ones_links() {
    const SERVERS: usize = 4;
    let (_network, fleet, supervisor) = fleet_of(SERVERS, round_robin()).await;
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 20, secs(10)).await });
    let mut rng = StdRng::seed_from_u64(14);
    let mut last = Vec::new();
    for _ in 0..10_000 {
        // Never none: then calls would have to wait.
        last = (0..SERVERS).filter(|_| rng.random_bool(0.5)).collect();
        if last.is_empty() {
            last.push(rng.random_range(0..SERVERS));
        }
        fleet.list(last.iter().copied());
        tokio::time::sleep(ms(1)).await;
    }
    links_up(&supervisor, last.len()).await;
    let snapshot = supervisor.snapshot();
    let mut listed: Vec<_> =
        snapshot.endpoints.iter().map(|one| one.addresses.to_string()).collect();
    listed.sort();
    let expected: Vec<_> = last.iter().map(|place| fleet.address(*place).to_string()).collect();
    assert_eq!(listed, expected);
    assert!(snapshot.endpoints.iter().all(|one| one.links.len() == 1), "{snapshot:?}");
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    // Links of those that are not listed are gone.
    eventually("only these are connected", || {
        let open = |place: usize| fleet.server(place).open_connections();
        (0..SERVERS).all(|place| open(place) == usize::from(last.contains(&place)))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_an_empty_list_calls_wait_and_fail_fast_calls_are_told_why() {
    let (_network, fleet, supervisor) = fleet_of(2, round_robin()).await;
    fleet.list([]);
    let mut states = supervisor.watch_state();
    let failing = |state: &ConnectivityState| *state == ConnectivityState::TransientFailure;
    bounded("failing", states.wait_for(failing)).await.expect("it lives");
    let channel = supervisor.channel();
    let waiting = start_many(&channel, CallOptions::new(), 1);
    let fail_fast = CallOptions::new().wait_for_ready(false);
    let status = say(&channel, "x", fail_fast).await.expect_err("there is nobody");
    assert!(status.message().contains("there is no endpoint: the list is empty"), "{status:?}");
    let limited = CallOptions::new().timeout(secs(1));
    let status = say(&channel, "x", limited).await.expect_err("there is nobody");
    assert!(status.message().contains("there is no endpoint: the list is empty"), "{status:?}");
    fleet.list([1]);
    assert!(join(waiting).await[0].1.is_ok());
    // One that comes back has the number it had.
    assert_eq!(supervisor.snapshot().endpoints[0].endpoint.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_begins_with_an_empty_list_connects_when_one_is_given() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    fleet.list([]);
    let supervisor = supervise_fleet(&fleet, round_robin());
    let log = EventLog::of(&supervisor);
    settle().await;
    assert_eq!(supervisor.state(), ConnectivityState::TransientFailure);
    fleet.list([0]);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let added = log.facts(|fact| matches!(fact, Fact::EndpointAdded { .. }).then_some(())).await;
    assert_eq!(added.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_whoever_gives_lists_is_gone_the_last_one_holds() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    let list = [fleet.endpoint(0), fleet.endpoint(1)];
    let (lists, given) = tokio::sync::watch::channel(list.into());
    let config = round_robin().build().expect("valid");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    let supervisor = builder.endpoints(given).rng_seed(1).spawn();
    drop(lists);
    links_up(&supervisor, 2).await;
    fleet.server(0).restart().await;
    links_up(&supervisor, 2).await;
    bounded("closed", supervisor.shutdown(secs(1))).await;
}

/// Under pick_first another list of addresses replaces the link without a gap.
#[tokio::test(start_paused = true)]
async fn under_pick_first_another_list_moves_the_calls() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.list([0]);
    let supervisor = supervise_fleet(&fleet, Config::builder());
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 500, secs(1)).await });
    tokio::time::sleep(ms(500)).await;
    fleet.list([1]);
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    let handled = fleet.handled();
    assert!(handled[0] >= 200 && handled[1] >= 200, "{handled:?}");
    assert_eq!(supervisor.snapshot().retries, 0);
}

/// Who reads events from the start has seen the list that there was then.
#[tokio::test(start_paused = true)]
async fn a_list_that_comes_before_the_first_dial_is_told_of() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    let supervisor = supervise_fleet(&fleet, round_robin());
    let log = EventLog::of(&supervisor);
    assert_eq!(supervisor.snapshot().endpoints.len(), 2);
    fleet.list([1]);
    links_up(&supervisor, 1).await;
    assert_eq!(log.count(|fact| matches!(fact, Fact::EndpointRemoved { .. })), 1);
    assert_eq!(supervisor.snapshot().endpoints.len(), 1);
}

/// The supervisor actor starts over with the dials of what it knew, and then takes in the list.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_went_while_the_supervisor_actor_was_down_is_not_dialled() {
    hide_injected_panics();
    let (_network, fleet, supervisor) = fleet_of(2, round_robin()).await;
    let log = EventLog::of(&supervisor);
    supervisor.panics().arm(tonic_supervisor::Child::Supervisor, "EndpointsGiven", 1);
    fleet.list([0]);
    let failed = |fact: &Fact| matches!(fact, Fact::ChildFailed { .. });
    eventually("it failed", || log.count(failed) == 1).await;
    links_up(&supervisor, 1).await;
    tokio::time::sleep(secs(1)).await;
    assert_eq!((fleet.server(0).connections(), fleet.server(1).connections()), (2, 1));
}
