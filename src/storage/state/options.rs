//! What can be set about the state's storage, and the limits it keeps.

use std::time::Duration;

use crate::machine::ApplyLimits;

/// How a [`StateStore`](super::StateStore) is opened.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// The size each environment can grow to, in bytes of address space. The file on the disk
    /// grows with what is in it.
    pub map_bytes: u64,
    /// The bytes that may be in use before writes are refused; less where the map or the disk has
    /// less.
    pub quota_bytes: u64,
    /// How long changes gather before they are written, at most.
    pub flush_interval: Duration,
    /// Changes are written sooner when they take this many bytes of memory.
    pub flush_bytes: usize,
    /// Applying waits for the disk while changes that are not written take more than this many
    /// bytes of memory.
    pub unflushed_bytes_max: usize,
    /// Bytes of history that are in the tables before a received snapshot is the state. The rest
    /// follows while the node is at work already.
    pub install_history_bytes: usize,
    /// Bytes of that rest that follow in one transaction, about.
    pub settle_bytes: usize,
    /// The flusher rests between two of them for this long at least, and as long as there is some
    /// in the file for several times as long as the one before took.
    pub settle_rest: Duration,
    /// What one command may do. *Replicated:* tests alone use others than the default.
    pub apply_limits: ApplyLimits,
    /// How fast the scrub reads what is stored, in bytes a second; 0 = there is none.
    pub scrub_bytes_per_second: u64,
    /// How long it rests before each pass.
    pub scrub_rest: Duration,
    /// Entries must be applied without gaps. Only openraft's conformance suite, which skips
    /// indexes, runs without.
    pub consecutive_entries: bool,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            map_bytes: 64 << 30,
            quota_bytes: 8 << 30,
            flush_interval: Duration::from_millis(500),
            flush_bytes: 8 << 20,
            unflushed_bytes_max: 32 << 20,
            install_history_bytes: 8 << 20,
            settle_bytes: 4 << 20,
            settle_rest: Duration::from_millis(20),
            apply_limits: ApplyLimits::default(),
            scrub_bytes_per_second: 8 << 20,
            scrub_rest: Duration::from_secs(3_600),
            consecutive_entries: true,
        }
    }
}
