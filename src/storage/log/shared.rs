//! What the log's methods, readers and writer thread share, under one lock.
//!
//! Every write changes the memory (tail, last and purged log id) and joins the queue in one
//! critical section, so memory and disk see the same order. The lock is held for a few
//! reference counts and never across the disk or an `.await`.
//!
//! What holds under the lock: the readable entries are `first_index ..= last`; those from the
//! tail's first on are in memory, and **those before it are committed in LMDB**, because the tail
//! gives up only what the tables hold; what is in the journal alone is in memory too. A reader that opens its LMDB transaction under the lock
//! therefore finds all it was promised, whatever is truncated or purged afterwards.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::super::{FatalSink, StorageError};
use super::rebuild;
use super::tables::{LogTables, Recovered};
use super::tail::{self, Tail};
use super::write::{Task, Waiting, Write};
use super::{LogOptions, LostRecord};
use crate::consensus::{RaftEntry, RaftLogId, RaftVote, TypeConfig};

/// What became of a write.
pub(super) type Outcome = Result<(), Arc<StorageError>>;

/// Tells a waiting caller the outcome of its write.
pub(super) type Done = oneshot::Sender<Outcome>;

/// Where a waiting caller receives it.
pub(super) type Pending = oneshot::Receiver<Outcome>;

/// Everything that was queued at one moment: one record of the journal.
pub(super) struct Batch {
    /// The writes, in order; at the end what is known to be committed, when the disk does not
    /// know it yet.
    tasks: Vec<Task>,
    /// The number of the last write.
    pub(super) sequence: u64,
    /// Where the log ends once it is written.
    pub(super) last: Option<RaftLogId>,
}

impl Batch {
    /// Its writes, in order.
    pub(super) fn writes(&self) -> impl Iterator<Item = &Write> {
        self.tasks.iter().map(|task| &task.write)
    }

    /// Tells everybody who waits.
    pub(super) fn finish(self, outcome: &Outcome) {
        for task in self.tasks {
            task.waiting.finish(outcome);
        }
    }
}

/// What the writer thread has to do.
pub(super) enum Taken {
    /// Write this.
    Batch(Batch),
    /// Nothing was to be written for as long as it would wait.
    Idle,
    /// The log is closed and all is written, or it failed.
    Closed,
}

/// One log's shared part.
pub(super) struct Shared {
    pub(super) tables: LogTables,
    pub(super) options: LogOptions,
    fatal: FatalSink,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    work: Condvar,
}

/// What is under the lock.
pub(super) struct State {
    /// The last entry that is gone.
    pub(super) purged: Option<RaftLogId>,
    /// The last entry, or `purged` when there is none.
    pub(super) last: Option<RaftLogId>,
    /// The first entry that can be read, if any can.
    pub(super) first_index: u64,
    /// The last vote on the disk.
    pub(super) vote: Option<RaftVote>,
    /// An entry known to be committed.
    pub(super) committed: Option<RaftLogId>,
    /// What was acknowledged and lost.
    pub(super) lost: Option<LostRecord>,
    /// The first entry that may be cut off: those before it are committed.
    cut_first: u64,
    /// The entries in memory.
    pub(super) tail: Tail,
    committed_unsaved: bool,
    queue: Vec<Task>,
    sequence: u64,
    phase: Phase,
}

enum Phase {
    Open,
    Closing,
    Failed(Arc<StorageError>),
}

