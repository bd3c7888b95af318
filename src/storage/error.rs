//! What can go wrong on the disk, told so that an operator knows what to do.
//!
//! Every message is one line, names the file it is about and, where there is something to do,
//! ends with it. The three kinds a node meets in normal life are told apart from plain I/O
//! errors: a full disk, a full map, a directory in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::envelope::EnvelopeError;
use super::snapshot::SnapshotError;
use crate::types::Distrust;
use crate::types::command::CommandDecodeError;

/// Where the state's environments lie, below a data directory.
const STATE: &str = "state";

/// A failure of the storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A copy that may hold pages of different moments.
    #[error(
        "{} was copied while its node ran, or its node did not stop in order; start the node and \
         stop it with SIGTERM, copy its directory then, or use 'chainfire snapshot save'",
        path.display()
    )]
    NotStopped {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the directory's lock.
    #[error(
        "data directory {} is in use by another process; stop that process or choose another directory",
        path.display()
    )]
    DirectoryInUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The path is there, and is no directory.
    #[error("{} is not a directory; choose another data directory", path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// The directory holds files of somebody else.
    #[error(
        "directory {} is not empty ({found}) and holds no chainfire data; choose an empty directory",
        path.display()
    )]
    ForeignDirectory {
        /// The path given.
        path: PathBuf,
        /// One of the names found in it.
        found: String,
    },
    /// Something is where a new data directory was to be made.
    #[error(
        "directory {} is not empty ({found}); choose another, or remove what a restore that was cut short left there",
        path.display()
    )]
    NotEmpty {
        /// The path given.
        path: PathBuf,
        /// One of the names found in it.
        found: String,
    },
    /// A file without which the directory cannot be used is gone.
    #[error(
        "{} is missing; restore the whole data directory, or wipe it and let the node join anew",
        path.display()
    )]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The directory, or a part of it, was put back older than the rest.
    #[error(
        "{} is older than the state beside it: the data directory is made of parts of different age; \
         put back the whole of the one that ran last, or wipe it and let the node join anew",
        path.display()
    )]
    PutBack {
        /// The file that is older.
        path: PathBuf,
    },
    /// Written by a newer release.
    #[error(
        "{what} in {} has format {found}, this release reads up to {newest}; run the newer release, or restore a backup made before the upgrade",
        path.display()
    )]
    NewerFormat {
        /// Which record or file.
        what: &'static str,
        /// Where it lies.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this release reads.
        newest: u32,
    },
    /// Bytes that are not what was written.
    #[error("{what} in {} is corrupt: {reason}; wipe this node and let it join anew", path.display())]
    Corrupt {
        /// Which record or file.
        what: &'static str,
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A state that was found wanting and is not replaced yet.
    #[error(
        "the state in {} is not to be trusted: {reason}; let its node repair it, or take another",
        path.display()
    )]
    Distrusted {
        /// The data directory.
        path: PathBuf,
        /// Why.
        reason: Distrust,
    },
    /// A log entry that is not what was written.
    #[error(
        "log entry {index} in {} is corrupt: {reason}; wipe this node and let it join anew",
        path.display()
    )]
    CorruptEntry {
        /// The entry's index.
        index: u64,
        /// The log's directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A log entry that must be there is not.
    #[error("log entry {index} is missing in {}; wipe this node and let it join anew", path.display())]
    MissingEntry {
        /// The entry's index.
        index: u64,
        /// The log's directory.
        path: PathBuf,
    },
    /// A leader's log contradicts what this node has applied: one of them is not what it was.
    #[error(
        "the leader's log wants entries from {first} on cut off, and those up to {applied} are \
         applied; a data directory of this cluster was put back older, or damaged: compare the \
         members' revisions, and wipe the one that is wrong and let it join anew"
    )]
    CutBelowApplied {
        /// The first entry that was to go.
        first: u64,
        /// The last entry applied.
        applied: u64,
    },
    /// The caller asked to append entries that do not follow the last one.
    #[error("log entry {found} does not follow the last entry: {expected} was expected")]
    NotConsecutive {
        /// The index that would follow.
        expected: u64,
        /// The index given.
        found: u64,
    },
    /// A snapshot file that cannot be used.
    #[error("snapshot {}: {source}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// A committed command that this release cannot read, so that it must not go on.
    #[error("cannot apply log entry {index}: {source}")]
    UnreadableCommand {
        /// The entry's index.
        index: u64,
        /// Why.
        source: CommandDecodeError,
    },
    /// No room on the disk (or in the quota, or below the file size limit).
    #[error(
        "no space left on the disk of {} ({source}); free space and restart the node, no acknowledged write is lost",
        path.display()
    )]
    DiskFull {
        /// The file or directory written to.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The environment reached the size it was opened with.
    #[error(
        "the database in {} reached its {map_bytes} bytes; raise its map size and restart the node, no acknowledged write is lost",
        path.display()
    )]
    MapFull {
        /// The environment's directory.
        path: PathBuf,
        /// The size it was opened with.
        map_bytes: u64,
    },
    /// The system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as the words between "cannot" and the path.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// LMDB refused.
    #[error("cannot {action} the database in {}: {source}", path.display())]
    Database {
        /// What was tried, as the words between "cannot" and "the database".
        action: &'static str,
        /// The environment's directory.
        path: PathBuf,
        /// LMDB's words.
        source: heed::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the {name} thread: {source}")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// A thread that owns writing ended by a panic: a bug.
    #[error("the {name} thread panicked; restart the node and report this")]
    ThreadPanicked {
        /// The thread's name.
        name: &'static str,
    },
    /// Refused, because the store had failed before.
    #[error("the store stopped after a failure: {0}")]
    Failed(Arc<StorageError>),
    /// Refused, because the store was shut down.
    #[error("the store is shut down")]
    ShutDown,
}

