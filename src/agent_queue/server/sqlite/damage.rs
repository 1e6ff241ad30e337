//! Whether the file is damaged: what calls came upon, and what is found by looking through it now
//! and then.
//!
//! A call sees only the pages it reads, and health's own question reads next to none.

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, InterruptHandle};
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};
use tonic::Status;

/// Between two looks through the whole file: at least this long, and so many times as long as the
/// last took.
const REST: (Duration, u32) = (Duration::from_secs(60), 50);

/// What is known to be damaged. Clones share it. It does not heal while the file is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(Arc<Mutex<Option<String>>>);

impl Damage {
    /// An error that a call came upon.
    pub(super) fn note(&self, error: &rusqlite::Error) {
        if matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ) {
            self.found(&error.to_string());
        }
    }

    fn found(&self, what: &str) {
        let mut known = self.0.lock();
        if known.is_none() {
            log_line!(
                error,
                what,
                "the database is damaged: stop the server and go back to a copy"
            );
            *known = Some(what.to_owned());
        }
    }

    /// UNAVAILABLE where something is damaged.
    pub(super) fn check(&self) -> Result<(), Status> {
        match &*self.0.lock() {
            Some(what) => Err(Status::unavailable(format!("the database is damaged: {what}"))),
            None => Ok(()),
        }
    }
}

/// Looks through the file, on a thread and a connection of its own. Dropped, it stops at once.
pub(super) struct Inspector {
    stop: Option<mpsc::Sender<()>>,
    looks: InterruptHandle,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inspector")
    }
}

impl Inspector {
    /// Looks at once for the first time.
    pub(super) fn start(connection: Connection, damage: Damage) -> io::Result<Self> {
        let looks = connection.get_interrupt_handle();
        let (stop, stopped) = mpsc::channel::<()>();
        let run = move || {
            loop {
                let begun = crate::clock::now();
                look_through(&connection, &damage);
                let rest = REST.0.max(begun.elapsed() * REST.1);
                if stopped.recv_timeout(rest) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("sqlite-inspector".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), looks, thread })
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        self.stop = None;
        // One that is about to begin its look does not hear the first word.
        while !self.thread.is_finished() {
            self.looks.interrupt();
            thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Whatever else goes wrong, a call will say.
fn look_through(connection: &Connection, damage: &Damage) {
    let looked = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match looked {
        Ok(word) if word == "ok" => {}
        Ok(what) => damage.found(&what),
        Err(error) => damage.note(&error),
    }
}
