//! What the store's handles, the one who applies, the flusher and the views share.
//!
//! Locks, in the order in which they are taken: `applying` (one applies or installs at a time),
//! `flushing` (one flushes or installs at a time), `head`, a generation's contents, `sessions`.
//! `head` is held for microseconds: to publish one command's changes, or to make a view.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::control::FlushControl;
use super::deletes::StagedDeletes;
use super::epoch::EpochDirectory;
use super::head::{Applied, Head};
use super::install::PreparedEpoch;
use super::layout::meta::{BacklogMark, CompactionProgress};
use super::options::StateOptions;
use super::scrub::ScrubControl;
use super::sessions::SessionTable;
use super::space::Measured;
use super::view::{OpenView, View};
use crate::storage::snapshot::{SnapshotFile, SnapshotShelf};
use crate::storage::{DataDir, FatalSink, StorageError, StorageHooks};
use crate::types::{AccessTables, LogId, NodeId, Roster};

/// See the module's head.
pub(crate) struct Shared {
    pub(crate) directory: DataDir,
    pub(crate) options: StateOptions,
    pub(crate) hooks: Arc<dyn StorageHooks>,
    pub(crate) sessions: Arc<SharedSessions>,
    pub(crate) applied: watch::Sender<Applied>,
    /// Users, roles and keys; sent under the lock of `head`.
    pub(crate) access: watch::Sender<Arc<AccessTables>>,
    pub(crate) durable: watch::Sender<Option<LogId>>,
    pub(crate) roster: watch::Sender<Arc<Roster>>,
    /// Where each member says that peers reach it; sent under the lock of `head`.
    pub(crate) peer_addrs: watch::Sender<PeerAddrs>,
    /// Sent under the lock of `head`.
    pub(crate) deletes: watch::Sender<StagedDeletes>,
    pub(crate) failed: watch::Sender<Option<Arc<StorageError>>>,
    pub(crate) fatal: FatalSink,
    pub(crate) control: FlushControl,
    /// The memory taken by changes that are not on the disk, in bytes.
    pub(crate) unflushed_bytes: AtomicUsize,
    pub(crate) measured: Measured,
    /// Batches that are still to be applied off the runtime's workers.
    pub(crate) slow_batches: AtomicU32,
    /// How long the last step of a staged delete took to be applied, in microseconds.
    pub(crate) delete_step_us: AtomicU64,
    pub(crate) open_views: Arc<AtomicUsize>,
    pub(crate) scrub: ScrubControl,
    pub(crate) snapshots: SnapshotShelf,
    /// Held by whoever writes a snapshot file: one at a time, and those who wait share it.
    pub(crate) exporting: tokio::sync::Mutex<Exporting>,
    /// A received state that was built and waits to be made the current one.
    pub(crate) prepared: Mutex<Option<PreparedEpoch>>,
    pub(crate) applying: tokio::sync::Mutex<()>,
    pub(crate) flushing: Mutex<FlushState>,
    pub(crate) head: RwLock<Head>,
}

/// What belongs to whoever writes a snapshot file.
#[derive(Debug, Default)]
pub(crate) struct Exporting {
    /// Written, and not yet given to consensus, which takes it for its next snapshot.
    pub(crate) for_consensus: Option<SnapshotFile>,
}

/// Where members say that peers reach them.
pub(crate) type PeerAddrs = Arc<BTreeMap<NodeId, String>>;

/// What belongs to whoever flushes.
#[derive(Debug)]
pub(crate) struct FlushState {
    /// As of the last commit.
    pub(crate) compaction: CompactionProgress,
    /// As of the last commit: what of the history is not in the tables yet.
    pub(crate) backlog: Option<BacklogMark>,
    /// Memory that was flushed beside a backlog since the last step of settling, in bytes.
    pub(crate) diverted_bytes: usize,
    /// Where it is written.
    pub(crate) epoch: EpochDirectory,
}

