//! round_robin: calls are spread evenly over servers that are up, and go around those that are not.

use super::*;
use tonic::Code;
use tonic_supervisor::{
    Address, Endpoint, Fact,
    testing::{Answer, Misbehaviour, Script},
};

#[tokio::test(start_paused = true)]
async fn e04_three_thousand_calls_one_after_another_are_a_thousand_for_each_of_three_servers() {
    let (_network, fleet, supervisor) = fleet_of(3, round_robin()).await;
    let channel = supervisor.channel();
    for _ in 0..3_000 {
        echo(&channel, "x").await.expect("answered");
    }
    assert!(
        fleet.handled().iter().all(|calls| calls.abs_diff(1_000) <= 1),
        "{:?}",
        fleet.handled()
    );
}

#[tokio::test(start_paused = true)]
async fn e04_with_64_calls_in_flight_the_shares_are_equal_too() {
    let (_network, fleet, supervisor) = fleet_of(3, round_robin()).await;
    fleet.servers().iter().for_each(|server| server.script(Script::delay(ms(3))));
    let callers = (0..64).map(|_| {
        let channel = supervisor.channel();
        tokio::spawn(async move {
            for _ in 0..50 {
                echo(&channel, "x").await.expect("answered");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        bounded("the caller is done", caller).await.expect("no panic");
    }
    let third = 64 * 50 / 3;
    let even = |calls: &usize| calls.abs_diff(third) <= third / 50;
    assert!(fleet.handled().iter().all(even), "{:?}", fleet.handled());
}

/// Pain 20 and E3: an endpoint that is down costs no call anything, and gets its share back.
#[tokio::test(start_paused = true)]
async fn e03_an_endpoint_that_is_down_gets_no_call_and_its_share_when_it_is_back() {
    let (_network, fleet, supervisor) = fleet_of(2, round_robin()).await;
    let channel = supervisor.channel();
    fleet.server(0).kill().await;
    links_up(&supervisor, 1).await;
    for _ in 0..1_000 {
        echo(&channel, "x").await.expect("answered");
    }
    let now = supervisor.snapshot();
    assert_eq!((now.retries, now.transparent_retries, fleet.handled()), (0, 0, vec![0, 1_000]));
    fleet.server(0).restart().await;
    // One wait of the schedule, at its longest.
    let back = timed(links_up(&supervisor, 2)).await.0;
    assert!(back <= secs(12), "{back:?}");
    for _ in 0..1_000 {
        echo(&channel, "x").await.expect("answered");
    }
    let share = fleet.handled()[0];
    assert!(share >= 400, "{:?}", fleet.handled());
}

/// Whatever keeps one of three from serving, no call fails and the others share its calls.
#[tokio::test(start_paused = true)]
async fn e03_one_of_three_that_cannot_be_connected_to_fails_no_call() {
    let faults = [
        Misbehaviour::Refuse,
        Misbehaviour::BlackHole,
        Misbehaviour::AcceptThenClose,
        Misbehaviour::AcceptThenReset,
        Misbehaviour::Http1Greeting,
        Misbehaviour::NoSettings,
    ];
    for fault in faults {
        let network = MemoryNetwork::new();
        let fleet = Fleet::on_memory(&network, 3).await;
        let _peer = fleet.misbehave(1, fault).await;
        let supervisor = supervise_fleet(&fleet, round_robin());
        links_up(&supervisor, 2).await;
        let calls = calls_at(&supervisor.channel(), 20, secs(30)).await;
        assert_eq!(failed(calls).await, 0, "{fault:?}");
        let (first, third) = (fleet.handled()[0], fleet.handled()[2]);
        assert!(first.abs_diff(300) <= 1 && third.abs_diff(300) <= 1, "{fault:?}");
        assert_eq!(supervisor.snapshot().retries, 0, "{fault:?}");
    }
}

/// What one endpoint cannot take does not all fall to the next in the list.
#[tokio::test(start_paused = true)]
async fn the_calls_that_an_endpoint_has_no_room_for_are_spread_evenly_over_the_others() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 4).await;
    let _peer = fleet.misbehave(1, Misbehaviour::Streams(0)).await;
    let supervisor = supervise_fleet(&fleet, round_robin());
    links_up(&supervisor, 4).await;
    let channel = supervisor.channel();
    for _ in 0..300 {
        echo(&channel, "x").await.expect("answered");
    }
    let even = |place: &usize| fleet.handled()[*place].abs_diff(100) <= 1;
    assert!([0, 2, 3].iter().all(even), "{:?}", fleet.handled());
}

/// One is killed, one freezes, the third serves on.
#[tokio::test(start_paused = true)]
async fn one_of_three_is_killed_and_one_freezes_and_no_call_fails() {
    let config = round_robin().keepalive_time(secs(10));
    let (network, fleet, supervisor) = fleet_of(3, config).await;
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 100, secs(40)).await });
    tokio::time::sleep(secs(5)).await;
    fleet.server(0).kill().await;
    tokio::time::sleep(secs(5)).await;
    network.only(&fleet.address(1).to_string()).freeze_all();
    let calls = traffic.await.expect("no panic");
    assert_eq!(failed(calls).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_each_server_one_after_another_costs_no_call_anything() {
    let (_network, fleet, supervisor) = fleet_of(3, round_robin()).await;
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 500, secs(10)).await });
    for place in 0..3 {
        tokio::time::sleep(secs(2)).await;
        fleet.server(place).goaway().await;
        // Between two calls: one on the new link at this very moment would be retried.
        tokio::time::sleep(ms(101)).await;
        fleet.server(place).restart().await;
        tokio::time::sleep(ms(1)).await;
    }
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    assert_eq!(supervisor.snapshot().retries, 0);
    links_up(&supervisor, 3).await;
}

