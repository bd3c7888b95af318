//! The store's handle: opening, reading, waiting, shutting down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::backlog::Backlog;
use super::change_hash::RecentHashes;
use super::deletes::StagedDeletes;
use super::epoch::EpochDirectory;
use super::export::export;
use super::flusher;
use super::head::{Applied, Head, Position};
use super::install::{discard_prepared, prepare};
use super::layout::members::{decode_member, decode_node};
use super::layout::meta::StateMeta;
use super::layout::roster::{ROSTER_KEY, decode_roster};
use super::layout::sessions::{decode_client, decode_session};
use super::layout::signatures::{decode_signature, decode_signature_key};
use super::layout::{self, Table};
use super::options::StateOptions;
use super::scrub;
use super::sessions::SessionTable;
use super::shared::{Exporting, FlushState, Shared, SharedSessions, blocking};
use super::space::measure;
use super::stats::{StateStats, stats};
use super::tables::Tables;
use super::verify::verify;
use super::view::View;
use super::write::TableWriter;
use crate::storage::environment::Durability;
use crate::storage::log::LogReader;
use crate::storage::snapshot::{SnapshotFile, SnapshotShelf};
use crate::storage::{DataDir, FatalSink, StorageError, StorageHooks};
use crate::types::{AccessTables, LogId, NodeId, PeerAddress, Roster, SpaceUse, StateHash};

/// The state of one node, on the disk and in memory. Cheap to clone; the last handle shuts it
/// down when it is dropped.
#[derive(Clone)]
pub struct StateStore {
    pub(super) shared: Arc<Shared>,
    flusher: Arc<Flusher>,
}

/// Joins the thread when the last handle is gone.
struct Flusher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    scrub: Mutex<Option<JoinHandle<()>>>,
}

impl StateStore {
    /// Opens the state in a data directory, creating an empty one when there is none. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// What is on the disk cannot be read, was written by a newer release or is damaged.
    pub fn open(
        directory: &DataDir,
        options: StateOptions,
        fatal: FatalSink,
        hooks: Arc<dyn StorageHooks>,
    ) -> Result<Self, StorageError> {
        let epoch = EpochDirectory::open(&directory.state_path())?;
        if directory.is_suspect() && epoch.is_named() {
            tracing::warn!("the last run died by a fault: verifying the state before it is used");
            verify(&epoch.path())?;
        }
        directory.clear_suspicion()?;
        let tables =
            Arc::new(Tables::open(&epoch.path(), options.map_bytes, Durability::EveryCommit)?);
        if !epoch.is_named() {
            TableWriter::begin(&tables)?.commit()?;
            epoch.make_current()?;
        }
        tables.damage().tell(Arc::clone(&hooks));
        let Loaded { head, sessions, flush } = load(tables, epoch)?;
        let snapshots = SnapshotShelf::open(
            directory.snapshots_path(),
            directory.identity().cluster_id,
            head.position.applied,
        )?;
        let shared = Arc::new(Shared {
            directory: directory.clone(),
            options,
            hooks,
            sessions: Arc::new(SharedSessions::new(sessions)),
            applied: watch::Sender::new(head.position.published()),
            access: watch::Sender::new(Arc::clone(&head.access)),
            durable: watch::Sender::new(head.position.applied),
            roster: watch::Sender::new(Arc::clone(&head.roster)),
            peer_addrs: watch::Sender::new(head.peer_addrs()),
            deletes: watch::Sender::new(StagedDeletes::new(Arc::clone(&head.position.deletes))),
            failed: watch::Sender::new(None),
            fatal,
            control: Default::default(),
            unflushed_bytes: Default::default(),
            measured: Default::default(),
            slow_batches: Default::default(),
            delete_step_us: Default::default(),
            open_views: Default::default(),
            scrub: Default::default(),
            snapshots,
            exporting: Default::default(),
            prepared: Default::default(),
            applying: Default::default(),
            flushing: Mutex::new(flush),
            head: RwLock::new(head),
        });
        measure(&shared)?;
        shared.resume();
        let thread = Mutex::new(Some(flusher::spawn(Arc::clone(&shared))?));
        let scrub = Mutex::new(None);
        let flusher = Arc::new(Flusher { shared: Arc::clone(&shared), thread, scrub });
        let scrub = scrub::spawn(Arc::clone(&shared))?;
        *flusher.scrub.lock().unwrap_or_else(PoisonError::into_inner) = scrub;
        Ok(Self { shared, flusher })
    }