impl StorageError {
    /// From a failed file operation; a full disk is told apart.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_disk_full(&source) {
            Self::DiskFull { path, source }
        } else {
            Self::Io { action, path, source }
        }
    }

    /// From a failed operation of LMDB's in the environment `path`; a full disk and a full map
    /// are told apart.
    pub(crate) fn database(
        action: &'static str,
        path: &Path,
        map_bytes: u64,
        source: heed::Error,
    ) -> Self {
        match source {
            heed::Error::Io(source) if is_disk_full(&source) => {
                Self::DiskFull { path: path.to_owned(), source }
            }
            heed::Error::Mdb(heed::MdbError::MapFull) => {
                Self::MapFull { path: path.to_owned(), map_bytes }
            }
            source => Self::Database { action, path: path.to_owned(), source },
        }
    }

    /// From a record or file whose envelope does not open.
    pub(crate) fn envelope(what: &'static str, path: &Path, error: &EnvelopeError) -> Self {
        let path = path.to_owned();
        match *error {
            EnvelopeError::NewerVersion { found, newest } => {
                Self::NewerFormat { what, path, found: found.into(), newest: newest.into() }
            }
            _ => Self::Corrupt { what, path, reason: error.to_string() },
        }
    }
}

impl StorageError {
    /// Whether what is stored is not what was written. A disk that refuses or is full, a limit that is
    /// reached and what a newer release wrote are no damage.
    pub(crate) fn is_damage(&self) -> bool {
        use heed::MdbError::{DbsFull, MapFull, MapResized, ReadersFull, TlsFull, TxnFull};
        match self {
            Self::Corrupt { .. } | Self::CorruptEntry { .. } | Self::MissingEntry { .. } => true,
            Self::Snapshot { source, .. } => !matches!(
                source,
                SnapshotError::NewerFormat { .. }
                    | SnapshotError::OtherCluster { .. }
                    | SnapshotError::Io { .. }
            ),
            Self::Database { source: heed::Error::Mdb(error), .. } => {
                !matches!(error, DbsFull | MapFull | MapResized | ReadersFull | TlsFull | TxnFull)
            }
            Self::Failed(first) => first.is_damage(),
            _ => false,
        }
    }

