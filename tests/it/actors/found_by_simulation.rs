//! What the simulation found, each in as few words as it takes. The seeds are of the day they were
//! found.

use crate::support::{
    ADDRESS, EventLog, bounded, config, eventually, hide_injected_panics, ms, post, say, secs,
    start, supervise, timed,
};
use tonic::Code;
use tonic_supervisor::{
    CallOptions, Child, ConnectivityState, Fact,
    testing::{MemoryNetwork, Script, ScriptedServer},
};

/// Seeds 50 and 863: calls ended up to a second late.
#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_a_dead_supervisor_actor_waits_to_be_replaced() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let supervisor = supervise(&network, config().intensity_restarts(0));
    supervisor.panics().arm(Child::Supervisor, "LinkProven", 1);
    let channel = supervisor.channel();
    say(&channel, "proves the link", CallOptions::new()).await.expect("answered");
    let call = say(&channel, "x", CallOptions::new().timeout(ms(100)));
    let (took, answer) = timed(call).await;
    assert_eq!(answer.expect_err("nobody could start it").code(), Code::DeadlineExceeded);
    assert!(ms(100) <= took && took <= ms(122), "it ended after {took:?}");
    assert_eq!(supervisor.panics().injected().len(), 1);
    say(&channel, "y", CallOptions::new()).await.expect("answered by the successor's link");
}

/// Seed 431: a supervisor actor that died in its drain went from TRANSIENT_FAILURE to SHUTDOWN,
/// after SHUTDOWN.
#[tokio::test(start_paused = true)]
async fn shutdown_is_announced_once_even_if_the_supervisor_actor_dies_in_it() {
    hide_injected_panics();
    for message in ["Drain", "GraceDue"] {
        let network = MemoryNetwork::new();
        let server =
            ScriptedServer::builder().script(Script::hang()).on_memory(&network, ADDRESS).await;
        let supervisor = supervise(&network, config());
        let log = EventLog::of(&supervisor);
        let call = start(&supervisor.channel(), "x", CallOptions::new());
        server.arrived(1).await;
        supervisor.panics().arm(Child::Supervisor, message, 1);
        bounded("the end", supervisor.shutdown(ms(0))).await;
        assert!(call.await.expect("no panic").1.is_err());
        eventually("the last event", || log.count(|fact| matches!(fact, Fact::Closed { .. })) == 1)
            .await;
        assert_eq!(supervisor.panics().injected().len(), 1, "{message}");
        let mut state = ConnectivityState::Idle;
        let changes = log.all(|fact| match fact {
            Fact::StateChanged { from, to, .. } => Some((*from, *to)),
            _ => None,
        });
        for (_, (from, to)) in changes {
            assert!(
                from == state && from.can_become(to),
                "a panic at {message}: {from} to {to}, being {state}"
            );
            state = to;
        }
        assert_eq!(state, ConnectivityState::Shutdown);
    }
}

/// Seed 677: a peer that reads nothing kept a link without calls for ever, and a supervisor without
/// handles.
#[tokio::test(start_paused = true)]
async fn a_drained_link_whose_goodbye_cannot_be_written_is_cut() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    // Keepalive would find out, where it may ask.
    let supervisor = supervise(&network, config().keepalive_permit_without_calls(false));
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    network.freeze_all();
    // More than the wire holds.
    let text = "x".repeat(400_000);
    let call = start(&supervisor.channel(), &text, CallOptions::new().timeout(secs(1)));
    tokio::time::sleep(ms(10)).await;
    drop(supervisor);
    let (_, answer) = call.await.expect("no panic");
    assert_eq!(answer.expect_err("nobody reads it").code(), Code::DeadlineExceeded);
    let (took, ()) =
        timed(log.until("the last event", 1, |fact| matches!(fact, Fact::Closed { .. }))).await;
    assert!(took <= ms(2_010), "the link lived for {took:?} after its last call");
}

/// Seed 7623: a call waited for room on a link that had died, and which was never asked, having no
/// stream.
#[tokio::test(start_paused = true)]
async fn a_dead_link_on_which_calls_wait_for_room_is_found_out() {
    let network = MemoryNetwork::new();
    let server =
        ScriptedServer::builder().max_concurrent_streams(0).on_memory(&network, ADDRESS).await;
    let config = config()
        .keepalive_time(secs(30))
        .keepalive_timeout(secs(5))
        .keepalive_permit_without_calls(false);
    let supervisor = supervise(&network, config);
    let log = EventLog::of(&supervisor);
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    network.freeze_all();
    server.kill().await;
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    // Silent for an hour: without calls, nobody may be asked for a sign of life.
    tokio::time::sleep(secs(3_600)).await;
    assert_eq!(log.count(|fact| matches!(fact, Fact::KeepaliveLost { .. })), 0);
    let channel = supervisor.channel();
    let (took, answer) = timed(say(&channel, "x", CallOptions::new())).await;
    assert_eq!(answer.expect("answered by the next server"), "x");
    assert!(took <= secs(36), "it took {took:?}");
    assert_eq!(log.count(|fact| matches!(fact, Fact::KeepaliveLost { .. })), 1);
}

/// Seed 63788: a message's deadline passed on the wire. The request actor failed as it heard of it,
/// and so did the look at overdue calls, twice: the answer came 40 ms late.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_on_the_wire_waits_for_no_actor() {
    hide_injected_panics();
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::delay(secs(3_600)));
    let supervisor = supervise(&network, config().intensity_restarts(0));
    supervisor.wait_ready(secs(1)).await.expect("Ready");
    supervisor.panics().arm(Child::Request, "AttemptFailed", 1);
    supervisor.panics().arm(Child::Task, "Watch", 10);
    let limited = CallOptions::new().timeout(ms(300));
    let (took, answer) = timed(post(&supervisor.mailbox(), "x", limited)).await;
    let status = answer.expect("a port gets its answer").expect_err("nobody answers");
    assert_eq!((status.code(), took), (Code::DeadlineExceeded, ms(300)));
}
