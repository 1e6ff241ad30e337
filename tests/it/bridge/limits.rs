//! What a client may cost.

use super::{
    Client, bridge,
    client::{Answer as Seen, framed, post},
};
use crate::support::{
    ADDRESS, LONG, Rig, SAY, bounded, config, described, descriptors, ms, secs, timed,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tonic::Code;
use tonic_supervisor::{
    Bridge, BridgeLimits,
    testing::{Answer, MemoryNetwork, ScriptedServer},
};

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_begin_in_time_is_closed() {
    let rig = Rig::new(config()).await;
    let limits = BridgeLimits::default().handshake(secs(3));
    for begun in ["", "PRI * HTTP/2.0\r\n"] {
        let (mut near, far) = duplex(1 << 16);
        let bridge = bridge(&rig).limits(limits);
        let served = tokio::spawn(async move { bridge.serve(far).await });
        near.write_all(begun.as_bytes()).await.expect("sent");
        let (took, _) = timed(near.read_to_end(&mut Vec::new())).await;
        assert_eq!(took, secs(3), "{begun:?}");
        let error = served.await.expect("no panic").expect_err("late");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_closed_and_one_that_does_stays() {
    let rig = Rig::new(config()).await;
    let bridge = bridge(&rig).limits(BridgeLimits::default().keepalive(secs(10), secs(4)));
    let mut living = Client::of(&bridge).await;
    let (mut near, far) = duplex(1 << 16);
    let serving = bridge.clone();
    let served = tokio::spawn(async move { serving.serve(far).await });
    near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    let (took, end) = timed(bounded("it ends", served)).await;
    assert!(end.expect("no panic").is_err());
    assert!(
        took.abs_diff(secs(14)) <= secs(10),
        "{took:?}: at most twice the time, and the timeout"
    );
    tokio::time::sleep(secs(200)).await;
    assert!(!living.served.is_finished());
    assert_eq!(living.call(SAY, &[]).await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_above_the_limit_ends_only_its_call() {
    let rig = Rig::new(config()).await;
    let mut client = Client::of(&bridge(&rig)).await;
    let (waiting, mut open) = client.begin(post(SAY, &[])).await;
    for bytes in [20_000, 70_000, 500_000] {
        let refused = client.call(SAY, &[("x-large", &"y".repeat(bytes))]).await;
        assert_eq!((refused.http, refused.code()), (200, Code::ResourceExhausted as i32));
        assert!(refused.trailers.is_none(), "{bytes}: {refused:?}");
        assert!(refused.words().contains("may have 16384 here"), "{bytes}: {refused:?}");
    }
    assert_eq!(client.call(SAY, &[("x-large", &"y".repeat(10_000))]).await.code(), 0);
    open.send_data(framed("hello"), true).expect("sent");
    assert_eq!(Seen::read(waiting).await.expect("no reset").code(), 0, "on the same connection");
    assert_eq!(rig.server.handled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_loses_its_call_and_the_server_hears_of_it() {
    let rig = Rig::with_script(
        Answer::stream(vec![vec![7; 40_000]; 100], Code::Ok).then_hang(),
        config(),
    )
    .await;
    let limits = BridgeLimits::default().answer_timeout(secs(5));
    let mut client = Client::with_window(&bridge(&rig).limits(limits), 64_000).await;
    let (response, mut body) = client.begin(post(SAY, &[])).await;
    body.send_data(framed("hello"), true).expect("sent");
    let mut answer = response.await.expect("a head").into_body();
    let (took, ()) = timed(rig.server.given_up(1)).await;
    assert!(took.abs_diff(secs(5)) <= ms(50), "{took:?}");
    // What it reads in the end: the data that it had room for, and why there is no more.
    while let Some(data) = answer.data().await {
        let length = data.expect("no reset").len();
        answer.flow_control().release_capacity(length).expect("given back");
    }
    let trailers = answer.trailers().await.expect("no reset").expect("trailers");
    let status = tonic::Status::from_header_map(&trailers).expect("a status");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("read nothing"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn unread_answers_have_a_budget_and_others_are_served_meanwhile() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(Answer::big(500_000));
    let _server = server.on_memory(&network, ADDRESS).await;
    let supervisor = described(&network, config(), &descriptors("test", false));
    let bridge =
        Bridge::new(supervisor.channel()).limits(BridgeLimits::default().answer_bytes(2_000_000));
    let mut deaf = Client::with_window(&bridge, 1_000).await;
    let mut heads = Vec::new();
    for _ in 0..5 {
        let (response, mut body) = deaf.begin(post(SAY, &[])).await;
        body.send_data(framed("hello"), true).expect("sent");
        heads.push(bounded("a head", response).await.expect("a head").into_body());
    }
    // Two fit into half of it; the others end with what they had, when they were not read for 5 s.
    tokio::time::sleep(ms(5_010)).await;
    let mut ended = 0;
    for body in &mut heads {
        let end = tokio::time::timeout(ms(10), async {
            while let Some(data) = body.data().await {
                data.expect("no reset");
            }
            body.trailers().await.expect("no reset").expect("trailers")
        });
        if let Ok(trailers) = end.await {
            let status = tonic::Status::from_header_map(&trailers).expect("a status");
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert!(status.message().contains("answer bytes"), "{status:?}");
            ended += 1;
        }
    }
    assert_eq!(ended, 3, "two of 500,000 bytes fit into a connection's million");
    let mut other = Client::of(&bridge).await;
    let answer = tokio::time::timeout(LONG, other.call(SAY, &[])).await.expect("served");
    assert_eq!(answer.messages[0].len(), 500_000);
}
