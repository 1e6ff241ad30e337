//! Ready-made misbehaviour: a raw peer that behaves in one way on every connection, in the
//! background.

use super::{Frame, FrameKind, RawLink, RawPeer, socket::ListenAddress};
use crate::{model::Address, transport::Connector};
use bytes::BytesMut;
use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::Instant};

/// A [`RawPeer`] that behaves in one way by itself, in the background. It ends when dropped.
///
/// ```
/// use tonic_supervisor::testing::RawPeer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // Accepts, and never sends a byte.
/// let hole = RawPeer::on_tcp().await.black_hole();
/// // Anything else: play(), with what to do with each connection.
/// let rude = RawPeer::on_tcp()
///     .await
///     .play(|mut link| async move { link.answer_http1("400 Bad Request").await });
/// # let _ = (hole.address(), rude.address());
/// # });
/// ```
#[derive(Debug)]
pub struct PlayingPeer {
    listen_address: ListenAddress,
    recorded: Arc<Recorded>,
    task: JoinHandle<()>,
}

/// What a playing peer has recorded.
#[derive(Debug)]
struct Recorded {
    created: Instant,
    accepts: Mutex<Vec<Duration>>,
    pings: Mutex<Vec<Duration>>,
    goaways: Mutex<Vec<Duration>>,
}

impl Recorded {
    fn new() -> Arc<Self> {
        let (accepts, pings, goaways) = Default::default();
        Arc::new(Self { created: Instant::now(), accepts, pings, goaways })
    }

    fn note(&self, list: &Mutex<Vec<Duration>>) {
        list.lock().push(self.created.elapsed());
    }
}

impl PlayingPeer {
    /// `host:port`.
    pub fn address(&self) -> String {
        self.listen_address.address()
    }

    /// What to dial.
    pub fn dial_address(&self) -> Address {
        self.listen_address.to_dial()
    }

    /// What to dial it with.
    pub fn connector(&self) -> Arc<dyn Connector> {
        self.listen_address.connector()
    }

    /// When each connection was accepted, counted from the peer's start.
    pub fn accepts(&self) -> Vec<Duration> {
        self.recorded.accepts.lock().clone()
    }

    /// When each PING came, counted from the peer's start, for the behaviours that read frames.
    pub fn pings(&self) -> Vec<Duration> {
        self.recorded.pings.lock().clone()
    }

    /// When each GOAWAY was sent, counted from the peer's start, for the behaviours that send any.
    pub fn goaways(&self) -> Vec<Duration> {
        self.recorded.goaways.lock().clone()
    }

    /// Ends it: the listener and all connections are closed when this returns.
    pub async fn stop(mut self) {
        self.task.abort();
        (&mut self.task).await.unwrap_or_default();
    }
}

impl Drop for PlayingPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawPeer {
    /// Does this with every connection, all at once. The connection closes when the future ends.
    pub fn play<F>(self, behaviour: impl Fn(RawLink) -> F + Send + 'static) -> PlayingPeer
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.play_recorded(move |link, _| behaviour(link))
    }

