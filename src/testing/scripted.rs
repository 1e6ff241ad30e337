//! A gRPC server that answers by script and records all calls, and that a test can have send
//! GOAWAY, end as a crash does, and come back.

use super::{
    Arrival, HealthAnswer, MemoryNetwork, Script,
    serve::serve,
    server_state::{Counts, Options, ServerState},
    socket::{Acceptor, ListenAddress},
};
use crate::{
    model::Address,
    transport::{Connector, Io},
};
use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, task::JoinHandle};

/// A gRPC server driven by a script. Without one it echoes. It ends when dropped.
///
/// ```
/// use tonic_supervisor::testing::{Answer, Arrival, Script, ScriptedServer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let server = ScriptedServer::on_tcp().await;
/// server.script(Script::fail_times(2, tonic::Code::Unavailable));
/// server.on("/queue.Tasks/Ack", |call: &Arrival| match call.previous_attempts.as_deref() {
///     None => Answer::cut_after_processing(),
///     Some(_) => Answer::echo(),
/// });
/// // ... point a client at server.address() ...
/// server.goaway().await;
/// server.restart().await;
/// assert_eq!((server.connections(), server.handled()), (0, 0));
/// # });
/// ```
#[derive(Debug)]
pub struct ScriptedServer {
    state: Arc<ServerState>,
    listen_address: ListenAddress,
    /// The one task that is the whole server: without it no socket of the server's is open.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl ScriptedServer {
    /// Choices that must be made before it listens.
    pub fn builder() -> ScriptedServerBuilder {
        ScriptedServerBuilder::default()
    }

    /// A server on some free port of 127.0.0.1.
    pub async fn on_tcp() -> Self {
        Self::builder().on_tcp().await
    }

    /// A server at this address (`host:port`) of a network in memory.
    pub async fn on_memory(network: &MemoryNetwork, address: &str) -> Self {
        Self::builder().on_memory(network, address).await
    }

    /// From now on calls without a script of their own are answered by this one.
    pub fn script(&self, script: impl Into<Script>) {
        self.state.scripts.lock().0 = script.into();
    }

    /// From now on calls of this path (`/package.Service/Method`) are answered by this script.
    pub fn on(&self, path: &str, script: impl Into<Script>) {
        self.state.scripts.lock().1.insert(path.to_owned(), script.into());
    }

    /// From now on questions about its health (`grpc.health.v1.Health`) are answered so, by
    /// whatever name they ask, and are no calls: no script answers them, and nothing counts them as
    /// calls. Watches that are open hear of the change.
    pub fn health(&self, answer: HealthAnswer) {
        self.state.health.send_replace(Some(answer));
    }

    /// When each such question came, counted from the server's start.
    pub fn health_questions(&self) -> Vec<Duration> {
        self.state.asked()
    }

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

