//! A bridge lives as long as somebody uses it, and leaves nothing behind.

use super::{Client, bridge, say};
use crate::support::{LONG, Rig, SAY, bounded, codec, config, eventually, settle};
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio::{runtime::Handle, sync::oneshot};
use tonic::{Code, Request, client::Grpc};
use tonic_supervisor::{ConnectivityState, testing::Answer};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_when_tonics_channel_and_the_supervisor_are_gone() {
    let rig = Rig::new(config()).await.ready().await;
    let before = tasks();
    let channel = rig.supervisor.tonic_channel();
    say(&channel, SAY).await.expect("answered");
    let clone = channel.clone();
    drop(channel);
    say(&clone, SAY).await.expect("a clone is as good");
    drop(clone);
    eventually("the pipe's tasks end", || tasks() == before).await;
    let Rig { server, supervisor, network } = rig;
    let channel = supervisor.tonic_channel();
    say(&channel, SAY).await.expect("answered");
    let mut state = supervisor.watch_state();
    drop(supervisor);
    settle().await;
    assert_eq!(*state.borrow(), ConnectivityState::Ready, "the channel keeps it alive");
    say(&channel, SAY).await.expect("answered");
    drop(channel);
    let closed = state.wait_for(|state| *state == ConnectivityState::Shutdown);
    bounded("it drains", closed).await.expect("told");
    drop((server, network));
    eventually("nothing is left", || tasks() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn tonics_channel_connects_with_its_first_call_and_hears_of_a_shutdown() {
    let rig = Rig::new(config()).await.ready().await;
    let before = tasks();
    let channel = rig.supervisor.tonic_channel();
    settle().await;
    assert_eq!(tasks(), before + 1, "tonic's own task, and no pipe");
    say(&channel, SAY).await.expect("answered");
    rig.supervisor.shutdown(Duration::ZERO).await;
    let status = say(&channel, SAY).await.expect_err("it is closed");
    assert_eq!(status.code(), Code::Cancelled);
}

/// All that tonic's channel spawns runs in one task, and a panic ends no more than it would if each
/// of these were a task of its own.
#[tokio::test(start_paused = true)]
async fn a_request_stream_that_panics_leaves_the_channel_as_it_was() {
    let rig = Rig::new(config()).await.ready().await;
    let before = tasks();
    let channel = rig.supervisor.tonic_channel();
    say(&channel, SAY).await.expect("answered");
    for late in [false, true] {
        let (panicked, has_panicked) = oneshot::channel::<()>();
        let panicking = futures::stream::once(async move {
            let _told_when_dropped = panicked;
            if late {
                settle().await;
            }
            panic!("a request of a test");
        });
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.expect("ready");
        let call = tokio::spawn(async move {
            let path = PathAndQuery::from_static(SAY);
            let request = Request::new(panicking);
            grpc.client_streaming::<_, String, String, _>(request, path, codec()).await
        });
        bounded("it panics", has_panicked).await.expect_err("its end is dropped");
        say(&channel, SAY).await.expect("another call is answered");
        // hyper leaves the call waiting for its answer where it was polling the stream apart.
        call.abort();
        if let Ok(answer) = call.await {
            answer.expect_err("it fails");
        }
    }
    drop(channel);
    eventually("the pipe's tasks end", || tasks() == before).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_calls_in_flight_finish_and_no_more_begin() {
    let rig = Rig::with_script(Answer::echo().after(Duration::from_secs(5)), config()).await;
    let (near, far) = tokio::io::duplex(1 << 16);
    let (drain, draining) = oneshot::channel::<()>();
    let bridge = bridge(&rig);
    let served =
        tokio::spawn(async move { bridge.serve_until(far, async { drop(draining.await) }).await });
    let (requests, connection) = h2::client::handshake(near).await.expect("HTTP/2");
    let mut ready = requests.ready().await.expect("ready");
    let (response, mut body) =
        ready.send_request(super::client::post(SAY, &[]), false).expect("sent");
    body.send_data(super::client::framed("hello"), true).expect("sent");
    let driving = tokio::spawn(async move { connection.await.map_err(|error| error.to_string()) });
    rig.server.arrived(1).await;
    drop(drain);
    let answer = super::client::Answer::read(response).await.expect("it may finish");
    assert_eq!(answer.code(), 0);
    assert!(ready.ready().await.is_err(), "nothing begins after the GOAWAY");
    bounded("the connection ends", served).await.expect("no panic").expect("cleanly");
    bounded("the client hears it", driving).await.expect("no panic").expect("cleanly");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_ends_its_connections_task() {
    let rig = Rig::new(config()).await.ready().await;
    let before = tasks();
    let mut client = Client::of(&bridge(&rig)).await;
    client.call(SAY, &[]).await;
    let served = client.leave();
    let _ = tokio::time::timeout(LONG, served).await.expect("it ends");
    eventually("no task is left", || tasks() == before).await;
}
