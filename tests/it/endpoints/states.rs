//! The channel's state, made of its endpoints' states, and what calls are told.

use super::*;
use tonic_supervisor::{ConnectivityState::*, Fact};

#[tokio::test(start_paused = true)]
async fn a_channel_is_ready_while_one_endpoint_is_and_fails_with_the_last() {
    let (_network, fleet, supervisor) = fleet_of(3, round_robin()).await;
    let mut events = EventReader::of(&supervisor).await;
    for place in 0..3 {
        assert_eq!(supervisor.state(), Ready);
        fleet.server(place).kill().await;
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(supervisor.state(), TransientFailure);
    // Redials do not show while all fail.
    tokio::time::sleep(secs(30)).await;
    fleet.server(2).restart().await;
    supervisor.wait_ready(secs(15)).await.expect("one is enough");
    let states = events.states().await;
    let last: Vec<_> = states.iter().rev().take(2).copied().collect();
    assert_eq!(last, [Ready, TransientFailure], "{states:?}");
    assert!(states.len() <= 3, "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_fail_fast_call_is_told_counts_the_endpoints_and_has_the_last_failure() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 2).await;
    for server in fleet.servers() {
        server.kill().await;
    }
    let supervisor = supervise_fleet(&fleet, round_robin().wait_for_ready(false));
    let mut states = supervisor.watch_state();
    bounded("failing", states.wait_for(|state| *state == TransientFailure)).await.expect("alive");
    let status = echo(&supervisor.channel(), "x").await.expect_err("nobody is there");
    let words = status.message();
    assert!(
        words.contains("2 of 2 endpoints have failed, the last one so: cannot connect to server-")
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_is_told_of_all_links() {
    let config = round_robin().max_in_flight(2);
    let (_network, fleet, supervisor) = fleet_of(3, config).await;
    fleet.servers().iter().for_each(|it| it.script(tonic_supervisor::testing::Script::delay(LONG)));
    let channel = supervisor.channel();
    let running = start_many(&channel, CallOptions::new(), 6);
    settle().await;
    let options = CallOptions::new().timeout(secs(1));
    let status = say(&channel, "x", options).await.expect_err("no link has room");
    let words = "for room: 6 of 6 streams are open on 3 links (max_in_flight)";
    assert!(status.message().contains(words), "{status:?}");
    drop(running);
}

/// An endpoint's outage is a line at its start and one at its end, whatever the others do.
#[tokio::test(start_paused = true)]
async fn an_endpoints_outage_is_two_lines_for_people() {
    let (_network, fleet, supervisor) = fleet_of(2, round_robin()).await;
    let (mut events, mut lines) = (supervisor.events(), tonic_supervisor::EventLines::default());
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(item) = events.next().await {
            all.extend(lines.line(&item));
        }
        all
    });
    fleet.server(0).kill().await;
    tokio::time::sleep(ms(500)).await;
    fleet.server(0).restart().await;
    links_up(&supervisor, 2).await;
    supervisor.shutdown(secs(1)).await;
    let lines = bounded("the events end", reading).await.expect("no panic");
    let about: Vec<_> = lines.iter().filter(|line| line.contains("server-1")).collect();
    assert!(about[0].starts_with("endpoint server-1:50051 is lost: "), "{lines:?}");
    assert!(about.last().is_some_and(|line| line.contains("is back after ")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("connection lost")), "{lines:?}");
}

/// After a crash of the supervisor actor all endpoints are dialled again, and no call is lost.
#[tokio::test(start_paused = true)]
async fn a_crash_of_the_supervisor_actor_dials_every_endpoint_again() {
    hide_injected_panics();
    let (_network, fleet, supervisor) = fleet_of_links(3, 2).await;
    links_up(&supervisor, 6).await;
    let log = EventLog::of(&supervisor);
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 100, secs(5)).await });
    supervisor.panics().arm(tonic_supervisor::Child::Supervisor, "EndpointsGiven", 1);
    fleet.list([0, 1, 2]);
    tokio::time::sleep(secs(1)).await;
    links_up(&supervisor, 6).await;
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    assert_eq!(log.count(|fact| matches!(fact, Fact::ChildFailed { .. })), 1);
    // Of each it is told that it was down.
    let down = |fact: &Fact| {
        matches!(fact, Fact::SubchannelChanged { from: Ready, to: TransientFailure, .. })
    };
    assert_eq!(log.count(down), 3);
    assert_eq!(supervisor.snapshot().endpoints.len(), 3);
}