impl Shared {
    pub(super) fn new(
        tables: LogTables,
        recovered: Recovered,
        vote: Option<RaftVote>,
        options: LogOptions,
        fatal: FatalSink,
    ) -> Self {
        let Recovered { committed, purged, entries, lost } = recovered;
        let first_index = match (purged, entries) {
            (Some(purged), _) => purged.index + 1,
            (None, Some((first, _))) => first,
            (None, None) => 0,
        };
        let state = State {
            purged,
            last: entries.map(|(_, last)| last).or(purged),
            first_index,
            vote,
            committed,
            lost,
            cut_first: committed.map_or(0, |committed| committed.index + 1),
            tail: Tail::default(),
            committed_unsaved: false,
            queue: Vec::new(),
            sequence: 0,
            phase: Phase::Open,
        };
        let permits = options.queue_bytes_max.min(Semaphore::MAX_PERMITS);
        Self {
            tables,
            options,
            fatal,
            permits: Arc::new(Semaphore::new(permits)),
            state: Mutex::new(state),
            work: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the log's lock")
    }

    /// Makes `entries` readable and queues them. Waits while too many bytes are queued.
    pub(super) async fn append(
        &self,
        entries: Vec<RaftEntry>,
        flushed: IOFlushed<TypeConfig>,
    ) -> Result<(), StorageError> {
        let permit = self.reserve(entries.iter().map(tail::entry_bytes).sum()).await?;
        let mut state = self.lock();
        state.check_open()?;
        state.check_consecutive(&entries)?;
        state.sequence += 1;
        if let (None, Some(first)) = (state.last, entries.first()) {
            state.first_index = first.log_id.index;
        }
        if let Some(last) = entries.last() {
            state.last = Some(last.log_id);
        }
        let sequence = state.sequence;
        for entry in &entries {
            state.tail.push(entry.clone(), sequence);
        }
        let waiting = Waiting::Callback { flushed, permit };
        self.enqueue(state, Task { write: Write::Append(entries), waiting });
        Ok(())
    }

    /// Queues the vote; answers the receiver of the outcome.
    pub(super) fn save_vote(&self, vote: RaftVote) -> Result<Pending, StorageError> {
        let mut state = self.lock();
        state.check_open()?;
        state.sequence += 1;
        let (done, outcome) = oneshot::channel();
        self.enqueue(state, Task { write: Write::SaveVote(vote), waiting: Waiting::Caller(done) });
        Ok(outcome)
    }

    /// Queues that what was lost is there again; answers the receiver of the outcome.
    pub(super) fn made_good(&self) -> Result<Pending, StorageError> {
        let mut state = self.lock();
        state.check_open()?;
        state.sequence += 1;
        let (done, outcome) = oneshot::channel();
        self.enqueue(state, Task { write: Write::MadeGood, waiting: Waiting::Caller(done) });
        Ok(outcome)
    }

    /// No entry up to `index` is cut off from now on.
    pub(super) fn is_applied(&self, index: u64) {
        let mut state = self.lock();
        state.cut_first = state.cut_first.max(index + 1);
    }

    /// Notes what is known to be committed; the next transaction takes it along.
    pub(super) fn save_committed(&self, committed: RaftLogId) -> Result<(), StorageError> {
        let mut state = self.lock();
        state.check_open()?;
        state.committed = Some(committed);
        state.committed_unsaved = true;
        state.cut_first = state.cut_first.max(committed.index + 1);
        Ok(())
    }

    /// Removes the entries after `keep` (all, when none) from memory and queues the same for the
    /// disk; answers the receiver of the outcome, none when there was nothing to remove.
    pub(super) fn truncate_after(
        &self,
        keep: Option<RaftLogId>,
    ) -> Result<Option<Pending>, StorageError> {
        let mut state = self.lock();
        state.check_open()?;
        // Nothing at or below the purged entry can be removed again.
        let keep = match (keep, state.purged) {
            (Some(keep), Some(purged)) if keep.index <= purged.index => Some(purged),
            (None, purged) => purged,
            (keep, _) => keep,
        };
        let first = keep.map_or(0, |keep| keep.index + 1);
        if first < state.cut_first {
            let applied = state.cut_first - 1;
            drop(state);
            let error = StorageError::CutBelowApplied { first, applied };
            return Err(StorageError::Failed(self.fail(Arc::new(error))));
        }
        if state.last.is_none_or(|last| last.index < first) {
            return Ok(None);
        }
        state.sequence += 1;
        state.last = keep;
        state.tail.truncate(first);
        let (done, outcome) = oneshot::channel();
        self.enqueue(state, Task { write: Write::Truncate(first), waiting: Waiting::Caller(done) });
        Ok(Some(outcome))
    }

    /// Removes the entries up to `log_id` from memory and queues the same for the disk. The log
    /// then ends at `log_id` at least.
    pub(super) fn purge(&self, log_id: RaftLogId) -> Result<(), StorageError> {
        let mut state = self.lock();
        state.check_open()?;
        if state.purged.is_some_and(|purged| purged.index >= log_id.index) {
            return Ok(());
        }
        state.sequence += 1;
        state.purged = Some(log_id);
        state.first_index = log_id.index + 1;
        if state.last.is_none_or(|last| last.index <= log_id.index) {
            state.last = Some(log_id);
        }
        state.tail.purge(log_id.index);
        self.enqueue(state, Task { write: Write::Purge(log_id), waiting: Waiting::Nobody });
        Ok(())
    }

    /// Refuses writes from now on; the writer thread ends when the queue is empty.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.permits.close();
        self.work.notify_one();
    }

    /// Waits for something to write and takes all of it; with `wait_max`, for so long.
    pub(super) fn take_batch(&self, wait_max: Option<Duration>) -> Taken {
        let mut state = self.lock();
        while state.queue.is_empty() {
            match state.phase {
                Phase::Open => {
                    let timed_out;
                    (state, timed_out) = self.wait_for_work(state, wait_max);
                    if timed_out && state.queue.is_empty() && matches!(state.phase, Phase::Open) {
                        return Taken::Idle;
                    }
                }
                Phase::Closing if state.committed_unsaved => break,
                Phase::Closing | Phase::Failed(_) => return Taken::Closed,
            }
        }
        let mut tasks = std::mem::take(&mut state.queue);
        if let Some(committed) = state.committed.filter(|_| state.committed_unsaved) {
            let write = Write::SaveCommitted(committed);
            tasks.push(Task { write, waiting: Waiting::Nobody });
        }
        state.committed_unsaved = false;
        Taken::Batch(Batch { tasks, sequence: state.sequence, last: state.last })
    }

