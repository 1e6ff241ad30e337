//! What a connector is asked to open, and how it says what its dial is doing.
//!
//! It is a struct of its own, made by functions, so that a later version can tell connectors more.

use parking_lot::Mutex;
use std::{fmt, sync::Arc, time::Duration};

/// Where a server is: a host and a port, as they are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: Arc<str>,
    port: u16,
}

impl Endpoint {
    /// `host` is a name or an address; where there are no host and port, all of the target, such as
    /// `unix:/run/queue.sock`, and `port` is 0.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// A name or an address; where the target has no host and port, all of it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 where the target has none.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.host, self.port) {
            (host, 0) => f.write_str(host),
            (host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Says what a dial is doing at the moment when it is asked.
type Describe = dyn Fn() -> Option<String> + Send + Sync;

/// What a [`Connector`](super::Connector) is asked to open. Clones belong to the same dial.
///
/// ```
/// use tonic_supervisor::transport::{ConnectRequest, Endpoint};
///
/// let request = ConnectRequest::new(Endpoint::new("queue", 50051));
/// request.report_progress(|| Some("the tunnel is being built".to_owned()));
/// assert_eq!(request.progress().as_deref(), Some("the tunnel is being built"));
/// ```
#[derive(Clone)]
pub struct ConnectRequest {
    endpoint: Endpoint,
    user_timeout: Option<Duration>,
    progress: Arc<Mutex<Option<Arc<Describe>>>>,
}

impl ConnectRequest {
    /// A dial of `endpoint`, to call a connector in a test or from another connector.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, user_timeout: None, progress: Arc::default() }
    }

    /// The same with [`user_timeout`](Self::user_timeout).
    #[must_use]
    pub fn with_user_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// What to dial.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
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
        let former = self.progress.lock().replace(Arc::new(describe));
        // What it holds is other people's, too: it is not dropped under the lock.
        drop(former);
    }

    /// What the dial is doing now, as the connector describes it; none where it does not.
    pub fn progress(&self) -> Option<String> {
        // Other people's code, and it may report: it does not run under the lock.
        let describe = self.progress.lock().clone();
        describe.and_then(|describe| describe())
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("endpoint", &self.endpoint)
            .field("user_timeout", &self.user_timeout)
            .finish_non_exhaustive()
    }
}
