//! A target with several addresses (scenario E19): one bad address never shadows a good one,
//! wherever its dial ends, and those that lose leave nothing behind.

use crate::support::{
    ADDRESS, EventLog, EventReader, LONG, assert_time, config, ms, say, secs, settle, supervise,
};
use futures::future::{BoxFuture, FutureExt as _};
use std::{sync::Arc, time::Duration};
use tonic_supervisor::{
    CallOptions, DialFailure, DialStep, Fact, Supervisor,
    testing::{MemoryNetwork, Misbehaviour, PlayingPeer, RawPeer, ScriptedServer},
    transport::{BoxedIo, Candidate, ConnectRequest, Connector},
};

const A: &str = "10.0.0.1:50051";
const B: &str = "10.0.0.2:50051";
const EVER: usize = usize::MAX;

/// How an address is bad.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Refuses,
    /// Packets to it are lost.
    Hole,
    Peer(Misbehaviour),
    /// Its first frame is a PING.
    Pings,
}

/// Each with the time after which the other address is tried, and the words of its failure.
const BAD: [(Bad, u64, &str); 8] = [
    (Bad::Refuses, 0, "cannot connect to 10.0.0.1:50051: connection refused"),
    (Bad::Hole, 250, "10.0.0.1:50051: not connected within connect_timeout (2 s)"),
    (
        Bad::Peer(Misbehaviour::BlackHole),
        250,
        "10.0.0.1:50051: connected, but the peer sent no HTTP/2 SETTINGS within",
    ),
    (
        Bad::Peer(Misbehaviour::NoSettings),
        250,
        "10.0.0.1:50051: connected, but the peer sent no HTTP/2 SETTINGS within",
    ),
    (
        Bad::Peer(Misbehaviour::AcceptThenClose),
        0,
        "cannot speak HTTP/2 with 10.0.0.1:50051: the peer closed",
    ),
    (
        Bad::Peer(Misbehaviour::AcceptThenReset),
        0,
        "before its HTTP/2 SETTINGS; does it expect TLS?",
    ),
    (
        Bad::Peer(Misbehaviour::Http1Greeting),
        0,
        "cannot speak HTTP/2 with 10.0.0.1:50051: this looks like an HTTP/1",
    ),
    (Bad::Pings, 0, "cannot speak HTTP/2 with 10.0.0.1:50051: its first frame is PING"),
];

/// A name with both addresses, the first of which is bad.
async fn bad_first(network: &MemoryNetwork, bad: Bad) -> Option<PlayingPeer> {
    network.name(ADDRESS, &[A, B]);
    match bad {
        Bad::Refuses => None,
        Bad::Hole => {
            network.only(A).black_hole(true);
            None
        }
        Bad::Peer(fault) => Some(RawPeer::on_memory(network, A).await.misbehave(fault, EVER)),
        Bad::Pings => Some(RawPeer::on_memory(network, A).await.play(|mut link| async move {
            link.ping(*b"is it me").await;
            while link.next_frame().await.is_ok_and(|frame| frame.is_some()) {}
        })),
    }
}

/// How many dials failed and how many links came up, so far.
fn counted(log: &EventLog) -> (usize, usize) {
    let failed = log.count(|fact| matches!(fact, Fact::DialFailed { .. }));
    (failed, log.count(|fact| matches!(fact, Fact::LinkEstablished { .. })))
}

