//! `serve`: the agent queue's small server, which keeps every effect in a file. Drains with a GOAWAY on SIGTERM and Ctrl-C.

use crate::{Trouble, terminal::Terminal, tls::Tls};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    task, time,
};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_supervisor::agent_queue::{agent_queue_server::AgentQueueServer, server::Service};

/// How long a claim holds before its task is handed out again.
const LEASE: Duration = Duration::from_secs(60);
/// How long calls in flight may take once it drains.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArguments {
    /// The address to serve on.
    #[arg(long, default_value = "127.0.0.1:50051")]
    addr: SocketAddr,
    /// The file that keeps every effect; made if it is not there.
    #[arg(long, default_value = "agent-queue.ledger")]
    ledger: PathBuf,
}

/// Serves until it is told to stop; over TLS where `config` says so.
pub(crate) fn run(arguments: &ServeArguments, config: Option<&Path>, json: bool) -> Result<(), Trouble> {
    let tls = Tls::for_a_server(config)?;
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Trouble::failed("cannot start the runtime"))?
        .block_on(serve(arguments, tls, json))
}

async fn serve(arguments: &ServeArguments, tls: Option<Tls>, json: bool) -> Result<(), Trouble> {
    let trouble = "cannot listen for signals";
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::failed(trouble))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Trouble::failed(trouble))?;
    let trouble = format!("cannot listen on {}", arguments.addr);
    let listener = TcpListener::bind(arguments.addr).await.map_err(Trouble::failed(&trouble))?;
    let address = listener.local_addr().map_err(Trouble::failed(&trouble))?;
    let ledger = arguments.ledger.clone();
    let service = task::spawn_blocking(move || Service::open(&ledger, LEASE))
        .await
        .map_err(Trouble::failed("cannot open the ledger"))?
        .map_err(|error| Trouble::Failed(error.to_string()))?;
    let mut builder = Server::builder();
    if let Some(tls) = &tls {
        builder = builder.tls_config(tls.server()).map_err(Trouble::failed("cannot serve over TLS"))?;
    }
    let line = match json {
        true => json!({ "kind": "serving", "address": address.to_string(), "tls": tls.is_some() }).to_string(),
        false => format!("serves the agent queue on {address}{}", if tls.is_some() { " over TLS" } else { "" }),
    };
    Terminal::new().line(&line);

    let (draining, drain) = tokio::sync::oneshot::channel::<()>();
    let queue = service.clone();
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        queue.drain();
        drop(draining);
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = builder.add_service(AgentQueueServer::new(service)).serve_with_incoming_shutdown(incoming, told);
    let overdue = async {
        let _ = drain.await;
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended.map_err(Trouble::failed("the server failed")),
        () = overdue => Ok(()),
    }
}