    /// All calls so far, in order, those it refused included.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.state.arrivals.lock().clone()
    }

    /// How many calls it has processed, whatever it answered.
    pub fn handled(&self) -> usize {
        self.state.counts.borrow().handled
    }

    /// How many calls it has refused unprocessed ([`Answer::reset`](super::Answer::reset)).
    pub fn refused(&self) -> usize {
        self.state.counts.borrow().refused
    }

    /// How many calls the client has reset before their answer was out.
    pub fn cancelled(&self) -> usize {
        self.state.counts.borrow().cancelled
    }

    /// How many connections it has accepted, ever.
    pub fn connections(&self) -> usize {
        self.state.counts.borrow().connections
    }

    /// How many connections speak HTTP/2 with it now.
    pub fn open_connections(&self) -> usize {
        self.state.open.lock().len()
    }

    /// Waits until this many calls have arrived, ever.
    pub async fn arrived(&self, calls: usize) {
        self.until(|counts| counts.arrived >= calls).await;
    }

    /// Waits until this many connections have been accepted, ever.
    pub async fn accepted(&self, connections: usize) {
        self.until(|counts| counts.connections >= connections).await;
    }

    /// Waits until the client has reset this many calls, ever.
    pub async fn given_up(&self, calls: usize) {
        self.until(|counts| counts.cancelled >= calls).await;
    }

    /// Sends GOAWAY (NO_ERROR, the graceful two-step) on every connection, and returns their number
    /// when it has left. Calls that run are answered; then the connection closes.
    pub async fn goaway(&self) -> usize {
        let mut acks = Vec::new();
        for goaway_requests in self.state.open.lock().values() {
            let (ack, acked) = oneshot::channel();
            if goaway_requests.send(ack).is_ok() {
                acks.push(acked);
            }
        }
        let count = acks.len();
        futures::future::join_all(acks).await;
        count
    }

    /// Ends the server as a crash does: the listener and all connections are closed when this
    /// returns.
    pub async fn kill(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.abort();
            task.await.unwrap_or_default();
        }
    }

    /// Listens at the same address again, killed before or not. Scripts, arrivals and counts live
    /// on.
    pub async fn restart(&self) {
        self.kill().await;
        let (acceptor, _) = self.listen_address.listen().await;
        *self.task.lock() = Some(tokio::spawn(run(acceptor, self.state.clone())));
    }

    /// Serves a byte stream that somebody else accepted, such as one of a simulated network, until
    /// it ends.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped closes the stream.
    pub fn serve(&self, io: impl Io) -> impl Future<Output = ()> + Send + 'static {
        let state = self.state.clone();
        async move {
            let number = state.accepted();
            serve(io, number, &state).await;
        }
    }

    async fn until(&self, reached: impl FnMut(&Counts) -> bool) {
        let mut counts = self.state.counts.subscribe();
        counts.wait_for(reached).await.map(drop).expect("this server holds the sender");
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

async fn run(mut acceptor: Acceptor, state: Arc<ServerState>) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            socket = acceptor.accept() => {
                let number = state.accepted();
                connections.push(serve(socket, number, &state));
            }
            Some(()) = connections.next() => {}
        }
    }
}

/// What must be chosen before a [`ScriptedServer`] listens.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until the server is started"]
pub struct ScriptedServerBuilder {
    options: Options,
    script: Option<Script>,
}

impl ScriptedServerBuilder {
    /// The script to begin with.
    pub fn script(mut self, script: impl Into<Script>) -> Self {
        self.script = Some(script.into());
        self
    }

    /// Announces SETTINGS_MAX_CONCURRENT_STREAMS.
    pub fn max_concurrent_streams(mut self, max: u32) -> Self {
        self.options.max_concurrent_streams = Some(max);
        self
    }

    /// Sends GOAWAY on each connection at this age.
    pub fn goaway_every(mut self, age: Duration) -> Self {
        self.options.goaway_every = Some(age);
        self
    }

    /// Sends GOAWAY on each connection when it has brought this many calls.
    pub fn goaway_after_calls(mut self, calls: usize) -> Self {
        self.options.goaway_after_calls = Some(calls);
        self
    }

    /// Whether to ask the script as soon as a call's headers are there; `Arrival::message` is empty
    /// then. For streams whose client sends late. No by default.
    pub fn answer_at_headers(mut self, at_headers: bool) -> Self {
        self.options.answer_at_headers = at_headers;
        self
    }

    /// Whether to keep each call for [`ScriptedServer::arrivals`], as is the default. Without it
    /// only counts are kept, for runs of millions of calls.
    pub fn record_arrivals(mut self, record: bool) -> Self {
        self.options.unrecorded = !record;
        self
    }

    /// Listens on some free port of 127.0.0.1.
    pub async fn on_tcp(self) -> ScriptedServer {
        self.start(ListenAddress::any_port()).await
    }

    /// Listens at this address (`host:port`) of a network in memory.
    pub async fn on_memory(self, network: &MemoryNetwork, address: &str) -> ScriptedServer {
        self.start(ListenAddress::Memory(network.clone(), address.to_owned())).await
    }

    async fn start(self, listen_address: ListenAddress) -> ScriptedServer {
        let (acceptor, listen_address) = listen_address.listen().await;
        let script = self.script.unwrap_or_else(Script::echo);
        let state = Arc::new(ServerState::new(self.options, script));
        let task = Mutex::new(Some(tokio::spawn(run(acceptor, state.clone()))));
        ScriptedServer { state, listen_address, task }
    }
}

#[cfg(test)]
#[path = "scripted_tests.rs"]
mod tests;