    fn wait_for_work<'lock>(
        &self,
        state: MutexGuard<'lock, State>,
        wait_max: Option<Duration>,
    ) -> (MutexGuard<'lock, State>, bool) {
        const UNPOISONED: &str = "nothing panics while it holds the log's lock";
        match wait_max {
            None => (self.work.wait(state).expect(UNPOISONED), false),
            Some(wait_max) => {
                let (state, waited) = self.work.wait_timeout(state, wait_max).expect(UNPOISONED);
                (state, waited.timed_out())
            }
        }
    }

    /// The batch is on the disk: tells everybody, and answers its writes.
    pub(super) fn complete(&self, batch: Batch) -> Vec<Write> {
        let mut state = self.lock();
        for write in batch.writes() {
            match write {
                Write::SaveVote(vote) => state.vote = Some(*vote),
                Write::MadeGood => state.lost = None,
                _ => {}
            }
        }
        drop(state);
        let finish = |task: Task| {
            task.waiting.finish(&Ok(()));
            task.write
        };
        batch.tasks.into_iter().map(finish).collect()
    }

    /// The tables hold every write up to `sequence`: memory need not any more.
    pub(super) fn checkpointed(&self, sequence: u64) {
        self.lock().tail.evict(self.options.tail_bytes_max, sequence);
    }

    /// A write failed: nothing is written any more, and everybody is told. Answers the failure;
    /// the first, when there was one already.
    pub(super) fn fail(&self, error: Arc<StorageError>) -> Arc<StorageError> {
        let mut state = self.lock();
        if let Phase::Failed(first) = &state.phase {
            return first.clone();
        }
        state.phase = Phase::Failed(error.clone());
        let queued = std::mem::take(&mut state.queue);
        drop(state);
        self.permits.close();
        self.work.notify_one();
        self.fatal.report(error.clone());
        Batch { tasks: queued, sequence: 0, last: None }.finish(&Err(error.clone()));
        error
    }

    /// A read failed: openraft cannot go on without what it asked for, so neither can the node.
    /// What it found damaged the next start must not find again by the same read.
    pub(super) fn read_failed(&self, error: StorageError) -> std::io::Error {
        let error = match error.is_damage() {
            true => rebuild::note_damage(self.tables.environment().path(), &error).err(),
            false => None,
        }
        .unwrap_or(error);
        let error = Arc::new(error);
        self.fatal.report(error.clone());
        std::io::Error::other(error)
    }

    /// Bytes appended and not committed.
    pub(super) fn queued_bytes(&self) -> usize {
        self.options.queue_bytes_max.saturating_sub(self.permits.available_permits())
    }

    /// Returns when whatever was appended before is on the disk and openraft was told, or the log
    /// takes no more.
    pub(super) async fn flushed(&self) {
        // Every append gives back what it took of the bound.
        let all = u32::try_from(self.options.queue_bytes_max).unwrap_or(u32::MAX);
        let _closed = self.permits.acquire_many(all).await;
    }

    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StorageError> {
        let bounded = bytes.min(self.options.queue_bytes_max);
        let permits = u32::try_from(bounded).unwrap_or(u32::MAX);
        match self.permits.clone().acquire_many_owned(permits).await {
            Ok(permit) => Ok(permit),
            Err(_closed) => Err(self.lock().refusal()),
        }
    }

    fn enqueue(&self, mut state: MutexGuard<'_, State>, task: Task) {
        state.queue.push(task);
        drop(state);
        self.work.notify_one();
    }
}

impl State {
    fn check_open(&self) -> Result<(), StorageError> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Closing | Phase::Failed(_) => Err(self.refusal()),
        }
    }

    /// Why nothing can be written.
    pub(super) fn refusal(&self) -> StorageError {
        match &self.phase {
            Phase::Failed(error) => StorageError::Failed(error.clone()),
            Phase::Open | Phase::Closing => StorageError::ShutDown,
        }
    }

    fn check_consecutive(&self, entries: &[RaftEntry]) -> Result<(), StorageError> {
        let mut expected = self.last.map(|last| last.index + 1);
        for entry in entries {
            let found = entry.log_id.index;
            match expected {
                Some(expected) if expected != found => {
                    return Err(StorageError::NotConsecutive { expected, found });
                }
                _ => expected = Some(found + 1),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("tables", &self.tables).finish_non_exhaustive()
    }
}
