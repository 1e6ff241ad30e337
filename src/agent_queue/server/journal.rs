//! The journal of a [`MemoryStore`](super::MemoryStore): an append-only file of the requests that
//! changed something, one JSON object per line. Requests and not states are kept, because the same
//! requests in the same order give the same queues.
//!
//! Its thread writes what has gathered and calls `fsync` once for all of it (group commit). One
//! process holds the file at a time.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    thread,
};
use tokio::sync::oneshot;

/// A request that changed something. Carried out again, in order, requests give the same queues
/// again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[non_exhaustive]
pub struct Entry {
    /// When it was carried out, in milliseconds since 1970.
    pub at_ms: i64,
    /// What was asked: `create`, `submit`, `claim`, `renew`, `release`, `end` and so on; `expire`:
    /// a lease ended.
    pub operation: String,
    /// Whose queue.
    pub agent_id: String,
    /// The request's own name; of an update the task, of a batch its first name.
    pub name: String,
    /// The request itself: its protobuf encoding, in hexadecimal digits.
    pub request: String,
}

/// A journal open for writing. Clones write to the same file.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    lines: mpsc::Sender<Line>,
    broken: Arc<OnceLock<JournalError>>,
}

/// What a journal cannot do.
#[derive(Clone, Debug)]
pub struct JournalError(String);

/// Waits until everything appended so far is on disk.
#[derive(Debug)]
pub(super) struct Durable {
    done: oneshot::Receiver<()>,
    broken: Arc<OnceLock<JournalError>>,
}

#[derive(Debug)]
struct Line {
    entry: Option<Entry>,
    done: oneshot::Sender<()>,
}

impl Journal {
    /// Opens the journal at `path` and reads back what it holds; makes it where there is none.
    ///
    /// Blocks while another process holds it. A torn last line, left by a crash, is cut off: its
    /// answer never went out.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let trouble = |error: io::Error| JournalError::new(path, "cannot be opened", &error);
        let mut file =
            OpenOptions::new().create(true).append(true).read(true).open(path).map_err(trouble)?;
        file.lock().map_err(trouble)?;
        let (entries, whole) = parse(path)?;
        file.set_len(whole).map_err(trouble)?;

        let (lines, inbox) = mpsc::channel();
        let broken = Arc::new(OnceLock::new());
        let journal = Self { lines, broken: broken.clone() };
        let path = path.to_owned();
        let writer = move || {
            if let Err(error) = write(&mut file, &inbox) {
                let _ = broken.set(JournalError::new(&path, "cannot be written", &error));
            }
        };
        thread::Builder::new()
            .name("journal".into())
            .spawn(writer)
            .map_err(|error| JournalError(format!("cannot start the journal's thread: {error}")))?;
        Ok((journal, entries))
    }

    /// Appends `entry`, if there is one. The answer waits for this and everything before it.
    ///
    /// Dropping the answer does not take the entry back.
    pub(super) fn append(&self, entry: Option<Entry>) -> Durable {
        let (done, wait) = oneshot::channel();
        // Where the thread is gone, `done` goes with the line, and `wait` says so.
        let _ = self.lines.send(Line { entry, done });
        Durable { done: wait, broken: self.broken.clone() }
    }
}

impl Durable {
    /// Returns when it is on disk.
    pub(super) async fn wait(self) -> Result<(), JournalError> {
        let gone = || JournalError("the journal is closed".into());
        self.done.await.map_err(|_| self.broken.get().cloned().unwrap_or_else(gone))
    }
}

/// Reads a journal without holding it. A torn last line is left out.
pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
    Ok(parse(path)?.0)
}

/// The entries in the file, and the length of the whole lines.
fn parse(path: &Path) -> Result<(Vec<Entry>, u64), JournalError> {
    let bytes =
        std::fs::read(path).map_err(|error| JournalError::new(path, "cannot be read", &error))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut entries = Vec::new();
    for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry = serde_json::from_slice(line).map_err(|error| {
            JournalError::new(path, &format!("is damaged in line {}", number + 1), &error)
        })?;
        entries.push(entry);
    }
    Ok((entries, whole as u64))
}

/// Writes until the last handle is gone or a write fails.
fn write(file: &mut File, inbox: &mpsc::Receiver<Line>) -> io::Result<()> {
    while let Ok(first) = inbox.recv() {
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        for line in std::iter::once(first).chain(inbox.try_iter()) {
            if let Some(entry) = &line.entry {
                serde_json::to_writer(&mut lines, entry)?;
                lines.push(b'\n');
            }
            waiting.push(line.done);
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

impl JournalError {
    pub(super) fn new(path: &Path, what: &str, error: &dyn fmt::Display) -> Self {
        Self(format!("the journal {} {what}: {error}", path.display()))
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JournalError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn queue(agent: &str) -> Entry {
        Entry {
            at_ms: 1,
            operation: "create".into(),
            agent_id: agent.into(),
            name: String::new(),
            request: String::new(),
        }
    }

    #[tokio::test]
    async fn what_was_answered_is_read_back() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("journal");
        let (journal, before) = Journal::open(&path).expect("opened");
        assert!(before.is_empty());
        journal.append(Some(queue("a"))).wait().await.expect("durable");
        journal.append(None).wait().await.expect("durable");
        journal.append(Some(queue("b"))).wait().await.expect("durable");
        assert_eq!(read(&path).expect("read"), [queue("a"), queue("b")]);
    }

    #[tokio::test]
    async fn a_torn_last_line_is_cut_off_and_the_next_entry_starts_a_new_one() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("journal");
        let whole = serde_json::to_string(&queue("a")).expect("json");
        fs::write(&path, format!("{whole}\n{}", &whole[..9])).expect("written");
        let (journal, before) = Journal::open(&path).expect("opened");
        assert_eq!(before, [queue("a")]);
        journal.append(Some(queue("b"))).wait().await.expect("durable");
        assert_eq!(read(&path).expect("read"), [queue("a"), queue("b")]);
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("journal");
        let whole = serde_json::to_string(&queue("a")).expect("json");
        fs::write(&path, format!("{whole}\n{{\n{whole}\n")).expect("written");
        let error = Journal::open(&path).expect_err("damaged").to_string();
        assert!(error.contains("damaged in line 2"), "{error}");
    }
}