    /// Has the node distrust the state when an error says that it is not what was written. Whoever
    /// gets an error from a [`View`], or from an export, tells it here.
    pub fn note_damage(&self, error: &StorageError) {
        self.shared.note_damage(error);
    }

    /// The state as it is now. Reading it may touch the disk: see [`View`] for what not to do
    /// while holding one.
    pub fn view(&self) -> Result<View, StorageError> {
        self.shared.view().map(|(view, _)| view)
    }

    /// How far the state is applied and visible.
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.shared.applied.subscribe()
    }

    /// The hash of the state after the entry `index`, for comparing it with other members'; none
    /// when that is not applied yet, or was too long ago.
    pub fn hash_at(&self, index: u64) -> Option<StateHash> {
        self.shared.head().hashes.get(index)
    }

    /// The last entry that is applied and on the disk: the log may be purged up to here.
    pub fn durable(&self) -> watch::Receiver<Option<LogId>> {
        self.shared.durable.subscribe()
    }

    /// The members that have published their addresses: node, name and peer address, client
    /// address.
    pub fn members(&self) -> Vec<(NodeId, PeerAddress, String)> {
        let head = self.shared.head();
        let members = head.members.iter();
        members
            .map(|(node, member)| (*node, member.address.clone(), member.client_addr.clone()))
            .collect()
    }

    /// Users, roles and keys, as they are applied.
    pub fn access(&self) -> watch::Receiver<Arc<AccessTables>> {
        self.shared.access.subscribe()
    }

    /// What a member has published, as [`members`](Self::members) lists it.
    pub fn member(&self, node: NodeId) -> Option<(PeerAddress, String)> {
        let head = self.shared.head();
        let member = head.members.get(&node)?;
        Some((member.address.clone(), member.client_addr.clone()))
    }

    /// The voters, as this node has applied them.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.shared.head().position.membership.membership().voter_ids().collect()
    }

    /// Where each member says that peers reach it.
    pub fn peer_addrs(&self) -> watch::Receiver<Arc<BTreeMap<NodeId, String>>> {
        self.shared.peer_addrs.subscribe()
    }

    /// What the cluster remembers of its nodes, as this node has applied it.
    pub fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.shared.roster.subscribe()
    }

    /// Deletes that are visible and not written out yet, and those that were finished lately.
    pub fn staged_deletes(&self) -> watch::Receiver<StagedDeletes> {
        self.shared.deletes.subscribe()
    }

    /// How much room the state has, with `coming_bytes` more that are on their way. Cheap.
    pub fn space(&self, coming_bytes: u64) -> SpaceUse {
        self.shared.space(coming_bytes)
    }

    /// Measures the room anew: what else lies on the disk changes as well.
    ///
    /// # Errors
    /// The disk could not be asked.
    pub async fn measure_space(&self) -> Result<(), StorageError> {
        let shared = self.shared.clone();
        blocking(move || measure(&shared)).await
    }

    /// How long the last step of a staged delete took to be applied.
    pub fn last_delete_step(&self) -> Duration {
        let micros = self.shared.delete_step_us.load(std::sync::atomic::Ordering::Relaxed);
        Duration::from_micros(micros)
    }

    /// Whether as many changes wait to be written as are written at once.
    pub fn is_flusher_behind(&self) -> bool {
        let unflushed = self.shared.unflushed_bytes.load(std::sync::atomic::Ordering::Acquire);
        unflushed >= self.shared.options.flush_bytes
    }

    /// Has the scrub read the log as well.
    pub fn scrub_log_too(&self, log: LogReader) {
        self.shared.scrub.take_log(Some(log));
    }

    /// Sizes and load. Touches the disk.
    pub fn stats(&self) -> Result<StateStats, StorageError> {
        stats(&self.shared)
    }

    /// The newest snapshot; none before the first was built or installed.
    pub fn current_snapshot(&self) -> Option<SnapshotFile> {
        self.shared.snapshots.current()
    }

    /// The finished snapshot with this digest, if it is still kept.
    pub fn snapshot(&self, digest: &[u8; 32]) -> Option<SnapshotFile> {
        self.shared.snapshots.files().into_iter().find(|file| file.digest() == *digest)
    }

    /// The finished snapshots, the newest first.
    pub fn snapshots(&self) -> Vec<SnapshotFile> {
        self.shared.snapshots.files()
    }

    /// A snapshot that is `good_enough`: the current one, or one written now. Those who ask
    /// meanwhile wait for the one who writes, and share what was written.
    ///
    /// # Errors
    /// It could not be written; nothing of it stays, and nothing else has changed.
    pub async fn export(
        &self,
        good_enough: impl Fn(&SnapshotFile) -> bool,
    ) -> Result<SnapshotFile, StorageError> {
        let mut exporting = self.shared.exporting.lock().await;
        if let Some(current) = self.current_snapshot().filter(&good_enough) {
            return Ok(current);
        }
        self.write_snapshot(&mut exporting).await
    }

    /// A snapshot for consensus, which takes it when it next builds one: the current one if that
    /// is `good_enough`, or one written now. An error is the caller's alone: one that consensus met
    /// while building would stop it.
    ///
    /// # Errors
    /// As for [`export`](Self::export).
    pub async fn prepare_snapshot(
        &self,
        good_enough: impl Fn(&SnapshotFile) -> bool,
    ) -> Result<(), StorageError> {
        let mut exporting = self.shared.exporting.lock().await;
        let file = match self.current_snapshot().filter(good_enough) {
            Some(current) => current,
            None => self.write_snapshot(&mut exporting).await?,
        };
        exporting.for_consensus = Some(file);
        Ok(())
    }

    /// Verifies a received snapshot and builds the state in it beside the current one, so that
    /// installing it is no more than a switch, and everything that can go wrong has gone wrong
    /// before consensus hears of it.
    ///
    /// # Errors
    /// The file is damaged, of another cluster or newer, or the disk is full. Nothing of it stays
    /// but the file itself.
    pub async fn prepare_install(&self, file: SnapshotFile) -> Result<(), StorageError> {
        let shared = self.shared.clone();
        blocking(move || prepare(&shared, &file)).await
    }

    /// Removes what [`prepare_install`](Self::prepare_install) built, if it was not installed.
    pub async fn discard_prepared(&self) {
        let shared = self.shared.clone();
        let discarded = blocking(move || {
            discard_prepared(&shared);
            Ok(())
        });
        // It errs only when the runtime stops; the next start removes what is left.
        let _ = discarded.await;
    }

    /// [`export`](Self::export), whatever there is already, by whoever holds the lock.
    pub(super) async fn write_snapshot(
        &self,
        _exporting: &mut Exporting,
    ) -> Result<SnapshotFile, StorageError> {
        self.flush().await?;
        let shared = self.shared.clone();
        blocking(move || export(&shared)).await
    }

    /// Returns when everything applied before the call is on the disk.
    ///
    /// # Errors
    /// The store failed or was shut down.
    pub async fn flush(&self) -> Result<(), StorageError> {
        let applied = self.shared.head().position.applied;
        let is_durable = || *self.shared.durable.borrow() >= applied;
        if !is_durable() {
            self.shared.control.force();
        }
        self.shared.wait_for_flush(is_durable).await
    }

    /// Writes what is left and ends the thread. Blocks until it is done; afterwards reading still
    /// works, applying is refused. Calling it again does nothing.
    pub fn shutdown(&self) {
        self.flusher.shutdown();
    }
}

