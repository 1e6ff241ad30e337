//! Keepalive as gRPC A8 has it: any byte is life, whatever becomes of PINGs; and nobody is taken
//! for dead whose answer lies in the socket.

use crate::support::{EventLog, assert_time, bounded, config, raw_link, say, secs, start};
use std::time::Duration;
use tonic_supervisor::{
    CallOptions, ConfigBuilder, ConnectivityState, Fact, Supervisor,
    testing::{Frame, FrameKind, RawLink, RawPeer},
};

const TIME: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

fn pinging() -> ConfigBuilder {
    config().keepalive_time(TIME).keepalive_timeout(TIMEOUT)
}

/// A link to a peer that acknowledges no PING.
async fn linked(config: ConfigBuilder) -> (Supervisor, RawPeer, RawLink) {
    let (supervisor, peer, mut link) = raw_link(config, &[]).await;
    link.acknowledge_pings(false);
    (supervisor, peer, link)
}

async fn next_ping(link: &mut RawLink) -> Frame {
    let ping = link.skip_to(|frame| frame.kind == FrameKind::Ping && !frame.is_ack());
    bounded("a PING", ping).await.expect("the link lives")
}

/// It answers each PING with other bytes, for an hour; then it falls silent.
#[tokio::test(start_paused = true)]
async fn a_peer_that_acknowledges_no_ping_but_says_something_lives_until_it_is_silent() {
    let (supervisor, _peer, mut link) = linked(pinging()).await;
    let log = EventLog::of(&supervisor);
    let mut pings = 0;
    while link.age() < secs(3_600) {
        next_ping(&mut link).await;
        pings += 1;
        link.send(Frame::window_update(0, 1)).await;
    }
    assert!(pings >= 350, "{pings} PINGs in an hour");
    assert_eq!((supervisor.state(), supervisor.snapshot().links), (ConnectivityState::Ready, 1));
    let silent = tokio::time::Instant::now();
    bounded(
        "the end of a silent link",
        log.until("lost", 1, |fact| matches!(fact, Fact::KeepaliveLost { .. })),
    )
    .await;
    assert_time(silent.elapsed(), TIME + TIMEOUT);
}

/// Its bytes come whether it is asked or not.
#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_now_and_then_lives_whatever_becomes_of_pings() {
    let (supervisor, _peer, mut link) = linked(pinging()).await;
    while link.age() < secs(3_600) {
        tokio::time::sleep(TIME + TIMEOUT - secs(1)).await;
        link.ping(*b"anything").await;
    }
    assert_eq!((supervisor.state(), supervisor.snapshot().links), (ConnectivityState::Ready, 1));
}

/// An acknowledgement that comes after other bytes is an acknowledgement, and does no harm.
#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_does_no_harm() {
    let (supervisor, _peer, mut link) = linked(pinging()).await;
    for _ in 0..20 {
        let ping = next_ping(&mut link).await;
        link.send(Frame::window_update(0, 1)).await;
        let second = next_ping(&mut link).await;
        assert_eq!(second.payload, ping.payload);
        for _ in 0..2 {
            link.send(Frame::new(FrameKind::Ping, Frame::ACK, 0, ping.payload.clone())).await;
        }
    }
    assert_eq!((supervisor.state(), supervisor.snapshot().links), (ConnectivityState::Ready, 1));
}

/// After a PING that was never acknowledged an idle link rests; a call that begins much later is
/// given its time.
#[tokio::test(start_paused = true)]
async fn a_call_after_a_long_rest_is_asked_for_before_its_link_is_given_up() {
    let (supervisor, _peer, mut link) =
        linked(pinging().keepalive_permit_without_calls(false)).await;
    let channel = supervisor.channel();
    let first = start(&channel, "first", CallOptions::new());
    let (stream, body) = link.next_whole_request().await.expect("a call");
    next_ping(&mut link).await;
    link.answer(stream, &body[5..]).await;
    assert!(first.await.expect("no panic").1.is_ok());
    tokio::time::sleep(secs(600)).await;
    let second = start(&channel, "second", CallOptions::new());
    let (stream, body) = link.next_whole_request().await.expect("a call");
    for _ in 0..5 {
        next_ping(&mut link).await;
        link.send(Frame::window_update(0, 1)).await;
    }
    link.answer(stream, &body[5..]).await;
    assert_eq!(second.await.expect("no panic").1.as_deref().ok(), Some("second"));
    assert_eq!(supervisor.snapshot().links, 1);
}

/// It stops within a frame: h2 cannot be told anything then, and the timeout decides.
#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_within_a_frame_is_found_dead_in_time() {
    let (supervisor, _peer, mut link) = linked(pinging()).await;
    let log = EventLog::of(&supervisor);
    next_ping(&mut link).await;
    link.send_bytes(&Frame::ping(*b"anything").to_bytes()[..12]).await;
    let silent = tokio::time::Instant::now();
    bounded("the end", log.until("lost", 1, |fact| matches!(fact, Fact::KeepaliveLost { .. })))
        .await;
    assert_time(silent.elapsed(), TIME + TIMEOUT);
}

/// The acknowledgement lies in the socket while the program stands still past the timeout: it is
/// read before anyone is dead.
#[tokio::test(start_paused = true)]
async fn a_program_that_stood_still_reads_once_more_before_it_gives_a_link_up() {
    let (supervisor, _peer, mut link) = linked(pinging()).await;
    let ping = next_ping(&mut link).await;
    // The test's task runs first at any moment: when the link's timer is looked at, the bytes are
    // there.
    tokio::time::sleep(TIMEOUT).await;
    link.send(Frame::new(FrameKind::Ping, Frame::ACK, 0, ping.payload)).await;
    tokio::time::sleep(secs(1)).await;
    assert_eq!((supervisor.state(), supervisor.snapshot().links), (ConnectivityState::Ready, 1));
}

/// Times that no kernel and no clock can hold are cut, and do not fail a dial.
#[tokio::test]
async fn a_keepalive_of_any_length_fails_no_dial() {
    for time in [secs(2_592_000), Duration::MAX] {
        let server = tonic_supervisor::testing::ScriptedServer::on_tcp().await;
        let target = server.dial_address();
        let config = config()
            .host(target.host())
            .port(target.port())
            .keepalive_time(time)
            .keepalive_timeout(time);
        let config = config.timeout(None).connect_timeout(time).build().expect("valid");
        let supervisor = Supervisor::builder(config).spawn();
        let answer =
            say(&supervisor.channel(), "hello", CallOptions::new().timeout(secs(10))).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
}