/// Pain 20 as faults.md has it: two endpoints, one of them down from the start.
#[tokio::test(start_paused = true)]
async fn pain_20_a_dead_endpoint_is_never_in_rotation() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    fleet.server(1).kill().await;
    let supervisor = supervise_fleet(&fleet, round_robin());
    let channel = supervisor.channel();
    for _ in 0..1_000 {
        echo(&channel, "x").await.expect("answered");
    }
    assert_eq!((fleet.handled(), supervisor.snapshot().retries), (vec![1_000, 0], 0));
    fleet.server(1).restart().await;
    links_up(&supervisor, 2).await;
    for _ in 0..100 {
        echo(&channel, "x").await.expect("answered");
    }
    assert!(fleet.handled()[1] >= 40, "{:?}", fleet.handled());
}

/// What is configured is what is called: the key `endpoints`.
#[tokio::test(start_paused = true)]
async fn addresses_of_the_configuration_are_endpoints_of_their_own_under_round_robin() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 3).await;
    let list = (0..3).map(|place| fleet.address(place).to_string());
    let supervisor = supervise(&network, round_robin().endpoints(list));
    links_up(&supervisor, 3).await;
    let channel = supervisor.channel();
    for _ in 0..30 {
        echo(&channel, "x").await.expect("answered");
    }
    assert_eq!(fleet.handled(), [10, 10, 10]);
}

/// Under pick_first the same list is one endpoint: the first that can be connected to has all
/// calls.
#[tokio::test(start_paused = true)]
async fn under_pick_first_all_addresses_are_one_endpoint_whose_dial_races_them() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 3).await;
    fleet.server(0).kill().await;
    let list = (0..3).map(|place| fleet.address(place).to_string());
    let supervisor = supervise(&network, Config::builder().endpoints(list));
    let channel = supervisor.channel();
    for _ in 0..30 {
        echo(&channel, "x").await.expect("answered");
    }
    assert_eq!(fleet.handled(), [0, 30, 0]);
    assert_eq!(supervisor.snapshot().endpoints.len(), 1);
    // That one dies: the race goes on to the next.
    fleet.server(1).kill().await;
    echo(&channel, "x").await.expect("answered");
    assert_eq!(fleet.handled(), [0, 30, 1]);
}

