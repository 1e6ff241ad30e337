//! A folder of the demo's own, gone when the demo is.

use crate::CliError;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

/// A new folder among the temporary ones; dropping it removes it.
#[derive(Debug)]
pub(super) struct TempFolder(PathBuf);

impl TempFolder {
    pub(super) fn new() -> Result<Self, CliError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let path = env::temp_dir().join(format!("tonic-supervisor-demo-{}-{now}", process::id()));
        fs::create_dir(&path)
            .map_err(CliError::failed(&format!("cannot make the folder {}", path.display())))?;
        Ok(Self(path))
    }

    /// Where the server keeps its journal.
    pub(super) fn journal(&self) -> PathBuf {
        Path::join(&self.0, "journal.jsonl")
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own tidying.
        let _ = fs::remove_dir_all(&self.0);
    }
}
