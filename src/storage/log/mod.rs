//! The replicated log on the disk: what a node acknowledged, it finds here again.
//!
//! ```text
//!   append, truncate, purge, vote          reads
//!            |                               |
//!            v                               v
//!   shared:  queue  +  tail (entries in memory: all that the tables lack, and recent ones)
//!            |                               |
//!            v  one OS thread                |  entries before the tail
//!   writer:  everything queued in one record, one sync, then all callbacks
//!            |                               |
//!   journal: two segments of fixed size      |
//!            |                               |
//!            v  one OS thread                |
//!   checkpointer: a full segment in one      |
//!            |    transaction                |
//!            v                               v
//!   tables:  LMDB `entries` (index -> sealed entry) and `meta` (format, vote, committed, purged)
//! ```
//!
//! Reading order: `options`, `entry_layout` and `meta_layout` (the bytes), `tables` (LMDB),
//! `write`, `journal`, `tail`, `shared` (what every method changes under one lock), `writer`,
//! `checkpointer`, `reader`, `store` (openraft's trait).
//!
//! What holds, whatever happens:
//!
//! - **Order.** Everything that writes is applied in the order it was asked for. The order is that
//!   of taking the one lock, under which memory and queue change together.
//! - **Readable at once, acknowledged late.** An entry is readable when `append` returns, and its
//!   callback runs only after the write that holds it returned from its sync.
//! - **No holes.** An append that does not follow the last entry is refused, and a read that finds
//!   an entry missing between two others is an error, never a shorter answer.
//! - **Purging is one small record.** It is durable before the entries it covers are deleted, in
//!   bounded steps inside transactions; entries at or below it are never read again.
//! - **Failure is final.** After a failed write or sync nobody knows what the disk holds, so the
//!   store reports to its [`FatalSink`], fails every callback, and refuses all later writes. A
//!   fresh process reads what is there; everything acknowledged is.
//!
//! `save_committed` never waits for the disk: the index rides on the next write. After a
//! crash it may be old, which costs a longer replay and nothing else.

mod checkpointer;
mod entry_layout;
#[cfg(fuzzing)]
pub mod fuzzing;
mod journal;
mod meta_layout;
mod options;
mod reader;
mod reset;
mod shared;
mod stats;
mod store;
mod tables;
mod tail;
mod write;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

pub use options::LogOptions;
pub use reader::LogReader;
pub(super) use reset::reset;
pub use stats::LogStats;

use self::checkpointer::Checkpointer;
use self::journal::{Journal, Replay};
use self::meta_layout::JournalRecord;
use self::shared::Shared;
use self::tables::LogTables;
use self::writer::Writer;
use super::{DataDir, FatalSink, StorageError, StorageHooks};
use crate::consensus::RaftEntry;

/// The log of one node. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// The checkpointer's, then the writer's.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps the directory locked as long as the environment is open.
    _directory: DataDir,
}

impl LogStore {
    /// Opens the log of `directory`, creating it when it is new, and starts its writer thread.
    /// Blocks for as long as opening takes.
    ///
    /// # Errors
    /// The environment cannot be opened or was written by a newer release; the vote, the purged
    /// log id or the last entry is corrupt.
    pub fn open(
        directory: &DataDir,
        options: LogOptions,
        fatal: FatalSink,
        hooks: Arc<dyn StorageHooks>,
    ) -> Result<Self, StorageError> {
        let tables = tables::LogTables::open(&directory.log_path(), &options)?;
        let journal = open_journal(&directory.log_path(), &tables, &options)?;
        let recovered = tables.recover()?;
        let purge_target = recovered.purged.map(|log_id| log_id.index);
        let shared = Arc::new(Shared::new(tables, recovered, options, fatal));

        // Without a queue: see the head of `checkpointer`.
        let (hand_over, checkpoints) = mpsc::sync_channel(0);
        let checkpointer =
            Checkpointer::new(shared.clone(), hooks.clone(), checkpoints, purge_target);
        let writer = Writer::new(shared.clone(), hooks, journal, hand_over);
        let threads = vec![
            start(checkpointer::THREAD_NAME, move || checkpointer.run())?,
            start(writer::THREAD_NAME, move || writer.run())?,
        ];
        let inner = Inner { shared, threads: Mutex::new(threads), _directory: directory.clone() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A reader of this log, independent of this value.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.inner.clone())
    }

    /// Figures about this log, as of now.
    pub fn stats(&self) -> Result<LogStats, StorageError> {
        stats::collect(&self.inner.shared)
    }

    /// Returns when whatever was appended before is on the disk, and openraft was told. Appends
    /// that come meanwhile wait.
    pub async fn flushed(&self) {
        self.inner.shared.flushed().await;
    }

    /// Refuses new writes, commits what is queued, and ends the writer thread. Blocks until then:
    /// on a runtime call it from `spawn_blocking`. Further calls do nothing. Reads go on.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

/// Puts what an earlier run left in the journal into the tables, and begins the journal anew.
fn open_journal(
    directory: &Path,
    tables: &LogTables,
    options: &LogOptions,
) -> Result<Journal, StorageError> {
    let held = tables.journal()?;
    let Replay { writes, sequence } = match &held {
        Some(held) => journal::replay(directory, held)?,
        None => Replay::default(),
    };
    let (segment_bytes, salt) = (options.journal_segment_bytes, rand::random());
    if held.is_none() {
        // The segments first: once the tables speak of them, one that is gone is damage.
        Journal::create(directory, segment_bytes, salt, sequence)?;
    }
    let record = (segment_bytes > 0).then_some(JournalRecord { salt, sequence });
    tables.replay(&writes, record.as_ref())?;
    Journal::create(directory, segment_bytes, salt, sequence)
}

/// Starts a thread of the log's.
fn start(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StorageError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| StorageError::Thread { name, source })
}

/// Reads the bytes of the entry `index` as they lie on the disk: for tools, and for the fuzzer.
pub fn decode_entry(index: u64, bytes: &[u8]) -> Result<RaftEntry, StorageError> {
    entry_layout::decode(index, bytes)
        .map_err(|error| entry_layout::storage_error(index, Path::new("the input"), error))
}

impl Inner {
    fn shutdown(&self) {
        self.shared.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // The writer first: when it is gone the checkpointer ends too.
        while let Some(thread) = threads.pop() {
            // A panic of the thread was caught on it and reported by it.
            let _ended = thread.join();
        }
    }
}

/// The last owner ends the thread, so that the environment is closed when it is gone.
impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}
