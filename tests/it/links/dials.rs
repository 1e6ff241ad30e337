//! Dials: to peers that drop packets, hang up or never speak, after outages, and of many clients at
//! once.

use crate::support::*;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Request};
use tonic_supervisor::{
    CallOptions, Cause, ConnectivityState, DialStep, Fact, Incarnation, Phase, Supervisor,
    testing::{Answer, MemoryNetwork, PlayingPeer, RawPeer, Script, ScriptedServer},
};

/// Scenario 6: 100 fail-fast calls share one dial into a black hole, and all end when it does.
#[tokio::test(start_paused = true)]
async fn scenario_06_100_fail_fast_calls_share_one_dial_and_end_with_it() {
    let network = MemoryNetwork::new();
    network.black_hole(true);
    let supervisor = supervise(&network, config().connect_timeout(secs(1)));
    let calls = start_many(&supervisor.channel(), CallOptions::new().wait_for_ready(false), 100);
    for (took, answer) in join(calls).await {
        assert_time(took, secs(1));
        let status = answer.expect_err("nobody is there");
        assert_eq!(
            (status.code(), report(&status).outcome.phase),
            (Code::Unavailable, Phase::Unsent)
        );
        assert!(status.message().contains("connect_timeout"), "{status:?}");
    }
    assert!(network.dials().len() <= 2, "the next dial follows the first, which they shared");
}

/// A supervisor whose one server answers by `script`, Ready.
async fn ready(
    script: impl Into<Script>,
    config: tonic_supervisor::ConfigBuilder,
) -> (ScriptedServer, Supervisor) {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(script).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config);
    supervisor.wait_ready(LONG).await.expect("Ready");
    (server, supervisor)
}

/// A call with a deadline of 500 ms ends then, and nothing else ends it.
async fn ends_at_its_deadline(supervisor: &Supervisor, phase: Phase) -> tonic::Status {
    let (took, answer) =
        timed(say(&supervisor.channel(), "hello", CallOptions::new().timeout(ms(500)))).await;
    let status = answer.expect_err("there is no answer");
    assert_time(took, ms(500));
    let outcome = &report(&status).outcome;
    assert_eq!((status.code(), outcome.phase), (Code::DeadlineExceeded, phase), "{outcome}");
    assert!(matches!(outcome.cause, Cause::Deadline(_)), "{outcome}");
    status
}

/// Scenario 6: the deadline holds while dialling and while the next dial is waited for.
#[tokio::test(start_paused = true)]
async fn scenario_06_a_deadline_holds_while_there_is_no_link() {
    let network = MemoryNetwork::new();
    let refused = supervise(&network, config());
    let status = ends_at_its_deadline(&refused, Phase::Unsent).await;
    assert!(status.message().contains("refused"), "it names the last connect error: {status:?}");
    network.black_hole(true);
    ends_at_its_deadline(&supervise(&network, config()), Phase::Unsent).await;
}

/// Scenario 6: the deadline holds behind a full window, while headers are waited for, and in the
/// middle of a body.
#[tokio::test(start_paused = true)]
async fn scenario_06_a_deadline_holds_in_every_phase_on_a_link() {
    let (server, supervisor) = ready(Script::hang(), config().max_in_flight(1)).await;
    let first = start_many(&supervisor.channel(), CallOptions::new().timeout(secs(100)), 1);
    server.arrived(1).await;
    ends_at_its_deadline(&supervisor, Phase::Unsent).await;
    first[0].abort();

    let (_server, supervisor) = ready(Script::hang(), config()).await;
    ends_at_its_deadline(&supervisor, Phase::MaybeProcessed).await;

    let (_server, supervisor) = ready(Answer::message("\n\u{5}hello").then_hang(), config()).await;
    ends_at_its_deadline(&supervisor, Phase::MaybeProcessed).await;

    // A retry is waited for 300 ms; the second attempt hangs.
    let then_hangs = Script::sequence(vec![Answer::status(Code::Unavailable)], Answer::hang());
    let (server, supervisor) = ready(then_hangs, config().initial_backoff(ms(300))).await;
    let status = ends_at_its_deadline(&supervisor, Phase::MaybeProcessed).await;
    assert_eq!((report(&status).attempts_made, server.handled()), (2, 2));
}

