//! Figures of the state, for metrics and `status`.

use std::sync::atomic::Ordering;

use super::layout::Table;
use super::shared::Shared;
use crate::storage::StorageError;
use crate::types::LogId;

/// The state's size and load at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateStats {
    /// Bytes of the environment's file on the disk.
    pub file_bytes: u64,
    /// Bytes of it that hold data; the rest is reused before the file grows.
    pub used_bytes: u64,
    /// Bytes that what is not in it yet will take, about.
    pub unsettled_bytes: u64,
    /// Bytes the file can grow to.
    pub map_bytes: u64,
    /// User keys on the disk, deleted ones that compaction has not reached included.
    pub keys: u64,
    /// Versions of keys on the disk.
    pub versions: u64,
    /// How many of those are still in the snapshot file the state was built from.
    pub unsettled_versions: u64,
    /// Clients whose answers are kept.
    pub sessions: usize,
    /// Bytes of memory taken by changes that are not on the disk.
    pub unflushed_bytes: usize,
    /// Views open now.
    pub open_views: usize,
    /// Finished snapshot files.
    pub snapshots: usize,
    /// The last entry in the newest snapshot; none without one.
    pub snapshot_log_id: Option<LogId>,
    /// Its size in bytes; 0 without one.
    pub snapshot_bytes: u64,
}

/// Reads the figures.
pub(crate) fn stats(shared: &Shared) -> Result<StateStats, StorageError> {
    let reader = shared.head().tables.read()?;
    let tables = reader.tables();
    let environment = tables.environment();
    let (mut used_bytes, mut records) = (0, [0; Table::ALL.len()]);
    for table in Table::ALL {
        let stat = tables.table(table).stat(reader.txn())?;
        used_bytes += pages_bytes(&stat);
        records[table as usize] = stat.entries as u64;
    }
    let recent = tables.recent().stat(reader.txn())?;
    let current = shared.snapshots.current();
    let unsettled_versions = tables.meta(reader.txn())?.backlog.map_or(0, |left| left.records);
    let left = reader.backlog();
    let unsettled_bytes = left.map_or(0, |left| left.table_bytes(unsettled_versions));
    Ok(StateStats {
        file_bytes: environment.file_bytes()?,
        used_bytes: used_bytes + pages_bytes(&recent),
        unsettled_bytes,
        map_bytes: environment.map_bytes(),
        keys: records[Table::Keys as usize],
        versions: records[Table::History as usize]
            + records[Table::Tombstones as usize]
            + recent.entries as u64
            + unsettled_versions,
        unsettled_versions,
        sessions: shared.sessions.read().len(),
        unflushed_bytes: shared.unflushed_bytes.load(Ordering::Relaxed),
        open_views: shared.open_views.load(Ordering::Relaxed),
        snapshots: shared.snapshots.len(),
        snapshot_log_id: current.as_ref().and_then(|file| file.header().last_log_id),
        snapshot_bytes: current.map_or(0, |file| file.size_bytes()),
    })
}

fn pages_bytes(stat: &heed::DatabaseStat) -> u64 {
    let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
    (pages * stat.page_size as usize) as u64
}
