//! A new epoch of the state from a snapshot, over the log that is there.
//!
//! The order on the disk: the new epoch whole and synced; the log without what contradicts it; the
//! file among the snapshots; `CURRENT`; and last the mark goes. After a crash before that the whole
//! is done again.

use std::path::Path;
use std::sync::Arc;

use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};

use super::DistrustMark;
use crate::consensus::{RaftLogId, log_id_to_openraft};
use crate::storage::log::{LogOptions, LogStore};
use crate::storage::snapshot::{SnapshotFile, SnapshotShelf};
use crate::storage::state::rebuild;
use crate::storage::{DataDir, FatalSink, NoHooks, StorageError};
use crate::types::LogId;

/// The least entry that a snapshot must hold so that this directory's log goes on behind it: the
/// last one that the log no longer has.
///
/// # Errors
/// The log cannot be read.
pub async fn least_index(
    directory: &DataDir,
    options: &LogOptions,
) -> Result<Option<u64>, StorageError> {
    let mut log = open_log(directory, options).await?;
    let state = log.get_log_state().await.map_err(|error| unreadable(directory, error))?;
    close(log).await;
    Ok(state.last_purged_log_id.map(|log_id| log_id.index))
}

/// Makes what `file` holds the state. The file must lie in the directory's `incoming/`. Returns the
/// last entry in the state.
///
/// # Errors
/// The file is damaged, of another cluster or newer: nothing of it stays. Or the disk's.
pub async fn replace_state(
    directory: &DataDir,
    options: &LogOptions,
    map_bytes: u64,
    file: SnapshotFile,
) -> Result<Option<LogId>, StorageError> {
    let (state, cluster_id) = (directory.state_path(), directory.identity().cluster_id);
    let source = file.clone();
    let (epoch, applied) = blocking(move || {
        source.check_cluster(cluster_id)?;
        rebuild(&state, map_bytes, &source)
    })
    .await?;
    if let Some(applied) = applied {
        cut_what_contradicts(directory, options, log_id_to_openraft(&applied)).await?;
    }
    let directory = directory.clone();
    blocking(move || {
        let snapshots = directory.snapshots_path();
        let shelf = SnapshotShelf::open(snapshots, cluster_id, applied)?;
        shelf.put(file.path())?;
        epoch.make_current()?;
        DistrustMark::remove(directory.path())
    })
    .await?;
    Ok(applied)
}

/// Cuts off the log from the entry `applied` on, when another one stands there: it was never
/// committed, and so nothing behind it was.
async fn cut_what_contradicts(
    directory: &DataDir,
    options: &LogOptions,
    applied: RaftLogId,
) -> Result<(), StorageError> {
    let mut log = open_log(directory, options).await?;
    let failed = |error| unreadable(directory, error);
    let first = applied.index.saturating_sub(1);
    let around = log.reader().try_get_log_entries(first..=applied.index).await.map_err(failed)?;
    let here = around.iter().find(|entry| entry.log_id.index == applied.index);
    if here.is_some_and(|entry| entry.log_id != applied) {
        let purged = log.get_log_state().await.map_err(failed)?.last_purged_log_id;
        let before = around.iter().find(|entry| entry.log_id.index < applied.index);
        let keep = before.map(|entry| entry.log_id).or(purged);
        tracing::warn!(?keep, "cutting off log entries that were never committed");
        log.truncate_after(keep).await.map_err(failed)?;
    }
    close(log).await;
    Ok(())
}

async fn open_log(directory: &DataDir, options: &LogOptions) -> Result<LogStore, StorageError> {
    let (directory, options) = (directory.clone(), *options);
    let (fatal, _) = FatalSink::channel();
    blocking(move || LogStore::open(&directory, options, fatal, Arc::new(NoHooks))).await
}

async fn close(log: LogStore) {
    // A panic of the log's threads was reported by them.
    let _closed = tokio::task::spawn_blocking(move || log.shutdown()).await;
}

fn unreadable(directory: &DataDir, error: std::io::Error) -> StorageError {
    StorageError::io("read the log in", &Path::new(directory.path()).join("log"), error)
}

/// Does blocking work off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StorageError::ThreadPanicked { name: "repair" }),
    }
}
