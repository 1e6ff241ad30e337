//! Reading a small file from outside: a regular one, of a stated size at most. Blocking; never run
//! it on a runtime's thread.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

/// The file's bytes; the error follows "`path` ".
///
/// A pipe or device is refused before it is opened: reading one might never end.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let unread = |error| format!("cannot be read: {error}");
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err("must be a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(unread)?;
    match bytes.len() as u64 > most {
        true => Err(format!("must have at most {} KiB", most >> 10)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_the_stated_size_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, [7; 2048]).expect("written");
        assert_eq!(read(&file, 2048), Ok(vec![7; 2048]));
        assert_eq!(read(&file, 1024), Err("must have at most 1 KiB".into()));
        assert_eq!(read(folder.path(), 1024), Err("must be a regular file".into()));
        #[cfg(unix)]
        assert_eq!(read(Path::new("/dev/zero"), 1024), Err("must be a regular file".into()));
        assert!(
            read(&folder.path().join("none"), 1)
                .is_err_and(|error| error.starts_with("cannot be read: "))
        );
    }
}