/// E19 for endpoints whose addresses are listed: a bad one holds up no other.
#[tokio::test(start_paused = true)]
async fn e19_a_bad_address_of_an_endpoint_holds_up_no_other() {
    for fault in [
        Misbehaviour::BlackHole,
        Misbehaviour::NoSettings,
        Misbehaviour::AcceptThenClose,
        Misbehaviour::AcceptThenReset,
    ] {
        for bad in [0, 1] {
            let network = MemoryNetwork::new();
            let fleet = Fleet::on_memory(&network, 2).await;
            let _peer = fleet.misbehave(bad, fault).await;
            let list = (0..2).map(|place| fleet.address(place).to_string());
            let supervisor = supervise(&network, Config::builder().endpoints(list));
            let ready = bounded("Ready", supervisor.wait_ready(secs(5)));
            let (took, ready) = timed(ready).await;
            ready.expect("over the other address");
            assert!(took <= ms(251), "{fault:?} at {bad}: {took:?}");
        }
    }
}

/// A server of several that answers UNAVAILABLE to everything fails no call that may be retried.
#[tokio::test(start_paused = true)]
async fn a_server_that_errs_is_left_by_each_retry() {
    let (_network, fleet, supervisor) = fleet_of(3, round_robin()).await;
    fleet.server(0).script(Script::always(Code::Unavailable));
    let calls = calls_at(&supervisor.channel(), 10, secs(30)).await;
    assert_eq!(failed(calls).await, 0);
    // Each of its calls was retried once, elsewhere.
    assert_eq!(supervisor.snapshot().retries as usize, fleet.handled()[0]);
}

/// An endpoint that says GOAWAY after every call is still of use.
#[tokio::test(start_paused = true)]
async fn a_call_that_an_endpoint_refuses_unprocessed_is_sent_to_another_at_once() {
    let (_network, fleet, supervisor) = fleet_of(2, round_robin()).await;
    fleet.server(0).script(Script::new(|_: &_| Answer::reset(7)));
    let channel = supervisor.channel();
    for _ in 0..100 {
        let (took, answer) = timed(echo(&channel, "x")).await;
        answer.expect("answered");
        assert!(took <= ms(2), "{took:?}");
    }
    let now = supervisor.snapshot();
    assert_eq!((now.retries, fleet.handled()[1]), (0, 100));
}

/// Events name endpoints where there are several, and are the old ones where there is one.
#[tokio::test(start_paused = true)]
async fn endpoints_are_announced_where_there_are_several() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    let several = supervise_fleet(&fleet, round_robin());
    let log = EventLog::of(&several);
    links_up(&several, 2).await;
    let listed = log.all(|fact| match fact {
        Fact::EndpointAdded { endpoint, addresses, .. } => {
            Some((endpoint.0, addresses.to_string()))
        }
        _ => None,
    });
    let listed: Vec<_> = listed.into_iter().map(|(_, it)| it).collect();
    assert_eq!(listed, [(1, "server-1:50051".into()), (2, "server-2:50051".into())]);
    let changed = log.count(|fact| matches!(fact, Fact::SubchannelChanged { .. }));
    assert_eq!(changed, 4, "each is Connecting, then Ready");

    let one = supervise(&network, config_for(&fleet.address(0)));
    let log = EventLog::of(&one);
    one.wait_ready(secs(1)).await.expect("Ready");
    let named =
        |fact: &Fact| matches!(fact, Fact::EndpointAdded { .. } | Fact::SubchannelChanged { .. });
    assert_eq!(log.count(named), 0);
    let snapshot = one.snapshot();
    let [only] = &snapshot.endpoints[..] else { panic!("{snapshot:?}") };
    assert_eq!((&*only.addresses, only.state.as_str()), ("server-1:50051", "READY"));
    assert_eq!(only.links.len(), 1);
}

/// An endpoint without an address is a dial that fails, and nothing worse.
#[tokio::test(start_paused = true)]
async fn an_endpoint_without_addresses_fails_each_dial_and_harms_no_other() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let list = [Endpoint::of([]), fleet.endpoint(0), Endpoint::from(Address::new("", 0))];
    let (_lists, given) = tokio::sync::watch::channel(list.into());
    let config = round_robin().build().expect("valid");
    let builder = Supervisor::builder(config).connector(fleet.connector());
    let supervisor = builder.endpoints(given).rng_seed(1).spawn();
    let calls = calls_at(&supervisor.channel(), 10, secs(30)).await;
    assert_eq!(failed(calls).await, 0);
}
