//! A network that exists only in memory, for tests that need exact times: it knows no clock but
//! tokio's, so it works while that is paused.

use super::pipe::{MemoryStream, Pipe};
use crate::{
    model::{Address, DialFailure, DialStep},
    transport::{BoxedIo, Candidate, ConnectRequest, Connector},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the one who dialled to the one who listens.
    ToServer = 0,
    /// From the one who listens to the one who dialled.
    ToClient = 1,
}

impl Direction {
    /// The way back.
    pub fn other(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// A network in memory: listeners by name, dials that can be refused, swallowed or slowed,
/// connections that can be broken.
///
/// Clones are the same network. Faults touch what is connected now; `black_hole` and `dial_takes`
/// touch dials to come.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tonic_supervisor::{
///     Address,
///     testing::MemoryNetwork,
///     transport::ConnectRequest,
/// };
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
/// let network = MemoryNetwork::new();
/// let queue = ConnectRequest::new(Address::new("queue", 50051));
/// assert!(network.connector().connect(&queue).await.is_err(), "nobody listens yet");
///
/// let mut listener = network.listen("queue:50051");
/// let mut client = network.connector().connect(&queue).await.unwrap();
/// let mut server = listener.accept().await;
/// client.write_all(b"hello").await.unwrap();
/// assert_eq!(server.read_u8().await.unwrap(), b'h');
///
/// network.reset_all();
/// assert!(client.read_u8().await.is_err());
/// assert_eq!(network.dials().len(), 2);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    inner: Arc<Inner>,
    /// The address this handle is restricted to.
    only: Option<Arc<str>>,
}

#[derive(Debug)]
struct Inner {
    created: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: BTreeMap<Arc<str>, AddressState>,
    names: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// The faults of dials to addresses without faults of their own.
    dial_faults: DialFaults,
}

#[derive(Clone, Copy, Debug, Default)]
struct DialFaults {
    black_hole: bool,
    dial_takes: Duration,
}

/// The state of one address.
#[derive(Debug)]
struct AddressState {
    listener: Option<mpsc::UnboundedSender<MemoryStream>>,
    pipes: Vec<Pipe>,
    dials: Vec<Duration>,
    dial_faults: DialFaults,
}

impl State {
    fn address_state(&mut self, address: &Arc<str>) -> &mut AddressState {
        let dial_faults = self.dial_faults;
        self.addresses.entry(address.clone()).or_insert_with(|| AddressState {
            listener: None,
            pipes: Vec::new(),
            dials: Vec::new(),
            dial_faults,
        })
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryNetwork {
    /// An empty network: every dial is refused until somebody listens.
    pub fn new() -> Self {
        let inner = Inner { created: Instant::now(), state: Mutex::default() };
        Self { inner: Arc::new(inner), only: None }
    }

    /// The same network through a handle whose faults and counts concern one address only.
    pub fn only(&self, address: &str) -> Self {
        Self { inner: self.inner.clone(), only: Some(address.into()) }
    }

    /// Listens at `address`, written `host:port` as the dialler has it.
    ///
    /// # Panics
    ///
    /// When somebody listens there already.
    pub fn listen(&self, address: &str) -> MemoryListener {
        let (sender, incoming) = mpsc::unbounded_channel();
        let mut state = self.inner.state.lock();
        let state_here = state.address_state(&address.into());
        let taken = state_here.listener.as_ref().is_some_and(|listener| !listener.is_closed());
        assert!(!taken, "somebody listens at {address} already");
        state_here.listener = Some(sender);
        MemoryListener { incoming, address: address.into(), _network: self.inner.clone() }
    }

    /// From now on a dial of `name` tries these addresses, in this order; each is written
    /// `host:port`, as the name is.
    pub fn name(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|&address| address.into()).collect();
        self.inner.state.lock().names.insert(name.into(), addresses);
    }

    /// The dialling side of this network.
    pub fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.clone())
    }

    /// `true`: from now on dials hang for ever, as when packets are dropped on the way. `false`:
    /// they fare normally again.
    ///
    /// A dial that already hangs stays so, until its future is dropped.
    pub fn black_hole(&self, on: bool) {
        self.each_dial_faults(|dial_faults| dial_faults.black_hole = on);
    }

    /// From now on a dial takes this long to succeed or to be refused.
    pub fn dial_takes(&self, time: Duration) {
        self.each_dial_faults(|dial_faults| dial_faults.dial_takes = time);
    }

    /// When each dial began, counted from the network's creation, in order; refused and swallowed
    /// ones included.
    pub fn dials(&self) -> Vec<Duration> {
        let mut dials = Vec::new();
        self.each_address(|state_here| dials.extend_from_slice(&state_here.dials));
        dials.sort_unstable();
        dials
    }

