//! One dial: from nothing to a link whose peer has sent its SETTINGS, within `connect_timeout`.

use super::{
    connector::{BoxedIo, Connector, Target},
    driver::{Driver, Notes},
    link::{Link, LinkWatcher},
    tap::{Tap, Tapped},
};
use crate::model::{DialFailure, DialStep, Incarnation, LinkEnd};
use crate::policy::Liveness;
use bytes::Bytes;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// As hyper has them: 2 MiB a stream, 5 MiB a connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// The largest block of response headers taken.
const MAX_HEADER_LIST: u32 = 16 << 10;

/// What to dial, and how the link shall live.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) incarnation: Incarnation,
    pub(crate) timeout: Duration,
    pub(crate) keepalive: Option<Liveness>,
    pub(crate) window: usize,
}

/// A link that is up, and the driver that keeps it so: spawn it at once.
pub(crate) struct Dialled {
    pub(crate) link: Arc<Link>,
    pub(crate) driver: Driver,
}

impl Dial {
    /// Dials. Cancel safe: dropped, it leaves nothing behind.
    pub(crate) async fn run(
        self,
        connector: Arc<dyn Connector>,
        watcher: Arc<dyn LinkWatcher>,
        notes: Notes,
    ) -> Result<Dialled, DialFailure> {
        let mut step = DialStep::Connect;
        let dialling = async {
            let io = connector.connect(&self.target).await?;
            step = DialStep::Handshake;
            self.handshake(io, watcher, notes).await
        };
        match tokio::time::timeout(self.timeout, dialling).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(step)),
        }
    }

    async fn handshake(
        &self,
        io: BoxedIo,
        watcher: Arc<dyn LinkWatcher>,
        notes: Notes,
    ) -> Result<Dialled, DialFailure> {
        let tap = Arc::new(Tap::new());
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            // A storm of cancelled calls must not make h2 give the connection up.
            .max_local_error_reset_streams(None)
            .max_concurrent_reset_streams(1_024)
            // Nor may a burst of small answers.
            .data_frame_budget(1 << 30)
            .handshake::<_, Bytes>(Tapped::new(io, tap.clone()))
            .await
            .map_err(|error| self.refused(&error.to_string()))?;
        let link = Arc::new(Link::new(self.incarnation, sender, self.window, watcher));
        let mut driver = Driver::new(connection, tap, link.clone(), self.keepalive, notes);
        let settled = poll_fn(|cx| match Pin::new(&mut driver).poll(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending if driver.settings_seen() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        match settled.await {
            Ok(()) => Ok(Dialled { link, driver }),
            Err(end) => Err(self.ended(&end)),
        }
    }

    fn ended(&self, end: &LinkEnd) -> DialFailure {
        self.refused(&format!("{end}, before its HTTP/2 SETTINGS"))
    }

    fn refused(&self, reason: &str) -> DialFailure {
        let Target { host, port, .. } = &self.target;
        DialFailure {
            step: DialStep::Handshake,
            reason: format!("cannot speak HTTP/2 with {host}:{port}: {reason}"),
            timed_out: false,
        }
    }

    fn timed_out(&self, step: DialStep) -> DialFailure {
        let Target { host, port, .. } = &self.target;
        let missing = match step {
            DialStep::Handshake => "connected, but the peer sent no HTTP/2 SETTINGS",
            DialStep::Resolve | DialStep::Connect => "not connected",
        };
        let timeout = self.timeout.as_secs_f64();
        DialFailure {
            step,
            reason: format!("cannot dial {host}:{port}: {missing} within connect_timeout ({timeout} s)"),
            timed_out: true,
        }
    }
}
