//! A snapshot of what a stopped node holds, without a cluster around it: for when a majority of the
//! members is lost for good, and one survivor's directory is what there is.
//!
//! The state on the disk lags behind the log, and what the log holds beyond it may have been
//! acknowledged: so every entry of the log is applied, those too of which the survivor had not
//! heard that they are committed. That is more than the old cluster may have decided, which is why
//! it is done on a copy: the survivor's directory stays as it was, fit to be started again should
//! the others come back.
//!
//! # On failure
//! The copy is removed; the directory and the file's place are as before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftStateMachine as _};

use super::log::{LogOptions, LogStore};
use super::snapshot::SnapshotFile;
use super::state::{StateOptions, StateStore};
use super::{DataDir, FatalSink, NoHooks, StorageError, data_dir, durable_file};

/// Ends the name of the copy, which lies beside the file.
const COPY_SUFFIX: &str = ".copy";
/// What of a directory is copied: what the state is made of, and what the directory is known by.
const COPIED: [&str; 4] = ["FORMAT", "IDENTITY", "log", "state"];
/// What else a data directory has.
const EMPTY: [&str; 2] = ["snapshots", "incoming"];

/// What was saved.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// The file, which was read again to its end.
    pub file: SnapshotFile,
    /// Entries of the log that the state on the disk did not have.
    pub replayed: u64,
    /// Whether the log is damaged, and has lost acknowledged entries for it.
    pub lost_entries: bool,
}

/// Saves what the stopped node in `data_dir` holds to `path`, which must not exist.
///
/// # Errors
/// The directory is in use, damaged, or none of ours; the file is there already; the disk is full.
pub async fn save_from_directory(
    data_dir: &Path,
    path: &Path,
    log: LogOptions,
    state: StateOptions,
) -> Result<Salvaged, StorageError> {
    let in_the_way = |path: &Path| StorageError::NotEmpty {
        path: path.parent().unwrap_or(Path::new("")).to_owned(),
        found: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let mut name = path.as_os_str().to_owned();
    name.push(COPY_SUFFIX);
    let copy = PathBuf::from(name);
    if let Some(found) = [path, &copy].into_iter().find(|it| it.exists()) {
        return Err(in_the_way(found));
    }
    // Held meanwhile: no node may be started on it.
    let original = DataDir::open_existing(data_dir)?;
    let copied = copy_parts(original.path(), &copy);
    let saved = match copied {
        Ok(()) => save_copy(&copy, path, log, state).await,
        Err(error) => Err(error),
    };
    let removed = fs::remove_dir_all(&copy);
    let saved = saved?;
    removed.map_err(|source| StorageError::io("remove", &copy, source))?;
    Ok(saved)
}

fn copy_parts(from: &Path, to: &Path) -> Result<(), StorageError> {
    data_dir::create_directories(to)?;
    for name in COPIED {
        copy(&from.join(name), &to.join(name))?;
    }
    for name in EMPTY {
        data_dir::create_directories(&to.join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let failed = |source| StorageError::io("copy", from, source);
    if !from.is_dir() {
        return fs::copy(from, to).map(drop).map_err(failed);
    }
    data_dir::create_directories(to)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Applies what the copy's log has, and moves a snapshot of the state to `path`.
async fn save_copy(
    copy: &Path,
    path: &Path,
    log: LogOptions,
    state: StateOptions,
) -> Result<Salvaged, StorageError> {
    let directory = DataDir::open_existing(copy)?;
    let (fatal, _failure) = FatalSink::channel();
    let log = LogStore::open(&directory, log, fatal.clone(), Arc::new(NoHooks))?;
    let state = StateStore::open(&directory, state, fatal, Arc::new(NoHooks))?;
    let saved = save_stores(copy, path, &log, &state).await;
    // The stores end their threads, and close their files, before the copy is removed.
    state.shutdown();
    log.shutdown();
    saved
}

async fn save_stores(
    copy: &Path,
    path: &Path,
    log: &LogStore,
    state: &StateStore,
) -> Result<Salvaged, StorageError> {
    let failed = |source| StorageError::io("apply the log of", copy, source);
    let replayed = replay(log, state).await.map_err(failed)?;
    let file = state.export(|_| false).await?;
    let failed = |source| StorageError::io("rename", file.path(), source);
    fs::rename(file.path(), path).map_err(failed)?;
    durable_file::sync_parent(path)?;
    let file = SnapshotFile::open(path)?;
    file.verify(|_| {})?;
    Ok(Salvaged { file, replayed, lost_entries: log.lost().is_some() })
}

/// Applies every entry that the state lacks. Answers how many.
async fn replay(log: &LogStore, state: &StateStore) -> io::Result<u64> {
    let (mut log, mut reader, mut state) = (log.clone(), log.reader(), state.clone());
    let last = log.get_log_state().await?.last_log_id;
    let applied = state.applied_state().await?.0;
    let first = applied.map_or(0, |log_id| log_id.index + 1);
    let end = last.map_or(0, |log_id| log_id.index + 1);
    let mut next = first;
    while next < end {
        let entries = reader.limited_get_log_entries(next, end).await?;
        let Some(newest) = entries.last().map(|entry| entry.log_id.index) else {
            return Err(io::Error::other(format!("entry {next} is missing")));
        };
        let entries = stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
        state.apply(entries).await?;
        next = newest + 1;
    }
    Ok(end.saturating_sub(first))
}
