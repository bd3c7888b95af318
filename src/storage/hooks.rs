//! What the storage tells of its work, for whoever measures it.
//!
//! Called on the storage's own threads, right after the work: an implementation must be quick and
//! must not call back into the store.

use super::StorageError;

/// Receives the storage's measurements.
pub trait StorageHooks: Send + Sync + 'static {
    /// The log acknowledged one batch: how many entries of how many encoded bytes (both may be 0,
    /// for a vote or a purge), and the seconds from its begin to its sync.
    fn log_committed(&self, _entries: usize, _bytes: usize, _seconds: f64) {}
    /// The log put entries (0, when it deleted purged ones alone) from its journal into its
    /// tables, in how many seconds.
    fn log_checkpointed(&self, _entries: usize, _seconds: f64) {}
    /// The state committed one transaction: how many changes, in how many seconds.
    fn state_committed(&self, _changes: usize, _seconds: f64) {}
    /// A snapshot file was written: its size, and the seconds it took.
    fn snapshot_built(&self, _bytes: u64, _seconds: f64) {}
    /// A snapshot file became the state: its size, and the seconds it took.
    fn snapshot_installed(&self, _bytes: u64, _seconds: f64) {}
    /// A record of the state failed its check, or is not where it must be: the state is not to be
    /// trusted any more.
    fn state_damaged(&self, _error: &StorageError) {}
    /// A finished snapshot is damaged, and was given up.
    fn snapshot_damaged(&self, _error: &StorageError) {}
    /// The scrub read so many bytes.
    fn scrubbed(&self, _bytes: u64) {}
    /// The scrub read everything, in how many seconds, and found nothing wrong.
    fn scrub_completed(&self, _seconds: f64) {}
}

/// Nobody measures.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl StorageHooks for NoHooks {}
