//! A call that its client gives up is given up everywhere.

use super::{
    Client, bridge,
    client::{framed, post},
    say,
};
use crate::support::{Rig, SAY, bounded, config, eventually, settle};
use h2::Reason;
use tonic_supervisor::testing::Answer;

#[tokio::test(start_paused = true)]
async fn a_dropped_call_of_tonics_channel_is_reset_at_the_server() {
    let rig = Rig::with_script(Answer::hang(), config()).await;
    let channel = rig.supervisor.tonic_channel();
    let call = tokio::spawn(async move { say(&channel, SAY).await });
    rig.server.arrived(1).await;
    call.abort();
    bounded("the server hears of it", rig.server.given_up(1)).await;
    eventually("no call is open", || rig.supervisor.snapshot().streams == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_link_leaves_the_queue_when_its_client_resets_it() {
    let rig = Rig::new(config()).await;
    rig.server.kill().await;
    let mut client = Client::of(&bridge(&rig)).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    body.send_data(framed("hello"), true).expect("sent");
    eventually("it waits", || rig.supervisor.snapshot().calls_waiting == 1).await;
    body.send_reset(Reason::CANCEL);
    drop(response);
    eventually("it is gone", || rig.supervisor.snapshot().calls_waiting == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_takes_its_calls_with_it() {
    let rig = Rig::with_script(Answer::stream(["a"], tonic::Code::Ok).then_hang(), config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let mut heads = Vec::new();
    for _ in 0..3 {
        let (response, mut body) = client.begin(post(SAY, &[])).await;
        body.send_data(framed("hello"), true).expect("sent");
        heads.push(response.await.expect("a head"));
    }
    let served = client.leave();
    drop(heads);
    bounded("the connection ends", served).await.expect("no panic").ok();
    bounded("the server hears of all", rig.server.given_up(3)).await;
    settle().await;
    assert_eq!(rig.supervisor.snapshot().streams, 0);
}
