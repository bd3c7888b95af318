//! The thread that callers wait for: one batch, one journal record, one sync.
//!
//! It blocks for as long as the disk takes: so it has a thread of its own, and the runtime's
//! threads never wait. While it waits for the disk, the queue fills; the next batch takes all of
//! it. That is the group commit: the slower the disk, the more entries share a sync.
//!
//! What is in the journal is handed to the checkpointer when a segment is full, when nothing else
//! was to be written for a while, and at the end. A batch that fits no segment goes to the
//! checkpointer at once, with all that is before it. A vote is written before the batch that it
//! came with: it may be ahead of the log, never behind it.
//!
//! On failure (also a panic, which would be a bug) the batch and everything queued is answered
//! with the error, the node is told through its sink, and the thread ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};

use super::super::crash_point::crash_point;
use super::super::{StorageError, StorageHooks};
use super::checkpointer::Checkpoint;
use super::journal::{Journal, Record};
use super::shared::{Batch, Shared, Taken};
use super::vote::VoteSlots;
use super::write::Write;
use crate::clock;
use crate::consensus::{log_id_from_openraft, vote_from_openraft};

/// The thread's name.
pub(super) const THREAD_NAME: &str = "chainfire-log";

/// The writer thread's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    hooks: Arc<dyn StorageHooks>,
    journal: Journal,
    vote: VoteSlots,
    checkpoints: SyncSender<Checkpoint>,
    /// Writes in the journal that the checkpointer was not given yet.
    pending: Vec<Write>,
    /// The number of the last of them, as the memory counts.
    pending_sequence: u64,
    /// Scratch: of a record, and of an entry in it.
    buffer: Vec<u8>,
    scratch: Vec<u8>,
}

/// What one batch wrote.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    entries: usize,
    bytes: usize,
    /// Whether it is in the tables already, and not in the journal.
    checkpointed: bool,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        hooks: Arc<dyn StorageHooks>,
        journal: Journal,
        vote: VoteSlots,
        checkpoints: SyncSender<Checkpoint>,
    ) -> Self {
        Self {
            shared,
            hooks,
            journal,
            vote,
            checkpoints,
            pending: Vec::new(),
            pending_sequence: 0,
            buffer: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Writes batches until the log is closed or a write fails.
    pub(super) fn run(mut self) {
        loop {
            let wait_max =
                (!self.pending.is_empty()).then_some(self.shared.options.checkpoint_when_idle_for);
            match self.shared.take_batch(wait_max) {
                Taken::Batch(batch) => {
                    if !self.write_and_answer(batch) {
                        return;
                    }
                }
                Taken::Idle => self.offer_pending(),
                Taken::Closed => {
                    // A failure is the log's already: the checkpointer told it.
                    let _failed = self.close();
                    return;
                }
            }
        }
    }

    /// Whether it could be written.
    fn write_and_answer(&mut self, batch: Batch) -> bool {
        let begin = clock::monotonic();
        // Nothing of what a panic leaves half done is used again.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.write(&batch)))
            .unwrap_or(Err(StorageError::ThreadPanicked { name: THREAD_NAME }));
        match outcome {
            Ok(written) => {
                let seconds = begin.elapsed().as_secs_f64();
                let sequence = batch.sequence;
                let writes = self.shared.complete(batch);
                if !written.checkpointed {
                    self.pending.extend(writes);
                    self.pending_sequence = sequence;
                }
                self.hooks.log_committed(written.entries, written.bytes, seconds);
                true
            }
            Err(error) => {
                let error = self.shared.fail(Arc::new(error));
                batch.finish(&Err(error));
                false
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, StorageError> {
        let mut written = Written::default();
        let last = batch.last.as_ref().map(log_id_from_openraft);
        let mut record = Record::begin(std::mem::take(&mut self.buffer), last);
        let mut vote = None;
        for write in batch.writes() {
            written.bytes += record.push(write, &mut self.scratch);
            match write {
                Write::Append(entries) => written.entries += entries.len(),
                Write::SaveVote(saved) => vote = Some(vote_from_openraft(saved)),
                Write::Truncate(_) => crash_point("log.truncate"),
                Write::Purge(_) | Write::SaveCommitted(_) | Write::MadeGood => {}
            }
        }
        crash_point("log.before_commit");
        if let Some(vote) = vote {
            crash_point("log.save_vote");
            self.vote.save(vote)?;
        }
        if record.is_empty() {
            self.buffer = record.into_buffer();
        } else if self.journal.takes(&record) {
            if !self.journal.has_room(&record) {
                self.hand_over(None)?;
                self.journal.switch();
            }
            self.buffer = self.journal.write(record)?;
        } else {
            self.buffer = record.into_buffer();
            self.write_through(batch)?;
            written.checkpointed = true;
        }
        crash_point("log.after_commit");
        Ok(written)
    }

    /// Puts the batch, and all that is before it, into the tables.
    fn write_through(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.pending.extend(batch.writes().cloned());
        self.pending_sequence = batch.sequence;
        let (done, outcome) = mpsc::channel();
        self.hand_over(Some(done))?;
        outcome.recv().map_err(|_| self.checkpointer_failed())
    }

    /// Gives the checkpointer what is pending, when it has nothing to do.
    fn offer_pending(&mut self) {
        let checkpoint = self.pending_checkpoint(None);
        if let Err(TrySendError::Full(kept) | TrySendError::Disconnected(kept)) =
            self.checkpoints.try_send(checkpoint)
        {
            self.pending = kept.writes;
        }
    }

    /// Gives the checkpointer what is pending. Returns when all that it was given before is in
    /// the tables.
    fn hand_over(&mut self, done: Option<mpsc::Sender<()>>) -> Result<(), StorageError> {
        let checkpoint = self.pending_checkpoint(done);
        self.checkpoints.send(checkpoint).map_err(|_| self.checkpointer_failed())
    }

    /// Gives the checkpointer what is pending, as the last.
    fn close(&mut self) -> Result<(), StorageError> {
        let checkpoint = Checkpoint { closes: true, ..self.pending_checkpoint(None) };
        self.checkpoints.send(checkpoint).map_err(|_| self.checkpointer_failed())
    }

    fn pending_checkpoint(&mut self, done: Option<mpsc::Sender<()>>) -> Checkpoint {
        Checkpoint {
            writes: std::mem::take(&mut self.pending),
            journal_sequence: self.journal.sequence(),
            journal_position: self.journal.position(),
            closes: false,
            sequence: self.pending_sequence,
            done,
        }
    }

    /// It told the log why before it went away.
    fn checkpointer_failed(&self) -> StorageError {
        self.shared.lock().refusal()
    }
}