    fn play_recorded<F>(
        mut self,
        behaviour: impl Fn(RawLink, Arc<Recorded>) -> F + Send + 'static,
    ) -> PlayingPeer
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let recorded = Recorded::new();
        let listen_address = self.listen_address.clone();
        let recorder = recorded.clone();
        let task = tokio::spawn(async move {
            let mut links = FuturesUnordered::new();
            loop {
                tokio::select! {
                    link = self.accept() => {
                        recorder.note(&recorder.accepts);
                        links.push(behaviour(link, recorder.clone()));
                    }
                    Some(()) = links.next() => {}
                }
            }
        });
        PlayingPeer { listen_address, recorded, task }
    }

    /// Refuses every dial, as when nobody listens; the port stays taken.
    pub fn refuse(self) -> PlayingPeer {
        let Self { listen_address, acceptor } = self;
        drop(acceptor);
        let held = listen_address.reserve().expect("the port was ours a moment ago");
        let task = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        PlayingPeer { listen_address, recorded: Recorded::new(), task }
    }

    /// Accepts, reads nothing and says nothing.
    pub fn black_hole(self) -> PlayingPeer {
        self.play(|link| async move {
            std::future::pending::<()>().await;
            drop(link);
        })
    }

    /// Accepts and closes at once (FIN).
    pub fn accept_then_close(self) -> PlayingPeer {
        self.play(RawLink::close)
    }

    /// Accepts and resets at once (RST).
    pub fn accept_then_reset(self) -> PlayingPeer {
        self.play(|link| async { link.reset() })
    }

    /// Speaks good HTTP/2, acknowledges PINGs, and answers no call: a proxy before a dead server.
    pub fn never_answer(self) -> PlayingPeer {
        self.play_recorded(|link, recorded| {
            serve(link, recorded, Behaviour { answers: false, ..Behaviour::default() })
        })
    }

    /// Echoes calls but acknowledges no PING.
    pub fn never_pong(self) -> PlayingPeer {
        self.play_recorded(|link, recorded| {
            serve(link, recorded, Behaviour { pongs: false, ..Behaviour::default() })
        })
    }

    /// Echoes calls, and counts PINGs.
    pub fn echo(self) -> PlayingPeer {
        self.play_recorded(|link, recorded| serve(link, recorded, Behaviour::default()))
    }

    /// Echoes calls, and sends GOAWAY ENHANCE_YOUR_CALM "too_many_pings" and closes at the
    /// `strikes`-th PING that comes sooner than `min` after the one before. (Servers in the field:
    /// 3rd, 5 minutes.)
    pub fn enforce_ping_interval(self, min: Duration, strikes: usize) -> PlayingPeer {
        self.play_recorded(move |link, recorded| {
            serve(
                link,
                recorded,
                Behaviour { min_ping_interval: Some((min, strikes)), ..Behaviour::default() },
            )
        })
    }
}

#[derive(Clone, Copy)]
struct Behaviour {
    answers: bool,
    pongs: bool,
    min_ping_interval: Option<(Duration, usize)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { answers: true, pongs: true, min_ping_interval: None }
    }
}

/// Speaks good HTTP/2 but for what its behaviour says.
async fn serve(mut link: RawLink, recorded: Arc<Recorded>, behaviour: Behaviour) {
    const ENHANCE_YOUR_CALM: u32 = 11;
    link.acknowledge_pings(behaviour.pongs).send_settings(&[]).await;
    let mut bodies: HashMap<u32, BytesMut> = HashMap::new();
    let (mut last_stream, mut strikes, mut last_ping) = (0, 0, None);
    while let Ok(Some(frame)) = link.next_frame().await {
        match frame.kind {
            FrameKind::Headers => {
                last_stream = frame.stream;
                bodies.insert(frame.stream, BytesMut::new());
            }
            FrameKind::Data => read_data(&mut link, &mut bodies, &frame).await,
            FrameKind::RstStream => drop(bodies.remove(&frame.stream)),
            FrameKind::Ping if !frame.is_ack() => {
                recorded.note(&recorded.pings);
                let now = link.age();
                if let (Some((min, most)), Some(last)) =
                    (behaviour.min_ping_interval, last_ping.replace(now))
                {
                    strikes += usize::from(now - last < min);
                    if strikes >= most {
                        link.goaway(last_stream, ENHANCE_YOUR_CALM, "too_many_pings").await;
                        recorded.note(&recorded.goaways);
                        return link.close().await;
                    }
                }
            }
            _ => {}
        }
        if frame.is_end_stream()
            && behaviour.answers
            && let Some(body) = bodies.remove(&frame.stream)
        {
            link.answer_head(frame.stream).await;
            link.send(Frame::data(frame.stream, body, false)).await;
            link.trailers(frame.stream, &[("grpc-status", "0")]).await;
        }
    }
}

/// Takes in a piece of a request, and gives its room back to the client.
async fn read_data(link: &mut RawLink, bodies: &mut HashMap<u32, BytesMut>, frame: &Frame) {
    if let Some(body) = bodies.get_mut(&frame.stream) {
        body.extend_from_slice(&frame.payload);
    }
    let len = u32::try_from(frame.payload.len()).expect("a frame is short");
    if len > 0 {
        link.send(Frame::window_update(0, len)).await;
        if !frame.is_end_stream() {
            link.send(Frame::window_update(frame.stream, len)).await;
        }
    }
}
