//! How many retries there are: as many as are configured.

use crate::support::{Rig, SECOND, config, echo, report, timed};
use tokio::time::sleep;
use tonic::Code;
use tonic_supervisor::{policy::RetryLimit, testing::Script};

/// Scenario 24: 0 -> 1, 3 -> 4, 10 -> 11 wire attempts; unlimited: as many as the deadline allows.
#[tokio::test(start_paused = true)]
async fn scenario_24_retry_counts_are_what_they_say_without_a_hidden_clamp() {
    let unlimited = RetryLimit::Unlimited;
    let at_most = RetryLimit::AtMost;
    // Unlimited within 600 s: 1, 2, 4, 8 s, then every 10 s while there is time.
    for (limit, attempts) in
        [(at_most(0), 1), (at_most(3), 4), (at_most(10), 11), (unlimited, 5 + 58)]
    {
        let rig = Rig::new(config().timeout(600 * SECOND).max_retry_attempts(limit)).await;
        rig.server.script(Script::always(Code::Unavailable));
        let (took, outcome) = timed(echo(&rig.supervisor.channel(), "x")).await;
        let status = outcome.expect_err("the server fails every call");
        assert_eq!(
            (rig.server.handled(), report(&status).attempts_made as usize),
            (attempts, attempts),
            "{limit:?}"
        );
        assert!(took < 600 * SECOND && status.code() == Code::Unavailable);
    }
}

/// Time without a link spends no retries: a call that was due while the server was away has all of
/// them left.
#[tokio::test(start_paused = true)]
async fn scenario_24_retry_counts_are_not_spent_while_there_is_no_link() {
    let rig = Rig::new(config()).await;
    rig.server.script(Script::fail_times(3, Code::Unavailable));
    let channel = rig.supervisor.channel();
    let call = tokio::spawn(async move { echo(&channel, "x").await });
    rig.server.arrived(1).await;
    rig.server.kill().await;
    sleep(30 * SECOND).await;
    assert_eq!((rig.server.handled(), call.is_finished()), (1, false));
    rig.server.restart().await;
    assert_eq!(call.await.expect("no panic").expect("the fourth attempt"), "x");
    assert_eq!((rig.server.handled(), rig.supervisor.snapshot().retries), (4, 3));
}

#[test]
fn scenario_24_unlimited_retries_without_a_deadline_are_an_error_with_the_key() {
    let endless = config().timeout(None).max_retry_attempts(RetryLimit::Unlimited).build();
    let error = endless.expect_err("nothing would ever end such a call").to_string();
    assert!(error.contains("grpc.max_retry_attempts") && error.contains("timeout"), "{error}");
}
