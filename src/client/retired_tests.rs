//! What a supervisor makes of links that say nothing of their end themselves: one whose stream ids
//! are used up, and one that shuts without a word. The first takes a billion calls, so the link's
//! word is played here; `transport::link` has a test that it comes.

use super::Supervisor;
use crate::{
    actor::SupervisorMsg,
    config::Config,
    model::{Fact, Incarnation, LinkEnd},
    telemetry::{EventItem, EventStream},
    testing::{MemoryNetwork, Script, ScriptedServer},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::{Request, Status};

async fn say(supervisor: Supervisor) -> Result<(), Status> {
    supervisor.channel().unary::<(), ()>("/test.Echo/Say", Request::new(())).await.map(drop)
}

/// A server that takes this long to answer, a supervisor of it, and what that announces.
async fn scene(delay: Duration) -> (ScriptedServer, Supervisor, EventStream) {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(Script::delay(delay));
    let server = server.on_memory(&network, "server:50051").await;
    let config = Config::builder().host("server").build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn();
    let events = supervisor.events();
    (server, supervisor, events)
}

/// How the first link that ends does, and whether it was still in use then.
async fn first_end(events: &mut EventStream) -> (Incarnation, LinkEnd, bool) {
    loop {
        if let Some(EventItem::Event(event)) = events.next().await
            && let Fact::LinkLost { incarnation, end, current, .. } = &event.fact
        {
            return (*incarnation, end.clone(), *current);
        }
    }
}

/// Time line: 0 s a call, 1 s the link retires, 1 s another call, 2 s the first is answered and its
/// link closes, 3 s the other.
#[tokio::test(start_paused = true)]
async fn a_retired_link_finishes_its_call_while_its_successor_takes_the_next() {
    let (server, supervisor, mut events) = scene(Duration::from_secs(2)).await;
    let first = tokio::spawn(say(supervisor.clone()));
    sleep(Duration::from_secs(1)).await;
    supervisor.core().tell_supervisor(SupervisorMsg::LinkRetired(Incarnation(1)));
    let second = tokio::spawn(say(supervisor.clone()));
    let end = timeout(Duration::from_secs(10), first_end(&mut events))
        .await
        .expect("the retired link closes");
    assert_eq!(end, (Incarnation(1), LinkEnd::HungUp, false));
    assert!(first.is_finished() && !second.is_finished(), "the link closes with its last call");
    first.await.expect("no panic").expect("answered");
    second.await.expect("no panic").expect("answered");

    let seen = supervisor.snapshot();
    assert_eq!((server.connections(), server.handled()), (2, 2));
    assert_eq!((seen.incarnation, seen.retries, seen.transparent_retries), (Incarnation(2), 0, 0));
}

/// Time line: 1 s the link shuts without a word to anyone, 6 s the watchdog has waited for the news
/// long enough.
#[tokio::test(start_paused = true)]
async fn a_channel_that_is_ready_without_a_link_that_takes_calls_is_found_and_starts_over() {
    let (server, supervisor, mut events) = scene(Duration::from_secs(20)).await;
    // It keeps the link's driver busy, so that nobody has news of an end.
    let first = tokio::spawn(say(supervisor.clone()));
    sleep(Duration::from_secs(1)).await;
    supervisor.core().calls.picker().links().next().expect("it is up").drain();
    let second = tokio::spawn(say(supervisor.clone()));
    let began = tokio::time::Instant::now();
    let failed = async {
        loop {
            if let Some(EventItem::Event(event)) = events.next().await
                && let Fact::ChildFailed { child, error } = &event.fact
            {
                return (*child, error.to_string());
            }
        }
    };
    let (child, error) = timeout(Duration::from_secs(60), failed).await.expect("somebody looks");
    assert_eq!((child, began.elapsed().as_secs()), ("supervisor", 5));
    assert!(error.contains("without a link that takes calls"), "{error}");
    first.await.expect("no panic").expect("answered");
    second.await.expect("no panic").expect("answered");
    assert_eq!(server.connections(), 2);
}
