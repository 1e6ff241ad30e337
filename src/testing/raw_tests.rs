//! The raw peer against a plain HTTP/2 client.

use super::*;
use crate::{testing::PlayingPeer, transport::ConnectRequest};
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Request};
use tokio::{task::JoinHandle, time::timeout};

type Io = crate::transport::BoxedIo;

async fn dial(
    connector: Arc<dyn Connector>,
    endpoint: Address,
) -> (SendRequest<Bytes>, Connection<Io, Bytes>) {
    let io = connector.connect(&ConnectRequest::new(endpoint)).await.unwrap();
    h2::client::handshake(io).await.unwrap()
}

/// Dials and lets the connection run; the handle says how it ended.
async fn running(
    connector: Arc<dyn Connector>,
    endpoint: Address,
) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let (send, connection) = dial(connector, endpoint).await;
    (send, tokio::spawn(connection))
}

async fn call(send: SendRequest<Bytes>) -> Result<(u16, Bytes, Option<HeaderMap>), h2::Error> {
    let mut send = send.ready().await?;
    let (response, mut body) =
        send.send_request(Request::post("http://queue/svc/Method").body(()).unwrap(), false)?;
    body.send_data(frame(b"hello"), true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut read = BytesMut::new();
    while let Some(chunk) = body.data().await {
        read.extend_from_slice(&chunk?);
    }
    Ok((head.status.as_u16(), read.freeze(), body.trailers().await?))
}

/// A peer in memory, a client's link to it, and the client's running connection.
async fn pair() -> (RawLink, SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, "queue:1").await;
    let (send, connection) = running(peer.connector(), peer.dial_address()).await;
    (peer.accept().await, send, connection)
}

