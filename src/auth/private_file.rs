//! Files that only their owner can read: the one place in this room that touches a disk.
//!
//! A file is made whole or not at all, never over another one, and with mode 0600 from its first
//! byte. One that others could read is refused: what was in it may be known.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1_024;

/// Group's and others' permissions.
const NOT_THE_OWNERS: u32 = 0o077;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "{} can be read by others (mode {mode:04o}): replace its keys if somebody did, then \
         chmod 600 it", path.display()
    )]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is one already.
    #[error("{} exists; keys are never written over: move it away first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        reason: &'static str,
    },
}

impl KeyFileError {
    /// Whether there simply is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The text of a file that only its owner can read.
///
/// # Errors
/// [`KeyFileError`]; that it is missing is one of them.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & NOT_THE_OWNERS != 0 {
        return Err(KeyFileError::ReadableByOthers { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Makes a file that only its owner can read, on the disk when this returns.
///
/// # Errors
/// [`KeyFileError::Exists`] when there is one already; it is left as it is.
pub(super) fn create(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = PathBuf::from(name);
    let failed = |action, source| KeyFileError::Io { action, path: path.to_owned(), source };
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        // The process may have a mask that leaves less; a file of before may have had more.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    // A link, unlike a rename, never replaces what is there.
    let made = write().map_err(|source| failed("write", source)).and_then(|()| {
        fs::hard_link(&unfinished, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
            _ => failed("create", source),
        })
    });
    // Whether or not it was made, what it was made of is not needed any more.
    let _ = fs::remove_file(&unfinished);
    made?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| failed("sync", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_owners_from_the_start_and_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.toml");
        create(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, "two"), Err(KeyFileError::Exists { .. })));
        assert_eq!(&**read(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else stays");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_missing_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.toml");
        assert!(read(&path).unwrap_err().is_missing());
        create(&path, "one").unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::ReadableByOthers { .. }), "{error}");
        }
    }
}