#[tokio::test(start_paused = true)]
async fn scenario_e19_one_bad_address_does_not_shadow_the_good_one() {
    for (bad, head_start, _) in BAD {
        for good_first in [false, true] {
            let network = MemoryNetwork::new();
            network.dial_takes(ms(10));
            let _peer = bad_first(&network, bad).await;
            if good_first {
                network.name(ADDRESS, &[B, A]);
            }
            let server = ScriptedServer::on_memory(&network, B).await;
            let supervisor = supervise(&network, config());
            let log = EventLog::of(&supervisor);
            // Every time: the second dial and the third fare as the first.
            for round in 1..=3 {
                let mut events = EventReader::of(&supervisor).await;
                let began = tokio::time::Instant::now();
                assert!(supervisor.wait_ready(LONG).await.is_ok(), "{bad:?}");
                // A bad address costs its own dial's 10 ms or the head start, then B's dial takes
                // 10 ms.
                let bound = if good_first { ms(10) } else { ms(10).max(ms(head_start)) + ms(10) };
                let spread = ms(if round == 1 { 0 } else { 20 });
                assert!(
                    began.elapsed() <= bound + spread + ms(3),
                    "{bad:?}: {:?}",
                    began.elapsed()
                );
                say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("answered");
                assert_eq!(counted(&log), (0, round), "{bad:?}: only the winner is heard of");
                // A peer that reads nothing keeps its end of a connection that is closed here.
                let reads = !matches!(bad, Bad::Peer(Misbehaviour::BlackHole));
                let open = (network.only(A).connections(), network.only(B).connections());
                assert!(open == (0, 1) || !reads, "{bad:?}: {open:?}");
                network.cut_all();
                events.until(|fact| matches!(fact, Fact::LinkLost { .. })).await;
            }
            drop(server);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_e19_when_every_address_is_bad_one_failure_names_each_with_its_reason() {
    for (bad, _, words) in BAD {
        let network = MemoryNetwork::new();
        let _peer = bad_first(&network, bad).await;
        let supervisor = supervise(&network, config().connect_timeout(secs(2)));
        let log = EventLog::of(&supervisor);
        log.until("the first failure", 1, |fact| matches!(fact, Fact::DialFailed { .. })).await;
        let failures = log.all(|fact| match fact {
            Fact::DialFailed { failure, .. } => Some(failure.clone()),
            _ => None,
        });
        let [(at, failure)] = &failures[..] else { panic!("{bad:?}: {failures:?}") };
        assert!(failure.reason.contains(words), "{bad:?}: {failure}");
        assert!(failure.reason.starts_with("cannot dial server:50051: "), "{bad:?}: {failure}");
        let refused = "cannot connect to 10.0.0.2:50051: connection refused";
        assert!(failure.reason.contains(refused), "{bad:?}: {failure}");
        let spoke = words.contains("HTTP/2");
        assert_eq!(
            failure.step,
            if spoke { DialStep::Handshake } else { DialStep::Connect },
            "{bad:?}: the furthest"
        );
        let timed_out = words.contains("within");
        assert_eq!(failure.timed_out, timed_out, "{bad:?}");
        assert_time(*at, if timed_out { secs(2) } else { Duration::ZERO });
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_e19_connect_timeout_bounds_the_race_as_a_whole() {
    let network = MemoryNetwork::new();
    let addresses: Vec<_> = (1..=20).map(|n| format!("10.0.0.{n}:50051")).collect();
    network.name(ADDRESS, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    network.black_hole(true);
    let supervisor = supervise(&network, config().connect_timeout(secs(1)));
    let mut events = EventReader::of(&supervisor).await;
    let event = events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    assert_time(event.since_spawn, secs(1));
    let Fact::DialFailed { failure, .. } = event.fact else { unreachable!("it was looked for") };
    assert!(failure.reason.ends_with("more were not tried"), "{failure}");
}

/// A GOAWAY and FIN right behind its SETTINGS: the loser's GOAWAY is nobody's business, and B is
/// tried at once.
#[tokio::test(start_paused = true)]
async fn scenario_e19_an_address_that_says_goaway_and_hangs_up_loses_without_events() {
    let network = MemoryNetwork::new();
    network.name(ADDRESS, &[A, B]);
    let _peer = RawPeer::on_memory(&network, A).await.play(|mut link| async move {
        // One write: they are read at once.
        let frames =
            [&b"\0\0\0\x04\0\0\0\0\0"[..], b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b"].concat();
        link.send_bytes(&frames).await;
        link.close().await;
    });
    let _server = ScriptedServer::on_memory(&network, B).await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(LONG).await.expect("Ready");
    say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("answered");
    let heard = log.count(|fact| matches!(fact, Fact::GoAwayReceived { .. }));
    assert_eq!((heard, counted(&log)), (0, (0, 1)), "a GOAWAY of a link that never was");
}

#[tokio::test(start_paused = true)]
async fn scenario_e19_dials_that_lose_the_race_leave_no_task_behind() {
    let tasks = |addresses: &'static [&'static str]| async move {
        let network = MemoryNetwork::new();
        network.name(ADDRESS, addresses);
        network.only(A).black_hole(true);
        let _server = ScriptedServer::on_memory(&network, B).await;
        let supervisor = supervise(&network, config());
        supervisor.wait_ready(LONG).await.expect("Ready");
        settle().await;
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        supervisor.shutdown(Duration::ZERO).await;
        settle().await;
        alive
    };
    let before = tasks(&[B]).await;
    assert_eq!(tasks(&[A, B]).await, before);
}

/// The whole dial over sockets: A accepts and is mute, or closes, or speaks HTTP/1; B serves.
#[tokio::test]
async fn scenario_e19_over_tcp_a_silent_address_does_not_shadow_the_good_one() {
    for fault in
        [Misbehaviour::BlackHole, Misbehaviour::AcceptThenClose, Misbehaviour::Http1Greeting]
    {
        for good_first in [false, true] {
            let bad = RawPeer::on_tcp().await.misbehave(fault, EVER);
            let server = ScriptedServer::on_tcp().await;
            let (a, b) = (bad.address(), server.address());
            let target = if good_first { format!("ipv4:{b},{a}") } else { format!("ipv4:{a},{b}") };
            let config = tonic_supervisor::Config::builder().target(target).build().expect("valid");
            let supervisor = Supervisor::spawn(config);
            assert!(
                supervisor.wait_ready(secs(10)).await.is_ok(),
                "{fault:?}: connect_timeout is 20 s"
            );
            say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("answered");
        }
    }
}

/// A connector whose name server never answers.
struct NoAnswer;

impl Connector for NoAnswer {
    fn connect(&self, _: &ConnectRequest) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        std::future::pending().boxed()
    }

    fn candidates(
        &self,
        _: &ConnectRequest,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        std::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_never_answers_is_a_failure_of_the_step_resolve() {
    let config = config().connect_timeout(secs(2)).build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(Arc::new(NoAnswer)).spawn();
    let mut events = EventReader::of(&supervisor).await;
    let event = events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
    let Fact::DialFailed { failure, .. } = event.fact else { unreachable!("it was looked for") };
    assert_eq!((failure.step, failure.timed_out), (DialStep::Resolve, true));
    let words =
        "cannot resolve server:50051: the lookup has not answered within connect_timeout (2 s)";
    assert_eq!(failure.reason, words);
}
