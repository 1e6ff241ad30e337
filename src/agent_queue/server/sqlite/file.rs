//! The file itself: which names are taken, who may read it, and whether it is still the one that
//! was opened.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};
use tonic::Status;

/// How every SQLite file begins.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// The file that was opened.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl DatabaseFile {
    /// Makes the file where there is none, for its owner alone. An error is a sentence.
    pub(super) fn make(path: &Path) -> Result<Self, String> {
        names_a_file(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error.to_string());
            }
            Err(_) | Ok(_) => {}
        }
        let found = fs::metadata(path).map_err(|error| error.to_string())?;
        if !found.is_file() {
            return Err("it is not a file that can be read and written anywhere".into());
        }
        warn_of_readers(path, &found);
        Ok(Self { path: path.into(), identity: identity(&found) })
    }

    /// UNAVAILABLE where another file, or none, stands at the path: what is written is lost with
    /// this process.
    pub(super) fn still_there(&self) -> Result<(), Status> {
        let unavailable =
            |what: &str| Err(Status::unavailable(format!("the database's file {what}")));
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => {}
            Ok(_) => return unavailable("was replaced by another while it was open"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return unavailable("was removed while it was open");
            }
            Err(_) => return unavailable("cannot be looked at"),
        }
        let mut begins = [0; HEADER.len()];
        match File::open(&self.path).and_then(|mut file| file.read_exact(&mut begins)) {
            Ok(()) if begins == *HEADER => Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof && begins == [0; HEADER.len()] =>
            {
                unavailable("is empty: its contents were cut off")
            }
            Ok(()) | Err(_) => unavailable("is damaged: it does not begin as a database"),
        }
    }
}

/// SQLite gives some names a meaning of their own; each connection would have a database of its own
/// there.
fn names_a_file(path: &Path) -> Result<(), String> {
    let text = path.as_os_str().as_encoded_bytes();
    if text.is_empty() || text == b":memory:" || text.starts_with(b"file:") {
        return Err(
            "it must be a path: for queues in memory use the store `memory`, and URIs are not \
             taken (a file whose name begins with `file:` is `./file:...`)"
                .into(),
        );
    }
    Ok(())
}

#[cfg(unix)]
fn identity(found: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(unix)]
fn warn_of_readers(path: &Path, found: &fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        log_line!(
            warn,
            "the database {} can be read by others than its owner (mode {mode:o}): chmod 600 it",
            path.display()
        );
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path, _: &fs::Metadata) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sqlite_takes_for_something_else_are_refused() {
        for path in ["", ":memory:", "file:x.db", "file::memory:?cache=shared"] {
            let refused = DatabaseFile::make(Path::new(path)).expect_err(path);
            assert!(refused.contains("it must be a path"), "{refused}");
        }
        let refused = DatabaseFile::make(Path::new("/dev/null")).expect_err("a device");
        assert!(refused.contains("not a file"), "{refused}");
    }

    #[test]
    fn a_file_that_was_replaced_removed_or_overwritten_is_noticed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("queue.db");
        let place = DatabaseFile::make(&path).expect("made");
        fs::write(&path, [HEADER.as_slice(), &[0; 100]].concat()).expect("written");
        place.still_there().expect("as it was");
        let words =
            |place: &DatabaseFile| place.still_there().expect_err("noticed").message().to_owned();
        fs::write(&path, [7; 100]).expect("written");
        assert!(words(&place).contains("damaged"));
        fs::write(&path, []).expect("written");
        assert!(words(&place).contains("empty"));
        fs::rename(&path, folder.path().join("elsewhere")).expect("moved");
        assert!(words(&place).contains("removed"));
        fs::write(&path, HEADER).expect("written");
        assert!(words(&place).contains("replaced"));
    }
}
