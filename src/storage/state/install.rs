//! Making a received snapshot the state.
//!
//! The next epoch's environment is built from the file beside the current one (`fill`), and synced.
//! The file is verified while it is read: only when its last byte was found to be right is anything
//! switched. Of a long history most is left in the file and follows later (`backlog`).
//!
//! The order on the disk: the new epoch whole and synced; the file in its place among the
//! snapshots; `CURRENT`. A crash before the last leaves the old state (the leftover epoch and the
//! file beyond the state are removed at the next open), a crash after it the new one with its
//! snapshot. The old epoch goes last; views of it stay readable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::backlog::{Backlog, BacklogIndex};
use super::epoch::EpochDirectory;
use super::fill::fill;
use super::layout::meta::{BacklogMark, LAYOUT_VERSION, StateMeta};
use super::shared::Shared;
use super::store::{Loaded, load};
use super::tables::Tables;
use super::write::TableWriter;
use crate::clock;
use crate::storage::StorageError;
use crate::storage::crash_point::crash_point;
use crate::storage::environment::Durability;
use crate::storage::snapshot::{SnapshotError, SnapshotFile};

/// An epoch built from a file, to be made the state later.
#[derive(Debug)]
pub(crate) struct PreparedEpoch {
    digest: [u8; 32],
    epoch: EpochDirectory,
    tables: Arc<Tables>,
}

/// Builds the next epoch from `file` and keeps it for [`install`], which then only switches. Blocks.
///
/// # Errors
/// The file is damaged or of another cluster, or the disk is full: nothing of it stays, and the
/// state is as it was.
pub(crate) fn prepare(shared: &Shared, file: &SnapshotFile) -> Result<(), StorageError> {
    discard_prepared(shared);
    let started = clock::monotonic();
    let prepared = build_epoch(shared, file)?;
    let (bytes, elapsed) = (file.size_bytes(), started.elapsed());
    tracing::info!(bytes, ?elapsed, "built a state from a snapshot");
    *shared.prepared() = Some(prepared);
    Ok(())
}

/// Removes an epoch that was prepared and is not wanted.
pub(crate) fn discard_prepared(shared: &Shared) {
    let prepared = shared.prepared().take();
    if let Some(PreparedEpoch { epoch, tables, .. }) = prepared {
        drop(tables);
        if let Err(error) = epoch.remove() {
            tracing::warn!(%error, "an unused state is removed at the next start");
        }
    }
}

/// Replaces the state by the one in `file`. The caller keeps everybody from applying. Blocks.
pub(crate) fn install(shared: &Shared, file: &SnapshotFile) -> Result<(), StorageError> {
    let started = clock::monotonic();
    let prepared = shared.prepared().take_if(|prepared| prepared.digest == file.digest());
    let PreparedEpoch { epoch, tables, .. } = match prepared {
        Some(prepared) => prepared,
        None => {
            discard_prepared(shared);
            build_epoch(shared, file)?
        }
    };
    let kept = keep(shared, file)?;
    let loaded = load(Arc::clone(&tables), epoch)?;
    tables.damage().tell(Arc::clone(&shared.hooks));
    drop(tables);
    let old_epoch = switch(shared, loaded).map_err(|error| shared.fail(error))?;
    if let Err(error) = old_epoch.remove() {
        tracing::warn!(%error, "the old state is removed at the next start");
    }
    shared.resume();
    shared.hooks.snapshot_installed(kept.size_bytes(), started.elapsed().as_secs_f64());
    Ok(())
}

/// Builds the epoch after the current one; removes it again when that fails.
fn build_epoch(shared: &Shared, file: &SnapshotFile) -> Result<PreparedEpoch, StorageError> {
    file.check_cluster(shared.directory.identity().cluster_id)?;
    if file.header().layout_version > LAYOUT_VERSION {
        let (found, newest) = (file.header().layout_version.into(), LAYOUT_VERSION.into());
        return Err(file.error(SnapshotError::NewerFormat { found, newest }));
    }
    let epoch = shared.flushing().epoch.next()?;
    let built = build(shared, &epoch, file);
    crash_point("install.built");
    match built {
        Ok(tables) => Ok(PreparedEpoch { digest: file.digest(), epoch, tables }),
        Err(error) => {
            epoch.remove()?;
            Err(error)
        }
    }
}

