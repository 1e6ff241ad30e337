//! Actors that fail again and again: paced, announced once, and back by themselves; linked under a
//! user's supervisor, it hears of it.

use crate::support::{
    ADDRESS, EventLog, assert_shut_down, bounded, cause, config, hide_injected_panics, linked, ms,
    post, said, say, secs, start, supervise,
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_supervisor::{
    CallOptions, Cause, Child, ConnectivityState, Fact,
    testing::{MemoryNetwork, ScriptedServer},
};

/// Scenario 19: it panics after each successful connect, for five minutes, while calls wait, which
/// makes redials quick.
#[tokio::test(start_paused = true)]
async fn scenario_19_a_crash_loop_is_paced_announced_once_and_left_without_help() {
    hide_injected_panics();
    for calls_wait in [true, false] {
        let network = MemoryNetwork::new();
        let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
        network.dial_takes(ms(3));
        let supervisor = supervise(&network, config().timeout(secs(3_600)));
        let log = EventLog::of(&supervisor);
        supervisor.panics().arm(Child::Connection, "Dialled", u32::MAX);
        let waiting = calls_wait.then(|| start(&supervisor.channel(), "x", CallOptions::new()));
        tokio::time::sleep(secs(300)).await;
        let dials = network.dials().len();
        assert!((25..=40).contains(&dials), "{dials} dials");
        assert_eq!(log.count(|fact| matches!(fact, Fact::ChildFailed { .. })), dials);
        let announced = log.count(|fact| matches!(fact, Fact::IntensityReached { .. }));
        assert_eq!(
            announced,
            usize::from(calls_wait),
            "an idle channel's redials are too slow to be a storm"
        );
        supervisor.panics().disarm();
        supervisor.wait_ready(secs(13)).await.expect("without help");
        if let Some(waiting) = waiting {
            assert_eq!(waiting.await.expect("no panic").1.expect("it waited it out"), "x");
        }
    }
}

/// The request actor in the same plight: whatever its calls wait for comes a second late at the
/// most, their deadlines 20 ms.
#[tokio::test(start_paused = true)]
async fn scenario_19_a_failing_request_actor_restarts_once_a_second_and_keeps_its_calls() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().timeout(secs(3_600)));
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    supervisor.panics().arm(Child::Request, "Adopt", u32::MAX);
    supervisor.panics().arm(Child::Request, "Submit", 1);
    let posted = post(&supervisor.mailbox(), "posted", CallOptions::new());
    let call = start(&supervisor.channel(), "x", CallOptions::new());
    let late = start(&supervisor.channel(), "late", CallOptions::new().timeout(secs(60)));
    tokio::time::sleep(secs(300)).await;
    let restarts = supervisor.panics().injected().len();
    assert!((290..=310).contains(&restarts), "{restarts} restarts");
    assert_eq!(log.count(|fact| matches!(fact, Fact::IntensityReached { .. })), 1);
    assert!(late.is_finished(), "it hangs past its deadline");
    let (took, answer) = late.await.expect("no panic");
    assert_eq!(answer.expect_err("nobody could start it").code(), Code::DeadlineExceeded);
    assert!(took <= secs(60) + ms(22), "it hung past its deadline, until {took:?}");
    supervisor.panics().disarm();
    let recovered = Instant::now();
    assert_eq!(call.await.expect("no panic").1.expect("carried out"), "x");
    assert_eq!(said(posted.await.expect("answered")).expect("carried out"), "posted");
    assert!(recovered.elapsed() <= ms(1_010));
}

