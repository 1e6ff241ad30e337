//! `serve`: the agent queue's server. Drains with a GOAWAY on SIGTERM and Ctrl-C, reads its files
//! again on SIGHUP, and tells systemd how it is.

mod reload;

use crate::{
    CliError,
    address::Address,
    admin::AdminArguments,
    listening::{self, Acceptor, Limits, Listener},
    signals::Signals,
    stdout::Stdout,
    store::{StoreArgument, StoreSpec},
};
use reload::ReloadedFiles;
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::TcpListener, runtime, sync::watch, task, time};
use tonic::transport::Server;
use tonic_health::server::HealthReporter;
use tonic_supervisor::agent_queue::{
    DESCRIPTORS,
    agent_queue_server::AgentQueueServer,
    server::{
        Authenticated, Budget, Budgeted, MemoryStore, Metered, PostgresStore, Service, Settings,
        SqliteStore, Store,
    },
};

/// How long calls in flight may take once it drains.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the store's health is looked at.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
const DAY: u64 = 24 * 60 * 60;

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArguments {
    /// The address to serve on; of a name's addresses, the first that can be listened on.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    addr: Address,
    /// Where the queues are kept: `memory`, `sqlite:PATH` or `postgres:DSN`.
    #[arg(
        long,
        default_value = "sqlite:agent-queue.db",
        env = "AGENT_QUEUE_STORE",
        hide_env_values = true
    )]
    store: StoreArgument,
    /// How many seconds a claim holds before its task is handed out anew: 1 to 86400.
    #[arg(long, default_value_t = 60.0, value_parser = lease)]
    lease: f64,
    /// How many times a task may be claimed and lost; once more, and it is FAILED.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    max_claims: u32,
    /// How many days finished tasks and the names of requests are kept: at least 7.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(7..=36500))]
    keep_finished: u64,
    /// Who may do what: identities by token or certificate, a YAML file, read again on SIGHUP.
    /// Without it whoever connects may do everything.
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    admin: AdminArguments,
}

fn lease(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    if !(1.0..=86400.0).contains(&seconds) {
        return Err("must be 1 to 86400 seconds".into());
    }
    Ok(seconds)
}

/// Serves until a signal ends it; over TLS where `config` has it.
pub(crate) fn run(
    arguments: &ServeArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), CliError> {
    runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed("cannot start the runtime"))?
        .block_on(open(arguments, config, json))
}

