//! One live HTTP/2 connection, as its callers see it: room for a stream, opening one, and why it
//! ended.

use super::{
    answer::Answer,
    ended_streams::EndedStreams,
    event::{LinkEvent, LinkListener},
    limits::HeaderLimits,
    peer::Peer,
    tap::Tap,
    window::{Room, Window},
};
use crate::model::{EndpointId, Failure, GoAway, Incarnation, LinkEnd, Phase};
use bytes::Bytes;
use futures::task::AtomicWaker;
use h2::{RecvStream, SendStream, client::SendRequest};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    task::Waker,
};
use tokio::sync::SetOnce;

/// Requests below this size are worth gathering before the socket is written to.
const SMALL: usize = 4 * 1024;

/// One live HTTP/2 connection.
pub(crate) struct Link {
    incarnation: Incarnation,
    endpoint: EndpointId,
    peer: Peer,
    sender: Mutex<Option<SendRequest<Bytes>>>,
    /// What was heard of the peer before h2 read it.
    tap: Arc<Tap>,
    accepting: AtomicBool,
    window: Window,
    proven: AtomicBool,
    small_requests: AtomicUsize,
    ended_streams: EndedStreams,
    pub(super) headers: HeaderLimits,
    idle_at_goaway: AtomicBool,
    end: SetOnce<Arc<LinkEnd>>,
    /// The driver, which h2 does not wake while it cannot write.
    driver: AtomicWaker,
    listener: Arc<dyn LinkListener>,
}

/// The right to open one stream; gives its place back when dropped.
pub(crate) struct Permit {
    link: Arc<Link>,
    /// What its answer's head counts for among the link's; given back as well.
    pub(super) head: usize,
    /// Counts the attempt at its endpoint, where that is of interest.
    pub(crate) sample: Option<super::stats::Sample>,
    /// Where its stream is no call (`aside`): the stream's id, 0 before it is opened.
    aside: Option<u32>,
}

/// What is needed to read an answer, and to go on sending a request that was not sent whole.
pub(crate) struct OpenStream {
    pub(crate) answer: Answer,
    pub(crate) send: Option<SendStream<Bytes>>,
    pub(crate) permit: Permit,
}

impl Link {
    pub(super) fn new(
        incarnation: Incarnation,
        (endpoint, peer): (EndpointId, Peer),
        sender: SendRequest<Bytes>,
        tap: Arc<Tap>,
        window: usize,
        listener: Arc<dyn LinkListener>,
    ) -> Self {
        Self {
            incarnation,
            endpoint,
            peer,
            sender: Mutex::new(Some(sender)),
            tap,
            accepting: AtomicBool::new(true),
            window: Window::new(window),
            proven: AtomicBool::new(false),
            small_requests: AtomicUsize::new(0),
            ended_streams: EndedStreams::default(),
            headers: HeaderLimits::new(usize::MAX),
            idle_at_goaway: AtomicBool::new(false),
            end: SetOnce::new(),
            driver: AtomicWaker::new(),
            listener,
        }
    }

