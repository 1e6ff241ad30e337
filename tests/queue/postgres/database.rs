//! A database for one test, in the PostgreSQL that `AGENT_QUEUE_POSTGRES` names.

use std::{
    env, process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};
use tokio_postgres::{Client, Config, NoTls};

/// A new database. It is left behind: `.ci/postgres` throws its PostgreSQL away.
pub(crate) struct Database {
    /// Names it, with the password.
    pub(crate) dsn: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// One that is made with these words.
    pub(crate) fn with(words: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("agent_queue_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let text = format!("CREATE DATABASE {name} {words}");
        // On a thread of its own, because it may be called within a runtime.
        let made = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(command(text));
        });
        made.join().expect("made");
        let server = server();
        let (path, _) = server.rsplit_once('/').expect("a URL that ends with a database");
        Self { dsn: format!("{path}/{name}") }
    }

    /// A connection of one's own.
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.dsn).await
    }
}

/// The server's own database.
fn server() -> String {
    env::var("AGENT_QUEUE_POSTGRES")
        .expect("AGENT_QUEUE_POSTGRES is to name a PostgreSQL: run this in .ci/postgres")
}

async fn connect(dsn: &str) -> Client {
    let config: Config = dsn.parse().expect("a DSN");
    let (client, connection) = config.connect(NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

/// Carries out a command of the server.
pub(crate) async fn command(text: String) {
    connect(&server()).await.batch_execute(&text).await.expect("carried out");
}
