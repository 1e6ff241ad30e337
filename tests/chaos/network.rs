//! Packets that are dropped between this side and a server in a namespace of its own.

use super::{
    CONNECT_TIMEOUT, KEEPALIVE_TIMEOUT, assert_detected, assert_nothing_failed, assert_recovers,
    by_keepalive, idle, load, namespace::Namespace, server::Server, supervise,
};
use std::{
    io,
    time::{Duration, Instant},
};
use tonic_supervisor::LinkEnd;

#[tokio::test]
async fn a_server_cut_off_while_idle_is_detected_by_keepalive() {
    let namespace = Namespace::new();
    let server = Server::start_in(&namespace);
    let (supervisor, watch) = supervise(&server);
    idle(&supervisor).await;
    let fault = Instant::now();
    namespace.cut();
    let lost = watch.lost(fault).await;
    assert_detected(fault, &lost, by_keepalive());
    assert_eq!(lost.what.label(), "connection timed out");
    watch.waits().await;
    namespace.heal();
    assert_recovers(lost.at, CONNECT_TIMEOUT, &supervisor, &watch, None).await;
}

#[tokio::test]
async fn a_server_cut_off_with_unacknowledged_writes_is_noticed_and_costs_no_call() {
    let namespace = Namespace::new();
    let server = Server::start_in(&namespace);
    let (supervisor, watch) = supervise(&server);
    let load = load(&supervisor).await;
    for _ in 0..2 {
        let fault = Instant::now();
        namespace.cut();
        let lost = watch.lost(fault).await;
        assert_detected(fault, &lost, KEEPALIVE_TIMEOUT + Duration::from_secs(1));
        assert!(
            matches!(lost.what, LinkEnd::Io { kind: io::ErrorKind::TimedOut, .. }),
            "{:?}",
            lost.what
        );
        assert_eq!(lost.what.label(), "connection timed out");
        tokio::time::sleep(Duration::from_secs(5)).await;
        namespace.heal();
        // The SYN of a dial under way is lost: it is over when the kernel sends the next, or at its
        // timeout.
        assert_recovers(lost.at, CONNECT_TIMEOUT, &supervisor, &watch, Some(&load)).await;
        load.worked(100).await;
    }
    assert_nothing_failed(load).await;
}
