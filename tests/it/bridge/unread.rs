//! What clients hold that do not read, in frames and bytes of their own choice, and that others are
//! served meanwhile.

use super::{
    Client, bridge,
    client::{Answer as Seen, framed, post},
};
use crate::support::{
    ADDRESS, Rig, SAY, bounded, config, described, descriptors, ms, secs, supervise, timed,
};
use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};
use tonic::Code;
use tonic_supervisor::{
    Bridge, BridgeLimits, ConfigBuilder, Supervisor,
    testing::{Answer, Frame, FrameKind, MemoryNetwork, ScriptedServer},
};

const REPEAT: &str = "/test.Echo/Repeat";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MOST: u32 = (1 << 31) - 1;

/// The server knows a call by its head, and reads its messages; of [`REPEAT`] without an answer.
async fn slow_rig(config: ConfigBuilder) -> Rig {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().answer_at_headers(true);
    let server = server.on_memory(&network, ADDRESS).await;
    server.on(REPEAT, Answer::hang());
    let supervisor = supervise(&network, config);
    Rig { network, server, supervisor }.ready().await
}

/// A client that sends frames, and reads nothing.
struct Deaf {
    io: DuplexStream,
    served: JoinHandle<std::io::Result<()>>,
    streams: u32,
}

impl Deaf {
    /// All its windows are as large as they may be.
    async fn of(bridge: Bridge) -> Self {
        let (io, far) = duplex(1 << 14);
        let served = tokio::spawn(async move { bridge.serve(far).await });
        let mut client = Self { io, served, streams: 0 };
        client.io.write_all(PREFACE).await.expect("sent");
        client.send(Frame::settings(&[(4, MOST)])).await;
        // The bridge's are in force.
        client.send(Frame::new(FrameKind::Settings, Frame::ACK, 0, Bytes::new())).await;
        client.send(Frame::window_update(0, MOST - 65_535)).await;
        client
    }

    async fn send(&mut self, frame: Frame) {
        self.io.write_all(&frame.to_bytes()).await.expect("sent");
    }

    /// The number of a new stream whose head is sent.
    async fn begin(&mut self, path: &str) -> u32 {
        self.streams += 1;
        let stream = 2 * self.streams - 1;
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "client"),
            (":path", path),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        self.send(Frame::headers(stream, &fields, false)).await;
        stream
    }

    async fn call(&mut self, path: &str) {
        let stream = self.begin(path).await;
        self.send(Frame::data(stream, framed("hello"), true)).await;
    }
}

/// A window of HTTP/2 is no promise to read the socket.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_socket_holds_no_more_and_is_closed() {
    let answer = Answer::stream(vec![vec![7; 100_000]], Code::Ok).then_hang();
    let rig = Rig::with_script(answer, config()).await.ready().await;
    let limits = BridgeLimits::default().answer_bytes(2_000_000).keepalive(secs(60), secs(20));
    let mut client = Deaf::of(bridge(&rig).limits(limits)).await;
    for _ in 0..40 {
        client.call(SAY).await;
    }
    rig.server.arrived(40).await;
    // 4 MB: some went to the socket, 1 MiB may be on its way there, and a megabyte may wait.
    tokio::time::sleep(secs(6)).await;
    let given_up = rig.server.cancelled();
    assert!((15..25).contains(&given_up), "{given_up} of 40 answers found no room");
    // It says that it is there. It reads nothing.
    let (took, ()) = timed(async {
        while !client.served.is_finished() {
            let _ = client.io.write_all(&Frame::window_update(0, 1).to_bytes()).await;
            tokio::time::sleep(secs(1)).await;
        }
    })
    .await;
    assert!(took < secs(150), "{took:?}: closed by keepalive, and no sign of life");
    rig.server.given_up(40).await;
}

