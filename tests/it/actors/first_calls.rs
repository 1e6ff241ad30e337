//! Request actors are started with the first calls that they are for.

use crate::support::*;
use tonic_supervisor::{
    CallOptions,
    testing::{MemoryNetwork, ScriptedServer},
};

#[tokio::test(start_paused = true)]
async fn a_channel_without_calls_has_no_request_actors_and_each_call_starts_its_own() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let (parent, _, supervisor) = linked(&network, config().request_actors(3)).await;
    supervisor.wait_ready(LONG).await.expect("Ready");
    let [actor] = &parent.get_children()[..] else { panic!("one child") };
    let children = || actor.get_children().len();
    assert_eq!(children(), 1, "of the link");
    // Calls are dealt out in turn.
    for started in [1, 2, 3, 3, 3] {
        let (took, answer) = timed(say(&supervisor.channel(), "hi", CallOptions::new())).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert_time(took, ms(0));
        assert_eq!(children(), 1 + started);
    }
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
