//! A TCP proxy that injects network faults between a client and a real server.
//!
//! Each pump reads the faults in force and moves its bytes under one lock, so no byte passes once a
//! fault's method has returned.

use super::{Direction, socket::ListenAddress};
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{Shutdown, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

/// How many pieces may be under way in one direction when a delay is set.
const PIECES: usize = 1024;

/// A TCP proxy to one address, on a free port of 127.0.0.1. It ends, with its connections, when
/// dropped.
///
/// `cut`, `reset` and `half_close` touch what is connected now (see [`FaultProxy::connected`]);
/// `freeze`, `stall`, `delay` and `refuse` hold for connections to come too, until undone.
///
/// ```
/// use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}};
/// use tonic_supervisor::testing::FaultProxy;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let proxy = FaultProxy::to(server.local_addr().unwrap()).await;
/// let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
/// let (_accepted, _) = server.accept().await.unwrap();
/// proxy.connected(1).await;
/// proxy.reset().await;
/// assert!(client.read_u8().await.is_err());
/// proxy.refuse(true).await;
/// assert!(TcpStream::connect(proxy.addr()).await.is_err());
/// # });
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    port: tokio::sync::Mutex<Port>,
}

/// Who holds the port.
#[derive(Debug, Default)]
struct Port {
    /// The task that accepts.
    accepting: Option<Task>,
    /// While dials are refused: a socket that is bound but does not listen, so that the port stays
    /// ours.
    held: Option<TcpSocket>,
}

/// A task that ends when dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    /// Ends it: all it holds is dropped when this returns.
    async fn end(mut self) {
        self.0.abort();
        (&mut self.0).await.unwrap_or_default();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    faults: watch::Sender<Faults>,
    /// How many connections were accepted, and how many reached the server.
    counts: watch::Sender<(usize, usize)>,
    connections: Mutex<BTreeMap<usize, (Arc<Connection>, Task)>>,
}

/// The faults in force for all bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// Indexed by [`Direction`].
    stalled: [bool; 2],
    delay: Duration,
}

impl FaultProxy {
    /// A proxy to this address.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            faults: watch::Sender::default(),
            counts: watch::Sender::default(),
            connections: Mutex::default(),
        });
        let accepting = Some(Task(tokio::spawn(accept(listener, shared.clone()))));
        Self { address, shared, port: tokio::sync::Mutex::new(Port { accepting, held: None }) }
    }

    /// Where clients dial it.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted, ever.
    pub fn accepted(&self) -> usize {
        self.shared.counts.borrow().0
    }

    /// How many connections it carries now.
    pub fn open(&self) -> usize {
        self.shared.connections.lock().len()
    }

    /// Waits until this many connections, ever, have been connected through to the server.
    pub async fn connected(&self, connections: usize) {
        let mut counts = self.shared.counts.subscribe();
        counts
            .wait_for(|(_, connected)| *connected >= connections)
            .await
            .map(drop)
            .expect("this proxy holds the sender");
    }

    /// Leads connections to come to another address.
    pub fn point_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock() = upstream;
    }

    /// Closes every connection on both sides (FIN).
    pub async fn cut(&self) {
        self.end_connections(Connection::close).await;
    }

    /// Resets every connection on both sides (RST).
    pub async fn reset(&self) {
        self.end_connections(Connection::reset).await;
    }

    /// Lets no byte through, either way, and no end either: as when the cable is pulled.
    pub async fn freeze(&self) {
        self.shared.faults.send_modify(|faults| faults.stalled = [true; 2]);
    }

    /// Undoes `freeze` and `stall`: what was sent meanwhile arrives now.
    pub async fn thaw(&self) {
        self.shared.faults.send_modify(|faults| faults.stalled = [false; 2]);
    }

    /// Lets no byte through in one direction.
    pub async fn stall(&self, direction: Direction) {
        self.shared.faults.send_modify(|faults| faults.stalled[direction as usize] = true);
    }

    /// Ends one direction of every connection (FIN), and swallows what is still sent that way.
    pub async fn half_close(&self, direction: Direction) {
        for (connection, _) in self.shared.connections.lock().values() {
            connection.half_close(direction);
        }
    }

    /// From now on every byte arrives this much later, in both directions.
    pub async fn delay(&self, delay: Duration) {
        self.shared.faults.send_modify(|faults| faults.delay = delay);
    }

    /// `true`: from now on dials are refused, as when nobody listens; connections stay. `false`:
    /// they are accepted again.
    pub async fn refuse(&self, on: bool) {
        let mut port = self.port.lock().await;
        if on {
            if let Some(task) = port.accepting.take() {
                task.end().await;
                port.held = ListenAddress::Tcp(self.address)
                    .reserve()
                    .expect("the port was ours a moment ago");
            }
        } else if let Some(socket) = port.held.take() {
            let listener = socket.listen(1024).expect("the port is ours");
            port.accepting = Some(Task(tokio::spawn(accept(listener, self.shared.clone()))));
        }
    }

    async fn end_connections(&self, end: impl Fn(&Connection)) {
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        for (connection, task) in connections.into_values() {
            task.end().await;
            end(&connection);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.port.get_mut().accepting = None;
        self.shared.connections.lock().clear();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        shared.counts.send_modify(|(accepted, _)| *accepted += 1);
        let upstream = *shared.upstream.lock();
        match TcpStream::connect(upstream).await {
            Ok(server) => start(Connection::new(client, server), &shared),
            // The client should see a server that is not there.
            Err(_) => client.set_zero_linger().unwrap_or_default(),
        }
    }
}

