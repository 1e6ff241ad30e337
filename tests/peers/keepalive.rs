//! Servers that punish clients for pinging too often: the client learns the pace that each of them
//! takes.
//!
//! C-core and grpc-go allow a PING every five minutes, and hang up at the third that comes sooner.
//! Here their own options scale that down to 800 ms, and the client begins at 100 ms, which
//! `keepalive_floor` must allow.

use super::{
    Foreign, etcd, interop,
    wire::{config, facts, spawn, streaming},
};
use futures::{StreamExt as _, stream};
use std::time::Duration;
use tonic::Request;
use tonic_supervisor::{
    Config, Fact, Supervisor,
    testing::{MemoryNetwork, RawPeer},
};

const EAGER: Duration = Duration::from_millis(100);
/// Long enough for every complaint: 100, 200 and 400 ms are too soon, each is noticed after a few
/// of its kind.
const LEARNING: Duration = Duration::from_secs(8);
/// A dozen of the intervals that the servers allow.
const CONTENT: Duration = Duration::from_secs(10);

fn eager(server_port: &str) -> Supervisor {
    spawn(
        config(server_port)
            .keepalive_floor(EAGER)
            .keepalive_time(EAGER)
            .keepalive_timeout(Duration::from_secs(5)),
    )
}

/// C-core: PINGs without calls are allowed as well.
fn grpcio() -> Foreign {
    let options = [
        "grpc.http2.min_ping_interval_without_data_ms=800",
        "grpc.keepalive_permit_without_calls=1",
        "grpc.http2.max_ping_strikes=2",
    ];
    interop::serve("0", &options)
}

/// grpc-go: PINGs without calls are never allowed.
fn go(folder: &tempfile::TempDir) -> (Foreign, String) {
    let port = etcd::free_port();
    (etcd::serve(folder.path(), &port, &["--grpc-keepalive-min-time", "800ms"]), port)
}

/// The server's complaints, and the pace that each of them led to.
async fn complaints(
    supervisor: &Supervisor,
    keep_a_call_open: impl Future<Output = ()>,
) -> Vec<(Duration, bool)> {
    let mut events = supervisor.events();
    let pick = |fact: &Fact| match fact {
        Fact::GoAwayReceived { goaway, .. } if goaway.is_too_many_pings() => Some(None),
        Fact::KeepaliveBackedOff { keepalive_time, while_idle, .. } => {
            Some(Some((*keepalive_time, *while_idle)))
        }
        _ => None,
    };
    let listening = async {
        let learned = facts(&mut events, LEARNING, pick).await;
        let later = facts(&mut events, CONTENT, pick).await;
        assert_eq!(later, [], "it complained after {learned:?}");
        learned
    };
    let learned = tokio::select! {
        learned = listening => learned,
        () = keep_a_call_open => unreachable!("it goes on for as long as it is asked"),
    };
    let goaways = learned.iter().filter(|fact| fact.is_none()).count();
    let paces: Vec<_> = learned.into_iter().flatten().collect();
    assert_eq!(goaways, paces.len(), "each complaint is an event and has an effect: {paces:?}");
    assert!((1..=4).contains(&goaways), "{goaways} complaints: {paces:?}");
    paces
}

/// Opens a stream again whenever it ends.
async fn hold<M: prost::Message + Clone + 'static, R: prost::Message + Default + 'static>(
    supervisor: &Supervisor,
    method: &'static str,
    first: Option<M>,
) {
    loop {
        let requests = stream::iter(first.clone()).chain(stream::pending());
        if let Ok(answer) = streaming::<M, R>(supervisor, method, Request::new(requests)).await {
            let mut answers = answer.into_inner();
            while let Ok(Some(_)) = answers.message().await {}
        }
    }
}

fn doubling(paces: &[(Duration, bool)]) -> bool {
    paces.iter().enumerate().all(|(n, (pace, while_idle))| *pace == EAGER * (2 << n) && *while_idle)
}

#[tokio::test]
async fn grpcio_with_a_call_open_complains_at_most_four_times_each_an_event_then_never() {
    let server = grpcio();
    let supervisor = eager(&server.said);
    let open = hold::<interop::OutputRequest, ()>(&supervisor, interop::DUPLEX, None);
    let paces = complaints(&supervisor, open).await;
    assert!(doubling(&paces), "{paces:?}");
    println!("grpcio with a call open: {paces:?}");
}

#[tokio::test]
async fn etcd_with_a_call_open_complains_at_most_four_times_each_an_event_then_never() {
    let folder = tempfile::tempdir().expect("folder");
    let (_server, port) = go(&folder);
    let supervisor = eager(&port);
    let create = Some(etcd::RangeRequestOfWatch { key: b"tent".into() });
    let open = hold::<_, etcd::WatchResponse>(
        &supervisor,
        etcd::WATCH,
        Some(etcd::WatchRequest { create }),
    );
    let paces = complaints(&supervisor, open).await;
    assert!(doubling(&paces), "{paces:?}");
    println!("etcd with a call open: {paces:?}");
}

#[tokio::test]
async fn both_servers_complain_once_while_idle_and_are_pinged_no_more() {
    let folder = tempfile::tempdir().expect("folder");
    let (core, (_go, port)) = (grpcio(), go(&folder));
    let (first, second) = (eager(&core.said), eager(&port));
    let never = std::future::pending;
    let (of_core, of_go) = tokio::join!(complaints(&first, never()), complaints(&second, never()));
    assert_eq!(of_core, [(EAGER * 2, false)]);
    assert_eq!(of_go, [(EAGER * 2, false)]);
}

/// The seed pings idle links every 30 s. Servers allow it every 5 minutes, and hang up at the third
/// PING that comes sooner.
#[tokio::test(start_paused = true)]
async fn idle_pings_every_30_seconds_settle_after_a_default_servers_first_complaint() {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, "queue:50051")
        .await
        .enforce_ping_interval(Duration::from_secs(300), 3);
    let seed = Config::builder().host("queue").keepalive_time(Duration::from_secs(30));
    let seed = seed.keepalive_timeout(Duration::from_secs(5)).keepalive_permit_without_calls(true);
    let supervisor = Supervisor::builder(seed.build().expect("valid"))
        .connector(network.connector())
        .rng_seed(1)
        .spawn();
    let mut events = supervisor.events();
    let told = |fact: &Fact| match fact {
        Fact::GoAwayReceived { goaway, .. } => Some(goaway.is_too_many_pings()),
        _ => None,
    };
    assert_eq!(facts(&mut events, Duration::from_secs(5 * 60), told).await, [true]);
    let pings = peer.pings().len();
    let later = facts(&mut events, Duration::from_secs(24 * 60 * 60), told).await;
    assert!(later.is_empty(), "{later:?}");
    assert_eq!((peer.goaways().len(), peer.pings().len()), (1, pings), "in a day");
}
