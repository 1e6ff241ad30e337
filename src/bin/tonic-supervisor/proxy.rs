//! `proxy`: a supervised channel for clients in any language, which change one address. Everything
//! on its port is the server's. Drains with a GOAWAY on SIGTERM and Ctrl-C, and tells systemd how
//! it is.

mod guard;
mod listen;

use crate::{
    CliError,
    admin::AdminArguments,
    listening::{self, Acceptor, Limits},
    signals::Signals,
    stdout::Stdout,
    tls::Tls,
};
use arc_swap::ArcSwap;
use futures::StreamExt as _;
use listen::{ListenAddress, Listening};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime, sync::watch, task::JoinSet, time};
use tonic_supervisor::{Bridge, Config, Supervisor};

pub(crate) const HELP: &str = "\
The server is the one of --config, overruled by the environment (TONIC_SUPERVISOR_...). A client \
changes the address it connects to, and turns its own retries off: they would multiply with those \
made here.

Whatever nobody describes is retried until its answer begins. What the server may have acted on is \
not repeated unless the configuration says `idempotent: true` for its method: a proxy speaks for \
code whose owner never said so.

Exit codes: 0 it was asked to end and has, 1 it failed, 2 wrong usage, 3 the configuration is not \
valid.";

/// How long calls in flight may take once it drains.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArguments {
    /// Where clients connect: an address, or a Unix socket that only this user may use.
    #[arg(long, value_name = "HOST:PORT|unix:PATH")]
    listen: ListenAddress,
    /// What the server's methods are: a set of descriptors, as `protoc --descriptor_set_out
    /// --include_imports` or `buf build -o` writes it.
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// Ask the server's reflection what the methods of a service are, in the background, at its
    /// first call.
    #[arg(long)]
    reflect: bool,
    /// Tell in trailers who said a call's status (x-tonic-supervisor-origin: peer or local), after
    /// how many attempts (-attempts), and how long it was not on the wire (-waited-ms).
    #[arg(long)]
    tell: bool,
    /// Serve over TLS with this certificate chain, in PEM; grpc.tls is for the server behind.
    #[arg(long, value_name = "FILE", requires = "listen_key")]
    listen_certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "listen_certificate")]
    listen_key: Option<PathBuf>,
    /// Demand client certificates of this authority, in PEM.
    #[arg(long, value_name = "FILE", requires = "listen_certificate")]
    listen_ca: Option<PathBuf>,
    /// How many bytes the head of a request may have, as HTTP/2 counts them.
    #[arg(long, default_value_t = 16_384)]
    #[arg(value_parser = clap::value_parser!(u32).range(1_024..=8_388_608))]
    max_header_bytes: u32,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    admin: AdminArguments,
}

/// Serves until a signal ends it.
pub(crate) fn run(
    arguments: &ProxyArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), CliError> {
    let mut builder = Config::builder().environment();
    if let Some(file) = config {
        builder = builder.file(file);
    }
    let config = builder.build().map_err(|error| CliError::Config(error.to_string()))?;
    let (certificate, key) = (arguments.listen_certificate.as_deref(), &arguments.listen_key);
    if certificate.is_some() && arguments.listen.is_unix() {
        return Err(CliError::Usage(
            "a Unix socket (--listen) speaks no TLS: leave out --listen-certificate, --listen-key \
             and --listen-ca, or listen on HOST:PORT"
                .into(),
        ));
    }
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(Tls::of_files(certificate, key, arguments.listen_ca.as_deref())?)
        }
        _ => None,
    };
    let descriptors = arguments.descriptors.as_deref().map(|path| {
        let error = format!("cannot read {}", path.display());
        fs::read(path).map_err(CliError::failed(&error)).map(|set| (path, set))
    });
    let descriptors = descriptors.transpose()?;
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?
        .block_on(serve(arguments, config, tls, descriptors, json))
}

async fn serve(
    arguments: &ProxyArguments,
    config: Config,
    tls: Option<Tls>,
    descriptors: Option<(&Path, Vec<u8>)>,
    json: bool,
) -> Result<(), CliError> {
    let _admin = arguments.admin.start().await?;
    let Listening { listener, place, socket } = arguments.listen.listen().await?;
    let demands = tls.as_ref().is_some_and(Tls::asks_clients);
    guard::check(&config, &place, demands)?;
    let over_tls = tls.is_some();
    // HTTP/1, too: who speaks it is told in it what this port is.
    let tls = tls.map(|tls| tls.acceptor(false, &["h2", "http/1.1"])).transpose()?;
    let mut signals = Signals::new()?;
    let target = config.target().to_string();
    // Clients that read nothing shall not stop the others: what they may hold is for the bridge.
    let mut builder = Supervisor::builder(config).unread_answers(usize::MAX);
    if let Some((path, set)) = descriptors {
        let said = |error| CliError::Failed(format!("{}: {error}", path.display()));
        builder = builder.descriptor_set(&set).map_err(said)?;
    }
    let supervisor = builder.spawn();
    let bridge = Bridge::new(supervisor.channel())
        .limits(arguments.limits.bridge().header_bytes(arguments.max_header_bytes))
        .idempotent(false)
        .reflect(arguments.reflect)
        .tell(arguments.tell);
    let acceptor = Acceptor {
        tls: tls.map(|tls| Arc::new(ArcSwap::from_pointee(tls))),
        handshake: arguments.limits.handshake(),
        connections: arguments.limits.connections(),
        about: Box::new(drop),
    };
    let line = match json {
        true => {
            let address = place.to_string();
            json!({ "kind": "serving", "address": address, "tls": over_tls, "target": target })
                .to_string()
        }
        false => {
            let tls = if over_tls { " over TLS" } else { "" };
            format!("passes calls on {place}{tls} on to {target}")
        }
    };
    let mut connections = Box::pin(acceptor.open(listener));
    Stdout::new().line(&line);
    listening::ready(&place);
    let watchdog = tokio::spawn(listening::live());

    let (drain, draining) = watch::channel(false);
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Some(Ok(client)) = connections.next() => {
                let (bridge, draining) = (bridge.clone(), draining.clone());
                clients.spawn(async move { serve_one(bridge, client, draining).await });
            }
            Some(_) = clients.join_next() => {}
            _ = signals.next() => break,
        }
    }
    listening::stopping();
    drain.send_replace(true);
    // Who comes now hears at once that nobody listens.
    drop((connections, socket));
    let ended = async { while clients.join_next().await.is_some() {} };
    let _ = time::timeout(DRAIN, ended).await;
    clients.shutdown().await;
    supervisor.shutdown(Duration::ZERO).await;
    watchdog.abort();
    Ok(())
}

/// One client's connection; how it ended is that client's business.
async fn serve_one<I>(bridge: Bridge, client: I, mut draining: watch::Receiver<bool>)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let drain = async { drop(draining.wait_for(|draining| *draining).await) };
    if let Err(error) = bridge.serve_until(client, drain).await {
        tracing::debug!(target: "tonic_supervisor", %error, "a client's connection has ended");
    }
}