/// Past its intensity a supervisor of its own goes on at the slowest pace, and recovers by itself.
#[tokio::test(start_paused = true)]
async fn a_supervisor_actor_that_keeps_failing_goes_on_and_no_call_is_lost() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config());
    let log = EventLog::of(&supervisor);
    supervisor.panics().arm(Child::Supervisor, "LinkUp", u32::MAX);
    let calls: Vec<_> =
        (0..50).map(|_| start(&supervisor.channel(), "x", CallOptions::new())).collect();
    let posted = post(&supervisor.mailbox(), "x", CallOptions::new());
    tokio::time::sleep(secs(30)).await;
    let failures = log.count(|fact| matches!(fact, Fact::ChildFailed { child: "supervisor", .. }));
    assert!((30..=40).contains(&failures), "{failures} restarts");
    assert_eq!(log.count(|fact| matches!(fact, Fact::IntensityReached { .. })), 1);
    assert_eq!(supervisor.snapshot().calls_open, 51, "all still wait");
    supervisor.panics().disarm();
    supervisor.wait_ready(ms(1_100)).await.expect("it comes back by itself");
    for call in calls {
        assert_eq!(call.await.expect("no panic").1.expect("answered"), "x");
    }
    assert_eq!(said(posted.await.expect("answered")).expect("answered"), "x");
}

/// While it waits for the supervisor actor's next life, past the intensity, nobody is told that the
/// dead link is ready.
#[tokio::test(start_paused = true)]
async fn a_failure_of_the_supervisor_actor_shows_at_once_even_if_it_starts_over_later() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().intensity_restarts(0));
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    supervisor.panics().arm(Child::Supervisor, "ResetBackoff", 1);
    supervisor.reconnect_now();
    tokio::time::sleep(ms(1)).await;
    assert_eq!(supervisor.panics().injected().len(), 1);
    assert_eq!(supervisor.state(), ConnectivityState::TransientFailure);
    assert_eq!(log.count(|fact| matches!(fact, Fact::LinkLost { .. })), 1);
    assert_eq!(network.connections(), 0, "the link ends with the life that had it");
    tokio::time::sleep(ms(900)).await;
    assert_eq!(supervisor.state(), ConnectivityState::TransientFailure, "it rests for a second");
    supervisor.wait_ready(ms(200)).await.expect("and comes back by itself");
}

#[track_caller]
fn assert_supervision_ended(answer: Result<String, Status>) {
    let status = answer.expect_err("nobody is left to carry it out");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(cause(&status), Cause::Supervision(_)), "{status:?}");
}

/// Linked, it fails upward past its intensity, as in OTP; what was open is answered, and the end is
/// announced.
#[tokio::test(start_paused = true)]
async fn a_linked_supervisor_that_keeps_failing_fails_upward_and_every_call_is_answered() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let (_parent, heard, supervisor) = linked(&network, config()).await;
    let log = EventLog::of(&supervisor);
    supervisor.panics().arm(Child::Supervisor, "LinkUp", u32::MAX);
    let call = start(&supervisor.channel(), "x", CallOptions::new());
    let posted = post(&supervisor.mailbox(), "x", CallOptions::new());
    bounded("it gives up", supervisor.closed()).await;
    assert_eq!(supervisor.panics().injected().len(), 6, "five restarts, then no more");
    assert_supervision_ended(call.await.expect("no panic").1);
    assert_supervision_ended(said(posted.await.expect("answered")));
    tokio::time::sleep(ms(2)).await;
    let heard = heard.lock().clone();
    assert!(heard.len() == 1 && heard[0].contains("keeps failing"), "{heard:?}");
    assert_eq!(log.count(|fact| matches!(fact, Fact::IntensityReached { .. })), 1);
    assert_eq!(log.count(|fact| matches!(fact, Fact::Closed { cause: Some(_), .. })), 1);
    assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
    assert_shut_down(&say(&supervisor.channel(), "late", CallOptions::new()).await);
}

/// Up to its intensity a linked supervisor helps itself, and the parent hears nothing.
#[tokio::test(start_paused = true)]
async fn a_linked_supervisor_that_fails_now_and_then_does_not_trouble_its_parent() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let (parent, heard, supervisor) = linked(&network, config()).await;
    supervisor.panics().arm(Child::Supervisor, "LinkUp", 5);
    assert_eq!(say(&supervisor.channel(), "x", CallOptions::new()).await.expect("answered"), "x");
    assert!(supervisor.panics().injected().len() == 5 && heard.lock().is_empty());
    parent.stop(None);
    bounded("it ends with its parent", supervisor.closed()).await;
    assert_eq!(supervisor.state(), ConnectivityState::Shutdown);
}
