//! Both ends of a stream are coupled: who reads nothing stops the server, who sends faster than the
//! server reads is stopped.

use super::{
    Client, bridge,
    client::{framed, post},
};
use crate::support::{ADDRESS, Rig, SAY, config, ms, secs, timed};
use bytes::Bytes;
use std::future::poll_fn;
use tonic::Code;
use tonic_supervisor::{
    Bridge, Supervisor,
    testing::{Answer, MemoryNetwork, ScriptedServer},
};

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_stops_its_server() {
    const MESSAGE: usize = 100_000;
    let rig =
        Rig::with_script(Answer::stream(vec![vec![7; MESSAGE]; 200], Code::Ok), config()).await;
    let mut client = Client::with_window(&bridge(&rig), 1 << 16).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    body.send_data(framed("hello"), true).expect("sent");
    let mut answer = response.await.expect("a head").into_body();
    tokio::time::sleep(secs(30)).await;
    assert_eq!(rig.supervisor.snapshot().streams, 1, "20 MB are not anywhere in between");
    let mut read = 0;
    while let Some(data) = answer.data().await {
        let length = data.expect("no reset").len();
        answer.flow_control().release_capacity(length).expect("given back");
        read += length;
    }
    assert_eq!(read, 200 * (MESSAGE + 5));
    let trailers = answer.trailers().await.expect("no reset").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_more_than_the_server_reads_is_stopped() {
    let rig = Rig::new(config()).await;
    rig.server.kill().await;
    let mut client = Client::of(&bridge(&rig)).await;
    let (_response, mut body) = client.begin(post(SAY, &[])).await;
    // More than one message, so that it is nobody's to gather.
    body.send_data(framed("a"), false).expect("sent");
    body.send_data(framed("b"), false).expect("sent");
    let mut sent = 0;
    let stopped = loop {
        body.reserve_capacity(16_000);
        let room = tokio::time::timeout(secs(1), poll_fn(|cx| body.poll_capacity(cx))).await;
        let Ok(Some(room)) = room else { break true };
        let room = room.expect("no reset");
        body.send_data(Bytes::from(vec![0; room]), false).expect("sent");
        sent += room;
        if sent > 4 << 20 {
            break false;
        }
    };
    assert!(stopped, "{sent} bytes were taken with nobody to read them");
}

/// The link is one for all clients.
#[tokio::test(start_paused = true)]
async fn streams_that_nobody_reads_do_not_stop_other_calls_where_the_link_holds_enough() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.on("/test.Echo/Repeat", Answer::stream(vec![vec![7; 100_000]; 100], Code::Ok));
    let config = config().build().expect("valid");
    let builder = Supervisor::builder(config).connector(network.connector());
    let supervisor = builder.unread_answers(64 << 20).spawn();
    let bridge = Bridge::new(supervisor.channel());
    let mut deaf = Client::with_window(&bridge, 1 << 16).await;
    let mut unread = Vec::new();
    for _ in 0..10 {
        let (response, mut body) = deaf.begin(post("/test.Echo/Repeat", &[])).await;
        body.send_data(framed("hello"), true).expect("sent");
        unread.push(response.await.expect("a head"));
    }
    tokio::time::sleep(secs(1)).await;
    let mut other = Client::of(&bridge).await;
    let (took, answer) = timed(other.call(SAY, &[])).await;
    assert_eq!((answer.code(), took < ms(10)), (0, true), "{took:?}");
}