/// The link is one for all clients.
#[tokio::test(start_paused = true)]
async fn streams_that_nobody_reads_take_no_room_from_others_and_end_where_they_are_too_many() {
    let network = MemoryNetwork::new();
    let server = ScriptedServer::on_memory(&network, ADDRESS).await;
    server.on(REPEAT, Answer::stream(vec![vec![7; 100_000]; 40], Code::Ok));
    let config = config().build().expect("valid");
    let builder = Supervisor::builder(config).connector(network.connector());
    let supervisor = builder.unread_answers(usize::MAX).spawn();
    // Half of it is 20 MiB: ten streams of 2 MiB, which is what the link takes of each.
    let bridge =
        Bridge::new(supervisor.channel()).limits(BridgeLimits::default().answer_bytes(40 << 20));
    let mut deaf = Client::with_window(&bridge, 1_000).await;
    let mut unread = Vec::new();
    for _ in 0..80 {
        let (response, mut body) = deaf.begin(post(REPEAT, &[])).await;
        body.send_data(framed("hello"), true).expect("sent");
        unread.push(response.await.expect("a head"));
    }
    let mut other = Client::of(&bridge).await;
    for _ in 0..10 {
        let (took, answer) = timed(other.call(SAY, &[])).await;
        assert_eq!((answer.code(), took < ms(10)), (0, true), "{took:?}");
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(supervisor.snapshot().streams, 10, "the other 70 have ended");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_gets_more_at_once_than_may_lie_unread() {
    const ANSWER: usize = 400_000;
    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().script(Answer::big(ANSWER));
    let _server = server.on_memory(&network, ADDRESS).await;
    let supervisor = described(&network, config(), &descriptors("test", false));
    let bridge =
        Bridge::new(supervisor.channel()).limits(BridgeLimits::default().answer_bytes(20_000_000));
    let mut client = Client::with_window(&bridge, 1 << 16).await;
    let mut calls = Vec::new();
    for _ in 0..50 {
        let (response, mut body) = client.begin(post(SAY, &[])).await;
        body.send_data(framed("hello"), true).expect("sent");
        calls.push(tokio::spawn(Seen::read(response)));
    }
    for call in calls {
        let answer = call.await.expect("no panic").expect("no reset");
        assert_eq!((answer.code(), answer.messages[0].len()), (0, ANSWER));
    }
}

/// What a stream's window lets through: each message in a frame of its own.
#[tokio::test(start_paused = true)]
async fn small_messages_that_wait_for_a_server_end_nothing() {
    const FRAME: usize = 19;
    let rig = slow_rig(config()).await;
    rig.server.kill().await;
    let mut client = Deaf::of(bridge(&rig)).await;
    // As many as the connection's window takes, over five streams.
    let frames = (1 << 20) / FRAME / 5;
    let message = framed("aaaaaaaaaaaa");
    assert_eq!(message.len(), FRAME);
    for _ in 0..5 {
        let stream = client.begin(SAY).await;
        let frame = Frame::data(stream, message.clone(), false).to_bytes();
        client.io.write_all(&frame.repeat(frames)).await.expect("sent");
    }
    tokio::time::sleep(secs(1)).await;
    assert!(!client.served.is_finished(), "the connection is there");
    rig.server.restart().await;
    bounded("all are there", rig.server.arrived(5)).await;
}

/// An open request may be sent again for as long as nothing more was taken of it. What is kept for
/// that counts.
#[tokio::test(start_paused = true)]
async fn what_is_kept_of_an_open_request_counts_until_it_is_sent() {
    let rig = slow_rig(config().queue_max_bytes(10_000)).await;
    rig.server.kill().await;
    let mut client = Client::of(&bridge(&rig)).await;
    let (open, mut body) = client.begin(post(REPEAT, &[])).await;
    // The beginning of a message of 8 MiB.
    let begun = Bytes::from([&[0, 0, 0x80, 0, 0][..], &[1; 6_000]].concat());
    body.send_data(begun.clone(), false).expect("sent");
    tokio::time::sleep(ms(20)).await;
    let (response, mut second) = client.begin(post(REPEAT, &[])).await;
    second.send_data(begun, false).expect("sent");
    let shed = Seen::read(response).await.expect("no reset");
    assert_eq!(shed.code(), Code::ResourceExhausted as i32, "{shed:?}");
    let large = Bytes::from([&[0, 0, 0, 0x13, 0x88][..], &[1; 5_000]].concat());
    let (response, mut whole) = client.begin(post(SAY, &[])).await;
    whole.send_data(large.clone(), true).expect("sent");
    let shed = Seen::read(response).await.expect("no reset");
    assert_eq!(shed.code(), Code::ResourceExhausted as i32, "{shed:?}");
    assert_eq!(rig.supervisor.snapshot().calls_shed, 2, "either is told");
    rig.server.restart().await;
    bounded("the open request is there", rig.server.arrived(1)).await;
    body.send_data(Bytes::from_static(&[1; 100]), false).expect("sent");
    tokio::time::sleep(ms(20)).await;
    rig.server.kill().await;
    let (response, mut whole) = client.begin(post(SAY, &[])).await;
    whole.send_data(large, true).expect("sent");
    rig.server.restart().await;
    let answer = Seen::read(response).await.expect("no reset");
    assert_eq!(answer.code(), Code::Ok as i32, "{answer:?}");
    drop((open, body));
}

#[tokio::test(start_paused = true)]
async fn a_whole_message_whose_end_does_not_come_counts_too() {
    let network = MemoryNetwork::new();
    let _server = ScriptedServer::on_memory(&network, ADDRESS).await;
    let set = descriptors("test", false);
    let supervisor = described(&network, config().queue_max_bytes(10_000), &set);
    let mut client = Client::of(&Bridge::new(supervisor.channel())).await;
    let message = framed(&"a".repeat(6_000));
    let (first, mut open) = client.begin(post(SAY, &[])).await;
    open.send_data(message.clone(), false).expect("sent");
    tokio::time::sleep(ms(20)).await;
    let (response, mut second) = client.begin(post(SAY, &[])).await;
    second.send_data(message, false).expect("sent");
    let shed = Seen::read(response).await.expect("no reset");
    assert_eq!(shed.code(), Code::ResourceExhausted as i32, "{shed:?}");
    open.send_data(Bytes::new(), true).expect("sent");
    assert_eq!(Seen::read(first).await.expect("no reset").code(), 0);
}

/// A call's time ends while its client makes no room for the answer.
#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_its_client_ends_at_the_calls_deadline() {
    let answer = Answer::stream(vec![vec![7; 100_000]; 3], Code::Ok).then_hang();
    let rig = Rig::with_script(answer, config()).await.ready().await;
    let mut client = Client::with_window(&bridge(&rig), 1_000).await;
    let (response, mut body) = client.begin(post(SAY, &[("grpc-timeout", "3S")])).await;
    body.send_data(framed("hello"), true).expect("sent");
    let _unread = response.await.expect("a head");
    let (took, ()) = timed(rig.server.given_up(1)).await;
    assert!(took.abs_diff(secs(3)) < ms(100), "{took:?}");
}
