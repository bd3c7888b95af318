//! Removing from the disk what was compacted, in bounded steps.
//!
//! Compacting at C is a change like any other: from it on, nobody reads below C. What may be
//! forgotten then is removed by the flusher, a few records with each of its transactions, or in
//! transactions of their own while there is nothing to flush. `CompactionProgress` in the `meta`
//! table is written with each step, so a restart goes on where it stopped.
//!
//! # What is looked at
//!
//! A version may be forgotten at C when its key's next version is at or below C, or when it is
//! itself a tombstone below C. Both show when one looks at the *later* event: walking `history`
//! from the last compaction to C, each version tells which earlier one it made obsolete (the one
//! it points to), and each tombstone itself. So a compaction looks at the changes since the last
//! one, however much older data is kept.
//!
//! The tombstones that a staged delete wrote lie in a table of their own, and are met in the order
//! of revisions all the same. One that is not written out as a whole is never reached.
//!
//! A tombstone exactly at C stays, for watchers that start there; the next compaction begins at C,
//! not after it, and takes it then.
//!
//! The memory table is not touched: what is in it is newer than what is looked at, or becomes so
//! with the next flush.

use std::ops::Bound;

use super::layout::Table;
use super::layout::history::decode_history_record;
use super::layout::meta::CompactionProgress;
use super::layout::version::{REVISION_BYTES, decode_revision, encode_revision};
use super::tables::Tables;
use super::write::TableWriter;
use crate::storage::StorageError;
use crate::types::Revision;

/// Versions looked at in a transaction that also writes changes.
pub(crate) const STEP_BESIDE_A_FLUSH: usize = 1_000;
/// Versions looked at in a transaction of its own.
pub(crate) const STEP_ALONE: usize = 10_000;

/// One version on the way.
struct Seen {
    revision: Revision,
    key: bytes::Bytes,
    is_tombstone: bool,
    previous: Option<Revision>,
}

impl CompactionProgress {
    /// What is left to do for `compact_revision`: the progress to go on from; none when nothing.
    ///
    /// A target is always reached before the next is taken up, for what is done at the target
    /// itself (its tombstones stay) is not what is done below it.
    pub(crate) fn pending(self, compact_revision: u64) -> Option<Self> {
        if !self.complete {
            return Some(self);
        }
        let next = Self {
            target: compact_revision,
            cursor: Revision::new(self.target, 0),
            complete: false,
        };
        (self.target < compact_revision).then_some(next)
    }
}

/// Removes what `progress` leaves to remove, looking at `limit` versions at most. The versions at
/// or below its target must be in the tables.
pub(crate) fn compact_step(
    writer: &mut TableWriter<'_>,
    progress: CompactionProgress,
    limit: usize,
) -> Result<CompactionProgress, StorageError> {
    let seen = look(writer, progress, limit)?;
    let last = match seen.last() {
        Some(last) if seen.len() == limit => last.revision,
        _ => Revision::new(progress.target, u32::MAX),
    };
    for version in &seen {
        if let Some(previous) = version.previous {
            remove_version(writer, previous)?;
        }
        if version.is_tombstone && version.revision.main < progress.target {
            remove_tombstone(writer, version)?;
        }
    }
    let complete = seen.len() < limit;
    let cursor = Revision::new(last.main, last.sub.saturating_add(1));
    Ok(CompactionProgress { cursor, complete, ..progress })
}

/// The next versions up to the target.
fn look(
    writer: &TableWriter<'_>,
    progress: CompactionProgress,
    limit: usize,
) -> Result<Vec<Seen>, StorageError> {
    let tables: &Tables = writer.tables();
    let first = encode_revision(progress.cursor);
    let last = encode_revision(Revision::new(progress.target, u32::MAX));
    let bounds = (Bound::Included(&first[..]), Bound::Included(&last[..]));
    let range_of = |table| tables.table(table).range(writer.txn(), bounds);
    let mut history = range_of(Table::History)?.peekable();
    let mut staged = range_of(Table::Tombstones)?.peekable();
    let mut seen = Vec::with_capacity(limit.min(1_024));
    while seen.len() < limit {
        let is_staged = match (history.peek(), staged.peek()) {
            (Some(Ok((ours, _))), Some(Ok((other, _)))) => other < ours,
            (None, _) | (_, Some(Err(_))) => true,
            _ => false,
        };
        let next = if is_staged { staged.next() } else { history.next() };
        let Some(record) = next else { break };
        let (revision, bytes) = record?;
        let revision: &[u8; REVISION_BYTES] = revision.try_into().map_err(|_| {
            tables.broken(Table::History, format!("a key has {} bytes", revision.len()))
        })?;
        let record =
            decode_history_record(bytes).map_err(|error| tables.corrupt(Table::History, &error))?;
        seen.push(Seen {
            revision: decode_revision(revision),
            key: bytes::Bytes::copy_from_slice(record.key),
            is_tombstone: record.version.live.is_none(),
            previous: record.version.pointers.get(0),
        });
    }
    Ok(seen)
}

/// Removes a version, wherever it lies.
fn remove_version(writer: &mut TableWriter<'_>, revision: Revision) -> Result<(), StorageError> {
    let key = encode_revision(revision);
    if !writer.delete(Table::History, &key)? {
        writer.delete(Table::Tombstones, &key)?;
    }
    Ok(())
}

fn remove_tombstone(writer: &mut TableWriter<'_>, version: &Seen) -> Result<(), StorageError> {
    remove_version(writer, version.revision)?;
    let newest = writer.key_record(&version.key)?;
    if newest.is_some_and(|newest| newest.revision == version.revision) {
        writer.delete(Table::Keys, &version.key)?;
    }
    Ok(())
}