#[tokio::test(start_paused = true)]
async fn it_answers_frame_by_frame() {
    let (mut link, send, _connection) = pair().await;
    let reply = tokio::spawn(call(send));
    link.send_settings(&[(3, 100)]).await;
    let (stream, body) = link.next_whole_request().await.unwrap();
    assert_eq!((stream, body), (1, frame(b"hello")));
    link.answer(stream, b"world").await;
    let (status, body, trailers) = reply.await.unwrap().unwrap();
    assert_eq!(
        (status, body, &trailers.unwrap()["grpc-status"]),
        (200, frame(b"world"), &"0".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn it_answers_in_plain_http_without_status_and_half() {
    let (mut link, send, _connection) = pair().await;
    link.send_settings(&[]).await;
    let reply = tokio::spawn(call(send.clone()));
    let stream = link.next_request().await.unwrap().stream;
    link.answer_http(stream, 503, "text/html", "busy").await;
    assert_eq!(reply.await.unwrap().unwrap(), (503, Bytes::from("busy"), None));
    let reply = tokio::spawn(call(send.clone()));
    let stream = link.next_request().await.unwrap().stream;
    link.answer_head(stream).await;
    link.trailers(stream, &[("x-no-status", "1")]).await;
    assert!(!reply.await.unwrap().unwrap().2.unwrap().contains_key("grpc-status"));
    let reply = tokio::spawn(call(send));
    let stream = link.next_request().await.unwrap().stream;
    link.answer_head(stream).await;
    link.truncated_message(stream, b"world", 7, true).await;
    assert_eq!(reply.await.unwrap().unwrap().1, frame(b"world").slice(..7));
}

#[tokio::test(start_paused = true)]
async fn it_resets_a_stream_with_any_code() {
    let (mut link, send, _connection) = pair().await;
    link.send_settings(&[]).await;
    for code in 0..14 {
        let reply = tokio::spawn(call(send.clone()));
        let stream = link.next_request().await.unwrap().stream;
        link.reset_stream(stream, code).await;
        assert_eq!(reply.await.unwrap().unwrap_err().reason(), Some(code.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn its_goaways_exclude_streams_and_end_connections() {
    let (mut link, send, connection) = pair().await;
    link.send_settings(&[]).await;
    let reply = tokio::spawn(call(send.clone()));
    let stream = link.next_request().await.unwrap().stream;
    link.goaway(0, 0, "").await;
    let error = reply.await.unwrap().unwrap_err();
    assert!(error.is_go_away() && error.is_remote() && stream > 0);
    assert!(connection.await.unwrap().is_ok());
    let (mut link, _send, connection) = pair().await;
    link.send_settings(&[]).await;
    link.goaway(0, 11, "too_many_pings").await;
    assert_eq!(
        connection.await.unwrap().unwrap_err().reason(),
        Some(h2::Reason::ENHANCE_YOUR_CALM)
    );
}

#[tokio::test(start_paused = true)]
async fn pings_are_counted_with_their_times_and_acknowledged_or_not() {
    for acknowledged in [true, false] {
        let network = MemoryNetwork::new();
        let mut peer = RawPeer::on_memory(&network, "queue:1").await;
        let (_send, mut connection) = dial(peer.connector(), peer.dial_address()).await;
        let mut pinger = connection.ping_pong().unwrap();
        let _connection = tokio::spawn(connection);
        let mut link = peer.accept().await;
        link.acknowledge_pings(acknowledged).send_settings(&[]).await;
        tokio::time::advance(Duration::from_secs(3)).await;
        let pong = tokio::spawn(async move {
            timeout(Duration::from_secs(60), pinger.ping(h2::Ping::opaque())).await
        });
        link.skip_to(|frame| frame.kind == FrameKind::Ping).await.unwrap();
        assert_eq!(link.pings(), [Duration::from_secs(3)]);
        assert_eq!(pong.await.unwrap().is_ok(), acknowledged);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_http2_is_an_error_and_a_gone_one_an_end() {
    let network = MemoryNetwork::new();
    let mut peer = RawPeer::on_memory(&network, "queue:1").await;
    for (said, ok) in [("GET / HTTP/1.1\r\nhost: queue\r\n\r\n", false), ("", true)] {
        let mut io =
            peer.connector().connect(&ConnectRequest::new(peer.dial_address())).await.unwrap();
        io.write_all(said.as_bytes()).await.unwrap();
        drop(io);
        let frame = peer.accept().await.next_frame().await;
        assert_eq!(frame.is_ok(), ok);
        assert!(frame.ok().flatten().is_none());
    }
}

#[tokio::test]
async fn garbage_http1_close_and_reset_end_a_client_on_both_kinds_of_network() {
    let network = MemoryNetwork::new();
    for mut peer in [RawPeer::on_tcp().await, RawPeer::on_memory(&network, "queue:1").await] {
        for fault in 0..4 {
            let (_send, connection) = running(peer.connector(), peer.dial_address()).await;
            let mut link = peer.accept().await;
            assert_eq!(link.next_frame().await.unwrap().unwrap().kind, FrameKind::Settings);
            match fault {
                0 => link.send_bytes(&[0xff; 64]).await,
                1 => link.answer_http1("400 Bad Request").await,
                2 => link.close().await,
                _ => link.reset(),
            }
            let end = connection.await.unwrap();
            assert_eq!(end.is_err(), fault != 2, "{fault}: {end:?}");
        }
    }
}

async fn in_memory(play: impl FnOnce(RawPeer) -> PlayingPeer) -> (MemoryNetwork, PlayingPeer) {
    let network = MemoryNetwork::new();
    let peer = RawPeer::on_memory(&network, "queue:1").await;
    (network, play(peer))
}

#[tokio::test(start_paused = true)]
async fn a_policing_peer_sends_away_those_who_ping_too_often_and_only_them() {
    for (interval, goaways) in [(300, 1), (400, 0)] {
        let (_network, peer) =
            in_memory(|peer| peer.enforce_ping_interval(Duration::from_millis(400), 2)).await;
        let (send, mut connection) = dial(peer.connector(), peer.dial_address()).await;
        let mut pinger = connection.ping_pong().unwrap();
        let connection = tokio::spawn(connection);
        assert_eq!(call(send.clone()).await.unwrap().1, frame(b"hello"));
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(interval)).await;
            if timeout(Duration::from_millis(1), pinger.ping(h2::Ping::opaque())).await.is_err() {
                break;
            }
        }
        assert_eq!(peer.goaways().len(), goaways);
        match goaways {
            0 => assert_eq!(peer.pings().len(), 10),
            _ => {
                assert_eq!(
                    connection.await.unwrap().unwrap_err().reason(),
                    Some(h2::Reason::ENHANCE_YOUR_CALM)
                );
                assert_eq!(
                    peer.pings(),
                    [300, 600, 900].map(Duration::from_millis),
                    "the third ping is the second strike"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ready_made_parts_do_what_their_names_say() {
    let minute = Duration::from_secs(60);
    let (_network, peer) = in_memory(RawPeer::accept_then_close).await;
    running(peer.connector(), peer.dial_address()).await.1.await.unwrap().ok();
    assert_eq!(peer.accepts().len(), 1);
    let (_network, peer) = in_memory(RawPeer::accept_then_reset).await;
    assert!(running(peer.connector(), peer.dial_address()).await.1.await.unwrap().is_err());
    for silent in [RawPeer::black_hole, RawPeer::never_answer] {
        let (network, peer) = in_memory(silent).await;
        let (send, _connection) = running(peer.connector(), peer.dial_address()).await;
        assert!(timeout(minute, call(send)).await.is_err());
        assert_eq!((peer.accepts().len(), network.connections()), (1, 1));
    }
    for (part, pongs) in
        [(RawPeer::echo as fn(RawPeer) -> PlayingPeer, true), (RawPeer::never_pong, false)]
    {
        let (_network, peer) = in_memory(part).await;
        let (send, mut connection) = dial(peer.connector(), peer.dial_address()).await;
        let mut pinger = connection.ping_pong().unwrap();
        let _connection = tokio::spawn(connection);
        assert_eq!(call(send.clone()).await.unwrap().0, 200);
        let pong = timeout(minute, pinger.ping(h2::Ping::opaque())).await;
        assert_eq!(pong.is_ok_and(|pong| pong.is_ok()), pongs);
        assert_eq!(peer.pings().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_player_closes_its_connections_and_listens_no_more() {
    let (network, peer) = in_memory(RawPeer::black_hole).await;
    let (connector, endpoint) = (peer.connector(), peer.dial_address());
    let (_send, connection) = running(connector.clone(), endpoint.clone()).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    peer.stop().await;
    connection.await.unwrap().ok();
    assert_eq!(network.connections(), 0);
    assert!(connector.connect(&ConnectRequest::new(endpoint)).await.is_err());
}