fn start(connection: Connection, shared: &Arc<Shared>) {
    let connection = Arc::new(connection);
    // The lock keeps the task from leaving the table before it has entered it.
    let mut connections = shared.connections.lock();
    let number = shared.counts.borrow().1 + 1;
    let (carried, task_shared) = (connection.clone(), shared.clone());
    let task = tokio::spawn(async move {
        let faults = task_shared.faults.subscribe();
        let outcome = tokio::try_join!(
            pump(&carried, Direction::ToServer, faults.clone()),
            pump(&carried, Direction::ToClient, faults)
        );
        if outcome.is_err() {
            carried.reset();
        }
        task_shared.connections.lock().remove(&number);
    });
    connections.insert(number, (connection, Task(task)));
    drop(connections);
    shared.counts.send_modify(|(_, connected)| *connected = number);
}

/// One connection through the proxy.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Indexed by [`Direction`].
    half_closed: [AtomicBool; 2],
}

impl Connection {
    fn new(client: TcpStream, server: TcpStream) -> Self {
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap_or_default();
        }
        Self { client, server, half_closed: Default::default() }
    }

    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::ToServer => (&self.client, &self.server),
            Direction::ToClient => (&self.server, &self.client),
        }
    }

    fn half_close(&self, direction: Direction) {
        self.half_closed[direction as usize].store(true, Ordering::SeqCst);
        finish(self.ends(direction).1);
    }

    fn close(&self) {
        for stream in [&self.client, &self.server] {
            finish(stream);
            // Unread bytes would turn the close into a reset.
            while stream.try_read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        }
    }

    fn reset(&self) {
        for stream in [&self.client, &self.server] {
            stream.set_zero_linger().unwrap_or_default();
        }
    }
}

/// Sends FIN. That the peer has gone already is no harm.
fn finish(stream: &TcpStream) {
    socket2::SockRef::from(stream).shutdown(Shutdown::Write).unwrap_or_default();
}

/// Carries one direction's bytes, and at last its end, as far as the faults in force allow.
async fn pump(
    connection: &Connection,
    direction: Direction,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let (from, to) = connection.ends(direction);
    let half_closed = &connection.half_closed[direction as usize];
    // Pieces and when they are due; an empty one is the end.
    let mut queue: VecDeque<(Instant, Bytes)> = VecDeque::new();
    let mut ended = false;
    let mut buffer = vec![0; 64 * 1024];
    while !ended || !queue.is_empty() {
        let flows = !faults.borrow_and_update().stalled[direction as usize];
        let due = queue.front().map(|(due, _)| *due);
        tokio::select! {
            biased;
            changed = faults.changed() => if changed.is_err() { break },
            ready = writable(to, due), if flows && due.is_some() => {
                ready?;
                let faults = faults.borrow();
                if !faults.stalled[direction as usize]
                    && let Some((_, piece)) = queue.front_mut()
                {
                    if half_closed.load(Ordering::SeqCst) {
                        piece.clear();
                    } else if piece.is_empty() {
                        finish(to);
                    } else {
                        piece.advance(unless_blocked(to.try_write(piece))?.unwrap_or(0));
                    }
                    if piece.is_empty() {
                        queue.pop_front();
                    }
                }
            }
            ready = from.readable(), if flows && !ended && queue.len() < PIECES => {
                ready?;
                let faults = faults.borrow();
                if !faults.stalled[direction as usize]
                    && let Some(count) = unless_blocked(from.try_read(&mut buffer))?
                {
                    ended = count == 0;
                    let piece = Bytes::copy_from_slice(&buffer[..count]);
                    queue.push_back((Instant::now() + faults.delay, piece));
                }
            }
        }
    }
    Ok(())
}

/// Waits until `due`, and until the stream can take bytes.
async fn writable(stream: &TcpStream, due: Option<Instant>) -> io::Result<()> {
    if let Some(due) = due.filter(|due| *due > Instant::now()) {
        tokio::time::sleep_until(due).await;
    }
    stream.writable().await
}

fn unless_blocked(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        outcome => outcome.map(Some),
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
