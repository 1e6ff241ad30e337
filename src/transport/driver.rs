//! Runs one HTTP/2 connection: keepalive, GOAWAY, the peer's limits, and a label for its end. A
//! plain future: who owns it owns the socket.

use super::{
    connector::BoxedIo, event::LinkEvent, greeted::Greeted, link::Link, tap::Tap, tapped::Tapped,
};
use crate::{
    clock,
    model::LinkEnd,
    policy::{Liveness, Next},
};
use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

/// A link that takes no calls and has none left is cut at this pace, if it cannot write what is
/// left.
const CLOSE_EVERY: Duration = Duration::from_secs(1);

/// h2 takes 100 DATA frames without a byte in a connection's life, and ends it at the next one
/// (those that end a stream do not count). After so many the link is replaced, while what runs on
/// it finishes.
const EMPTY_DATA_TAKEN: usize = 80;

/// After so many more that is told again: the dial of the link's successor may have failed.
const TOLD_AGAIN: usize = 4;

/// The bytes under HTTP/2: their beginning is judged, their frames are listened in on.
pub(super) type Wire = Tapped<Greeted<BoxedIo>>;

/// The connection's task. Ends with why; a driver dropped before that leaves `HungUp` behind.
///
/// It is woken by h2, for what comes from the socket and for room to write; by its timers; and by
/// the link, where h2 would not: when the link is drained, and when a call waits for room on a link
/// whose keepalive rests. It wakes itself once, to write several small requests at once.
pub(crate) struct Driver {
    connection: Connection<Wire, Bytes>,
    tap: Arc<Tap>,
    link: Arc<Link>,
    pings: PingPong,
    keepalive: Option<Keepalive>,
    goaways: u64,
    written: usize,
    yielded: bool,
    /// How many DATA frames without a byte there were when that was told last.
    worn_at: usize,
    close_timer: Option<Pin<Box<Sleep>>>,
    /// Whether its dial is won: it may be one of several.
    reports: bool,
}

struct Keepalive {
    liveness: Liveness,
    timer: Pin<Box<Sleep>>,
    dormant: bool,
    /// Whether h2 waits for the acknowledgement of a PING.
    ping_open: bool,
    /// When that was sent; none where h2 was given the acknowledgement that the peer owes.
    ping_sent: Option<Instant>,
    /// Whether it was reported that the peer owes an answer.
    suspect: bool,
}

impl Driver {
    pub(super) fn new(
        mut connection: Connection<Wire, Bytes>,
        tap: Arc<Tap>,
        link: Arc<Link>,
        liveness: Option<Liveness>,
    ) -> Self {
        let pings = connection.ping_pong().expect("taken once per connection");
        let keepalive = liveness.map(|liveness| Keepalive {
            liveness,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            dormant: false,
            ping_open: false,
            ping_sent: None,
            suspect: false,
        });
        Self {
            connection,
            tap,
            link,
            pings,
            keepalive,
            goaways: 0,
            written: 0,
            yielded: false,
            worn_at: 0,
            close_timer: None,
            reports: false,
        }
    }

    /// From now on it reports what happens, what happened already included.
    pub(super) fn begin_to_report(&mut self) {
        self.reports = true;
        self.on_goaway(0);
    }

    pub(super) fn settings_seen(&self) -> bool {
        self.tap.settings_seen()
    }

    /// Yields once before writing while several small requests are under way, so that one write
    /// carries them all.
    fn defer_write(&mut self, cx: &mut Context<'_>) -> bool {
        let opened = self.link.small_requests();
        if opened != self.written && !self.yielded && self.link.in_flight() > 1 {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return true;
        }
        self.yielded = false;
        self.written = opened;
        false
    }

    /// True once the peer is taken for dead.
    fn keep_alive(&mut self, cx: &mut Context<'_>) -> bool {
        // Until the peer has greeted, connect_timeout is the bound.
        let Some(keepalive) = self.keepalive.as_mut().filter(|_| self.tap.settings_seen()) else {
            return false;
        };
        if keepalive.ping_open
            && let Poll::Ready(Ok(_)) = self.pings.poll_pong(cx)
        {
            keepalive.ping_open = false;
            if let Some(sent) = keepalive.ping_sent.take().filter(|_| self.reports) {
                let took = clock::now().saturating_duration_since(sent);
                self.link.report(LinkEvent::RoundTrip(took));
            }
        }
        let calls = self.link.calls();
        if keepalive.dormant && calls == 0 {
            return false;
        }
        if !keepalive.dormant && keepalive.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        loop {
            let now = clock::now();
            keepalive.dormant = false;
            match keepalive.liveness.next(now, self.tap.last_read(), calls) {
                Next::Dead => return true,
                Next::Dormant => {
                    keepalive.dormant = true;
                    return false;
                }
                Next::Ping if self.pings.send_ping(Ping::opaque()).is_ok() => {
                    (keepalive.ping_open, keepalive.ping_sent) = (true, Some(now));
                }
                // h2 sends no PING before the last one is acknowledged. A peer that never does, but
                // says something, is alive (gRPC A8): it is asked again once h2 has its
                // acknowledgement from us.
                Next::Ping if keepalive.ping_sent.is_some() && self.tap.pong_for_h2() => {
                    keepalive.ping_sent = None;
                    keepalive.liveness.ping_not_sent();
                    cx.waker().wake_by_ref();
                    return false;
                }
                // The peer does not even read, or stopped in the midst of a frame: the timeout
                // decides.
                Next::Ping => {}
                Next::SleepUntil(at) => {
                    if self.reports && keepalive.liveness.is_suspect() && !keepalive.suspect {
                        keepalive.suspect = true;
                        self.link.report(LinkEvent::Suspect(true));
                    }
                    keepalive.timer.as_mut().reset(at.into());
                    if keepalive.timer.as_mut().poll(cx).is_pending() {
                        return false;
                    }
                }
            }
        }
    }

