//! The deadline of a call and the timeout of each attempt.

use crate::support::{Rig, SECOND, config, echo, report, seconds, timed};
use std::time::Duration;
use tonic::{Code, Request};
use tonic_supervisor::{
    CallOptions, Cause,
    testing::{Answer, Script},
};

/// A rig with attempts of 1 s and a first backoff of 0.1 s, whose server sleeps 3 s twice and
/// then answers.
async fn sleepy(timeout: Duration) -> Rig {
    let first = Duration::from_millis(100);
    let rig =
        Rig::new(config().timeout(timeout).attempt_timeout(SECOND).initial_backoff(first)).await;
    rig.server.script(Script::sequence(vec![Answer::echo().after(3 * SECOND); 2], Answer::echo()));
    rig
}

/// Scenario 12: overall 5 s, attempt 1 s: OK at 2 s + backoff; grpc-timeout strictly decreasing.
#[tokio::test(start_paused = true)]
async fn scenario_12_a_slow_attempt_is_given_up_and_the_next_gets_what_remains() {
    let rig = sleepy(5 * SECOND).await;
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    assert_eq!(
        (outcome.expect("the third attempt"), took),
        ("x".into(), Duration::from_millis(2_300))
    );
    assert_eq!(rig.arrivals_at(), seconds(&[0.0, 1.1, 2.3]));
    let timeouts: Vec<_> =
        rig.server.arrivals().into_iter().filter_map(|arrival| arrival.grpc_timeout).collect();
    assert_eq!(timeouts, ["5000m", "3900m", "2700m"]);
    rig.server.given_up(2).await;
}

/// Scenario 12: overall 2.5 s: DEADLINE_EXCEEDED at 2.5 s with the attempts listed.
#[tokio::test(start_paused = true)]
async fn scenario_12_the_overall_deadline_ends_the_call_with_every_attempt_listed() {
    let rig = sleepy(Duration::from_millis(2_500)).await;
    rig.server.script(Script::delay(3 * SECOND));
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    let status = outcome.expect_err("no attempt is answered");
    assert_eq!((status.code(), took), (Code::DeadlineExceeded, Duration::from_millis(2_500)));
    let report = report(&status);
    let attempts: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| {
            (attempt.code(), attempt.failure.cause.clone(), attempt.elapsed.as_millis() as u64)
        })
        .collect();
    let expected = [
        (Cause::AttemptTimeout, 1_000),
        (Cause::AttemptTimeout, 2_100),
        (Cause::Deadline(None), 2_500),
    ]
    .map(|(cause, at)| (Code::DeadlineExceeded, cause, at));
    assert_eq!(attempts, expected);
    assert_eq!((report.attempts_made, report.retries, report.maybe_processed), (3, 2, true));
}

/// Scenario 12: where the next wait would outlive the deadline, the last real status at once.
#[tokio::test(start_paused = true)]
async fn scenario_12_a_pointless_wait_gives_the_last_real_status_at_once() {
    let rig = Rig::new(config().timeout(Duration::from_millis(2_500))).await;
    rig.server.script(Answer::status(Code::Aborted).text("row locked"));
    let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
    let status = outcome.expect_err("the server fails every call");
    assert_eq!((status.code(), status.message(), took), (Code::Aborted, "row locked", SECOND));
}

/// Scenario 12: other calls on the connection are unaffected.
#[tokio::test(start_paused = true)]
async fn scenario_12_a_slow_call_takes_neither_the_link_nor_other_calls_down() {
    let rig = sleepy(5 * SECOND).await;
    rig.server.on("/test.Echo/Patient", Script::delay(4 * SECOND));
    let mut patient = Request::new(String::from("p"));
    patient.extensions_mut().insert(CallOptions::new().attempt_timeout(5 * SECOND));
    let channel = rig.supervisor.channel();
    let beside = tokio::spawn(async move {
        timed(channel.unary::<String, String>("/test.Echo/Patient", patient)).await
    });
    echo(&rig.supervisor.channel(), "x").await.expect("the third attempt");
    let (took, outcome) = beside.await.expect("no panic");
    assert_eq!((outcome.expect("answered").into_inner(), took), ("p".into(), 4 * SECOND));
    assert_eq!(rig.server.connections(), 1);
}
