//! A server's host: one scripted server behind a simulated port, whose doors and moods are at the
//! script's command.

use crate::{
    script::{Fate, PORT, ServerFault},
    shared::Shared,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::JoinSet,
};
use tonic::Code;
use tonic_supervisor::testing::{Frame, HealthAnswer, MemoryNetwork, ScriptedServer};
use turmoil::net::{TcpListener, TcpStream};

/// What the server is told to do; outlives its machine.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<(Mutex<VecDeque<ServerFault>>, Notify)>);

impl Orders {
    pub(crate) fn give(&self, order: ServerFault) {
        self.0.0.lock().push_back(order);
        self.0.1.notify_one();
    }

    fn forget(&self) {
        self.0.0.lock().clear();
    }

    async fn next(&self) -> ServerFault {
        loop {
            if let Some(order) = self.0.0.lock().pop_front() {
                return order;
            }
            self.0.1.notified().await;
        }
    }
}

/// What befalls every call.
#[derive(Clone, Copy, Default)]
struct Mood {
    slow: Duration,
    burst: Option<Code>,
    /// Whether it says that it does not serve.
    rests: bool,
}

impl Mood {
    fn health(self) -> HealthAnswer {
        if self.rests { HealthAnswer::NotServing } else { HealthAnswer::Serving }
    }
}

/// What a new connection meets.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    Open,
    Mute,
    Slam,
    Babble,
    Exclude(u32),
}

/// The software of the host of server `n`, from one boot to the next crash.
pub(crate) async fn run(n: usize, shared: Shared, orders: Orders) -> turmoil::Result {
    orders.forget();
    let shared = (n, shared);
    let mood = Arc::new(Mutex::new(Mood::default()));
    // The last one takes new connections; those of the others live on.
    let mut wings = vec![Wing::open(&shared, &mood, Kind::Plain).await];
    let mut excluding = JoinSet::new();
    let mut listener = Some(listen().await?);
    let mut door = Door::Open;
    let mut mute = Vec::new();
    loop {
        tokio::select! {
            biased;
            order = orders.next() => match order {
                ServerFault::GoAway => send_away(&wings).await,
                ServerFault::GoAwayAndCut => {
                    send_away(&wings).await;
                    cut(&mut wings).await;
                }
                ServerFault::Refuse => listener = None,
                ServerFault::Kill => {
                    listener = None;
                    mute.clear();
                    cut(&mut wings).await;
                }
                ServerFault::Mute => door = Door::Mute,
                ServerFault::Slam => door = Door::Slam,
                ServerFault::Babble => door = Door::Babble,
                ServerFault::Exclude(code) => door = Door::Exclude(code),
                ServerFault::Hasty => wings.push(Wing::open(&shared, &mood, Kind::Hasty).await),
                ServerFault::Limit(streams) => {
                    wings.push(Wing::open(&shared, &mood, Kind::Limited(streams)).await);
                }
                ServerFault::Slow(time) => mood.lock().slow = time,
                ServerFault::Burst(code) => mood.lock().burst = Some(code),
                ServerFault::HealthSays(serves) => {
                    mood.lock().rests = !serves;
                    wings.iter().for_each(|wing| wing.server.health(mood.lock().health()));
                }
                ServerFault::Well => {
                    *mood.lock() = Mood::default();
                    wings.iter().for_each(|wing| wing.server.health(HealthAnswer::Serving));
                    door = Door::Open;
                    // What has few streams will never have more.
                    wings.retain(|wing| wing.kind == Kind::Plain);
                    excluding.shutdown().await;
                    wings.push(Wing::open(&shared, &mood, Kind::Plain).await);
                    if listener.is_none() {
                        listener = Some(listen().await?);
                    }
                }
            },
            stream = accept(&listener) => match (door, stream?) {
                (Door::Open, stream) => wings.last_mut().expect("there is always one").take(stream),
                (Door::Mute, stream) => mute.push(stream),
                (Door::Slam, stream) => drop(stream),
                (Door::Exclude(code), stream) => drop(excluding.spawn(exclude(stream, code))),
                (Door::Babble, mut stream) => {
                    // Whoever dialled may be gone.
                    let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(refusal).await;
                }
            },
        }
    }
}

/// Greets, and answers the first call with a GOAWAY that excludes it. Returns when the client has
/// gone.
async fn exclude(mut stream: TcpStream, code: u32) {
    let mut bytes = Vec::new();
    let mut write = Frame::settings(&[]).to_bytes();
    loop {
        if stream.write_all(&write).await.is_err() {
            return;
        }
        write = Bytes::new();
        let mut some = [0; 1_024];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&some[..read]),
        }
        if asks(&bytes) {
            bytes.clear();
            write = Frame::goaway(0, code, b"not here").to_bytes();
        }
    }
}

/// Whether there is a HEADERS frame among these bytes, which begin with the preface.
fn asks(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(PREFACE.len()..).unwrap_or_default();
    while let [a, b, c, kind, _, _, _, _, _, payload @ ..] = rest {
        if *kind == HEADERS {
            return true;
        }
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = payload.get(length..).unwrap_or_default();
    }
    false
}

/// What every HTTP/2 client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;

/// What is special about a server.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// Its connections may have so many streams.
    Limited(u32),
    /// Its connections hear GOAWAY as soon as they have answered a call.
    Hasty,
}

/// A server and its connections, which end when it is dropped.
struct Wing {
    server: ScriptedServer,
    connections: JoinSet<()>,
    kind: Kind,
}

impl Wing {
    async fn open(shared: &(usize, Shared), mood: &Arc<Mutex<Mood>>, kind: Kind) -> Self {
        let server = scripted(shared, mood, kind).await;
        Self { server, connections: JoinSet::new(), kind }
    }

    fn take(&mut self, stream: TcpStream) {
        while self.connections.try_join_next().is_some() {}
        self.connections.spawn(self.server.serve(stream));
    }
}

async fn send_away(wings: &[Wing]) {
    for wing in wings {
        wing.server.goaway().await;
    }
}

async fn cut(wings: &mut [Wing]) {
    for wing in wings {
        wing.connections.shutdown().await;
    }
}

async fn listen() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await
}

async fn accept(listener: &Option<TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// A server that listens nowhere that anybody knows of: it is given its connections.
async fn scripted(shared: &(usize, Shared), mood: &Arc<Mutex<Mood>>, kind: Kind) -> ScriptedServer {
    let mut server = ScriptedServer::builder();
    match kind {
        Kind::Plain => {}
        Kind::Limited(streams) => server = server.max_concurrent_streams(streams),
        Kind::Hasty => server = server.goaway_after_calls(1),
    }
    let health = mood.lock().health();
    let ((n, shared), mood) = (shared.clone(), mood.clone());
    let script = move |arrival: &_| {
        let Mood { slow, burst, .. } = *mood.lock();
        let burst = burst.map(|code| Fate::Status { after: slow, code, pushback: None });
        match shared.arrived(n, arrival, burst) {
            Fate::Echo { after } => Fate::Echo { after: after + slow },
            fate => fate,
        }
        .answer()
    };
    let server = server.script(script).on_memory(&MemoryNetwork::new(), "nowhere:1").await;
    server.health(health);
    server
}