/// Scenario 6, as decided: a wait that would outlive the deadline ends the call at once, with the
/// last real status.
#[tokio::test(start_paused = true)]
async fn scenario_06_a_backoff_that_would_outlive_the_deadline_is_not_slept() {
    let (_server, supervisor) = ready(Script::always(Code::Unavailable), config()).await;
    let (took, answer) =
        timed(say(&supervisor.channel(), "hello", CallOptions::new().timeout(ms(500)))).await;
    assert_eq!(answer.expect_err("the server is busy").code(), Code::Unavailable);
    assert_time(took, Duration::ZERO);
}

/// Scenario 6: the deadline that a stream's caller set ends it in the middle of its body.
#[tokio::test(start_paused = true)]
async fn scenario_06_a_deadline_ends_a_stream_in_the_middle_of_its_body() {
    let (server, supervisor) = ready(Answer::message("\n\u{5}hello").then_hang(), config()).await;
    let began = Instant::now();
    let mut client = tonic::client::Grpc::new(supervisor.channel());
    client.ready().await.expect("always ready");
    let mut request = Request::new("hello".to_owned());
    request.set_timeout(ms(500));
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Stream");
    let codec = tonic_prost::ProstCodec::<String, String>::default();
    let mut stream =
        client.server_streaming(request, path, codec).await.expect("headers come").into_inner();
    assert_eq!(stream.message().await.expect("a message"), Some("hello".into()));
    assert_time(began.elapsed(), Duration::ZERO);
    let status = stream.message().await.expect_err("no second message comes");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_time(began.elapsed(), ms(500));
    server.given_up(1).await;
}