impl FlushState {
    /// What compaction has to do now. It waits for the history to be whole.
    pub(crate) fn compaction_pending(&self, compact_revision: u64) -> Option<CompactionProgress> {
        match self.backlog {
            Some(_) => None,
            None => self.compaction.pending(compact_revision),
        }
    }
}

/// The session table behind its lock.
#[derive(Debug, Default)]
pub(crate) struct SharedSessions(RwLock<SessionTable>);

// Every lock below survives a panic of its holder: each holder changes what is behind it in steps
// that are whole by themselves, and a thread that panics is reported as a failure of the store.

impl SharedSessions {
    pub(crate) fn new(sessions: SessionTable) -> Self {
        Self(RwLock::new(sessions))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, SessionTable> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, SessionTable> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub(crate) fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flushing(&self) -> MutexGuard<'_, FlushState> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prepared(&self) -> MutexGuard<'_, Option<PreparedEpoch>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as it is now, and the arrangement it was made of.
    pub(crate) fn view(&self) -> Result<(View, u64), StorageError> {
        let head = self.head();
        // Under the lock: nothing is released between taking the generations and this.
        let reader = head.tables.read()?;
        let view = View {
            revision: head.position.revision,
            compact_revision: head.position.compact_revision,
            leader_time_ms: head.position.leader_time_ms,
            forgotten: head.position.forgotten,
            roster: Arc::clone(&head.roster),
            generations: [Some(Arc::clone(&head.active)), head.frozen.clone()],
            reader,
            access: Arc::clone(&head.access),
            deletes: Arc::clone(&head.position.deletes),
            sessions: Arc::clone(&self.sessions),
            _open: OpenView::new(&self.open_views),
        };
        Ok((view, head.arrangement))
    }

    /// Tells the node when an error says that the state is not what was written.
    pub(crate) fn note_damage(&self, error: &StorageError) {
        if error.is_damaged_state(self.directory.path()) {
            self.hooks.state_damaged(error);
        }
    }

    /// Takes a failure after which the store refuses everything.
    pub(crate) fn fail(&self, error: StorageError) -> StorageError {
        // Told at once: whoever then hears that the store failed knows why.
        self.note_damage(&error);
        let error = Arc::new(error);
        self.failed.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| Arc::clone(&error));
            is_first
        });
        self.fatal.report(Arc::clone(&error));
        StorageError::Failed(error)
    }

    /// Refuses when the store failed or was shut down.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        if let Some(error) = &*self.failed.borrow() {
            return Err(StorageError::Failed(Arc::clone(error)));
        }
        if self.control.is_stopping() { Err(StorageError::ShutDown) } else { Ok(()) }
    }

    /// Whether changes that are not on the disk take as much memory as they may.
    pub(crate) fn is_full(&self) -> bool {
        self.unflushed_bytes.load(Ordering::Acquire) > self.options.unflushed_bytes_max
    }

    /// Tells the flusher what is unfinished in the tables.
    pub(crate) fn resume(&self) {
        let flushing = self.flushing();
        let compact_revision = self.head().position.removable_revision();
        self.control.set_settling(flushing.backlog.map(|_| Duration::ZERO));
        self.control.set_compacting(flushing.compaction_pending(compact_revision).is_some());
    }

    /// Waits until `done` holds, which is looked at after every flush; refuses as
    /// [`check`](Self::check) does when it never will.
    pub(crate) async fn wait_for_flush(&self, done: impl Fn() -> bool) -> Result<(), StorageError> {
        let (mut durable, mut failed) = (self.durable.subscribe(), self.failed.subscribe());
        loop {
            durable.mark_unchanged();
            failed.mark_unchanged();
            if done() {
                return Ok(());
            }
            self.check()?;
            // The senders live in `self`, so neither channel is closed.
            tokio::select! {
                _ = durable.changed() => {}
                _ = failed.changed() => {}
            }
        }
    }
}

/// Runs what blocks on the disk outside the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(StorageError::ShutDown),
    }
}
