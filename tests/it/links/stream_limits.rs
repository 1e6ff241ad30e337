//! MAX_CONCURRENT_STREAMS: calls beyond it wait their turn, and none waits past its deadline.

use crate::support::*;
use tonic::Code;
use tonic_supervisor::{
    CallOptions, ConnectivityState, Phase,
    testing::{MemoryNetwork, Script, ScriptedServer},
};

/// The peer's MAX_CONCURRENT_STREAMS is obeyed as it changes, up and down.
#[tokio::test(start_paused = true)]
async fn a_changed_limit_of_streams_changes_how_many_calls_start() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let (supervisor, _peer, mut link) = raw_link(config(), &[(MAX_CONCURRENT_STREAMS, 2)]).await;
    let calls = start_many(&supervisor.channel(), CallOptions::new(), 8);
    let state = |supervisor: &tonic_supervisor::Supervisor| {
        let snapshot = supervisor.snapshot();
        (snapshot.streams, snapshot.calls_waiting)
    };
    assert_eq!((next_request(&mut link).await, next_request(&mut link).await), (1, 3));
    settle().await;
    assert_eq!(state(&supervisor), (2, 6));

    link.send_settings(&[(MAX_CONCURRENT_STREAMS, 4)]).await;
    assert_eq!((next_request(&mut link).await, next_request(&mut link).await), (5, 7));
    settle().await;
    assert_eq!(state(&supervisor), (4, 4));

    link.send_settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
    settle().await;
    for stream in [1, 3, 5] {
        link.answer(stream, HELLO).await;
        settle().await;
    }
    assert_eq!(
        state(&supervisor),
        (1, 4),
        "none starts while the one that is left fills the limit"
    );
    for (answered, started) in [(7, 9), (9, 11), (11, 13), (13, 15)] {
        link.answer(answered, HELLO).await;
        assert_eq!(next_request(&mut link).await, started);
    }
    link.answer(15, HELLO).await;
    assert!(join(calls).await.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(supervisor.snapshot().links, 1);
}

/// Scenario 30: 500 calls of 200 ms share one link of 100 streams: five rounds, no
/// error.
#[tokio::test(start_paused = true)]
async fn scenario_30_calls_beyond_the_stream_limit_wait_their_turn() {
    let network = MemoryNetwork::new();
    let slow = Script::delay(ms(200));
    let server = ScriptedServer::builder()
        .max_concurrent_streams(100)
        .script(slow)
        .on_memory(&network, ADDRESS)
        .await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(LONG).await.expect("Ready");
    let calls = start_many(&supervisor.channel(), CallOptions::new(), 500);
    settle().await;
    let snapshot = supervisor.snapshot();
    assert_eq!((snapshot.streams, snapshot.calls_waiting, snapshot.calls_open), (100, 400, 500));
    for (n, (took, answer)) in join(calls).await.into_iter().enumerate() {
        assert!(answer.is_ok(), "{answer:?}");
        let round = n as u64 / 100 + 1;
        assert!(took.abs_diff(ms(200 * round)) <= ms(10), "call {n} took {took:?}");
    }
    assert_eq!((server.connections(), server.handled()), (1, 500));
}

/// Scenario 30: a peer that allows no stream is READY, and each call ends at its deadline.
#[tokio::test(start_paused = true)]
async fn scenario_30_a_peer_that_allows_no_stream_is_ready_and_calls_meet_deadlines() {
    let network = MemoryNetwork::new();
    let server =
        ScriptedServer::builder().max_concurrent_streams(0).on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    supervisor.wait_ready(LONG).await.expect("Ready");
    let mut calls = Vec::new();
    for time in [100, 700, 5_000] {
        calls.extend(start_many(&supervisor.channel(), CallOptions::new().timeout(ms(time)), 20));
    }
    for (n, (took, answer)) in join(calls).await.into_iter().enumerate() {
        assert_time(took, ms([100, 700, 5_000][n / 20]));
        let status = answer.expect_err("no stream is allowed");
        assert_eq!(
            (status.code(), report(&status).outcome.phase),
            (Code::DeadlineExceeded, Phase::Unsent)
        );
    }
    assert_eq!((server.connections(), server.handled()), (1, 0));
    assert_eq!(supervisor.state(), ConnectivityState::Ready);
}

/// Scenario 30: a peer that allows a few streams and makes no progress on them: who holds one and
/// who waits for one end alike.
#[tokio::test(start_paused = true)]
async fn scenario_30_a_peer_without_progress_hangs_no_call_past_its_deadline() {
    let network = MemoryNetwork::new();
    let few = ScriptedServer::builder().max_concurrent_streams(3).script(Script::hang());
    let server = few.on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().max_retry_attempts(0));
    supervisor.wait_ready(LONG).await.expect("Ready");
    let calls = start_many(&supervisor.channel(), CallOptions::new().timeout(secs(2)), 50);
    for (n, (took, answer)) in join(calls).await.into_iter().enumerate() {
        assert_time(took, secs(2));
        let status = answer.expect_err("no answer comes");
        let phase = if n < 3 { Phase::MaybeProcessed } else { Phase::Unsent };
        assert_eq!(
            (status.code(), report(&status).outcome.phase),
            (Code::DeadlineExceeded, phase),
            "call {n}"
        );
    }
    assert_eq!((server.connections(), supervisor.snapshot().calls_open), (1, 0));
}
