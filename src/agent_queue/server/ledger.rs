//! The ledger: an append-only file of effects, one JSON object per line.
//!
//! Its thread writes what has gathered and calls `fsync` once for all of it (group commit). One process holds the file at a time.

use super::Effect;
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, mpsc},
    thread,
};
use tokio::sync::oneshot;

/// A ledger open for writing. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct Ledger {
    entries: mpsc::Sender<Entry>,
    broken: Arc<OnceLock<LedgerError>>,
}

/// What a ledger cannot do.
#[derive(Clone, Debug)]
pub struct LedgerError(String);

/// Waits until everything appended so far is on disk.
#[derive(Debug)]
pub struct Durable {
    done: oneshot::Receiver<()>,
    broken: Arc<OnceLock<LedgerError>>,
}

#[derive(Debug)]
struct Entry {
    effect: Option<Effect>,
    done: oneshot::Sender<()>,
}

impl Ledger {
    /// Opens the ledger at `path` and reads back what it holds; makes it where there is none.
    ///
    /// Blocks while another process holds it. A torn last line, left by a crash, is cut off: its answer never went out.
    pub fn open(path: &Path) -> Result<(Self, Vec<Effect>), LedgerError> {
        let trouble = |error: io::Error| LedgerError::new(path, "cannot be opened", &error);
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(trouble)?;
        file.lock().map_err(trouble)?;
        let (effects, whole) = parse(path)?;
        file.set_len(whole).map_err(trouble)?;

        let (entries, inbox) = mpsc::channel();
        let broken = Arc::new(OnceLock::new());
        let ledger = Self { entries, broken: broken.clone() };
        let path = path.to_owned();
        let writer = move || {
            if let Err(error) = write(&mut file, &inbox) {
                let _ = broken.set(LedgerError::new(&path, "cannot be written", &error));
            }
        };
        thread::Builder::new()
            .name("ledger".into())
            .spawn(writer)
            .map_err(|error| LedgerError(format!("cannot start the ledger's thread: {error}")))?;
        Ok((ledger, effects))
    }

    /// Appends `effect`, if there is one. The answer waits for this and everything before it.
    ///
    /// Dropping the answer does not take the effect back.
    pub fn append(&self, effect: Option<Effect>) -> Durable {
        let (done, wait) = oneshot::channel();
        // Where the thread is gone, `done` goes with the entry, and `wait` says so.
        let _ = self.entries.send(Entry { effect, done });
        Durable { done: wait, broken: self.broken.clone() }
    }
}

impl Durable {
    /// Returns when it is on disk.
    pub async fn wait(self) -> Result<(), LedgerError> {
        let gone = || LedgerError("the ledger is closed".into());
        self.done.await.map_err(|_| self.broken.get().cloned().unwrap_or_else(gone))
    }
}

/// Reads a ledger without holding it. A torn last line is left out.
pub fn read(path: &Path) -> Result<Vec<Effect>, LedgerError> {
    Ok(parse(path)?.0)
}

/// The effects in the file, and the length of the whole lines.
fn parse(path: &Path) -> Result<(Vec<Effect>, u64), LedgerError> {
    let bytes = std::fs::read(path).map_err(|error| LedgerError::new(path, "cannot be read", &error))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut effects = Vec::new();
    for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let effect = serde_json::from_slice(line)
            .map_err(|error| LedgerError::new(path, &format!("is damaged in line {}", number + 1), &error))?;
        effects.push(effect);
    }
    Ok((effects, whole as u64))
}

/// Writes until the last handle is gone or a write fails.
fn write(file: &mut File, inbox: &mpsc::Receiver<Entry>) -> io::Result<()> {
    while let Ok(first) = inbox.recv() {
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        for entry in std::iter::once(first).chain(inbox.try_iter()) {
            if let Some(effect) = &entry.effect {
                serde_json::to_writer(&mut lines, effect)?;
                lines.push(b'\n');
            }
            waiting.push(entry.done);
        }
        if !lines.is_empty() {
            file.write_all(&lines)?;
            file.sync_data()?;
        }
        for done in waiting {
            // A caller that went away does not wait any more.
            let _ = done.send(());
        }
    }
    Ok(())
}

impl LedgerError {
    fn new(path: &Path, what: &str, error: &dyn fmt::Display) -> Self {
        Self(format!("the ledger {} {what}: {error}", PathBuf::from(path).display()))
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LedgerError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn queue(agent: &str) -> Effect {
        Effect::QueueCreated { agent_id: agent.into() }
    }

    #[tokio::test]
    async fn what_was_answered_is_read_back() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger");
        let (ledger, before) = Ledger::open(&path).expect("opened");
        assert!(before.is_empty());
        ledger.append(Some(queue("a"))).wait().await.expect("durable");
        ledger.append(None).wait().await.expect("durable");
        ledger.append(Some(queue("b"))).wait().await.expect("durable");
        assert_eq!(read(&path).expect("read"), [queue("a"), queue("b")]);
    }

    #[tokio::test]
    async fn a_torn_last_line_is_cut_off_and_the_next_effect_starts_a_new_one() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger");
        let whole = serde_json::to_string(&queue("a")).expect("json");
        fs::write(&path, format!("{whole}\n{}", &whole[..9])).expect("written");
        let (ledger, before) = Ledger::open(&path).expect("opened");
        assert_eq!(before, [queue("a")]);
        ledger.append(Some(queue("b"))).wait().await.expect("durable");
        assert_eq!(read(&path).expect("read"), [queue("a"), queue("b")]);
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger");
        let whole = serde_json::to_string(&queue("a")).expect("json");
        fs::write(&path, format!("{whole}\n{{\n{whole}\n")).expect("written");
        let error = Ledger::open(&path).expect_err("damaged").to_string();
        assert!(error.contains("damaged in line 2"), "{error}");
    }
}
