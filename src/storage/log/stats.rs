//! Figures about the log, for metrics and for deciding what to purge.

use super::super::StorageError;
use super::shared::Shared;

/// The log as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// The first entry that can be read; none when there is none.
    pub first_index: Option<u64>,
    /// The last entry that can be read; none when there is none.
    pub last_index: Option<u64>,
    /// The last entry that is gone.
    pub purged_index: Option<u64>,
    /// How many entries can be read.
    pub entries: u64,
    /// How many entries are on the disk: without those not committed yet, with purged ones not
    /// deleted yet.
    pub disk_entries: u64,
    /// Bytes of the pages those lie in.
    pub disk_bytes: u64,
    /// Bytes of the database file. It never shrinks; freed pages are used again.
    pub file_bytes: u64,
    /// Bytes the file can grow to.
    pub map_bytes: u64,
    /// Entries in memory.
    pub tail_entries: usize,
    /// Their bytes.
    pub tail_bytes: usize,
    /// Bytes appended and not committed yet.
    pub queued_bytes: usize,
}

pub(super) fn collect(shared: &Shared) -> Result<LogStats, StorageError> {
    let environment = shared.tables.environment();
    let (disk_entries, disk_bytes) = shared.tables.size()?;
    let mut stats = LogStats {
        disk_entries,
        disk_bytes,
        file_bytes: environment.file_bytes()?,
        map_bytes: environment.map_bytes(),
        queued_bytes: shared.queued_bytes(),
        ..LogStats::default()
    };
    let state = shared.lock();
    stats.purged_index = state.purged.map(|log_id| log_id.index);
    stats.tail_entries = state.tail.len();
    stats.tail_bytes = state.tail.bytes();
    if let Some(last) = state.last.filter(|last| last.index >= state.first_index) {
        stats.first_index = Some(state.first_index);
        stats.last_index = Some(last.index);
        stats.entries = last.index - state.first_index + 1;
    }
    Ok(stats)
}