    /// How many connections are open now, those not yet accepted included.
    pub fn connections(&self) -> usize {
        let mut count = 0;
        self.each_pipe(|_| count += 1);
        count
    }

    /// Closes every connection: both ends read what was under way, then their end.
    pub fn cut_all(&self) {
        self.each_pipe(Pipe::cut);
    }

    /// Resets every connection: both ends fail with `ConnectionReset`, and what was under way is
    /// lost.
    pub fn reset_all(&self) {
        self.each_pipe(Pipe::reset);
    }

    /// Freezes every connection: no byte arrives either way, and nobody hears of it.
    pub fn freeze_all(&self) {
        self.each_pipe(|pipe| stall_both(pipe, true));
    }

    /// Undoes `freeze_all` and `stall_all`: what was written meanwhile arrives now.
    pub fn thaw_all(&self) {
        self.each_pipe(|pipe| stall_both(pipe, false));
    }

    /// Freezes one direction of every connection.
    pub fn stall_all(&self, direction: Direction) {
        self.each_pipe(|pipe| pipe.stall(direction, true));
    }

    fn dial(&self, address: Arc<str>) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let dial_faults = {
                let mut state = inner.state.lock();
                let state_here = state.address_state(&address);
                state_here.dials.push(inner.created.elapsed());
                state_here.dial_faults
            };
            if dial_faults.black_hole {
                std::future::pending::<()>().await;
            }
            if !dial_faults.dial_takes.is_zero() {
                tokio::time::sleep(dial_faults.dial_takes).await;
            }
            let (pipe, client, server) = Pipe::new();
            let mut state = inner.state.lock();
            let state_here = state.address_state(&address);
            match state_here.listener.as_ref().map(|listener| listener.send(server)) {
                Some(Ok(())) => {
                    state_here.pipes.retain(Pipe::is_open);
                    state_here.pipes.push(pipe);
                    Ok(Box::new(client) as BoxedIo)
                }
                _ => Err(DialFailure {
                    step: DialStep::Connect,
                    reason: format!("cannot connect to {address}: connection refused"),
                    timed_out: false,
                    refused: true,
                }),
            }
        })
    }

    fn each_address(&self, mut act: impl FnMut(&mut AddressState)) {
        let mut state = self.inner.state.lock();
        let chosen = |address: &Arc<str>| self.only.as_ref().is_none_or(|only| only == address);
        for (_, state_here) in state.addresses.iter_mut().filter(|(address, _)| chosen(address)) {
            state_here.pipes.retain(Pipe::is_open);
            act(state_here);
        }
    }

    fn each_pipe(&self, mut act: impl FnMut(&Pipe)) {
        self.each_address(|state_here| state_here.pipes.iter().for_each(&mut act));
    }

    fn each_dial_faults(&self, mut change: impl FnMut(&mut DialFaults)) {
        let mut state = self.inner.state.lock();
        match &self.only {
            Some(only) => change(&mut state.address_state(only).dial_faults),
            None => {
                change(&mut state.dial_faults);
                state
                    .addresses
                    .values_mut()
                    .for_each(|state_here| change(&mut state_here.dial_faults));
            }
        }
    }
}

fn stall_both(pipe: &Pipe, stalled: bool) {
    pipe.stall(Direction::ToServer, stalled);
    pipe.stall(Direction::ToClient, stalled);
}

fn address_of(endpoint: &Address) -> Arc<str> {
    format!("{}:{}", endpoint.host(), endpoint.port()).into()
}

impl Connector for MemoryNetwork {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        self.dial(address_of(request.address()))
    }

    fn candidates(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<Vec<Candidate>, DialFailure>> {
        let named = self.inner.state.lock().names.get(&address_of(request.address())).cloned();
        let candidates = match named {
            None => vec![Candidate::unnamed(self.connect(request))],
            Some(addresses) => {
                let one = |address: Arc<str>| Candidate::new(&*address, self.dial(address.clone()));
                addresses.into_iter().map(one).collect()
            }
        };
        Box::pin(std::future::ready(Ok(candidates)))
    }
}

/// The listening end of a [`MemoryNetwork`]'s address. Dropping it refuses new dials and closes
/// those not yet accepted.
#[derive(Debug)]
pub struct MemoryListener {
    incoming: mpsc::UnboundedReceiver<MemoryStream>,
    address: Arc<str>,
    /// Keeps the sending side alive.
    _network: Arc<Inner>,
}

impl MemoryListener {
    /// Waits for the next connection. A dial succeeds before it is accepted, as with a real
    /// backlog.
    pub async fn accept(&mut self) -> MemoryStream {
        match self.incoming.recv().await {
            Some(stream) => stream,
            None => std::future::pending().await,
        }
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