    /// Whether it says that the state in `data_dir` is not what was written, so that another one
    /// must take its place.
    pub fn is_damaged_state(&self, data_dir: &Path) -> bool {
        let state = data_dir.join(STATE);
        match self {
            Self::Corrupt { path, .. } | Self::Missing { path } => path.starts_with(state),
            Self::Snapshot { path, .. } | Self::Database { path, .. } => {
                path.starts_with(state) && self.is_damage()
            }
            Self::Distrusted { .. } => true,
            Self::Failed(first) => first.is_damaged_state(data_dir),
            _ => false,
        }
    }
}

/// How storage errors reach openraft, whose traits speak [`io::Error`].
impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}

/// No room on the disk, in the quota, or below the file size limit.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ENOSPC, EDQUOT and EFBIG on Linux.
    #[test]
    fn every_way_a_disk_can_be_full_is_called_a_full_disk() {
        for code in [28, 122, 27] {
            let raw = || io::Error::from_raw_os_error(code);
            let direct = StorageError::io("write", Path::new("/d"), raw());
            assert!(matches!(direct, StorageError::DiskFull { .. }), "{direct}");
            let by_lmdb =
                StorageError::database("commit to", Path::new("/d"), 0, heed::Error::Io(raw()));
            assert!(matches!(by_lmdb, StorageError::DiskFull { .. }), "{by_lmdb}");
        }
        let other = StorageError::io("write", Path::new("/d"), io::Error::from_raw_os_error(5));
        assert!(matches!(other, StorageError::Io { .. }), "{other}");
    }

    #[test]
    fn a_damaged_state_is_told_from_a_damaged_log_and_from_a_disk_that_refuses() {
        let data = Path::new("/d");
        let corrupt = |path: &str| StorageError::Corrupt {
            what: "a record",
            path: path.into(),
            reason: String::new(),
        };
        let lmdb = |error| {
            let source = heed::Error::Mdb(error);
            StorageError::database("read", Path::new("/d/state/1"), 1, source)
        };
        let failed = StorageError::Failed(Arc::new(corrupt("/d/state/1")));
        let snapshot = StorageError::Snapshot {
            path: "/d/state/2/backlog.snap".into(),
            source: SnapshotError::DigestMismatch,
        };
        for damaged in [
            corrupt("/d/state/CURRENT"),
            StorageError::Missing { path: "/d/state/2".into() },
            lmdb(heed::MdbError::Corrupted),
            lmdb(heed::MdbError::PageNotFound),
            failed,
            snapshot,
        ] {
            assert!(damaged.is_damaged_state(data), "{damaged}");
        }
        let newer = StorageError::Snapshot {
            path: "/d/state/2/backlog.snap".into(),
            source: SnapshotError::NewerFormat { found: 9, newest: 1 },
        };
        let full = io::Error::from_raw_os_error(28);
        for other in [
            corrupt("/d/log"),
            corrupt("/e/state/1"),
            StorageError::io("write", Path::new("/d/state/1"), full),
            lmdb(heed::MdbError::MapFull),
            newer,
            StorageError::ShutDown,
        ] {
            assert!(!other.is_damaged_state(data), "{other}");
        }
    }

    #[test]
    fn a_full_map_names_its_size_and_what_to_do() {
        let source = heed::Error::Mdb(heed::MdbError::MapFull);
        let error = StorageError::database("write to", Path::new("/d/log"), 4096, source);
        assert_eq!(
            error.to_string(),
            "the database in /d/log reached its 4096 bytes; raise its map size and restart the \
             node, no acknowledged write is lost"
        );
    }
}
