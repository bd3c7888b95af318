//! How much room the state has left.
//!
//! What counts is the pages that hold something, with what is applied and not written yet; not the
//! file, which never shrinks. The limit is the least of three:
//! - the quota;
//! - half of the map: a transaction copies each page that it changes, and at the limit what deletes
//!   and compaction write must still fit;
//! - what is there and what the disk has left, less a reserve for the log and for snapshots.
//!
//! A state that reached its limit is full until it is well below: it lifts by itself.
//!
//! Read on every write, so it is made of what was measured at the last flush; nothing here touches
//! the disk but [`measure`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::shared::Shared;
use super::stats::stats;
use crate::storage::StorageError;
use crate::storage::environment::disk_room;
use crate::types::SpaceUse;

/// What is left to the log and to snapshots of the disk, at most.
const RESERVE_BYTES_MAX: u64 = 256 << 20;
/// The share of a small disk that is left instead: one part in so many.
const RESERVE_PARTS: u64 = 16;
/// A full state is so again until it is this many sixteenths of its limit.
const LIFTS_AT_SIXTEENTHS: u64 = 15;

/// What was measured last.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    used_bytes: AtomicU64,
    limit_bytes: AtomicU64,
    is_full: AtomicBool,
}

impl Shared {
    /// The room as it is now, with `coming_bytes` more that are on their way. Cheap.
    pub(crate) fn space(&self, coming_bytes: u64) -> SpaceUse {
        let measured = &self.measured;
        let unflushed = self.unflushed_bytes.load(Ordering::Relaxed) as u64;
        let used_bytes = measured.used_bytes.load(Ordering::Relaxed) + unflushed + coming_bytes;
        let limit_bytes = measured.limit_bytes.load(Ordering::Relaxed);
        let was_full = measured.is_full.load(Ordering::Relaxed);
        let is_full = is_full(used_bytes, limit_bytes, was_full);
        if is_full != was_full {
            measured.is_full.store(is_full, Ordering::Relaxed);
        }
        SpaceUse { used_bytes, limit_bytes, is_full }
    }
}

fn is_full(used_bytes: u64, limit_bytes: u64, was_full: bool) -> bool {
    match was_full {
        true => used_bytes > limit_bytes / 16 * LIFTS_AT_SIXTEENTHS,
        false => used_bytes >= limit_bytes,
    }
}

/// Measures what is used and what there may be. Touches the disk.
pub(crate) fn measure(shared: &Shared) -> Result<(), StorageError> {
    let stats = stats(shared)?;
    let room = disk_room(&shared.directory.state_path())?;
    let reserve = RESERVE_BYTES_MAX.min(room.total_bytes / RESERVE_PARTS);
    let on_disk = stats.file_bytes.saturating_add(room.free_bytes).saturating_sub(reserve);
    let limit = shared.options.quota_bytes.min(stats.map_bytes / 2).min(on_disk);
    shared.measured.used_bytes.store(stats.used_bytes + stats.unsettled_bytes, Ordering::Relaxed);
    shared.measured.limit_bytes.store(limit, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_state_is_full_until_it_is_well_below_its_limit() {
        assert!(!is_full(1_599, 1_600, false));
        assert!(is_full(1_600, 1_600, false));
        assert!(is_full(1_501, 1_600, true));
        assert!(!is_full(1_500, 1_600, true));
        assert!(is_full(0, 0, false), "a disk without any room");
    }
}
