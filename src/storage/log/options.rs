//! The log's limits, each with what it bounds.

use std::time::Duration;

/// How large the log and its memory may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The size the environment can grow to, in bytes of address space. The file grows with its
    /// contents. When it is full the node stops; it starts again with a larger map.
    pub map_bytes: u64,
    /// Bytes of recent entries kept in memory, so that replication and apply do not read them
    /// from the disk again. Entries that the tables do not hold yet are kept beyond it.
    pub tail_bytes_max: usize,
    /// Bytes of entries appended and not committed yet; an append beyond it waits. A single
    /// append may exceed it when nothing else is queued.
    pub queue_bytes_max: usize,
    /// Bytes of entries a limited read answers, unless its first entry alone is larger.
    pub read_bytes_max: usize,
    /// Bytes of each of the journal's two segments, made when the log is first opened. Writes are
    /// put into the tables when one is full: larger means fewer and longer transactions, and more
    /// to replay after a crash. 0 = no journal: every batch is a transaction of the tables.
    pub journal_segment_bytes: usize,
    /// After so long without a write, what the journal holds is put into the tables.
    pub checkpoint_when_idle_for: Duration,
    /// Purged entries deleted from the disk in one transaction. Twice the entries the same
    /// transaction appends are deleted when that is more, so that purging keeps up.
    pub purge_entries_per_commit: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            map_bytes: 64 << 30,
            tail_bytes_max: 16 << 20,
            queue_bytes_max: 64 << 20,
            read_bytes_max: 1 << 20,
            journal_segment_bytes: 8 << 20,
            checkpoint_when_idle_for: Duration::from_millis(500),
            purge_entries_per_commit: 1024,
        }
    }
}
