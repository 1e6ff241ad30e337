//! A connector that panics on command, as do the streams it opens: to test how a supervisor handles
//! bugs in other people's connectors.

use crate::{
    model::DialFailure,
    transport::{BoxedIo, ConnectRequest, Connector},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread::panicking,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where a connector's code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicSpot {
    /// In `connect`, before there is a future.
    Connect,
    /// In the future that `connect` gave.
    Dialling,
    /// In what describes its progress, which is asked when `connect_timeout` has cut a dial off.
    Progress,
    /// When the stream is read from.
    Read,
    /// When it is written to.
    Write,
    /// When it is flushed.
    Flush,
    /// When it is shut down.
    Shutdown,
    /// When it is dropped.
    Drop,
}

impl PanicSpot {
    /// All of them.
    pub fn all() -> &'static [Self] {
        &[
            Self::Connect,
            Self::Dialling,
            Self::Progress,
            Self::Read,
            Self::Write,
            Self::Flush,
            Self::Shutdown,
            Self::Drop,
        ]
    }
}

/// Opens what another connector opens, and panics where it is armed. Clones are the same connector.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use tonic_supervisor::testing::{MemoryNetwork, PanicSpot, PanickingConnector};
/// # use tonic_supervisor::{Config, Supervisor};
/// let network = MemoryNetwork::new();
/// let connector = PanickingConnector::new(network.connector());
/// let supervisor =
///     Supervisor::builder(Config::default()).connector(Arc::new(connector.clone())).spawn();
/// connector.arm(PanicSpot::Read, 1); // the link is lost at its next read, and dialled again
/// ```
#[derive(Clone)]
pub struct PanickingConnector {
    inner: Arc<dyn Connector>,
    switch: Switch,
}

#[derive(Clone, Default)]
struct Switch(Arc<Mutex<Spots>>);

#[derive(Default)]
struct Spots {
    /// Panics to come.
    armed: Vec<(PanicSpot, u32)>,
    panics: Vec<PanicSpot>,
}

impl PanickingConnector {
    /// Opens what `inner` opens.
    pub fn new(inner: Arc<dyn Connector>) -> Self {
        Self { inner, switch: Switch::default() }
    }

    /// The next `times` times that code is run at `spot`, on any stream or dial, it panics.
    pub fn arm(&self, spot: PanicSpot, times: u32) {
        let mut spots = self.switch.0.lock();
        spots.armed.retain(|(armed, _)| *armed != spot);
        spots.armed.push((spot, times));
    }

    /// No more panics.
    pub fn disarm(&self) {
        self.switch.0.lock().armed.clear();
    }

    /// The panics so far, in order.
    pub fn panics(&self) -> Vec<PanicSpot> {
        self.switch.0.lock().panics.clone()
    }
}

impl Switch {
    fn panic_if_armed(&self, spot: PanicSpot) {
        let mut spots = self.0.lock();
        let Some((_, left)) =
            spots.armed.iter_mut().find(|(armed, left)| *armed == spot && *left > 0)
        else {
            return;
        };
        *left -= 1;
        spots.panics.push(spot);
        drop(spots);
        panic!("injected by a test into the connector at {spot:?}");
    }
}

impl Connector for PanickingConnector {
    fn connect(
        &self,
        request: &ConnectRequest,
    ) -> BoxFuture<'static, Result<BoxedIo, DialFailure>> {
        self.switch.panic_if_armed(PanicSpot::Connect);
        let inner = ConnectRequest::new(request.address().clone())
            .with_user_timeout(request.user_timeout());
        let (dialling, switch) = (self.inner.connect(&inner), self.switch.clone());
        request.report_progress(move || {
            switch.panic_if_armed(PanicSpot::Progress);
            inner.progress()
        });
        let switch = self.switch.clone();
        Box::pin(async move {
            switch.panic_if_armed(PanicSpot::Dialling);
            let io = dialling.await?;
            Ok(Box::new(PanickingIo { io, switch }) as BoxedIo)
        })
    }
}

struct PanickingIo {
    io: BoxedIo,
    switch: Switch,
}

impl AsyncRead for PanickingIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.switch.panic_if_armed(PanicSpot::Read);
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl AsyncWrite for PanickingIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.panic_if_armed(PanicSpot::Write);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.panic_if_armed(PanicSpot::Flush);
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.panic_if_armed(PanicSpot::Shutdown);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Drop for PanickingIo {
    fn drop(&mut self) {
        // A second panic during a first would end the process.
        if !panicking() {
            self.switch.panic_if_armed(PanicSpot::Drop);
        }
    }
}
