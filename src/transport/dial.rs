//! One dial: from nothing to a link whose peer has sent its SETTINGS, within `connect_timeout`.
//! Where the target has several addresses, each gets a whole dial of its own, and the first link
//! wins.

use super::{
    connect_request::ConnectRequest,
    connector::{BoxedIo, Candidate, Connected, Connector, failure},
    dial_record::DialRecord,
    driver::Driver,
    event::LinkListener,
    eyeballs::{Found, endpoint_in_turn, race, shuffled},
    greeted::Greeted,
    greeting::Expected,
    limits::TAKEN_BY_H2,
    link::Link,
    peer::Peer,
    tap::Tap,
    tapped::Tapped,
};
use crate::model::{
    Address, DialFailure, DialStep, Endpoint, EndpointId, Incarnation, LinkEnd, StepTimes,
};
use crate::policy::Liveness;
use crate::unwind::caught;
use bytes::Bytes;
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// As hyper has them: 2 MiB a stream, 5 MiB a connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// The largest frame taken: an answer in HTTP/2's least, 16 KiB, is read piece by piece, at a
/// system call or two each.
const MAX_FRAME: u32 = 128 << 10;

/// What tiny DATA frames that nobody has read yet may cost h2, counted as it does: 256 bytes a
/// frame, less its data. A peer that sends more of them, 260,000 of a byte, loses the link. Frames
/// of 19 bytes or more never cost that much: the windows are full before. h2's queue doubles its
/// memory when it is full, and is not full yet with so many.
const UNREAD_TINY_FRAMES: usize = 260_000 * 256;

/// What to dial, and how the link shall live.
#[derive(Clone)]
pub(crate) struct Dial {
    /// What failures call the place.
    pub(crate) name: Arc<str>,
    /// Who is dialled.
    pub(crate) endpoint: Endpoint,
    pub(crate) id: EndpointId,
    /// By what the addresses of a name are shuffled; none: they are not.
    pub(crate) shuffle: Option<u64>,
    /// See [`ConnectRequest::user_timeout`].
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) incarnation: Incarnation,
    pub(crate) timeout: Duration,
    pub(crate) keepalive: Option<Liveness>,
    pub(crate) window: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) unread_answers: Option<u32>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<super::tls::TlsClient>>,
}

/// A link that is up, and the driver that keeps it so: spawn it at once.
pub(crate) struct Dialled {
    pub(crate) link: Arc<Link>,
    pub(crate) driver: Driver,
    pub(crate) steps: Box<StepTimes>,
}

/// A dial that failed.
pub(crate) struct FailedDial {
    /// Why.
    pub(crate) failure: DialFailure,
    /// At every address somebody answered who cannot be the server that was meant: with a
    /// certificate of an unknown authority or for another name, without HTTP/2 in its ALPN, or
    /// with another protocol.
    pub(crate) wrong_peer: bool,
    pub(crate) steps: Box<StepTimes>,
}

/// One address's part of the dial.
#[derive(Clone, Copy)]
struct Part<'a> {
    record: &'a DialRecord,
    number: usize,
}

impl Part<'_> {
    fn reached(self, step: DialStep) {
        self.record.reached(self.number, step);
    }

    /// There is a link; how long each step took.
    fn times(self) -> Box<StepTimes> {
        Box::new(self.record.times_of(self.number))
    }

    /// The peer there is `wrong`, or it may be the right one.
    fn judged(self, wrong: bool) {
        if wrong {
            self.record.is_wrong(self.number);
        }
    }
}

/// Who is dialled in one part of the dial.
#[derive(Clone)]
struct Place<'a> {
    /// As failures name it.
    name: &'a str,
    peer: Peer,
}

/// A dial ended in a panic, which is the connector's or of what it gave.
pub(crate) fn dial_panicked(name: &str, words: &str) -> FailedDial {
    let reason = format!("cannot dial {name}: the connector panicked: {words}");
    let failure = DialFailure::new(DialStep::Connect, reason);
    FailedDial { failure, wrong_peer: false, steps: Box::default() }
}

/// How TLS is spoken, with what its files hold now.
#[cfg(feature = "tls")]
type Secure = (Arc<super::tls::TlsClient>, Arc<super::tls::Material>);

impl Dial {
    /// Dials. Cancel safe: dropped, it leaves nothing behind.
    pub(crate) async fn run(
        self,
        connector: Arc<dyn Connector>,
        listener: Arc<dyn LinkListener>,
    ) -> Result<Dialled, FailedDial> {
        let request =
            |address: Address| ConnectRequest::new(address).with_user_timeout(self.user_timeout);
        let addresses = endpoint_in_turn(self.endpoint.addresses());
        let requests = addresses.into_iter().map(request).collect();
        let record = DialRecord::new((*self.name).to_owned(), requests);
        let dialling = self.race(&*connector, listener, &record);
        let (failure, wrong_peer) = match tokio::time::timeout(self.timeout, dialling).await {
            Ok(Ok(dialled)) => return Ok(dialled),
            Ok(Err(failure)) => (failure, record.is_wrong_everywhere()),
            Err(_) => {
                // Of several addresses each is named with what is known of it.
                let progress = match record.requests() {
                    [one] => caught(|| one.progress()),
                    _ => Ok(None),
                };
                let progress = progress
                    .unwrap_or_else(|words| Some(format!("its progress panicked: {words}")));
                (record.cut_off(self.timeout, progress), false)
            }
        };
        let steps = Box::new(record.times(failure.step));
        Err(FailedDial { failure, wrong_peer, steps })
    }

