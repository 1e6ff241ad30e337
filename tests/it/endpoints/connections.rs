//! Several links to one server: `connections`.

use super::*;
use tonic_supervisor::{
    Fact,
    testing::{RawPeer, Script, ScriptedServer},
};

/// E5 and pain 30: a peer that allows 100 streams on a connection is no ceiling.
#[tokio::test(start_paused = true)]
async fn e05_more_connections_carry_more_calls_at_once() {
    for (connections, longest) in [(1, 1_200), (5, 500)] {
        let network = MemoryNetwork::new();
        let options =
            ScriptedServer::builder().script(Script::delay(ms(200))).max_concurrent_streams(100);
        let server = options.on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config().connections(connections));
        let dials = EventLog::of(&supervisor);
        links_up(&supervisor, connections).await;
        let calls = start_many(&supervisor.channel(), CallOptions::new(), 500);
        let ended = join(calls).await;
        assert!(ended.iter().all(|(took, answer)| answer.is_ok() && *took <= ms(longest)));
        assert_eq!(server.connections(), connections);
        // One dial at a time.
        let steps = dials.all(|fact| match fact {
            Fact::DialStarted { .. } => Some(1),
            Fact::LinkEstablished { .. } => Some(-1),
            _ => None,
        });
        let mut under_way = 0;
        for (_, step) in steps {
            under_way += step;
            assert!((0..=1).contains(&under_way));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_spread_over_the_links_of_one_server() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::delay(ms(10)));
    let supervisor = supervise(&network, config().connections(4));
    links_up(&supervisor, 4).await;
    let calls = start_many(&supervisor.channel(), CallOptions::new(), 400);
    assert!(join(calls).await.iter().all(|(_, answer)| answer.is_ok()));
    let mut of = [0; 4];
    server.arrivals().iter().for_each(|arrival| of[arrival.connection - 1] += 1);
    assert_eq!(of, [100; 4]);
}

/// A server that serves one connection and closes every other: calls go on over the first, and the
/// others are dialled ever more rarely.
#[tokio::test(start_paused = true)]
async fn e05_a_refused_second_connection_leaves_the_first_alone_and_is_backed_off_from() {
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
    // The peer answers no PING.
    let supervisor = supervise(&network, config().connections(2).keepalive_time(None));
    let log = EventLog::of(&supervisor);
    let mut first = peer.accept().await;
    first.send_settings(&[]).await;
    links_up(&supervisor, 1).await;
    let closing = tokio::spawn(async move {
        loop {
            drop(peer.accept().await);
        }
    });
    tokio::time::sleep(secs(60)).await;
    closing.abort();
    let dials = log.count(|fact| matches!(fact, Fact::DialStarted { .. }));
    // 1 s x 1.6 up to 10 s, a fifth less at the most.
    assert!((8..=12).contains(&dials), "{dials} dials");
    assert_eq!(log.count(|fact| matches!(fact, Fact::LinkLost { .. })), 0);
    assert_eq!(supervisor.state().as_str(), "READY");
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_of_two_fails_no_call_and_is_replaced() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().connections(2));
    let log = EventLog::of(&supervisor);
    links_up(&supervisor, 2).await;
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 200, secs(5)).await });
    for _ in 0..4 {
        tokio::time::sleep(secs(1)).await;
        server.goaway().await;
        links_up(&supervisor, 2).await;
    }
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    assert_eq!(supervisor.snapshot().retries, 0);
    let lost = log.count(|fact| matches!(fact, Fact::LinkLost { .. }));
    assert!(lost >= 6, "{lost}");
}

#[tokio::test(start_paused = true)]
async fn asked_to_reconnect_each_link_is_replaced_without_a_gap() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().connections(3));
    links_up(&supervisor, 3).await;
    let before = supervisor.watch_links().borrow().clone();
    let channel = supervisor.channel();
    let traffic = tokio::spawn(async move { calls_at(&channel, 500, secs(1)).await });
    supervisor.reconnect_now();
    let mut links = supervisor.watch_links();
    let others = links
        .wait_for(|now| now.iter().count() == 3 && before.iter().all(|link| !now.contains(link)));
    bounded("all three are others", others).await.expect("it lives");
    assert_eq!(failed(traffic.await.expect("no panic")).await, 0);
    assert_eq!((server.connections(), supervisor.snapshot().retries), (6, 0));
}

/// What a snapshot shows of an endpoint is where calls go: not the link that only finishes its own.
#[tokio::test(start_paused = true)]
async fn a_link_that_was_replaced_is_not_among_those_that_take_calls() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::delay(secs(30)));
    let supervisor = supervise(&network, config());
    links_up(&supervisor, 1).await;
    let long = start_many(&supervisor.channel(), CallOptions::new().timeout(secs(60)), 1);
    eventually("it runs", || supervisor.snapshot().streams == 1).await;
    supervisor.reconnect_now();
    eventually("another link is up", || supervisor.snapshot().links == 2).await;
    let now = supervisor.snapshot();
    let shown: Vec<_> = now.endpoints[0].links.iter().map(|link| link.incarnation.0).collect();
    assert_eq!((shown, server.open_connections()), (vec![2], 2));
    assert!(join(long).await.iter().all(|(_, answer)| answer.is_ok()));
}
