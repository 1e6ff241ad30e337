//! Streams are not retried; to subscribe again is one loop.

use crate::support::*;
use parking_lot::Mutex;
use prost::Message;
use std::{ops::ControlFlow, sync::Arc};
use tokio::time::Instant;
use tonic::Code;
use tonic_supervisor::{
    ConnectivityState, Incarnation, LinksInUse,
    testing::{Answer, Script, ScriptedServer},
};

#[path = "../../../examples/watcher.rs"]
mod watcher;

/// Scenario 28: the example watcher survives 20 restarts of the server, of all lengths, with
/// exactly 21 subscriptions and 21 messages: it waits for links, and for nothing else.
#[tokio::test(start_paused = true)]
async fn scenario_28_a_watcher_survives_20_restarts_with_exactly_21_subscriptions() {
    let Rig { server, supervisor, .. } = Rig::with_script(watcher::news(), config()).await;
    let told: Arc<Mutex<Vec<Incarnation>>> = Arc::default();
    let (watched, noted) = (supervisor.clone(), told.clone());
    let watching =
        tokio::spawn(
            async move { watcher::watch(&watched, |link, _| noted.lock().push(link)).await },
        );
    for restart in 1..=20 {
        eventually("the watcher has heard", || told.lock().len() == restart).await;
        server.kill().await;
        tokio::time::sleep(secs(restart as u64)).await;
        server.restart().await;
    }
    eventually("the watcher has heard", || told.lock().len() == 21).await;
    tokio::time::sleep(secs(600)).await;
    assert_eq!((server.handled(), server.connections(), told.lock().len()), (21, 21, 21));
    assert!(
        told.lock().is_sorted_by(|before, after| before < after),
        "each link is a later incarnation"
    );
    supervisor.shutdown(secs(0)).await;
    bounded("the watcher ends with its supervisor", watching).await.expect("no panic");
}

/// A planned end loses nothing either: the old link's stream may finish while the successor is up
/// already.
#[tokio::test(start_paused = true)]
async fn scenario_28_a_goaway_lets_the_stream_finish_and_subscribes_once_more() {
    let long =
        Answer::stream(["a", "b", "c"].map(|text| text.to_owned().encode_to_vec()), Code::Ok)
            .every(secs(10));
    let Rig { server, supervisor, .. } = Rig::with_script(long, config()).await;
    let runs: Arc<Mutex<Vec<Incarnation>>> = Arc::default();
    let (watched, noted) = (supervisor.clone(), runs.clone());
    tokio::spawn(async move { watcher::watch(&watched, |link, _| noted.lock().push(link)).await });
    server.arrived(1).await;
    server.goaway().await;
    tokio::time::sleep(secs(29)).await;
    assert_eq!(
        (supervisor.state(), server.arrivals().len()),
        (ConnectivityState::Ready, 1),
        "it still reads"
    );
    tokio::time::sleep(secs(2)).await;
    let on: Vec<_> = server.arrivals().iter().map(|arrival| arrival.connection).collect();
    assert_eq!((on, runs.lock().len()), (vec![1, 2], 3));
}

/// A stream that the server ends alone is subscribed again on the same link, at the pace of the
/// retry schedule: no busy loop.
#[tokio::test(start_paused = true)]
async fn scenario_28_a_stream_that_ends_on_a_living_link_is_subscribed_after_a_wait() {
    let Rig { server, supervisor, .. } =
        Rig::with_script(Script::always(Code::Unavailable), config()).await;
    let watched = supervisor.clone();
    tokio::spawn(async move { watcher::watch(&watched, |_, _| {}).await });
    tokio::time::sleep(secs(36)).await;
    let seconds_of = |server: &ScriptedServer| {
        server.arrivals().iter().map(|call| call.at.as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(seconds_of(&server), [0, 1, 3, 7, 15, 25, 35]);

    // A run that outlasts the longest wait starts them over.
    server.script(Answer::status(Code::Unavailable).after(secs(11)));
    tokio::time::sleep(secs(30)).await;
    assert_eq!(seconds_of(&server)[7..], [45, 45 + 11 + 1]);
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_a_value_or_with_the_supervisor_and_hears_every_link() {
    let Rig { network, server, supervisor } = Rig::with_script(watcher::news(), config()).await;
    let mut links = supervisor.watch_links();
    assert_eq!(*links.borrow(), LinksInUse::default());
    let some = |links: &LinksInUse| links.newest().is_some();
    let first = bounded("a link", links.wait_for(some)).await.expect("it lives").newest();
    let began = Instant::now();
    let found =
        supervisor.for_each_incarnation(|link| async move { ControlFlow::Break(link) }).await;
    assert_eq!((found, began.elapsed()), (first, ms(0)));
    network.cut_all();
    bounded("no link", links.wait_for(LinksInUse::is_empty)).await.expect("it lives");
    let next = bounded("a link", links.wait_for(some)).await.expect("it lives").newest();
    assert!(next > first, "{next:?}");
    drop(server);
    bounded("no link", links.wait_for(LinksInUse::is_empty)).await.expect("it lives");
    let ended = tokio::join!(
        supervisor.for_each_incarnation(|_| async { ControlFlow::Break(()) }),
        supervisor.shutdown(secs(0))
    );
    assert_eq!(ended.0, None);
}
