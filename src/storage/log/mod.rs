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
//!   tables:  LMDB `entries` (index -> sealed entry) and `meta` (what there is to know of the log)
//! ```
//!
//! The vote lies in two small files beside them.
//!
//! Reading order: `options`, `entry_layout` and `meta_layout` (the bytes), `tables` (LMDB), `vote`,
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
//! - **Damage is never taken for an end.** What of the journal is whole before a damaged record
//!   counts; the log remembers durably that it lost something acknowledged ([`LogStore::lost`])
//!   until it is told that the node has it again. Anything else that must be there and is not, or
//!   is not what was written, is refused by name; whoever has a state can make a log behind it
//!   (`rebuild`).
//! - **What was applied is never cut off**: such a truncation fails, and failure is final.
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
mod rebuild;
mod reset;
mod shared;
mod stats;
mod store;
mod tables;
mod tail;
mod vote;
mod write;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

pub use meta_layout::LostRecord;
pub use options::LogOptions;
pub use reader::LogReader;
pub(crate) use rebuild::{is_log_damage, rebuild};
pub(super) use reset::reset;
pub use stats::LogStats;

use self::checkpointer::Checkpointer;
use self::journal::{Journal, Loss, Replay};
use self::meta_layout::{JournalRecord, LogRecord};
use self::shared::Shared;
use self::tables::LogTables;
use self::vote::VoteSlots;
use self::writer::Writer;
use super::pages::verify_pages;
use super::{DataDir, FatalSink, StorageError, StorageHooks};
use crate::consensus::{RaftEntry, vote_to_openraft};

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
    /// The environment cannot be opened or was written by a newer release; both copies of the vote,
    /// the log record, the first or the last entry are damaged or gone.
    pub fn open(
        directory: &DataDir,
        options: LogOptions,
        fatal: FatalSink,
        hooks: Arc<dyn StorageHooks>,
    ) -> Result<Self, StorageError> {
        let path = directory.log_path();
        if directory.is_suspect() {
            tracing::warn!("the last run died by a fault: verifying the log before it is used");
            verify_pages(&path)?;
        }
        rebuild::check_undamaged(&path)?;
        let tables = LogTables::open(&path, &options)?;
        let new = tables.is_new()?;
        let (slots, vote) = VoteSlots::open(&path, new)?;
        if new {
            tables.begin_log()?;
        }
        let journal = open_journal(&path, &tables, &options)?;
        let recovered = tables.recover()?;
        let purge_target = recovered.purged.map(|log_id| log_id.index);
        let vote = vote.as_ref().map(vote_to_openraft);
        let shared = Arc::new(Shared::new(tables, recovered, vote, options, fatal));

        // Without a queue: see the head of `checkpointer`.
        let (hand_over, checkpoints) = mpsc::sync_channel(0);
        let checkpointer =
            Checkpointer::new(shared.clone(), hooks.clone(), checkpoints, purge_target);
        let writer = Writer::new(shared.clone(), hooks, journal, slots, hand_over);
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

    /// What was acknowledged and is lost: the node may not vote as if it had it. None once
    /// [`made_good`](Self::made_good).
    pub fn lost(&self) -> Option<LostRecord> {
        self.inner.shared.lock().lost
    }

    /// The node has again whatever it lost. Returns when the disk knows.
    pub async fn made_good(&self) -> Result<(), Arc<StorageError>> {
        match self.inner.shared.made_good().map_err(Arc::new)?.await {
            Ok(outcome) => outcome,
            Err(_gone) => Err(Arc::new(StorageError::ThreadPanicked { name: writer::THREAD_NAME })),
        }
    }

    /// The state holds the entries up to `index`: none of them is ever cut off again.
    pub fn is_applied(&self, index: u64) {
        self.inner.shared.is_applied(index);
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
    let Replay { writes, sequence, loss, damaged } = match &held {
        Some(held) => journal::replay(directory, held)?,
        None => Replay::default(),
    };
    if held.is_some_and(|held| !held.closed) {
        // Nothing of the segments is needed afterwards, so they may be made anew.
        tables.replay(&writes, |record| {
            if let Some(loss) = &loss {
                note_loss(record, loss, directory);
            }
            if let Some(journal) = &mut record.journal {
                (journal.sequence, journal.closed) = (sequence, true);
            }
        })?;
    }
    let (segment_bytes, salt) =
        (journal::segment_bytes(options.journal_segment_bytes), rand::random());
    let journal = Journal::create(directory, segment_bytes, salt, sequence, damaged)?;
    tables.replay(&[], |record| {
        record.journal = (segment_bytes > 0).then(|| JournalRecord {
            salt,
            segment_bytes: segment_bytes as u64,
            sequence,
            position: journal.position(),
            closed: false,
        });
    })?;
    Ok(journal)
}

/// Remembers that acknowledged entries are gone, unless those that are there are all.
fn note_loss(record: &mut LogRecord, loss: &Loss, directory: &Path) {
    let lost = LostRecord { last: loss.last };
    let (path, reason) = (directory.display(), &loss.reason);
    if lost.last.is_some_and(|last| record.last >= Some(last)) {
        tracing::warn!(%path, reason, "the log's journal is damaged; no entry is lost");
        return;
    }
    record.lost = Some(lost.and(record.lost));
    let (kept, lost) = (record.last.map_or(0, |last| last.index), lost.last.map(|last| last.index));
    tracing::error!(
        %path, reason, record = loss.record, last_entry = kept, lost_up_to = lost,
        "the log's journal is damaged and acknowledged entries are lost; the node does not vote \
         until a leader has given them to it again"
    );
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
