//! Three servers of grpcio as `endpoints`. The same as a name is a test of `tests/chaos/dns`, where
//! names can be served.

use super::{
    fleet::{End, Fleet, Tally, assert_none_failed, links_up, round_robin, say},
    load::Load,
};
use parking_lot::Mutex;
use std::{mem, sync::Arc};
use tonic_supervisor::{EventItem, Fact, Health, Supervisor};

const ANY: [&str; 3] = ["127.0.0.1:0"; 3];

#[tokio::test]
async fn three_grpcio_servers_share_calls_and_one_killed_at_a_time_costs_no_call() {
    let mut fleet = Fleet::start(ANY);
    let config = round_robin().endpoints(fleet.addresses.clone());
    fleet.play(config, End::Killed).await;
}

#[tokio::test]
async fn three_grpcio_servers_that_stop_gracefully_cost_no_call_where_cancelled_is_retried() {
    let mut fleet = Fleet::start(ANY);
    let config = round_robin().endpoints(fleet.addresses.clone());
    fleet.play(config, End::Stopped).await;
}

/// gRPC A17 against C-core's own health service.
#[tokio::test]
async fn a_grpcio_server_that_stops_serving_gets_no_call_from_its_event_on_and_none_fails() {
    let mut fleet = Fleet::start(ANY);
    let config = round_robin().endpoints(fleet.addresses.clone()).health_service("");
    let supervisor = Supervisor::spawn(config.build().expect("valid"));
    links_up(&supervisor, 3).await;
    // Where calls that begin now are counted: one that began before an event may be on the wire.
    let current = Arc::new(Mutex::new(Tally::default()));
    let count_anew = || mem::take(&mut *current.lock());
    let (caller, counted) = (supervisor.clone(), current.clone());
    let load = Load::start(8, move || say(caller.clone(), counted.lock().clone()));
    load.worked(300).await;
    let mut events = supervisor.events();
    for round in 0..3 {
        fleet.serves(round, false);
        hears(&mut events, Health::NotServing).await;
        links_up(&supervisor, 2).await;
        count_anew();
        load.worked(300).await;
        let without = count_anew();
        fleet.serves(round, true);
        hears(&mut events, Health::Serving).await;
        links_up(&supervisor, 3).await;
        load.worked(300).await;
        assert_eq!(without.of(&fleet.addresses[round]), 0, "round {round}");
        let with = count_anew();
        assert!(with.of(&fleet.addresses[round]) >= 80, "round {round}");
    }
    assert_eq!(supervisor.snapshot().links, 3, "nothing was dialled");
    assert_none_failed(load, &supervisor).await;
}

async fn hears(events: &mut tonic_supervisor::EventStream, wanted: Health) {
    let heard = async {
        while let Some(item) = events.next().await {
            let EventItem::Event(event) = item else { continue };
            if matches!(event.fact, Fact::HealthChanged { health, .. } if health == wanted) {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), heard).await.expect("it is heard");
}
