//! One dial: from nothing to a link whose peer has sent its SETTINGS, within `connect_timeout`.

use super::{
    connector::{BoxedIo, Connector, Target},
    driver::{Driver, Notes},
    limits::TAKEN_BY_H2,
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
/// The largest frame taken: an answer in HTTP/2's least, 16 KiB, is read piece by piece, at a system call or two each.
const MAX_FRAME: u32 = 128 << 10;

/// What tiny DATA frames that nobody has read yet may cost h2, counted as it does: 256 bytes a
/// frame, less its data. A peer that sends more of them, 260,000 of a byte, loses the link. Frames
/// of 19 bytes or more never cost that much: the windows are full before. h2's queue doubles its
/// memory when it is full, and is not full yet with so many.
const UNREAD_TINY_FRAMES: usize = 260_000 * 256;

/// What to dial, and how the link shall live.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) incarnation: Incarnation,
    pub(crate) timeout: Duration,
    pub(crate) keepalive: Option<Liveness>,
    pub(crate) window: usize,
    pub(crate) max_header_bytes: usize,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<super::tls::Tls>>,
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
            #[cfg(feature = "tls")]
            if let Some(tls) = &self.tls {
                return self.dial_tls(&*connector, tls, watcher, notes, &mut step).await;
            }
            let io = connector.connect(&self.target).await?;
            step = DialStep::Handshake;
            self.handshake(io, watcher, notes).await
        };
        match tokio::time::timeout(self.timeout, dialling).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(step, connector.progress())),
        }
    }

    /// The files are read before anything is opened: without them there is nothing to say to a server.
    #[cfg(feature = "tls")]
    async fn dial_tls(
        &self,
        connector: &dyn Connector,
        tls: &super::tls::Tls,
        watcher: Arc<dyn LinkWatcher>,
        mut notes: Notes,
        step: &mut DialStep,
    ) -> Result<Dialled, DialFailure> {
        let failed = |reason: &str| DialFailure {
            step: DialStep::Tls,
            reason: format!("cannot speak TLS with {}: {reason}", self.target),
            timed_out: false,
        };
        let material = tls.material(&mut notes).await.map_err(|cause| failed(&cause))?;
        let io = connector.connect(&self.target).await?;
        *step = DialStep::Tls;
        let (io, verdict) = tls.secure(io, &material).await.map_err(|cause| failed(&cause))?;
        *step = DialStep::Handshake;
        // A server judges our certificate after its own part of the handshake is over (TLS 1.3).
        self.handshake(Box::new(io), watcher, notes).await.map_err(|failure| match verdict.get() {
            Some(cause) => failed(cause),
            None => failure,
        })
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
            .max_header_list_size(TAKEN_BY_H2)
            .max_frame_size(MAX_FRAME)
            // A storm of cancelled calls must not make h2 give the connection up.
            .max_local_error_reset_streams(None)
            .max_concurrent_reset_streams(1_024)
            // Nor may a burst of small answers.
            .data_frame_budget(UNREAD_TINY_FRAMES)
            .handshake::<_, Bytes>(Tapped::new(io, tap.clone()))
            .await
            .map_err(|error| self.refused(&error.to_string()))?;
        let link = Link::new(self.incarnation, sender, self.window, watcher);
        let link = Arc::new(link.with_header_limit(self.max_header_bytes));
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
        DialFailure {
            step: DialStep::Handshake,
            reason: format!("cannot speak HTTP/2 with {}: {reason}", self.target),
            timed_out: false,
        }
    }

    fn timed_out(&self, step: DialStep, progress: Option<String>) -> DialFailure {
        let missing = match step {
            DialStep::Handshake => "connected, but the peer sent no HTTP/2 SETTINGS",
            DialStep::Tls => "connected, but the TLS handshake was not finished",
            DialStep::Resolve | DialStep::Connect => "not connected",
        };
        let tried = progress.filter(|_| step == DialStep::Connect).map_or(String::new(), |tried| format!(": {tried}"));
        let (target, timeout) = (&self.target, self.timeout.as_secs_f64());
        DialFailure {
            step,
            reason: format!("cannot dial {target}: {missing} within connect_timeout ({timeout} s){tried}"),
            timed_out: true,
        }
    }
}
