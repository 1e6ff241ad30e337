//! How often a link is asked for life: as configured, and less often once a peer complains.

use crate::support::*;
use std::time::Duration;
use tonic::Request;
use tonic_supervisor::{
    CallOptions, ConnectivityState, Fact,
    testing::{MemoryNetwork, RawPeer},
};

fn pinging(
    config: tonic_supervisor::ConfigBuilder,
    time: Duration,
) -> tonic_supervisor::ConfigBuilder {
    config.keepalive_floor(ms(1)).keepalive_time(time).keepalive_timeout(time)
}

/// A call whose request never ends: its stream stays open for as long as the future lives.
async fn open_call(supervisor: &tonic_supervisor::Supervisor) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(supervisor.channel());
    client.ready().await.expect("always ready");
    let endless = Request::new(futures::stream::pending::<String>());
    let path = http::uri::PathAndQuery::from_static(SAY);
    let codec = tonic_prost::ProstCodec::<String, String>::default();
    client.client_streaming(endless, path, codec).await.expect_err("nobody answers before the end")
}

/// Scenario 13, the part about links: a peer that polices PINGs while no call is open is asked no
/// more after one GOAWAY.
#[tokio::test(start_paused = true)]
async fn scenario_13_an_idle_client_settles_after_one_goaway_for_too_many_pings() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.enforce_ping_interval(ms(400), 2);
    let supervisor = supervise(&network, pinging(config(), ms(100)));
    let mut events = EventReader::of(&supervisor).await;
    let backed_off = events.until(|fact| matches!(fact, Fact::KeepaliveBackedOff { .. })).await;
    let Fact::KeepaliveBackedOff { keepalive_time, while_idle, .. } = backed_off.fact else {
        panic!("{backed_off:?}")
    };
    assert_eq!((keepalive_time, while_idle), (ms(200), false));
    let sent = peer.pings().len();
    tokio::time::sleep(secs(60)).await;
    assert_eq!((peer.goaways().len(), peer.pings().len()), (1, sent));
    assert_eq!(supervisor.snapshot().keepalive_time, Some(ms(200)));
    assert!(say(&supervisor.channel(), "hello", CallOptions::new()).await.is_ok());
}

/// Scenario 13: with a call open, pings go on, each time half as often, until the peer is content;
/// other calls notice nothing.
#[tokio::test(start_paused = true)]
async fn scenario_13_with_a_call_open_the_ping_interval_doubles_until_the_peer_agrees() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.enforce_ping_interval(ms(400), 2);
    let supervisor = supervise(&network, pinging(config(), ms(100)));
    let mut events = EventReader::of(&supervisor).await;
    let opener = supervisor.clone();
    let open = tokio::spawn(async move {
        loop {
            open_call(&opener).await;
        }
    });
    let mut times = Vec::new();
    for _ in 0..2 {
        let event = events.until(|fact| matches!(fact, Fact::KeepaliveBackedOff { .. })).await;
        let Fact::KeepaliveBackedOff { keepalive_time, while_idle, .. } = event.fact else {
            panic!("{event:?}")
        };
        times.push((keepalive_time, while_idle));
        assert!(say(&supervisor.channel(), "hello", CallOptions::new()).await.is_ok());
    }
    assert_eq!(times, [(ms(200), true), (ms(400), true)]);
    events.until_state(ConnectivityState::Ready).await;
    let (goaways, pings) = (peer.goaways().len(), peer.pings().len());
    assert_eq!(goaways, 2);
    tokio::time::sleep(ms(400) * 60 + ms(10)).await;
    let more = peer.pings().len() - pings;
    assert!((59..=60).contains(&more), "{more} pings in 60 intervals");
    assert_eq!(peer.goaways().len(), goaways);
    open.abort();
}

/// Scenario 25: with permission an idle link sends one PING per interval; without, none while idle,
/// and some while a call is open.
#[tokio::test(start_paused = true)]
async fn scenario_25_an_idle_link_sends_one_ping_per_interval_where_permitted() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, ADDRESS).await.echo();
    let supervisor = supervise(&network, pinging(config(), secs(1)));
    supervisor.wait_ready(LONG).await.expect("Ready");
    tokio::time::sleep(ms(20_500)).await;
    let pings = peer.pings();
    assert_eq!(pings.len(), 20);
    for (n, at) in pings.iter().enumerate() {
        assert!(at.abs_diff(secs(n as u64 + 1)) <= ms(50), "{pings:?}");
    }
    drop(supervisor);
    peer.stop().await;

    let peer = RawPeer::on_memory(&network, ADDRESS).await.echo();
    let silent = pinging(config(), secs(1)).keepalive_permit_without_calls(false);
    let supervisor = supervise(&network, silent);
    supervisor.wait_ready(LONG).await.expect("Ready");
    assert!(say(&supervisor.channel(), "hello", CallOptions::new()).await.is_ok());
    tokio::time::sleep(secs(20)).await;
    assert!(peer.pings().is_empty());
    let opener = supervisor.clone();
    let open = tokio::spawn(async move { open_call(&opener).await });
    tokio::time::sleep(ms(5_500)).await;
    assert!((5..=6).contains(&peer.pings().len()), "{:?}", peer.pings());
    open.abort();
    tokio::time::sleep(ms(1_500)).await;
    let sent = peer.pings().len();
    tokio::time::sleep(secs(20)).await;
    assert_eq!(peer.pings().len(), sent, "idle again");
}
