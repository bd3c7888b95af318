//! The thread that puts what the journal holds into the tables: many writes, one transaction.
//!
//! Nobody waits for it but the writer thread, and that only when both segments of the journal are
//! full, or when it has a batch that fits no segment.
//!
//! A write transaction of LMDB's belongs to the thread that began it, so all of them are made
//! here. Entries that were purged are deleted here too, a bounded number in each transaction;
//! with nothing else to write it goes on in transactions of its own until all are gone.
//!
//! Checkpoints are handed over without a queue: the writer's hand-over returns when this thread
//! takes it, which says that everything handed over before is in the tables. That is what makes
//! a segment free.
//!
//! On failure (also a panic, which would be a bug) the log is told, and refuses everything from
//! then on; what was acknowledged is in the journal. The thread ends, and hand-overs fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use super::super::crash_point::crash_point;
use super::super::{StorageError, StorageHooks};
use super::journal::JournalPosition;
use super::shared::Shared;
use super::tables::TablesTxn;
use super::write::Write;
use crate::clock;

/// The thread's name.
pub(super) const THREAD_NAME: &str = "chainfire-log-tables";

/// Writes to put into the tables.
pub(super) struct Checkpoint {
    /// The writes, in order; they follow those of the last checkpoint.
    pub(super) writes: Vec<Write>,
    /// The number of the last journal record whose writes these (and earlier ones) hold.
    pub(super) journal_sequence: u64,
    /// Where the record after it goes.
    pub(super) journal_position: JournalPosition,
    /// Whether there will be none: the log is closing.
    pub(super) closes: bool,
    /// The number of the last write, as the memory counts.
    pub(super) sequence: u64,
    /// Told when they are in the tables.
    pub(super) done: Option<Sender<()>>,
}

/// The thread's own state.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    hooks: Arc<dyn StorageHooks>,
    checkpoints: Receiver<Checkpoint>,
    /// Purged entries up to this index may still be on the disk.
    purge_target: Option<u64>,
    /// Scratch for encoding.
    buffer: Vec<u8>,
}

impl Checkpointer {
    pub(super) fn new(
        shared: Arc<Shared>,
        hooks: Arc<dyn StorageHooks>,
        checkpoints: Receiver<Checkpoint>,
        purge_target: Option<u64>,
    ) -> Self {
        Self { shared, hooks, checkpoints, purge_target, buffer: Vec::new() }
    }

    /// Works until the writer thread is gone or a write fails.
    pub(super) fn run(mut self) {
        while let Some(next) = self.next() {
            // Nothing of what a panic leaves half done is used again.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.commit(next.as_ref())))
                .unwrap_or(Err(StorageError::ThreadPanicked { name: THREAD_NAME }));
            if let Err(error) = outcome {
                self.shared.fail(Arc::new(error));
                return;
            }
            let Some(checkpoint) = next else { continue };
            self.shared.checkpointed(checkpoint.sequence);
            if let Some(done) = checkpoint.done {
                // The writer waits for it, or has panicked.
                let _ = done.send(());
            }
        }
    }

    /// Some checkpoint, or none and there are purged entries to delete; nothing at the end.
    #[expect(clippy::option_option, reason = "the end, a step of its own, a checkpoint")]
    fn next(&self) -> Option<Option<Checkpoint>> {
        if self.purge_target.is_none() {
            return self.checkpoints.recv().ok().map(Some);
        }
        match self.checkpoints.try_recv() {
            Ok(checkpoint) => Some(Some(checkpoint)),
            Err(TryRecvError::Empty) => Some(None),
            Err(TryRecvError::Disconnected) => None,
        }
    }

    fn commit(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), StorageError> {
        let nothing_new =
            checkpoint.is_none_or(|checkpoint| checkpoint.writes.is_empty() && !checkpoint.closes);
        if nothing_new && self.purge_target.is_none() {
            return Ok(());
        }
        let begin = clock::monotonic();
        let shared = self.shared.clone();
        let tables = &shared.tables;
        let mut txn = tables.begin()?;
        let mut appended = 0;
        if let Some(checkpoint) = checkpoint {
            for write in &checkpoint.writes {
                tables.apply(&mut txn, write, &mut self.buffer)?;
                match write {
                    Write::Append(entries) => appended += entries.len(),
                    Write::Purge(log_id) => self.purge_target = Some(log_id.index),
                    Write::SaveVote(_)
                    | Write::Truncate(_)
                    | Write::SaveCommitted(_)
                    | Write::MadeGood => {}
                }
            }
            if let Some(journal) = &mut txn.record.journal {
                journal.sequence = checkpoint.journal_sequence;
                journal.position = checkpoint.journal_position;
                journal.closed = checkpoint.closes;
            }
        }
        self.delete_purged(&mut txn, appended)?;
        crash_point("log.before_checkpoint");
        tables.commit(txn)?;
        crash_point("log.after_checkpoint");
        self.hooks.log_checkpointed(appended, begin.elapsed().as_secs_f64());
        Ok(())
    }

    /// One bounded step of the deletion that purging left to do.
    fn delete_purged(
        &mut self,
        txn: &mut TablesTxn<'_>,
        appended: usize,
    ) -> Result<(), StorageError> {
        let Some(target) = self.purge_target else { return Ok(()) };
        let keep_up = appended as u64 * 2;
        let count_max = self.shared.options.purge_entries_per_commit.max(keep_up).max(1);
        if self.shared.tables.delete_purged(txn, target, count_max)? {
            crash_point("log.purge");
        } else {
            self.purge_target = None;
        }
        Ok(())
    }
}
