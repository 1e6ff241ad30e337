//! A peer that vanishes without FIN or RST: keepalive finds it, and releases every call on its
//! link.

use crate::support::*;
use tonic::Code;
use tonic_supervisor::{
    CallOptions, Cause, ConnectivityState, Fact, LinkEnd, Phase,
    testing::{Answer, FaultProxy, MemoryNetwork, Script, ScriptedServer},
};

/// Scenario 1: 50 calls in flight and 10 queued on a link whose peer vanished: all are released
/// when keepalive gives it up, at 1 s + 1 s, the queued ones go out on the next link, and so does
/// the next call.
#[tokio::test(start_paused = true)]
async fn scenario_01_a_vanished_peers_calls_are_released_when_keepalive_expires() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let keepalive =
        config().keepalive_floor(secs(1)).keepalive_time(secs(1)).keepalive_timeout(secs(1));
    let supervisor = supervise(&network, keepalive.max_in_flight(50));
    let channel = supervisor.channel();
    say(&channel, "hello", CallOptions::new()).await.expect("the link is proven");
    let mut events = EventReader::of(&supervisor).await;

    server.script(Script::sequence(vec![Answer::hang(); 50], Answer::echo()));
    let riders = start_many(&channel, CallOptions::new().retry(false), 50);
    server.arrived(51).await;
    let queued = start_many(&channel, CallOptions::new().retry(false), 10);
    network.freeze_all();

    for (took, answer) in join(riders).await {
        assert_time(took, secs(2));
        let status = answer.expect_err("its link is gone");
        let failure = &report(&status).outcome;
        assert_eq!((status.code(), failure.phase), (Code::Unavailable, Phase::MaybeProcessed));
        assert!(
            matches!(&failure.cause, Cause::LinkLost(end) if **end == LinkEnd::KeepaliveTimeout),
            "{failure}"
        );
    }
    for (took, answer) in join(queued).await {
        assert!(answer.is_ok() && took <= ms(2_025), "{took:?} {answer:?}");
    }
    let (took, answer) = timed(say(&channel, "hello", CallOptions::new())).await;
    assert!(answer.is_ok() && took <= ms(2), "{took:?} {answer:?}");

    let lost = events.until(|fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
    assert_time(lost.since_spawn, secs(2));
    let failed = events.until_state(ConnectivityState::TransientFailure).await;
    let Fact::StateChanged { from: ConnectivityState::Ready, cause, .. } = failed.fact else {
        panic!("{failed:?}")
    };
    assert!(cause.contains("keepalive"), "{cause}");
    assert_time(failed.since_spawn, secs(2));
}

/// Scenario 1, over TCP: half-open is seen although the kernel still takes every byte.
#[tokio::test]
async fn scenario_01_a_peer_that_vanishes_behind_a_real_socket_is_found_by_keepalive() {
    let server = ScriptedServer::on_tcp().await;
    let proxy = FaultProxy::to(server.address().parse().expect("an address")).await;
    let config = config().host("127.0.0.1").port(proxy.addr().port());
    let keepalive =
        config.keepalive_floor(ms(1)).keepalive_time(ms(300)).keepalive_timeout(ms(300));
    let supervisor = supervise_tcp(keepalive);
    let channel = supervisor.channel();
    say(&channel, "hello", CallOptions::new()).await.expect("the path is whole");
    let mut events = EventReader::of(&supervisor).await;
    proxy.freeze().await;
    let call = start_many(&channel, CallOptions::new().retry(false), 1);
    events.until(|fact| matches!(fact, Fact::KeepaliveLost { .. })).await;
    assert_eq!(
        join(call).await[0].1.as_ref().expect_err("its link is gone").code(),
        Code::Unavailable
    );
    proxy.thaw().await;
    assert!(say(&channel, "hello", CallOptions::new()).await.is_ok());
}
