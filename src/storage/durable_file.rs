//! Small files that are there whole or not at all.
//!
//! Written beside their place, synced, renamed into it, and the directory synced: a crash at any
//! moment leaves the old file or the new one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::StorageError;

/// The end of the name of a file still being written; what carries it may be removed at start.
pub(crate) const UNFINISHED_SUFFIX: &str = ".unfinished";

/// Puts `contents` at `path`, in place of what is there, and returns when it is on the disk.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), StorageError> {
    let unfinished = unfinished_path(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(|source| StorageError::io("write", &unfinished, source))?;
    fs::rename(&unfinished, path).map_err(|source| StorageError::io("replace", path, source))?;
    sync_parent(path)
}

/// The bytes at `path`; none when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError::io("read", path, source)),
    }
}

/// Makes the names in `directory` (files created, renamed, removed) survive a power failure.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| StorageError::io("sync", directory, source))
}

/// [`sync_directory`] of the one that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StorageError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

fn unfinished_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_unfinished_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("NAME");
        assert_eq!(read(&path).unwrap(), None);
        for contents in [&b"old"[..], b"new"] {
            replace(&path, contents).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(contents));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = replace(Path::new("/proc/nowhere/NAME"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /proc/nowhere/NAME"), "{error}");
    }
}
