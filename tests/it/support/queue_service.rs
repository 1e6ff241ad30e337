//! The real service of the agent queue over its store in memory, in one process: each client on a
//! network of its own, so that one can be cut off alone. Time is tokio's, the service's clock too.

use crate::support::{ADDRESS, config, supervise};
use futures::stream::unfold;
use parking_lot::Mutex;
use std::{
    cell::OnceCell,
    collections::HashMap,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinHandle,
    time::Instant,
};
use tonic::transport::{Server, server::Connected};
use tonic_supervisor::{
    agent_queue::{
        PrivateAgentTasksQueue,
        agent_queue_server::AgentQueueServer,
        server::{MemoryStore, Service, Settings},
    },
    testing::{MemoryNetwork, MemoryStream},
};

/// One service, and a network to it for each client.
pub(crate) struct QueueService {
    service: Service<MemoryStore>,
    networks: Mutex<HashMap<&'static str, Served>>,
}

struct Served {
    network: MemoryNetwork,
    serving: Option<JoinHandle<()>>,
}

/// How long a claim holds.
pub(crate) fn lease() -> Duration {
    Settings::default().lease()
}

impl QueueService {
    pub(crate) async fn start() -> Self {
        // Claims that are lost by mishap are no reason to fail a task here.
        let settings = Settings::default().with_max_claims(1_000);
        Self {
            service: Service::with_clock(MemoryStore::new(settings), millis),
            networks: Mutex::default(),
        }
    }

    /// A client with all defaults, on the network of this name.
    pub(crate) fn client(&self, name: &'static str) -> PrivateAgentTasksQueue {
        let network = self.network(name);
        PrivateAgentTasksQueue::over(supervise(&network, config()))
    }

    /// The network of this name, with the service at its end.
    pub(crate) fn network(&self, name: &'static str) -> MemoryNetwork {
        if let Some(served) = self.networks.lock().get(name) {
            return served.network.clone();
        }
        let network = MemoryNetwork::new();
        self.networks.lock().insert(name, Served { network: network.clone(), serving: None });
        self.resume(name);
        network
    }

    /// The service is gone from this network, as by a crash of a proxy: its connections are reset,
    /// and dials refused.
    pub(crate) async fn stop(&self, name: &'static str) {
        let serving = self.networks.lock().get_mut(name).and_then(|served| served.serving.take());
        if let Some(serving) = serving {
            serving.abort();
            serving.await.unwrap_or_default();
        }
        self.network(name).reset_all();
    }

    /// It is there again.
    pub(crate) fn resume(&self, name: &'static str) {
        let mut networks = self.networks.lock();
        let served = networks.get_mut(name).expect("a network in use");
        let incoming = unfold(served.network.listen(ADDRESS), |mut listener| async move {
            let stream = listener.accept().await;
            Some((Ok::<_, io::Error>(ServedStream(stream)), listener))
        });
        let serving = Server::builder().add_service(AgentQueueServer::new(self.service.clone()));
        served.serving = Some(tokio::spawn(async move {
            serving.serve_with_incoming(incoming).await.expect("it serves")
        }));
    }
}

impl Drop for QueueService {
    fn drop(&mut self) {
        self.networks
            .get_mut()
            .values_mut()
            .filter_map(|served| served.serving.take())
            .for_each(|serving| serving.abort());
    }
}

/// The wall clock, which is tokio's clock: every test has a thread of its own.
fn millis() -> i64 {
    thread_local!(static BEGAN: OnceCell<Instant> = const { OnceCell::new() });
    BEGAN.with(|began| {
        1_700_000_000_000 + began.get_or_init(Instant::now).elapsed().as_millis() as i64
    })
}

/// A stream of the network, as tonic's server wants it.
struct ServedStream(MemoryStream);

impl Connected for ServedStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for ServedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