impl Flusher {
    fn shutdown(&self) {
        self.shared.scrub.stop();
        let scrub = self.scrub.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(scrub) = scrub {
            // It changes nothing: a panic of it is no loss.
            let _ended = scrub.join();
        }
        self.shared.control.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread reports its own panic before it ends.
            let _reported = thread.join();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What an epoch's tables hold, in memory.
pub(super) struct Loaded {
    pub(super) head: Head,
    pub(super) sessions: SessionTable,
    pub(super) flush: FlushState,
}

/// Reads what is kept in memory.
pub(super) fn load(tables: Arc<Tables>, epoch: EpochDirectory) -> Result<Loaded, StorageError> {
    let reader = tables.read()?;
    tables.check_counts(reader.txn())?;
    let meta = tables.meta(reader.txn())?;
    open_backlog(&tables, &epoch, &meta)?;
    let corrupt = |table| {
        let tables = Arc::clone(&tables);
        move |error| tables.corrupt(table, &error)
    };

    for record in tables.table(Table::Meta).iter(reader.txn())? {
        layout::meta::check_key(record?.0).map_err(corrupt(Table::Meta))?;
    }
    let mut sessions = SessionTable::default();
    for record in tables.table(Table::Sessions).iter(reader.txn())? {
        let (client, session) = record?;
        let client = decode_client(client).map_err(corrupt(Table::Sessions))?;
        sessions.load(client, decode_session(session).map_err(corrupt(Table::Sessions))?);
    }
    for record in tables.table(Table::Signatures).iter(reader.txn())? {
        let (key, kept) = record?;
        let key = decode_signature_key(key).map_err(corrupt(Table::Signatures))?;
        let kept = decode_signature(kept).map_err(corrupt(Table::Signatures))?;
        sessions.signatures.record(key, &kept);
    }
    let mut members = std::collections::BTreeMap::new();
    for record in tables.table(Table::Members).iter(reader.txn())? {
        let (node, member) = record?;
        let node = decode_node(node).map_err(corrupt(Table::Members))?;
        members.insert(node, decode_member(member).map_err(corrupt(Table::Members))?);
    }
    let mut access = AccessTables::default();
    for record in tables.table(Table::Access).iter(reader.txn())? {
        let (key, value) = record?;
        layout::access::load(&mut access, key, value).map_err(corrupt(Table::Access))?;
    }
    let roster = match tables.get(reader.txn(), Table::Meta, ROSTER_KEY)? {
        Some(bytes) => decode_roster(bytes).map_err(corrupt(Table::Meta))?,
        None => Roster::default(),
    };
    drop(reader);
    let mut hashes = RecentHashes::default();
    if let Some(applied) = meta.applied {
        hashes.push(applied.index, meta.hash);
    }
    let head = Head {
        position: Position::from_meta(&meta, &tables)?,
        members,
        access: Arc::new(access),
        roster: Arc::new(roster),
        tables,
        active: Arc::default(),
        active_bytes: 0,
        frozen: None,
        arrangement: 0,
        hashes,
    };
    let (compaction, backlog) = (meta.compaction, meta.backlog);
    let flush = FlushState { compaction, backlog, diverted_bytes: 0, epoch };
    Ok(Loaded { head, sessions, flush })
}

/// Opens the file that holds what the tables lack, unless that was done by the install. Reads all of
/// it.
fn open_backlog(
    tables: &Tables,
    epoch: &EpochDirectory,
    meta: &StateMeta,
) -> Result<(), StorageError> {
    match &meta.backlog {
        None => epoch.remove_backlog(),
        Some(mark) if tables.backlog().is_none() => {
            let backlog = Backlog::open(&epoch.backlog_path(), mark)?;
            tables.set_backlog(Some(Arc::new(backlog)));
        }
        Some(_) => {}
    }
    Ok(())
}
