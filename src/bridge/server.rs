//! What holds for all connections of a bridge.

use super::{limits::BridgeLimits, reflection::Reflection, unread::Room};
use crate::client::SupervisedChannel;
use http::Uri;
use std::{fmt, sync::Arc};

/// An HTTP/2 server side whose service is a supervised channel: whatever calls come on its
/// connections are made on the channel, with its waits, retries and resends, and answered with what
/// the server answered. It keeps the channel's supervisor alive.
///
/// Everything on a connection is the server's: no method is answered here. Metadata, deadlines,
/// messages, compressed or not, cancellation, flow control, trailers and statuses with their
/// details cross it unchanged. Fields whose names begin with `x-tonic-supervisor-` are taken out of
/// requests, as are those about the connection; `user-agent` gets this crate's name behind its own.
///
/// Where neither descriptors nor `methods:` in the configuration say what a method is, its calls
/// are of kind [`Auto`](crate::CallKind::Auto): a request whose one message and end come within
/// 10 ms is retried until its answer begins. Clones share everything.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use tonic_supervisor::{Bridge, Config, Supervisor};
/// let supervisor = Supervisor::spawn(Config::default());
/// let bridge = Bridge::new(supervisor.channel());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:50052").await?;
/// loop {
///     let (client, _) = listener.accept().await?;
///     let bridge = bridge.clone();
///     tokio::spawn(async move { bridge.serve(client).await });
/// }
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a bridge does nothing until it serves a connection"]
pub struct Bridge {
    pub(super) channel: SupervisedChannel,
    pub(super) limits: BridgeLimits,
    pub(super) idempotent: bool,
    pub(super) tell: bool,
    pub(super) room: Arc<Room>,
    reflection: Option<Arc<Reflection>>,
}

impl Bridge {
    /// Over this channel.
    pub fn new(channel: SupervisedChannel) -> Self {
        let limits = BridgeLimits::default();
        Self {
            channel,
            limits,
            idempotent: true,
            tell: false,
            room: Arc::new(Room::new(limits.answer_bytes)),
            reflection: None,
        }
    }

    /// What clients may cost.
    pub fn limits(self, limits: BridgeLimits) -> Self {
        Self { limits, room: Arc::new(Room::new(limits.answer_bytes)), ..self }
    }

    /// Whether running a call twice does no harm, where `methods:` in the configuration does not
    /// say. Default: true, as for all calls of this crate. `false` is for clients whose owners
    /// never said so: a call that the server may have acted on is not sent again, and a log line
    /// says once per method what that costs.
    pub fn idempotent(self, idempotent: bool) -> Self {
        Self { idempotent, ..self }
    }

    /// Whether answers tell in trailers what became of their calls: `x-tonic-supervisor-origin`,
    /// `peer` or `local`, who said the status; `x-tonic-supervisor-attempts`, how many attempts
    /// were made; `x-tonic-supervisor-waited-ms`, how long the call was not on the wire. Calls that
    /// were never admitted have none. Default: false.
    pub fn tell(self, tell: bool) -> Self {
        Self { tell, ..self }
    }

    /// Whether the server is asked what the methods of a service are, by `grpc.reflection.v1` or
    /// `v1alpha`, at the first call of a service that neither descriptors nor the configuration
    /// describe. It is asked in the background: until it has answered, calls are of kind `auto`.
    /// What is not known and not asked again in vain within 30 s. Default: false.
    pub fn reflect(self, reflect: bool) -> Self {
        Self { reflection: reflect.then(Arc::default), ..self }
    }

    /// A call of the service in this path begins.
    pub(super) fn note_service(&self, uri: &Uri) {
        if let (Some(reflection), Some(path)) = (&self.reflection, uri.path_and_query()) {
            reflection.note(&self.channel, path);
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("channel", &self.channel)
            .field("limits", &self.limits)
            .field("idempotent", &self.idempotent)
            .field("tell", &self.tell)
            .finish_non_exhaustive()
    }
}