    /// Which link it is.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Which endpoint it leads to.
    pub(crate) fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Where it leads.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether new streams may be opened: not draining, not ended.
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.load(Acquire)
    }

    /// How many streams are open.
    pub(crate) fn in_flight(&self) -> usize {
        self.window.open()
    }

    /// How many calls need to know whether the link lives: those on it, or one where all others
    /// wait for room.
    pub(super) fn calls(&self) -> usize {
        self.in_flight().max(self.window.is_wanted().into())
    }

    /// A place for one stream within the window and the peer's MAX_CONCURRENT_STREAMS; if there is
    /// none, the link reports when there is (`HasRoom`).
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Permit> {
        // Whoever waits for room on a dead link depends on keepalive: the driver may be asleep.
        let reserved = self.window.reserve(|| self.driver.wake());
        reserved.then(|| Permit::new(self.clone(), None))
    }

    /// The same without a word to the link: nobody hears of it when there is room.
    pub(crate) fn try_reserve(self: &Arc<Self>) -> Option<Permit> {
        self.window.try_reserve().then(|| Permit::new(self.clone(), None))
    }

    /// The right to open one stream that is no call: a question of this crate's own. It takes a
    /// place of the peer's limit, and counts nowhere else: not for keepalive, not as a use of the
    /// link, not against its closing, and not as an answer to a call.
    pub(crate) fn aside(self: &Arc<Self>) -> Permit {
        self.window.take_aside();
        Permit::new(self.clone(), Some(0))
    }

    /// Whether there is room for one more stream, for whoever has to say why there was none.
    pub(crate) fn room(&self) -> Room {
        self.window.room()
    }

    /// The peer's MAX_CONCURRENT_STREAMS, if it set one.
    pub(crate) fn peer_limit(&self) -> Option<u32> {
        self.window.peer_limit()
    }

    /// Waits until that is one that is `wanted`. Cancel safe.
    pub(crate) async fn limit_is(&self, wanted: impl Fn(Option<u32>) -> bool) {
        self.window.limit_is(wanted).await;
    }

    /// Takes note of the peer's MAX_CONCURRENT_STREAMS.
    pub(super) fn set_peer_limit(&self, limit: usize) {
        if self.window.set_peer_limit(limit) {
            self.report(LinkEvent::HasRoom);
        }
    }

    /// Lets no new stream in. Streams that are open go on; once they have ended the connection
    /// closes by itself.
    ///
    /// The swap releases what was written before it, and `is_accepting` acquires it: who finds the
    /// link closed finds why (`end`, the tap's GOAWAY), since that is recorded first. The sender
    /// and the ended streams are let go because h2 keeps a connection open for as long as anybody
    /// holds one of its handles; the driver is woken because h2 does not tell it that the last one
    /// has gone.
    pub(crate) fn drain(&self) {
        let shuts = self.accepting.swap(false, AcqRel);
        self.sender.lock().take();
        self.ended_streams.release();
        self.driver.wake();
        if shuts {
            self.report(LinkEvent::Shut);
        }
    }

    /// Takes back a stream that was read to its end.
    pub(super) fn take_back(&self, stream: RecvStream) {
        self.ended_streams.keep(stream);
        // A connection stays open for as long as anybody holds one of its streams.
        if !self.is_accepting() {
            self.ended_streams.release();
        }
    }

    /// Has this task woken when the link is drained.
    pub(super) fn register_driver(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Lets no new stream in because the peer said GOAWAY; `idle`: no call was open then.
    pub(super) fn goaway_came(&self, idle: bool) {
        self.idle_at_goaway.store(idle, Relaxed);
        self.drain();
    }

    /// The peer's last GOAWAY. A call that it excludes finds it here: it is heard before h2 tells
    /// the call.
    pub(crate) fn goaway(&self) -> Option<Arc<GoAway>> {
        self.tap.goaway()
    }

    /// The largest head that the peer takes, if it set a limit.
    pub(super) fn max_head(&self) -> Option<usize> {
        self.tap.max_head()
    }

    /// Whether the peer has finished an answer on this link.
    pub(super) fn has_answered(&self) -> bool {
        self.tap.has_answered()
    }

    /// Whether no call was open when the peer's last GOAWAY came.
    pub(crate) fn idle_at_goaway(&self) -> bool {
        self.idle_at_goaway.load(Relaxed)
    }

    /// Records why the link ended; the first cause wins.
    pub(super) fn set_end(&self, end: LinkEnd) {
        let _ = self.end.set(Arc::new(end));
        self.drain();
    }

    /// Why the link ended, once it has.
    pub(crate) fn end(&self) -> Option<Arc<LinkEnd>> {
        self.end.get().cloned()
    }

    /// Records that this side hung up.
    pub(crate) fn hung_up(&self) {
        self.set_end(LinkEnd::HungUp);
    }

    /// Records that it was the oldest of more than `limit` links that are draining.
    pub(crate) fn crowded_out(&self, limit: usize) {
        self.set_end(LinkEnd::TooManyDraining(limit));
    }

    /// Records that the actor that owned the link failed.
    pub(crate) fn actor_failed(&self, error: &str) {
        self.set_end(LinkEnd::ActorFailed(error.into()));
    }

    /// Waits for the link's end. Cancel safe.
    pub(crate) async fn ended(&self) -> Arc<LinkEnd> {
        self.end.wait().await.clone()
    }

    /// How many small requests were opened so far: the driver writes them together. A hint, which
    /// orders nothing.
    pub(super) fn small_requests(&self) -> usize {
        self.small_requests.load(Relaxed)
    }

    /// The peer answered a call. The swap decides who reports it; the load before it only spares
    /// the many calls that come after the first an atomic write.
    pub(super) fn prove(&self) {
        if !self.proven.load(Relaxed) && !self.proven.swap(true, AcqRel) {
            self.report(LinkEvent::Proven);
        }
    }

    /// Whether the peer has answered a call.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven.load(Acquire)
    }

    /// Reports what happened.
    pub(super) fn report(&self, event: LinkEvent) {
        self.listener.on_event(event);
    }

    /// Why it takes no more streams, as far as that is known.
    pub(crate) fn ending(&self) -> Option<Arc<LinkEnd>> {
        let said = |goaway: Arc<GoAway>| Arc::new(LinkEnd::GoAway((*goaway).clone()));
        self.end().or_else(|| self.goaway().map(said))
    }

    pub(super) fn gone(&self) -> Failure {
        let end = self.ending().unwrap_or_else(|| Arc::new(LinkEnd::HungUp));
        Failure::link_lost(end, Phase::Unsent)
    }
}

