//! A link whose peer owes an answer is picked last, and nothing else follows from it.

use super::*;
use tonic_supervisor::Fact;

/// Time line: silence from 0, PING at 10 s, suspect at 12.5 s, dead at 15 s.
#[tokio::test(start_paused = true)]
async fn half_of_keepalive_timeout_after_a_ping_new_calls_go_elsewhere() {
    let config = round_robin().keepalive_time(secs(10)).timeout(secs(60));
    let (network, fleet, supervisor) = fleet_of(2, config).await;
    let log = EventLog::of(&supervisor);
    let began = tokio::time::Instant::now();
    network.only(&fleet.address(0).to_string()).freeze_all();
    log.until("one is suspect", 1, |fact| matches!(fact, Fact::LinkSuspected { .. })).await;
    assert!(began.elapsed().abs_diff(ms(12_500)) <= ms(20), "{:?}", began.elapsed());
    settle().await;
    let channel = supervisor.channel();
    for _ in 0..20 {
        let (took, answer) = timed(echo(&channel, "x")).await;
        answer.expect("answered");
        assert!(took <= ms(5), "{took:?}");
    }
    assert_eq!((fleet.handled(), log.links_lost().len()), (vec![0, 20], 0));
    log.until("it is given up", 1, |fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
    assert!(began.elapsed().abs_diff(secs(15)) <= ms(20), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_link_is_used_again_when_its_peer_is_heard() {
    let config = round_robin().keepalive_time(secs(10));
    let (network, fleet, supervisor) = fleet_of(2, config).await;
    let log = EventLog::of(&supervisor);
    let frozen = network.only(&fleet.address(0).to_string());
    frozen.freeze_all();
    log.until("one is suspect", 1, |fact| matches!(fact, Fact::LinkSuspected { .. })).await;
    frozen.thaw_all();
    log.until("it is cleared", 1, |fact| matches!(fact, Fact::LinkCleared { .. })).await;
    settle().await;
    let channel = supervisor.channel();
    for _ in 0..20 {
        echo(&channel, "x").await.expect("answered");
    }
    assert_eq!((fleet.handled(), log.links_lost().len()), (vec![10, 10], 0));
    let now = supervisor.snapshot();
    assert!(now.endpoints.iter().flat_map(|one| &one.links).all(|link| !link.suspect));
}

/// Where it is the only one, calls go on it: it may answer yet.
#[tokio::test(start_paused = true)]
async fn the_only_link_is_used_however_suspect_it_is() {
    let network = MemoryNetwork::new();
    let fleet = Fleet::on_memory(&network, 1).await;
    let config = config_for(&fleet.address(0)).keepalive_time(secs(10));
    let supervisor = supervise(&network, config);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    let log = EventLog::of(&supervisor);
    network.freeze_all();
    log.until("it is suspect", 1, |fact| matches!(fact, Fact::LinkSuspected { .. })).await;
    assert!(supervisor.snapshot().endpoints[0].links[0].suspect);
    let call = start(&supervisor.channel(), "x", CallOptions::new());
    tokio::time::sleep(ms(500)).await;
    network.thaw_all();
    let (took, answer) = bounded("answered", call).await.expect("no panic");
    answer.expect("answered");
    assert!(took <= ms(505), "{took:?}: on that link");
    assert_eq!((fleet.handled(), supervisor.snapshot().links), (vec![1], 1));
}
