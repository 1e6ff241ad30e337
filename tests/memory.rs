//! What a waiting call costs, and what a hostile peer can make the client allocate: live bytes,
//! counted by the allocator. A program of its own, because the allocator is the program's; its
//! tests take turns, because what another one allocates would count.

use peak_alloc::PeakAlloc;
use std::{future::Future, time::Duration};
use tokio::{runtime, sync::oneshot};
use tonic::Request;
use tonic_supervisor::{
    Config, ConnectivityState, Supervisor, UnaryCall, UnaryResult,
    testing::{Frame, FrameKind, MemoryNetwork, RawPeer, ScriptedServer},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CALLS: usize = 100_000;
const SAY: &str = "/test.Echo/Say";
const ADDRESS: &str = "server:50051";

/// Prost's string of this length is 64 bytes.
fn text() -> String {
    "x".repeat(62)
}

/// A supervisor whose server is not there yet, and all of whose parts have been used.
async fn supervisor(network: &MemoryNetwork) -> Supervisor {
    let config = Config::builder().host("server").port(50_051).build().expect("valid");
    let supervisor = Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn();
    let server = ScriptedServer::on_memory(network, ADDRESS).await;
    let call = supervisor.channel();
    call.unary::<String, String>(SAY, Request::new(text())).await.expect("answered");
    drop(server);
    while network.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    supervisor
}

async fn all_wait(supervisor: &Supervisor) {
    while supervisor.snapshot().calls_waiting < CALLS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn per_call(before: usize) -> usize {
    (ALLOCATOR.current_usage() - before) / CALLS
}

static TURN: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

fn paused<F: Future<Output = ()>>(scene: F) {
    let _turn = TURN.lock();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(scene);
}

/// Kinds of frames that cost their sender little and that nobody asked for, one of each.
fn nuisances(stream: u32) -> Vec<(&'static str, Frame)> {
    let text = [b'x'; 1_000];
    vec![
        ("PING", Frame::ping(*b"flooding")),
        ("SETTINGS", Frame::settings(&[(3, 100), (4, 65_535)])),
        ("WINDOW_UPDATE", Frame::window_update(0, 1)),
        ("PRIORITY", Frame::new(FrameKind::Priority, 0, stream, [0; 5].to_vec())),
        ("GOAWAY", Frame::goaway(stream, 0, &text)),
        ("an unknown frame", Frame::new(FrameKind::Other(77), 0, stream, text.to_vec())),
        ("empty DATA", Frame::data(stream, "", false)),
        ("DATA", Frame::data(stream, text.to_vec(), false)),
        ("HEADERS 100", Frame::headers(stream, &[(":status", "100")], false)),
        ("CONTINUATION", Frame::new(FrameKind::Continuation, 0, stream, text.to_vec())),
    ]
}

/// A peer that sends 50,000 frames of a kind, or as many as are taken, under a call, and reads none
/// of the answers: what the client holds stays within the windows it granted, and the call ends at
/// its deadline or before.
#[test]
fn a_flood_of_frames_takes_no_more_memory_than_the_windows_that_were_granted() {
    const FRAMES: usize = 50_000;
    const MOST: usize = 8 << 20;
    for n in 0..nuisances(1).len() {
        paused(async {
            let network = MemoryNetwork::new();
            let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
            let config = Config::builder()
                .host("server")
                .port(50_051)
                .max_retry_attempts(0)
                .build()
                .expect("valid");
            let supervisor =
                Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn();
            let channel = supervisor.channel();
            let call = tokio::spawn(async move {
                channel.unary::<String, String>(SAY, Request::new(text())).await
            });
            let mut link = peer.accept().await;
            link.send_settings(&[]).await;
            let (stream, _) = link.next_whole_request().await.expect("the call");
            let (name, frame) = nuisances(stream).swap_remove(n);
            match name {
                "CONTINUATION" => {
                    link.send(Frame::new(FrameKind::Headers, 0, stream, Vec::new())).await
                }
                "DATA" | "empty DATA" => link.answer_head(stream).await,
                _ => {}
            }
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let flood = async {
                for _ in 0..FRAMES {
                    link.send(frame.clone()).await;
                }
            };
            // Where the client takes no more, the flood stands still.
            let _ = tokio::time::timeout(Duration::from_secs(30), flood).await;
            assert!(call.await.expect("no panic").is_err(), "{name}");
            let grown = ALLOCATOR.peak_usage().saturating_sub(before);
            println!("{grown} bytes under a flood of {name}");
            assert!(grown <= MOST, "{grown} bytes under a flood of {name}");
            supervisor.shutdown(Duration::ZERO).await;
        });
    }
}

/// A gRPC message of this length, cut into DATA frames of one byte with as much padding as a frame
/// can have.
fn dust(stream: u32, length: usize) -> impl Iterator<Item = Frame> {
    let mut message = vec![0];
    message.extend_from_slice(&(length as u32).to_be_bytes());
    message.resize(5 + length, b' ');
    message.into_iter().map(move |byte| {
        let mut payload = vec![0; 257];
        (payload[0], payload[1]) = (255, byte);
        Frame::new(FrameKind::Data, 0x8, stream, payload)
    })
}

/// 20 answers of 10,000 bytes in as many frames, none of which ends before all are there: what is
/// held follows from the data, not from the 53 MB that it came in.
#[test]
fn answers_that_come_byte_by_byte_are_held_without_their_padding() {
    const ANSWERS: usize = 20;
    const LENGTH: usize = 10_000;
    const MOST: usize = 4 << 20;
    paused(async {
        let network = MemoryNetwork::new();
        let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
        let config = Config::builder()
            .host("server")
            .port(50_051)
            .max_retry_attempts(0)
            .build()
            .expect("valid");
        let supervisor =
            Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn();
        let mut link = None;
        let mut calls = Vec::new();
        for _ in 0..ANSWERS {
            let channel = supervisor.channel();
            let call = async move {
                channel.unary::<String, String>(SAY, Request::new(text())).await.map(drop)
            };
            calls.push(tokio::spawn(call));
            if link.is_none() {
                let accepted = link.insert(peer.accept().await);
                accepted.send_settings(&[]).await;
            }
            let link = link.as_mut().expect("accepted");
            let (stream, _) = link.next_whole_request().await.expect("the call");
            link.answer_head(stream).await;
        }
        let mut link = link.expect("accepted");
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        for n in 0..ANSWERS {
            for frame in dust(1 + 2 * n as u32, LENGTH) {
                link.send(frame).await;
            }
        }
        let grown = ALLOCATOR.peak_usage().saturating_sub(before);
        println!("{grown} bytes for {ANSWERS} answers of {LENGTH} bytes that came byte by byte");
        assert!(grown <= MOST, "{grown} bytes");
        supervisor.shutdown(Duration::ZERO).await;
    });
}

/// A stream that nobody reads, and a peer that sends it byte by byte for as long as it is let:
/// above a limit the link ends.
#[test]
fn tiny_frames_that_nobody_reads_are_bounded_by_the_links_end() {
    const MOST: usize = 160 << 20;
    paused(async {
        let network = MemoryNetwork::new();
        let mut peer = RawPeer::on_memory(&network, ADDRESS).await;
        let config = Config::builder().host("server").port(50_051).build().expect("valid");
        let supervisor =
            Supervisor::builder(config).connector(network.connector()).rng_seed(1).spawn();
        let mut grpc = tonic::client::Grpc::new(supervisor.channel());
        let call = async move {
            let codec = tonic_prost::ProstCodec::<String, String>::default();
            let path = http::uri::PathAndQuery::from_static(SAY);
            grpc.server_streaming(Request::new(text()), path, codec).await
        };
        let call = tokio::spawn(call);
        let mut link = peer.accept().await;
        link.send_settings(&[]).await;
        let (stream, _) = link.next_whole_request().await.expect("the call");
        link.answer_head(stream).await;
        let mut unread = call.await.expect("no panic").expect("a head").into_inner();
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let mut frames = 0;
        for frame in dust(stream, 2_000_000) {
            link.send(frame).await;
            frames += 1;
            if supervisor.state() != ConnectivityState::Ready {
                break;
            }
        }
        let grown = ALLOCATOR.peak_usage().saturating_sub(before);
        println!("{grown} bytes for {frames} frames of one byte that nobody reads");
        assert!(grown <= MOST, "{grown} bytes");
        assert!(unread.message().await.is_err(), "the link is lost");
        supervisor.shutdown(Duration::ZERO).await;
    });
}

#[test]
fn a_waiting_call_takes_two_kibibytes_as_a_message_and_six_with_a_task() {
    paused(waiting_calls());
}

async fn waiting_calls() {
    let network = MemoryNetwork::new();
    let supervisor = supervisor(&network).await;
    let idle = ALLOCATOR.current_usage();

    let mut answers: Vec<oneshot::Receiver<UnaryResult>> = Vec::with_capacity(CALLS);
    let before = ALLOCATOR.current_usage();
    let mailbox = supervisor.mailbox();
    for _ in 0..CALLS {
        let (reply, answer) = oneshot::channel();
        mailbox.cast(UnaryCall::new(SAY, &text(), reply.into())).expect("taken");
        answers.push(answer);
    }
    all_wait(&supervisor).await;
    let message = per_call(before);
    println!("{message} bytes for each call that waits as a message");
    drop(answers);
    while supervisor.snapshot().calls_open > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = ALLOCATOR.current_usage().saturating_sub(idle);

    println!("{left} bytes more than before, when they have been given up");
    let mut tasks = Vec::with_capacity(CALLS);
    let before = ALLOCATOR.current_usage();
    for _ in 0..CALLS {
        let channel = supervisor.channel();
        tasks.push(tokio::spawn(async move {
            channel.unary::<String, String>(SAY, Request::new(text())).await.map(drop)
        }));
    }
    all_wait(&supervisor).await;
    let task = per_call(before);
    println!("{task} bytes for each call that waits with a task of its own");
    let server =
        ScriptedServer::builder().record_arrivals(false).on_memory(&network, ADDRESS).await;
    for task in tasks {
        task.await.expect("no panic").expect("OK");
    }
    drop(server);

    assert!(message <= 2 * 1_024, "{message} bytes");
    assert!(task <= 6 * 1_024, "{task} bytes");
    assert!(left <= CALLS, "the memory of 100,000 calls is given back, but for {left} bytes");
}
