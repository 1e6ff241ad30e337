//! Connections: where they lead, how long they may be silent, and how many there are.

use super::{
    OpenError, sql,
    tls::{self, Connector, TlsOptions},
};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts,
};
use std::time::Duration;
use tokio_postgres::{Config, config::SslMode};

/// How many connections a server has at most, beside the one that listens.
const CONNECTIONS: usize = 16;
/// How long connecting, or waiting for a connection, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a peer may leave what was sent to it unanswered by TCP.
const SILENCE: Duration = Duration::from_secs(20);

/// What a session is told. A server that dies with its machine must not keep its locks, and no
/// statement waits forever.
const SESSION: &str = "SET enable_seqscan = off; \
                       SET lock_timeout = '10s'; \
                       SET statement_timeout = '60s'; \
                       SET idle_in_transaction_session_timeout = '20s'; \
                       SET tcp_keepalives_idle = 10; \
                       SET tcp_keepalives_interval = 5; \
                       SET tcp_keepalives_count = 2; \
                       SET synchronous_commit = on; \
                       SET client_min_messages = error";

/// Where connections lead, and how they are made.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) config: Config,
    tls: Connector,
}

impl Database {
    /// How its connections are made.
    #[allow(clippy::clone_on_copy, reason = "without the feature `tls` it is one")]
    pub(super) fn tls(&self) -> Connector {
        self.tls.clone()
    }
}

/// Reads a DSN: a URL, or words as libpq takes them.
pub(super) fn database(dsn: &str) -> Result<Database, OpenError> {
    let (asked, rest) = TlsOptions::take(dsn);
    let mut config: Config = rest.parse()?;
    let (tls, encrypted) = tls::connector(&asked)?;
    config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(PATIENCE);
    }
    if config.get_application_name().is_none() {
        config.application_name(env!("CARGO_PKG_NAME"));
    }
    config
        .keepalives(true)
        .keepalives_idle(SILENCE / 2)
        .keepalives_interval(SILENCE / 4)
        .keepalives_retries(2);
    config.tcp_user_timeout(SILENCE);
    Ok(Database { config, tls })
}

/// Connections that are made when they are needed, and made anew when they broke.
pub(super) fn pool(Database { config, tls }: Database) -> Result<Pool, OpenError> {
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let prepare = Hook::async_fn(|client, _| {
        Box::pin(async move {
            let prepared = futures::future::try_join_all(
                sql::ALL.iter().map(|statement| client.prepare_cached(statement)),
            );
            client.batch_execute(SESSION).await.map_err(HookError::Backend)?;
            prepared.await.map(drop).map_err(HookError::Backend)
        })
    });
    Pool::builder(Manager::from_config(config, tls, manager))
        .max_size(CONNECTIONS)
        .timeouts(Timeouts {
            wait: Some(PATIENCE),
            create: Some(PATIENCE),
            recycle: Some(PATIENCE),
        })
        .runtime(Runtime::Tokio1)
        .post_create(prepare)
        .build()
        .map_err(|error| OpenError::refused(error.to_string()))
}
