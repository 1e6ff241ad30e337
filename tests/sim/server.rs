//! The server's host: one scripted server behind a simulated port, whose doors and moods are at the script's command.

use crate::{
    script::{Fate, PORT, ServerFault},
    world::World,
};
use parking_lot::Mutex;
use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, sync::Notify, task::JoinSet};
use tonic::Code;
use tonic_supervisor::testing::{MemoryNetwork, ScriptedServer};
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
}

/// What a new connection meets.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    Open,
    Mute,
    Slam,
    Babble,
}

/// The software of the server's host, from one boot to the next crash.
pub(crate) async fn run(world: World, orders: Orders) -> turmoil::Result {
    orders.forget();
    let mood = Arc::new(Mutex::new(Mood::default()));
    // The last one takes new connections; those of the others live on.
    let mut servers = vec![scripted(&world, &mood, None).await];
    let mut listener = Some(listen().await?);
    let mut door = Door::Open;
    let mut connections = JoinSet::new();
    let mut mute = Vec::new();
    loop {
        tokio::select! {
            biased;
            order = orders.next() => match order {
                ServerFault::GoAway => send_away(&servers).await,
                ServerFault::GoAwayAndCut => {
                    send_away(&servers).await;
                    connections.shutdown().await;
                }
                ServerFault::Refuse => listener = None,
                ServerFault::Kill => {
                    listener = None;
                    mute.clear();
                    connections.shutdown().await;
                }
                ServerFault::Mute => door = Door::Mute,
                ServerFault::Slam => door = Door::Slam,
                ServerFault::Babble => door = Door::Babble,
                ServerFault::Limit(streams) => servers.push(scripted(&world, &mood, Some(streams)).await),
                ServerFault::Slow(time) => mood.lock().slow = time,
                ServerFault::Burst(code) => mood.lock().burst = Some(code),
                ServerFault::Well => {
                    *mood.lock() = Mood::default();
                    door = Door::Open;
                    servers.push(scripted(&world, &mood, None).await);
                    if listener.is_none() {
                        listener = Some(listen().await?);
                    }
                }
            },
            stream = accept(&listener) => match (door, stream?) {
                (Door::Open, stream) => drop(connections.spawn(servers[servers.len() - 1].serve(stream))),
                (Door::Mute, stream) => mute.push(stream),
                (Door::Slam, stream) => drop(stream),
                (Door::Babble, mut stream) => {
                    // Whoever dialled may be gone.
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn send_away(servers: &[ScriptedServer]) {
    for server in servers {
        server.goaway().await;
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
async fn scripted(world: &World, mood: &Arc<Mutex<Mood>>, streams: Option<u32>) -> ScriptedServer {
    let mut server = ScriptedServer::builder();
    if let Some(streams) = streams {
        server = server.max_concurrent_streams(streams);
    }
    let (world, mood) = (world.clone(), mood.clone());
    let script = move |arrival: &_| {
        let Mood { slow, burst } = *mood.lock();
        let burst = burst.map(|code| Fate::Status { after: slow, code, pushback: None });
        match world.arrived(arrival, burst) {
            Fate::Echo { after } => Fate::Echo { after: after + slow },
            fate => fate,
        }
        .answer()
    };
    server.script(script).on_memory(&MemoryNetwork::new(), "nowhere:1").await
}
