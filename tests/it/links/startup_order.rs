//! A client that starts before its server.

use crate::support::{ADDRESS, EventLog, SECOND, config, echo, report, say, supervise, timed};
use std::time::Duration;
use tokio::time::sleep;
use tonic::Code;
use tonic_supervisor::{
    CallOptions, Cause, ConnectivityState, Fact, SupervisedChannel,
    testing::{MemoryNetwork, ScriptedServer},
};

/// Scenario 10: spawn with no listener, 20 calls at once, listener at +2 s.
#[tokio::test(start_paused = true)]
async fn scenario_10_calls_wait_for_a_server_that_starts_later_and_spend_no_retries() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config());
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let channel = supervisor.channel();
            tokio::spawn(async move { timed(echo(&channel, &n.to_string())).await })
        })
        .collect();
    sleep(2 * SECOND).await;
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    for (n, call) in calls.into_iter().enumerate() {
        let (took, outcome) = call.await.expect("no panic");
        assert_eq!(outcome.expect("answered"), n.to_string());
        assert!(took <= Duration::from_millis(2_000 + 1_200 + 100), "{took:?}");
    }
    assert_eq!((server.handled(), supervisor.snapshot().retries), (20, 0));
}

/// Scenario 10, fail-fast: UNAVAILABLE right after the first failed dial, with its cause; and at
/// once from then on.
#[tokio::test(start_paused = true)]
async fn scenario_10_a_fail_fast_call_hears_the_cause_after_the_first_failed_dial() {
    let network = MemoryNetwork::new();
    let dial = Duration::from_millis(300);
    network.dial_takes(dial);
    let supervisor = supervise(&network, config());
    let (channel, events) = (supervisor.channel(), EventLog::of(&supervisor));
    assert_eq!(fail_fast(&channel).await, dial);
    events.nth(2, |fact| matches!(fact, Fact::DialStarted { .. })).await;
    assert_eq!(supervisor.state(), ConnectivityState::Connecting);
    assert_eq!(fail_fast(&channel).await, Duration::ZERO, "also while it redials");

    let refused = supervise(&MemoryNetwork::new(), config());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(refused.state(), ConnectivityState::TransientFailure);
    assert_eq!(fail_fast(&refused.channel()).await, Duration::ZERO, "and while it waits to redial");
}

/// How long a call that does not wait takes to say why it failed.
async fn fail_fast(channel: &SupervisedChannel) -> Duration {
    let (took, outcome) = timed(say(channel, "x", CallOptions::new().wait_for_ready(false))).await;
    let status = outcome.expect_err("nobody listens");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("server:50051: connection refused"), "{}", status.message());
    let report = report(&status);
    assert!(
        matches!(report.outcome.cause, Cause::NotConnected(_)) && !report.maybe_processed,
        "{report:?}"
    );
    assert_eq!((report.attempts_made, report.retries), (0, 0));
    took
}