    /// A peer that was suspect has been heard.
    fn on_byte(&mut self) {
        let Some(keepalive) = self.keepalive.as_mut().filter(|keepalive| keepalive.suspect) else {
            return;
        };
        keepalive.liveness.clears(self.tap.last_read());
        if !keepalive.liveness.is_suspect() {
            keepalive.suspect = false;
            self.link.report(LinkEvent::Suspect(false));
        }
    }

    /// `calls` were open before the peer was read: a GOAWAY and a FIN right behind it end them
    /// before anyone looks.
    fn on_goaway(&mut self, calls: usize) {
        let seen = self.tap.goaways();
        if !self.reports || seen == self.goaways {
            return;
        }
        self.goaways = seen;
        if let Some(goaway) = self.tap.goaway() {
            self.link.goaway_came(calls == 0);
            self.link.report(LinkEvent::GoAway((*goaway).clone()));
        }
    }

    /// True once nobody has any use for the link, and it is still there: a peer that reads nothing
    /// would keep it for ever.
    fn close_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if self.link.is_accepting() {
            return false;
        }
        let close_timer =
            self.close_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_EVERY)));
        while close_timer.as_mut().poll(cx).is_ready() {
            if self.link.in_flight() == 0 {
                return true;
            }
            close_timer.as_mut().reset(tokio::time::Instant::now() + CLOSE_EVERY);
        }
        false
    }

    /// A link that h2 will end soon is told of.
    fn on_wear(&mut self) {
        let empty = self.tap.empty_data();
        if empty >= EMPTY_DATA_TAKEN && empty - self.worn_at >= TOLD_AGAIN {
            self.worn_at = empty;
            self.link.report(LinkEvent::WornOut);
        }
    }

    fn on_peer_limit(&mut self) {
        let limit = self.connection.max_concurrent_send_streams();
        if self.settings_seen() && self.link.peer_limit() != u32::try_from(limit).ok() {
            self.link.set_peer_limit(limit);
        }
    }

    /// h2's result alone cannot tell: it is `Ok` for a GOAWAY and FIN that killed open streams.
    fn label(&self, result: Result<(), h2::Error>) -> LinkEnd {
        if let Some(goaway) = self.tap.goaway() {
            return LinkEnd::GoAway((*goaway).clone());
        }
        if let Some((kind, text)) = self.tap.error() {
            return LinkEnd::Io { kind, text };
        }
        if self.tap.closed() {
            return LinkEnd::Closed;
        }
        match result {
            Ok(()) => LinkEnd::HungUp,
            Err(error) => match error.get_io() {
                Some(io) => LinkEnd::Io { kind: io.kind(), text: io.to_string() },
                None => LinkEnd::Protocol(error.to_string()),
            },
        }
    }
}

impl Future for Driver {
    type Output = LinkEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        let me = &mut *self;
        me.link.register_driver(cx.waker());
        if me.defer_write(cx) {
            return Poll::Pending;
        }
        let silent = me.keep_alive(cx);
        let calls = me.link.in_flight();
        me.tap.turn();
        let polled = Pin::new(&mut me.connection).poll(cx);
        // What proves the link is told before what ends it: both may have come in one read.
        if calls > 0 && me.tap.has_proof() {
            me.link.prove();
        }
        // The link takes no more calls before anybody is told: a call that is started because of
        // that news must not come back to this link.
        me.on_goaway(calls);
        me.on_byte();
        me.on_peer_limit();
        me.on_wear();
        let end = match polled {
            // Asked once more: where this program stood still, the answer was there, and has been
            // read only now.
            Poll::Pending if silent && me.keep_alive(cx) => LinkEnd::KeepaliveTimeout,
            Poll::Pending if me.close_overdue(cx) => me.label(Ok(())),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(result) => me.label(result),
        };
        me.link.set_end(end.clone());
        Poll::Ready(end)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.set_end(LinkEnd::HungUp);
    }
}
