//! What a connector is asked to open, and how it says what its dial is doing, and which steps it
//! takes.
//!
//! It is a struct of its own, made by functions, so that a later version can tell connectors more.

use crate::{
    clock,
    model::{Address, DialStep},
};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Says what a dial is doing at the moment when it is asked.
type Describe = dyn Fn() -> Option<String> + Send + Sync;

/// What a [`Connector`](super::Connector) is asked to open. Clones belong to the same dial.
///
/// ```
/// use tonic_supervisor::{Address, transport::ConnectRequest};
///
/// let request = ConnectRequest::new(Address::new("queue", 50051));
/// request.report_progress(|| Some("the tunnel is being built".to_owned()));
/// assert_eq!(request.progress().as_deref(), Some("the tunnel is being built"));
/// ```
#[derive(Clone)]
pub struct ConnectRequest {
    address: Address,
    user_timeout: Option<Duration>,
    progress: Arc<Mutex<Progress>>,
}

/// What the connector said of its dial.
#[derive(Default)]
struct Progress {
    describe: Option<Arc<Describe>>,
    /// Each step once, with when it began.
    steps: Vec<(DialStep, Instant)>,
}

impl ConnectRequest {
    /// A dial of `address`, to call a connector in a test or from another connector.
    pub fn new(address: Address) -> Self {
        Self { address, user_timeout: None, progress: Arc::default() }
    }

    /// The same with [`user_timeout`](Self::user_timeout).
    #[must_use]
    pub fn with_user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// What to dial.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// After this long without an acknowledgement of sent bytes the connection is dead (gRPC A18),
    /// where the system can say so; none where keepalive is off.
    pub fn user_timeout(&self) -> Option<Duration> {
        self.user_timeout
    }

    /// Gives what describes this dial while it looks for addresses, or connects to one: `describe`
    /// is called when `connect_timeout` cuts the dial off, and what it returns stands in the
    /// failure. It replaces what was given before. A panic of it is part of the failure's text. It
    /// must not hold a clone of this request, which would then never be freed.
    pub fn report_progress(&self, describe: impl Fn() -> Option<String> + Send + Sync + 'static) {
        let former = self.progress.lock().describe.replace(Arc::new(describe));
        // What it holds is other people's, too: it is not dropped under the lock.
        drop(former);
    }

    /// Says that this step begins now, for a connector that takes several: it looks a name up and
    /// then connects, say, or speaks TLS of its own. How long each took stands in the facts
    /// `LinkEstablished` and `DialFailed`; of a connector that says nothing all its time is
    /// `connect`. A step counts from when it was said first. Where
    /// [`candidates`](super::Connector::candidates) names addresses, their dials are timed without
    /// it.
    pub fn report_step(&self, step: DialStep) {
        let now = clock::now();
        let steps = &mut self.progress.lock().steps;
        if steps.iter().all(|(said, _)| *said != step) {
            steps.push((step, now));
        }
    }

    /// The steps that were reported, with when each began.
    pub(super) fn steps(&self) -> Vec<(DialStep, Instant)> {
        self.progress.lock().steps.clone()
    }

    /// What the dial is doing now, as the connector describes it; none where it does not.
    pub fn progress(&self) -> Option<String> {
        // Other people's code, and it may report: it does not run under the lock.
        let describe = self.progress.lock().describe.clone();
        describe.and_then(|describe| describe())
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("address", &self.address)
            .field("user_timeout", &self.user_timeout)
            .finish_non_exhaustive()
    }
}
