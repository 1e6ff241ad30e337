//! Request actors are started with the first calls that need them.

use crate::support::*;
use tonic::Code;
use tonic_supervisor::{
    CallOptions,
    testing::{MemoryNetwork, Script, ScriptedServer},
};

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_nothing_start_no_request_actor_and_each_other_its_own() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let (parent, _, supervisor) = linked(&network, config().request_actors(3)).await;
    supervisor.wait_ready(LONG).await.expect("Ready");
    let [actor] = &parent.get_children()[..] else { panic!("one child") };
    let children = || actor.get_children().len();
    for _ in 0..3 {
        say(&supervisor.channel(), "hi", CallOptions::new()).await.expect("answered");
        assert_eq!(children(), 1, "of the link");
    }
    // Calls are dealt out in turn.
    for started in [1, 2, 3, 3, 3] {
        let (took, answer) = timed(post(&supervisor.mailbox(), "hi", CallOptions::new())).await;
        assert_eq!(said(answer.expect("answered")).expect("answered"), "hi");
        assert_time(took, ms(0));
        assert_eq!(children(), 1 + started);
    }
    drop(server);
}

/// Its attempt began without one, and somebody has to decide about it.
#[tokio::test(start_paused = true)]
async fn the_first_attempt_that_fails_has_its_actor_started() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.script(Script::fail_times(2, Code::Unavailable));
    let supervisor = supervise(&network, config().request_actors(2));
    supervisor.wait_ready(LONG).await.expect("Ready");
    let answer = say(&supervisor.channel(), "hi", CallOptions::new()).await;
    assert_eq!(
        (answer.expect("at the third attempt"), supervisor.snapshot().retries),
        ("hi".into(), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_calls_are_answered_whether_they_come_before_or_after_the_actors() {
    let network = MemoryNetwork::new();
    let supervisor = supervise(&network, config().request_actors(2));
    let early = start_many(&supervisor.channel(), CallOptions::new(), 5);
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let late = start_many(&supervisor.channel(), CallOptions::new(), 5);
    for (_, answer) in join(early).await.into_iter().chain(join(late).await) {
        assert!(answer.is_ok(), "{answer:?}");
    }
}