async fn open(
    arguments: &ServeArguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(), CliError> {
    let _admin = arguments.admin.start().await?;
    // Before the signals have handlers: a lookup that takes its time can be ended by them.
    let error = format!("cannot listen on {}", arguments.addr);
    let listener = listen(&arguments.addr).await.map_err(CliError::failed(&error))?;
    let address = listener.local_addr().map_err(CliError::failed(&error))?;
    // Nothing else runs yet, so it may block.
    let files = ReloadedFiles::open(arguments.auth.as_deref(), config, address)?;
    let settings = Settings::default()
        .with_lease(Duration::from_secs_f64(arguments.lease))
        .with_max_claims(arguments.max_claims)
        .with_keep_finished(Duration::from_secs(arguments.keep_finished * DAY));
    let spec = arguments.store.read().map_err(CliError::Usage)?;
    match &spec {
        StoreSpec::Memory => {
            serve(arguments, MemoryStore::new(settings), &spec, files, listener, json).await
        }
        StoreSpec::Sqlite(path) => {
            let path = path.clone();
            let store = task::spawn_blocking(move || SqliteStore::open(&path, settings))
                .await
                .map_err(CliError::failed("cannot open the database"))?
                .map_err(|error| CliError::Failed(error.to_string()))?;
            serve(arguments, store, &spec, files, listener, json).await
        }
        StoreSpec::Postgres(dsn) => {
            let store = PostgresStore::open(dsn, settings)
                .await
                .map_err(|error| CliError::Failed(error.to_string()))?;
            serve(arguments, store, &spec, files, listener, json).await
        }
    }
}

async fn serve<S: Store>(
    arguments: &ServeArguments,
    store: S,
    spec: &StoreSpec,
    files: ReloadedFiles,
    listener: TcpListener,
    json: bool,
) -> Result<(), CliError> {
    let error = "cannot listen on the address";
    let address = listener.local_addr().map_err(CliError::failed(error))?;
    let mut signals = Signals::new()?;
    files.on_hangup()?;
    let limits = &arguments.limits;
    let budget = Budget::new(limits.answers());
    let authorizer = files.authorizer();
    let service = Service::new(Metered::new(store)).with_budget(budget.clone());
    let service = match authorizer.clone() {
        Some(authorizer) => service.with_authorizer(authorizer),
        None => service,
    };
    let (tls, auth) = (files.acceptor(), authorizer.is_some());
    let over_tls = tls.is_some();
    let acceptor = Acceptor {
        tls,
        handshake: limits.handshake(),
        connections: limits.connections(),
        about: {
            let budget = budget.clone();
            Box::new(move |names| budget.new_connection().with_certificate_names(names))
        },
    };
    // A client that has gone without a word: its watch would never end.
    let (keepalive_time, keepalive_timeout) = limits.keepalive();
    let mut builder = Server::builder()
        .http2_keepalive_interval(Some(keepalive_time))
        .http2_keepalive_timeout(Some(keepalive_timeout))
        .max_concurrent_streams(limits.streams());
    let error = "cannot read the service's descriptors";
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS);
        builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    let router = builder
        .add_service(Authenticated::new(
            Budgeted::new(AgentQueueServer::new(service.clone()), budget),
            authorizer,
        ))
        .add_service(health)
        .add_service(reflection().build_v1().map_err(CliError::failed(error))?)
        .add_service(reflection().build_v1alpha().map_err(CliError::failed(error))?);

    let (drain, mut draining) = watch::channel(false);
    let watched = tokio::spawn(watch_health(service.clone(), reporter, draining.clone()));
    let pruner = service.clone();
    tokio::spawn(async move { pruner.prune().await });
    let sampler = service.clone();
    tokio::spawn(async move { sampler.sample().await });
    let line = match json {
        true => json!({
            "kind": "serving", "address": address.to_string(), "tls": over_tls, "auth": auth,
            "store": spec.to_string(),
        })
        .to_string(),
        false => format!(
            "serves the agent queue on {address}{}, kept in {spec}{}",
            if over_tls { " over TLS" } else { "" },
            if auth { ", for those whom --auth names" } else { "" }
        ),
    };
    Stdout::new().line(&line);
    listening::ready(address);
    tokio::spawn(listening::live());

    let terminated = async move {
        signals.next().await;
        listening::stopping();
        drain.send_replace(true);
        // Says NOT_SERVING before the GOAWAY goes out.
        let _ = watched.await;
        service.drain();
    };
    let server =
        router.serve_with_incoming_shutdown(acceptor.open(Listener::Tcp(listener)), terminated);
    let overdue = async {
        let _ = draining.wait_for(|draining| *draining).await;
        time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended.map_err(CliError::failed("the server failed")),
        () = overdue => Ok(()),
    }
}

/// Listens on the first of the host's addresses that can be.
async fn listen(address: &Address) -> io::Result<TcpListener> {
    TcpListener::bind(&*address.lookup().await?).await
}

/// Tells `grpc.health.v1` how the store is, until the server drains.
async fn watch_health<S: Store>(
    service: Service<S>,
    reporter: HealthReporter,
    mut draining: watch::Receiver<bool>,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    const NAMES: [&str; 2] = ["", "agent_queue.v1.AgentQueue"];
    let set_status = async |status| {
        for name in NAMES {
            reporter.set_service_status(name, status).await;
        }
    };
    loop {
        set_status(if service.health().await.is_ok() { Serving } else { NotServing }).await;
        let stopped =
            time::timeout(HEALTH_EVERY, draining.wait_for(|draining| *draining)).await.is_ok();
        if stopped {
            return set_status(NotServing).await;
        }
    }
}