/// How often a minute sees a dial, with `calls` calls always waiting.
async fn dials_in_a_minute(
    network: &MemoryNetwork,
    config: tonic_supervisor::ConfigBuilder,
    calls: usize,
) -> usize {
    let before = network.dials().len();
    let supervisor = supervise(network, config);
    let waiting: Vec<_> = (0..calls)
        .map(|_| {
            let channel = supervisor.channel();
            tokio::spawn(async move {
                loop {
                    // Each peer fails calls in its own way; the caller tries again, and is not
                    // paced by anything else.
                    let _ = say(&channel, "hello", CallOptions::new()).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(secs(60)).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    network.dials().len() - before
}

/// Scenario 8: a minute before a peer that is not there, that hangs up, or that greets and hangs
/// up.
#[tokio::test(start_paused = true)]
async fn scenario_08_dials_are_rare_whatever_the_peer_does() {
    type Play = fn(RawPeer) -> PlayingPeer;
    let greets_and_hangs_up: Play = |peer| {
        peer.play(|mut link| async move {
            link.send_settings(&[]).await;
            link.close().await;
        })
    };
    let greets_reads_and_hangs_up: Play = |peer| {
        peer.play(|mut link| async move {
            link.send_settings(&[]).await;
            let _ = link.next_request().await;
            link.close().await;
        })
    };
    let plays: [(&str, Option<Play>); 5] = [
        ("refused", None),
        ("accept, then FIN", Some(RawPeer::accept_then_close)),
        ("accept, then RST", Some(RawPeer::accept_then_reset)),
        ("greets and hangs up", Some(greets_and_hangs_up)),
        ("greets, reads a call and hangs up", Some(greets_reads_and_hangs_up)),
    ];
    for (name, play) in plays {
        for (calls, most) in [(0, 12), (20, 80)] {
            let network = MemoryNetwork::new();
            let _peer = match play {
                Some(play) => Some(play(RawPeer::on_memory(&network, ADDRESS).await)),
                None => None,
            };
            let dials = dials_in_a_minute(&network, config(), calls).await;
            let least = if calls == 0 { 1 } else { 10 };
            assert!(
                (least..=most).contains(&dials),
                "{name}, {calls} calls: {dials} dials in 60 s"
            );
        }
    }
}

/// How many of `times` fall into each bin of 100 ms from `start`, at most.
fn fullest_bin(times: &[Duration], start: Duration) -> usize {
    let bin = |time: &Duration| (*time - start).as_millis() / 100;
    let mut bins = std::collections::BTreeMap::new();
    times.iter().for_each(|time| *bins.entry(bin(time)).or_insert(0) += 1);
    bins.into_values().max().unwrap_or(0)
}

/// A fleet of proven links to one server.
async fn fleet(network: &MemoryNetwork, size: usize, spread: Duration) -> Vec<Supervisor> {
    let config = config().reconnect_spread(spread).build().expect("valid");
    let one = |seed| {
        let supervisor = Supervisor::builder(config.clone())
            .connector(network.connector())
            .rng_seed(seed)
            .spawn();
        async move {
            say(&supervisor.channel(), "hello", CallOptions::new())
                .await
                .expect("the server echoes");
            supervisor
        }
    };
    futures::future::join_all((0..size as u64).map(one)).await
}

/// Scenario 8: 1,000 supervisors lose one server at once. The first redials fill the spread evenly;
/// with the default spread it is the second ones that jitter keeps apart.
#[tokio::test(start_paused = true)]
async fn scenario_08_a_thousand_clients_do_not_dial_at_one_moment() {
    const SIZE: usize = 1_000;
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let spread = fleet(&network, SIZE, secs(1)).await;
    tokio::time::sleep(secs(30)).await;
    let cut = network.dials().len();
    let t0 = *network.dials().last().expect("they dialled") + secs(30);
    network.cut_all();
    tokio::time::sleep(secs(2)).await;
    let redials = network.dials().split_off(cut);
    assert_eq!(redials.len(), SIZE, "one redial each, and it holds");
    assert!(redials.iter().all(|at| (t0..=t0 + ms(1_002)).contains(at)));
    assert!(fullest_bin(&redials, t0) <= SIZE * 14 / 100, "{}", fullest_bin(&redials, t0));
    drop(spread);
    settle().await;

    let quick = fleet(&network, SIZE, ms(20)).await;
    let cut = network.dials().len();
    server.kill().await;
    tokio::time::sleep(ms(1_250)).await;
    let redials = network.dials().split_off(cut);
    let (first, second) = redials.split_at(SIZE);
    assert!(*first.last().expect("all redial") - first[0] <= ms(22));
    let t1 = first[0] + ms(800);
    assert!(second.len() >= SIZE && second[..SIZE].iter().all(|at| *at >= t1));
    assert!(fullest_bin(second, t1) <= SIZE * 32 / 100, "{}", fullest_bin(second, t1));
    drop(quick);
}

/// A supervisor that has been without its server for ten minutes and a bit.
async fn after_ten_minutes(seed: u64) -> (MemoryNetwork, ScriptedServer, Supervisor) {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let config = config().build().expect("valid");
    let supervisor =
        Supervisor::builder(config).connector(network.connector()).rng_seed(seed).spawn();
    say(&supervisor.channel(), "hello", CallOptions::new()).await.expect("the server echoes");
    server.kill().await;
    tokio::time::sleep(secs(600) + ms(seed * 937)).await;
    assert_eq!(supervisor.snapshot().links, 1);
    (network, server, supervisor)
}

/// Scenario 9: after an outage of ten minutes the channel is Ready within one longest wait; at once
/// when asked; within 1.2 s when a call waits, even if it began to wait only then.
#[tokio::test(start_paused = true)]
async fn scenario_09_a_server_that_is_back_is_dialled_within_the_longest_wait() {
    for seed in 0..10 {
        let (_network, server, supervisor) = after_ten_minutes(seed).await;
        server.restart().await;
        let back = Instant::now();
        supervisor.wait_ready(LONG).await.expect("Ready");
        assert!(back.elapsed() <= secs(12), "{:?}", back.elapsed());

        let (_network, server, supervisor) = after_ten_minutes(seed).await;
        server.restart().await;
        let (took, answer) = timed(say(&supervisor.channel(), "hello", CallOptions::new())).await;
        assert!(answer.is_ok() && took <= ms(1_202), "{took:?}");

        let (_network, server, supervisor) = after_ten_minutes(seed).await;
        let waiting = start_many(&supervisor.channel(), CallOptions::new().timeout(secs(50)), 1);
        tokio::time::sleep(secs(20)).await;
        server.restart().await;
        let back = Instant::now();
        assert!(
            join(waiting).await[0].1.is_ok() && back.elapsed() <= ms(1_202),
            "{:?}",
            back.elapsed()
        );

        let (_network, server, supervisor) = after_ten_minutes(seed).await;
        server.restart().await;
        let back = Instant::now();
        supervisor.reconnect_now();
        supervisor.wait_ready(LONG).await.expect("Ready");
        assert_time(back.elapsed(), Duration::ZERO);
    }
}

/// Scenario 9: `reconnect_now` in the middle of a dial that then fails is followed by another dial
/// at once.
#[tokio::test(start_paused = true)]
async fn scenario_09_reconnect_now_during_a_dial_makes_the_next_one_follow_at_once() {
    let network = MemoryNetwork::new();
    network.dial_takes(secs(3));
    let supervisor = supervise(&network, config().reconnect_initial_backoff(secs(9)));
    tokio::time::sleep(secs(1)).await;
    supervisor.reconnect_now();
    tokio::time::sleep(secs(3)).await;
    assert_eq!(network.dials().len(), 2);
    assert_time(network.dials()[1], secs(3));
}

/// Scenario 22: peers that accept and never speak HTTP/2 never make the channel Ready. The dial of
/// a silent one fails at `connect_timeout`, in its handshake; that of one whose first frame is
/// another than SETTINGS fails as soon as that is read. Dials follow the backoff.
#[tokio::test(start_paused = true)]
async fn scenario_22_a_peer_that_never_speaks_http2_never_makes_the_channel_ready() {
    type Play = fn(RawPeer) -> PlayingPeer;
    let no_settings: Play = |peer| {
        peer.play(|mut link| async move {
            link.ping(*b"is it me").await;
            while link.next_frame().await.is_ok_and(|frame| frame.is_some()) {}
        })
    };
    let cases = [
        ("a TCP sink", RawPeer::black_hole as Play, secs(1)),
        ("a PING, no SETTINGS", no_settings, secs(0)),
    ];
    for (name, play, fails_at) in cases {
        let network = MemoryNetwork::new();
        let _peer = play(RawPeer::on_memory(&network, ADDRESS).await);
        let supervisor = supervise(&network, config().connect_timeout(secs(1)));
        let mut events = EventReader::of(&supervisor).await;
        let failed = events.until(|fact| matches!(fact, Fact::DialFailed { .. })).await;
        let Fact::DialFailed { incarnation: Incarnation(1), failure, .. } = failed.fact else {
            panic!("{failed:?}")
        };
        assert_eq!(
            (failure.step, failure.timed_out),
            (DialStep::Handshake, !fails_at.is_zero()),
            "{name}"
        );
        assert_time(failed.since_spawn, fails_at);
        let state = events.until_state(ConnectivityState::TransientFailure).await;
        assert_time(state.since_spawn, fails_at);
        let call =
            say(&supervisor.channel(), "hello", CallOptions::new().wait_for_ready(false)).await;
        assert_eq!(call.expect_err("there is no link").code(), Code::Unavailable, "{name}");
        tokio::time::sleep(secs(60)).await;
        assert!(!events.states().await.contains(&ConnectivityState::Ready), "{name}");
        let dials = network.dials();
        assert!((6..=12).contains(&dials.len()), "{name}: {dials:?}");
        let gaps: Vec<_> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (n, gap) in gaps.iter().enumerate() {
            let delay = 1.6_f64.powi(n as i32).min(10.0);
            let within = fails_at.max(Duration::from_secs_f64(delay * 0.8))
                ..=Duration::from_secs_f64(delay * 1.21);
            assert!(within.contains(gap), "{name}: gap {n} is {gap:?}");
        }
    }
}

/// Scenario 22, over TCP: where bare tonic says connected after half a millisecond.
#[tokio::test]
async fn scenario_22_a_socket_that_only_accepts_is_no_link() {
    let sink = RawPeer::on_tcp().await.black_hole();
    let supervisor = supervise_tcp(config_for(&sink.dial_address()).connect_timeout(ms(200)));
    let mut events = EventReader::of(&supervisor).await;
    events.until_state(ConnectivityState::TransientFailure).await;
    events.until_state(ConnectivityState::Connecting).await;
    assert!(!events.states().await.contains(&ConnectivityState::Ready));
    assert!(!sink.accepts().is_empty());
}
