//! The directory of finished snapshot files: the newest is the current one, two are kept.
//!
//! A file is written beside its place, synced and renamed, so what has a finished file's name is
//! whole. At start the newest becomes the current one, with two exceptions:
//!
//! - A file beyond the state was received but not installed: the process died in between. It is
//!   removed; the leader sends it again.
//! - When the newest cannot be opened, no older one takes its place, for the log may have been
//!   purged up to the newest. Without a current snapshot, consensus has one built.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::SnapshotFile;
use crate::storage::StorageError;
use crate::storage::durable_file::{self, UNFINISHED_SUFFIX};
use crate::types::{ClusterId, LogId};

/// Files kept; the older ones are for transfers that have begun.
const FILES_KEPT: usize = 2;
const SUFFIX: &str = ".snap";
/// The name of the snapshot of an empty store.
const EMPTY: &str = "empty";

/// The finished snapshots of one node.
#[derive(Debug)]
pub(crate) struct SnapshotShelf {
    directory: PathBuf,
    /// The newest first.
    files: Mutex<Vec<SnapshotFile>>,
}

impl SnapshotShelf {
    /// Looks what is there for a state that is applied up to `applied`.
    pub(crate) fn open(
        directory: PathBuf,
        cluster_id: ClusterId,
        applied: Option<LogId>,
    ) -> Result<Self, StorageError> {
        let mut files = Vec::new();
        for (log_id, path) in list(&directory)? {
            if log_id > applied {
                remove(&path)?;
                continue;
            }
            let opened = SnapshotFile::open(&path)
                .and_then(|file| file.check_cluster(cluster_id).map(|()| file));
            match opened {
                Ok(file) => files.push(file),
                Err(error) if files.is_empty() => {
                    tracing::warn!(%error, "the newest snapshot cannot be used; one will be built");
                    remove(&path)?;
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "an old snapshot cannot be used; it is removed");
                    remove(&path)?;
                }
            }
        }
        let shelf = Self { directory, files: Mutex::new(files) };
        shelf.keep_newest(&mut shelf.lock());
        Ok(shelf)
    }

    /// The newest snapshot.
    pub(crate) fn current(&self) -> Option<SnapshotFile> {
        self.lock().first().cloned()
    }

    /// Every finished snapshot, the newest first.
    pub(crate) fn files(&self) -> Vec<SnapshotFile> {
        self.lock().clone()
    }

    /// How many files are kept.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Where the snapshot of `log_id` is written before it is finished.
    pub(crate) fn unfinished_path(&self, log_id: Option<LogId>) -> PathBuf {
        let mut name = file_name(log_id);
        name.push_str(UNFINISHED_SUFFIX);
        self.directory.join(name)
    }

    /// Takes a synced file to its place among the finished ones. Answers the newest snapshot,
    /// which is another one when something newer was put here meanwhile.
    pub(crate) fn put(&self, from: &Path) -> Result<SnapshotFile, StorageError> {
        let log_id = SnapshotFile::open(from)?.header().last_log_id;
        let path = self.directory.join(file_name(log_id));
        let mut files = self.lock();
        if let Some(newer) = files.first().filter(|file| file.header().last_log_id > log_id) {
            let newer = newer.clone();
            if from != path {
                remove(from)?;
            }
            return Ok(newer);
        }
        if from != path {
            fs::rename(from, &path)
                .map_err(|source| StorageError::io("rename a snapshot to", &path, source))?;
        }
        durable_file::sync_parent(&path)?;
        let file = SnapshotFile::open(&path)?;
        // One of the same name is the same state, and its name is the new file's now.
        files.retain(|other| other.header().last_log_id != log_id);
        files.insert(0, file.clone());
        self.keep_newest(&mut files);
        Ok(file)
    }

    /// Gives up a file that is damaged.
    pub(crate) fn discard(&self, file: &SnapshotFile) {
        let mut files = self.lock();
        let before = files.len();
        files.retain(|other| other.path() != file.path() || other.digest() != file.digest());
        if files.len() < before {
            file.give_up();
        }
    }

    fn keep_newest(&self, files: &mut Vec<SnapshotFile>) {
        while files.len() > FILES_KEPT {
            if let Some(oldest) = files.pop() {
                oldest.give_up();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SnapshotFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finished files, newest first. Removes unfinished ones.
fn list(directory: &Path) -> Result<Vec<(Option<LogId>, PathBuf)>, StorageError> {
    let failed = |source| StorageError::io("list", directory, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(UNFINISHED_SUFFIX) {
            remove(&path)?;
        } else if let Some(log_id) = parse_name(name) {
            found.push((log_id, path));
        }
    }
    found.sort();
    found.reverse();
    Ok(found)
}

fn remove(path: &Path) -> Result<(), StorageError> {
    fs::remove_file(path).map_err(|source| StorageError::io("remove", path, source))
}

fn file_name(log_id: Option<LogId>) -> String {
    match log_id {
        Some(LogId { term, index }) => format!("{term}-{index}{SUFFIX}"),
        None => format!("{EMPTY}{SUFFIX}"),
    }
}

fn parse_name(name: &str) -> Option<Option<LogId>> {
    let stem = name.strip_suffix(SUFFIX)?;
    if stem == EMPTY {
        return Some(None);
    }
    let (term, index) = stem.split_once('-')?;
    Some(Some(LogId { term: term.parse().ok()?, index: index.parse().ok()? }))
}