impl Permit {
    fn new(link: Arc<Link>, aside: Option<u32>) -> Self {
        Self { link, head: 0, aside, sample: None }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Opens a stream with `head`. With `body` the request is sent whole; without, the caller sends
    /// on [`OpenStream::send`]. Where it fails, the request has certainly not left this process.
    /// The head is measured only where it may be larger than `bound`, or nothing is known of its
    /// size.
    pub(crate) fn open(
        mut self,
        head: http::Request<()>,
        body: Option<Bytes>,
        bound: Option<usize>,
    ) -> Result<OpenStream, Failure> {
        let link = self.link.clone();
        link.takes(&head, body.as_ref(), bound)?;
        // Cloned: a handle refuses a second request while its first has not been sent.
        let Some(mut sender) = link.sender.lock().clone() else {
            return Err(link.gone());
        };
        let small = body.as_ref().is_some_and(|body| body.len() < SMALL);
        if small {
            link.small_requests.fetch_add(1, Relaxed);
        }
        let opening = self.aside.map(|_| link.tap.asides.opening());
        let (response, mut send) =
            sender.send_request(head, false).map_err(|error| link.cannot_open(&error))?;
        if let Some(opening) = opening {
            let id = send.stream_id().as_u32();
            opening.note(id);
            self.aside = Some(id);
        }
        let send = match body {
            Some(body) => {
                // The head may have left already, and the peer may have ended the stream: then the
                // body is refused, and the answer says why.
                let _ = send.send_data(body, true);
                None
            }
            None => Some(send),
        };
        // The driver has been woken for the new one.
        link.ended_streams.release();
        Ok(OpenStream { answer: Answer::new(response), send, permit: self })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.link.headers.release(self.head);
        let window = &self.link.window;
        let wanted = match self.aside {
            None => window.release(),
            Some(stream) => {
                self.link.tap.asides.close(stream);
                window.release_aside()
            }
        };
        if wanted {
            self.link.report(LinkEvent::HasRoom);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("incarnation", &self.incarnation)
            .field("accepting", &self.is_accepting())
            .field("in_flight", &self.in_flight())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
