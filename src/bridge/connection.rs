//! One client's connection, from its first bytes to its end, with all its calls in the same task.

use super::{
    exchange::{self, Shared},
    limits::BridgeLimits,
    own_wakes::Parts,
    server::Bridge,
    unwritten::Unwritten,
    watched::{Traffic, Watched},
};
use crate::{
    transport::Io,
    unwind::{catching, panic_message},
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use h2::{Ping, PingPong, server};
use std::{
    any::Any,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep};

/// What a client may send of one request, and of all, before it is read: requests are read as the
/// server takes them.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What small DATA frames that nobody has read yet may cost h2, counted as it does: 256 bytes a
/// frame, less its data. A client that sends more of them loses its connection. Frames of 19 bytes,
/// a message of 14, fill the window before: a call that waits for its server must not end others.
const UNREAD_SMALL_FRAMES: usize = CONNECTION_WINDOW as usize / 19 * (256 - 19);
/// What h2 takes in one head, at least; and four times as much as a call may have.
const TAKEN_BY_H2: u32 = 1 << 20;
/// What h2 keeps of one answer beyond what it has written.
const SEND_BUFFER: usize = 128 << 10;

/// Serves a connection until it ends; when `drain` does, it is told to begin no more calls, and
/// ends with the last. Cancel safe: dropped, its calls are cancelled.
pub(super) async fn serve<I: Io>(
    bridge: &Bridge,
    io: Watched<I>,
    traffic: Traffic,
    drain: impl Future<Output = ()>,
) -> io::Result<()> {
    let limits = &bridge.limits;
    let handshake = tokio::time::timeout(limits.handshake, builder(limits).handshake(io));
    let mut connection: server::Connection<_, Bytes> = handshake.await?.map_err(io_error)?;
    let mut keepalive = Keepalive::new(limits, traffic.clone(), connection.ping_pong());
    let (room, unwritten) = (bridge.room.of_a_connection(), Unwritten::default());
    let shared = Shared { bridge, room: &room, unwritten: &unwritten };
    let mut calls = FuturesUnordered::new();
    let task = Parts::default();
    let (of_calls, of_connection) = (task.part(), task.part());
    let (for_calls, for_connection) = (of_calls.waker(), of_connection.waker());
    let (mut drain, mut draining) = (pin!(drain), false);
    loop {
        tokio::select! {
            biased;
            () = &mut drain, if !draining => {
                draining = true;
                connection.graceful_shutdown();
                of_connection.note();
            }
            () = keepalive.silence() => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its client is silent"));
            }
            end = poll_fn(|cx| task.poll(cx, &[&of_calls, &of_connection], || {
                // First the calls, so that what they write is sent below.
                if of_calls.take() {
                    let mut cx = Context::from_waker(&for_calls);
                    while let Poll::Ready(Some(ended)) = calls.poll_next_unpin(&mut cx) {
                        note(ended);
                    }
                }
                if of_connection.take() {
                    let mut cx = Context::from_waker(&for_connection);
                    while let Poll::Ready(accepted) = connection.poll_accept(&mut cx) {
                        let Some(accepted) = accepted else { return Poll::Ready(Ok(())) };
                        let (request, respond) = accepted.map_err(io_error)?;
                        // Boxed: it would be moved several times on its way in. A panic in it,
                        // outside h2, resets this call, and no other.
                        calls.push(Box::pin(catching(exchange::run(shared, request, respond))));
                        of_calls.note();
                    }
                    // Where the socket took all that was to be written, h2 has nothing more that
                    // it may send.
                    if !traffic.is_stuck() {
                        unwritten.written();
                    }
                }
                Poll::Pending
            })) => return end,
        }
    }
}

/// A call has ended. A panic is a mistake of this crate's.
fn note(ended: Result<(), Box<dyn Any + Send>>) {
    if let Err(panic) = ended {
        log_line!(error, "a client's call panicked, and was reset: {}", panic_message(&*panic));
    }
}

fn builder(limits: &BridgeLimits) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams)
        // Far above this the connection ends, and with it all its calls; ours is checked per call.
        .max_header_list_size(limits.header_bytes.saturating_mul(4).max(TAKEN_BY_H2))
        .data_frame_budget(UNREAD_SMALL_FRAMES)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

fn io_error(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into()),
        false => io::Error::other(error),
    }
}

/// Asks a client whether it is there that sends nothing, or reads nothing of what it is sent.
/// Whatever comes from one that reads is an answer.
struct Keepalive {
    limits: BridgeLimits,
    traffic: Traffic,
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Keepalive {
    fn new(limits: &BridgeLimits, traffic: Traffic, pings: Option<PingPong>) -> Self {
        let timer = Box::pin(sleep(limits.keepalive_time));
        Self { limits: *limits, traffic, pings, timer, asked: false }
    }

    /// Returns when the client was asked and has said nothing since. Cancel safe.
    async fn silence(&mut self) {
        loop {
            self.timer.as_mut().await;
            let lives = self.traffic.shows_life();
            if self.asked && !lives {
                return;
            }
            self.asked = !lives;
            let wait = match lives {
                true => self.limits.keepalive_time,
                false => {
                    self.ask();
                    self.limits.keepalive_timeout
                }
            };
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }

    fn ask(&mut self) {
        if let Some(pings) = &mut self.pings {
            // The last one's answer, or h2 sends no other.
            let _ = poll_fn(|cx| pings.poll_pong(cx)).now_or_never();
            let _ = pings.send_ping(Ping::opaque());
        }
    }
}
