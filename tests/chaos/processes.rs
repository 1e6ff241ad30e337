//! Processes that are killed and frozen, on loopback.

use super::{
    assert_detected, assert_nothing_failed, assert_recovers, by_keepalive, idle, load,
    server::Server, supervise,
};
use std::time::{Duration, Instant};

/// The kernel closes the sockets of a killed process: that is seen at once.
const AT_ONCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_killed_server_is_noticed_at_once_and_the_next_due_dial_finds_its_successor() {
    let mut server = Server::start();
    let (supervisor, watch) = supervise(&server);
    let load = load(&supervisor).await;
    for _ in 0..3 {
        let fault = Instant::now();
        server.kill();
        let lost = watch.lost(fault).await;
        assert_detected(fault, &lost, AT_ONCE);
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.start_again();
        // Where nobody listens, a dial is over at once.
        assert_recovers(lost.at, Duration::ZERO, &supervisor, &watch, Some(&load)).await;
    }
    assert_nothing_failed(load).await;
}

#[tokio::test]
async fn a_server_that_freezes_while_idle_is_detected_by_keepalive() {
    let server = Server::start();
    let (supervisor, watch) = supervise(&server);
    idle(&supervisor).await;
    let fault = Instant::now();
    server.freeze();
    let lost = watch.lost(fault).await;
    assert_detected(fault, &lost, by_keepalive());
    assert_eq!(lost.what.label(), "connection timed out");
    watch.waits().await;
    server.thaw();
    assert_recovers(lost.at, Duration::ZERO, &supervisor, &watch, None).await;
}

#[tokio::test]
async fn a_server_that_freezes_under_load_is_detected_by_keepalive_and_costs_no_call() {
    let server = Server::start();
    let (supervisor, watch) = supervise(&server);
    let load = load(&supervisor).await;
    let fault = Instant::now();
    server.freeze();
    let lost = watch.lost(fault).await;
    assert_detected(fault, &lost, by_keepalive());
    assert_eq!(lost.what.label(), "connection timed out");
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.thaw();
    // A frozen server's kernel still takes connections: a dial under way waits for nothing but
    // SETTINGS.
    assert_recovers(lost.at, Duration::ZERO, &supervisor, &watch, Some(&load)).await;
    assert_nothing_failed(load).await;
}