    async fn race(
        &self,
        connector: &dyn Connector,
        listener: Arc<dyn LinkListener>,
        record: &DialRecord,
    ) -> Result<Dialled, DialFailure> {
        #[cfg(feature = "tls")]
        let secure = self.secure(&*listener, record).await?;
        let requests = record.requests();
        let found = match requests {
            [one] => {
                let candidates = connector.candidates(one).await?;
                record.looked_up(0);
                Found::all(match self.shuffle {
                    Some(seed) => shuffled(candidates, seed),
                    None => candidates,
                })
            }
            many => Found::of(many.iter().map(|one| connector.candidates(one))),
        };
        let dial = |number, candidate: Candidate| {
            self.one(
                requests[candidate.server].address(),
                candidate,
                #[cfg(feature = "tls")]
                secure.as_ref(),
                listener.clone(),
                Part { record, number },
            )
        };
        let won = race(found, dial, record).await;
        let mut dialled = won.ok_or_else(|| record.all_failed())?;
        dialled.driver.begin_to_report();
        Ok(dialled)
    }

    /// The files are read before anything is opened, once for all addresses: without them there is
    /// nothing to say to a server.
    #[cfg(feature = "tls")]
    async fn secure(
        &self,
        listener: &dyn LinkListener,
        record: &DialRecord,
    ) -> Result<Option<Secure>, DialFailure> {
        let Some(tls) = &self.tls else { return Ok(None) };
        record.before(DialStep::Tls);
        let material = tls
            .material(listener)
            .await
            .map_err(|cause| failure(DialStep::Tls, &self.name, &cause))?;
        record.before(DialStep::Resolve);
        Ok(Some((tls.clone(), material)))
    }

    /// A whole dial to one address.
    async fn one(
        &self,
        address: &Address,
        candidate: Candidate,
        #[cfg(feature = "tls")] secure: Option<&Secure>,
        listener: Arc<dyn LinkListener>,
        part: Part<'_>,
    ) -> Result<Dialled, DialFailure> {
        let found = candidate.address.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
        let found = found.map(Address::from).filter(|found| found != address);
        let peer = Peer { listed: address.clone(), found, known: None };
        let place = candidate.address.unwrap_or_else(|| address.to_string());
        let mut place = Place { name: &place, peer };
        let Connected { io, local } = candidate.connect.await?;
        if local.is_some() {
            place.peer.known.get_or_insert_default().local = local;
        }
        #[cfg(feature = "tls")]
        if let Some((tls, material)) = secure {
            part.reached(DialStep::Tls);
            let failed = |cause: &str| failure(DialStep::Tls, &place.name, &cause);
            let (io, verdict) = tls.secure(io, material, address).await.map_err(|refused| {
                part.judged(refused.wrong_peer);
                failed(&refused.words)
            })?;
            part.reached(DialStep::Handshake);
            place.peer.known.get_or_insert_default().tls = Some(io.about_tls());
            let (io, expected) = (Box::new(io), Expected::SettingsInTls);
            let greeted = self.handshake(io, expected, listener, place.clone(), part).await;
            // A server judges our certificate after its own part of the handshake is over (TLS
            // 1.3).
            return greeted.map_err(|failure| match verdict.get() {
                Some(cause) => failed(cause),
                None => failure,
            });
        }
        part.reached(DialStep::Handshake);
        self.handshake(io, Expected::Settings, listener, place, part).await
    }

    async fn handshake(
        &self,
        io: BoxedIo,
        expected: Expected,
        listener: Arc<dyn LinkListener>,
        place: Place<'_>,
        part: Part<'_>,
    ) -> Result<Dialled, DialFailure> {
        let failed = |cause: &str| failure(DialStep::Handshake, &place.name, &cause);
        let tap = Arc::new(Tap::new());
        let (io, wrong) = Greeted::new(io, expected);
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(self.unread_answers.unwrap_or(CONNECTION_WINDOW))
            .max_header_list_size(TAKEN_BY_H2)
            .max_frame_size(MAX_FRAME)
            // A storm of cancelled calls must not make h2 give the connection up.
            .max_local_error_reset_streams(None)
            .max_concurrent_reset_streams(1_024)
            // Nor may a burst of small answers.
            .data_frame_budget(UNREAD_TINY_FRAMES)
            .handshake::<_, Bytes>(Tapped::new(io, tap.clone()))
            .await
            .map_err(|error| failed(&error.to_string()))?;
        let link = Link::new(
            self.incarnation,
            (self.id, place.peer),
            sender,
            tap.clone(),
            self.window,
            listener,
        );
        let link = Arc::new(link.with_header_limit(self.max_header_bytes));
        let mut driver = Driver::new(connection, tap, link.clone(), self.keepalive);
        let settled = poll_fn(|cx| match Pin::new(&mut driver).poll(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending if driver.settings_seen() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        match settled.await {
            Ok(()) => Ok(Dialled { link, driver, steps: part.times() }),
            Err(end) => Err(match (wrong.get(), &end) {
                (Some(greeting), _) => {
                    part.judged(greeting.wrong_peer);
                    failed(&greeting.words)
                }
                // Many TLS servers end a connection that begins in plaintext without a word.
                (None, LinkEnd::Closed | LinkEnd::Io { .. }) if expected == Expected::Settings => {
                    failed(&format!("{end}, before its HTTP/2 SETTINGS; does it expect TLS?"))
                }
                (None, _) => failed(&format!("{end}, before its HTTP/2 SETTINGS")),
            }),
        }
    }
}