/// Makes a loaded epoch the state, on the disk and in memory. Answers the old one. After a failure
/// nobody knows which of them is current.
fn switch(shared: &Shared, loaded: Loaded) -> Result<EpochDirectory, StorageError> {
    let Loaded { head: mut next, sessions, flush } = loaded;
    // From here on nothing is flushed to the old epoch.
    let mut flushing = shared.flushing();
    crash_point("install.before_switch");
    flush.epoch.make_current()?;
    crash_point("install.after_switch");
    let mut head = shared.head_mut();
    next.arrangement = head.arrangement + 1;
    let old_head = std::mem::replace(&mut *head, next);
    *shared.sessions.write() = sessions;
    shared.unflushed_bytes.store(0, Ordering::Release);
    shared.applied.send_replace(head.position.published());
    shared.access.send_replace(Arc::clone(&head.access));
    shared.durable.send_replace(head.position.applied);
    shared.peer_addrs.send_replace(head.peer_addrs());
    shared.roster.send_replace(Arc::clone(&head.roster));
    let deletes = Arc::clone(&head.position.deletes);
    shared.deletes.send_modify(|known| known.open = deletes);
    drop(head);
    // Outside the lock: the old environment may be closed by it.
    drop(old_head);
    Ok(std::mem::replace(&mut *flushing, flush).epoch)
}

/// Builds and syncs the epoch's environment, with the file beside it when that holds history which
/// is to follow later.
fn build(
    shared: &Shared,
    epoch: &EpochDirectory,
    file: &SnapshotFile,
) -> Result<Arc<Tables>, StorageError> {
    let map_bytes = shared.options.map_bytes;
    let tables = Arc::new(Tables::open(&epoch.path(), map_bytes, Durability::OnDemand)?);
    let left = fill(&tables, file, shared.options.install_history_bytes, |_, _, _| Ok(true))?;
    let meta = {
        let reader = tables.read()?;
        tables.meta(reader.txn())?
    };
    if !file.header().describes(&meta) {
        return Err(file.contradiction("its position in the log"));
    }
    let backlog = leave_in_file(epoch, &tables, file, left, meta)?;
    tables.environment().sync()?;
    // Closed, to be opened again with every commit synced.
    drop(tables);
    let tables = Tables::open(&epoch.path(), map_bytes, Durability::EveryCommit)?;
    tables.set_backlog(backlog);
    Ok(Arc::new(tables))
}

/// Leaves in the file the history that was not put into the tables: has room reserved for it, so that a full
/// disk shows now, and marks the state as lacking it.
fn leave_in_file(
    epoch: &EpochDirectory,
    tables: &Arc<Tables>,
    file: &SnapshotFile,
    left: BacklogIndex,
    meta: StateMeta,
) -> Result<Option<Arc<Backlog>>, StorageError> {
    let Some(next) = left.first() else { return Ok(None) };
    let records = left.records();
    tables.environment().reserve(left.table_bytes())?;
    let backlog = Backlog::create(&epoch.backlog_path(), file, left)?;
    let mark = BacklogMark { digest: file.digest(), next, records };
    let mut writer = TableWriter::begin(tables)?;
    writer.write_meta(&StateMeta { backlog: Some(mark), ..meta })?;
    writer.commit()?;
    Ok(Some(Arc::new(backlog)))
}

/// Puts the file among the finished snapshots.
fn keep(shared: &Shared, file: &SnapshotFile) -> Result<SnapshotFile, StorageError> {
    let incoming = shared.directory.incoming_path();
    let snapshots = shared.directory.snapshots_path();
    let from = match file.path().parent() {
        Some(parent) if parent == incoming || parent == snapshots => file.path().to_owned(),
        _ => copy(shared, file)?,
    };
    sync_file(&from)?;
    shared.snapshots.put(&from)
}

/// A file from elsewhere is not ours to move.
fn copy(shared: &Shared, file: &SnapshotFile) -> Result<PathBuf, StorageError> {
    let path = shared.snapshots.unfinished_path(file.header().last_log_id);
    std::fs::copy(file.path(), &path)
        .map_err(|source| StorageError::io("copy a snapshot to", &path, source))?;
    Ok(path)
}

fn sync_file(path: &Path) -> Result<(), StorageError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| StorageError::io("sync", path, source))
}
