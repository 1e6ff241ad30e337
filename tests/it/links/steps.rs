//! Where the time of a dial went: each step's stands in the facts of its end, whether there is a
//! link or not.

use crate::support::{ADDRESS, EventReader, config, ms, secs, supervise};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tonic_supervisor::{
    Config, DialFailure, DialStep, Fact, Supervisor,
    testing::{MemoryNetwork, RawPeer, ScriptedServer},
    transport::{BoxedIo, ConnectRequest, Connector, TcpConnector},
};

const A: &str = "10.0.0.1:50051";
const B: &str = "10.0.0.2:50051";

/// The steps of the first link, and how long its dial took.
async fn connected(supervisor: &Supervisor) -> (String, Duration) {
    let mut events = EventReader::of(supervisor).await;
    let event = events.until(|fact| matches!(fact, Fact::LinkEstablished { .. })).await;
    let Fact::LinkEstablished { steps, took, .. } = event.fact else { unreachable!() };
    (steps.to_string(), took)
}

/// The steps of the first dial that failed, and at which.
async fn failed(supervisor: &Supervisor) -> (String, DialStep) {
    let mut events = EventReader::of(supervisor).await;
    let event = events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    let Fact::DialFailed { steps, failure, .. } = event.fact else { unreachable!() };
    (steps.to_string(), failure.step)
}

#[tokio::test(start_paused = true)]
async fn a_link_tells_how_long_its_connection_and_its_settings_took() {
    let network = MemoryNetwork::new();
    network.dial_takes(ms(200));
    let _peer = RawPeer::on_memory(&network, ADDRESS).await.play(|mut link| async move {
        tokio::time::sleep(ms(50)).await;
        link.send_settings(&[]).await;
        while link.next_frame().await.is_ok_and(|frame| frame.is_some()) {}
    });
    let (steps, took) = connected(&supervise(&network, config())).await;
    assert_eq!((steps.as_str(), took), ("connect 200 ms, handshake 50 ms", ms(250)));
}

#[tokio::test(start_paused = true)]
async fn of_several_addresses_the_steps_are_those_of_the_one_that_won() {
    let network = MemoryNetwork::new();
    network.name(ADDRESS, &[A, B]);
    network.only(A).black_hole(true);
    network.only(B).dial_takes(ms(100));
    let _server = ScriptedServer::on_memory(&network, B).await;
    let (steps, took) = connected(&supervise(&network, config())).await;
    let words = "resolve 0 ms, connect 100 ms, handshake 0 ms";
    assert_eq!((steps.as_str(), took), (words, ms(350)), "it began 250 ms after the first");
}

#[tokio::test(start_paused = true)]
async fn of_addresses_that_all_fail_the_steps_are_those_of_the_furthest() {
    let network = MemoryNetwork::new();
    network.name(ADDRESS, &[A, B]);
    network.only(A).dial_takes(ms(100));
    let _silent = RawPeer::on_memory(&network, A).await.black_hole();
    let supervisor = supervise(&network, config().connect_timeout(secs(2)));
    let words = "resolve 0 ms, connect 100 ms, handshake 1.9 s";
    assert_eq!(failed(&supervisor).await, (words.into(), DialStep::Handshake));
}

/// Hangs in the step that it reports, or says nothing.
struct Hanging(Option<DialStep>);

impl Connector for Hanging {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let (request, step) = (request.clone(), self.0);
        Box::pin(async move {
            tokio::time::sleep(ms(500)).await;
            step.into_iter().for_each(|step| request.report_step(step));
            std::future::pending().await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_reports_its_steps_is_told_where_it_hung() {
    for (step, words, named) in [
        (None, "connect 2.0 s", DialStep::Connect),
        (Some(DialStep::Resolve), "resolve 1.5 s, connect 500 ms", DialStep::Resolve),
        (Some(DialStep::Tls), "connect 500 ms, tls 1.5 s", DialStep::Tls),
    ] {
        let config = config().connect_timeout(secs(2)).build().expect("valid");
        let supervisor = Supervisor::builder(config).connector(Arc::new(Hanging(step))).spawn();
        assert_eq!(failed(&supervisor).await, (words.into(), named));
    }
}

/// A connector that does something of its own around the crate's.
struct Wrapped;

impl Connector for Wrapped {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        TcpConnector.connect(request)
    }
}

#[tokio::test]
async fn a_name_is_a_step_of_its_own_also_where_the_crates_connector_is_wrapped() {
    let server = ScriptedServer::on_tcp().await;
    let port = server.dial_address().port();
    let of = |host: &str, wrapped: bool| {
        let config = Config::builder().target(format!("{host}:{port}")).build().expect("valid");
        let builder = Supervisor::builder(config);
        if wrapped { builder.connector(Arc::new(Wrapped)).spawn() } else { builder.spawn() }
    };
    for (host, wrapped, steps) in [
        ("localhost", true, ["resolve", "connect", "handshake"].as_slice()),
        ("localhost", false, &["resolve", "connect", "handshake"]),
        ("127.0.0.1", true, &["connect", "handshake"]),
        ("127.0.0.1", false, &["connect", "handshake"]),
    ] {
        let told = connected(&of(host, wrapped)).await.0;
        let told: Vec<_> = told.split(", ").filter_map(|step| step.split(' ').next()).collect();
        assert_eq!(told, steps, "{host}, wrapped: {wrapped}");
    }
}
