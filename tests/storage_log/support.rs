//! What the tests of the log share: opening one, making entries, waiting for callbacks.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chainfire::consensus::{EncodedCommand, RaftEntry, RaftLogId, TypeConfig};
use chainfire::storage::{
    DataDir, FatalSink, FatalWatch, Identity, LogOptions, LogStore, NoHooks, StorageError,
    StorageHooks,
};
use chainfire::types::ClusterId;
use openraft::EntryPayload;
use openraft::alias::OneshotReceiverOf;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

/// Where a callback's outcome arrives.
pub(crate) type Flushed = OneshotReceiverOf<TypeConfig, io::Result<()>>;

/// Limits small enough for tests.
pub(crate) const SMALL: LogOptions = LogOptions {
    map_bytes: 256 << 20,
    tail_bytes_max: 64 << 10,
    queue_bytes_max: 1 << 20,
    read_bytes_max: 16 << 10,
    journal_segment_bytes: 64 << 10,
    checkpoint_when_idle_for: Duration::from_millis(5),
    purge_entries_per_commit: 16,
};

/// Nothing is kept in memory but what is not committed, and every commit is one of the tables:
/// every read comes from the disk.
pub(crate) const ALL_FROM_DISK: LogOptions =
    LogOptions { tail_bytes_max: 0, journal_segment_bytes: 0, ..SMALL };

/// Opens the data directory `path`, creating it.
pub(crate) fn data_dir(path: &Path) -> Result<DataDir, StorageError> {
    let identity = || Identity {
        cluster_id: ClusterId(1),
        node_id: 1,
        incarnation: 1,
        name: "test".to_owned(),
    };
    Ok(DataDir::create_or_open(path, identity)?.0)
}

/// Opens the log in the data directory `path`, creating both.
pub(crate) fn open(
    path: &Path,
    options: LogOptions,
) -> Result<(LogStore, FatalWatch), StorageError> {
    open_with_hooks(path, options, Arc::new(NoHooks))
}

/// [`open`], with somebody who measures.
pub(crate) fn open_with_hooks(
    path: &Path,
    options: LogOptions,
    hooks: Arc<dyn StorageHooks>,
) -> Result<(LogStore, FatalWatch), StorageError> {
    let directory = data_dir(path)?;
    let (sink, watch) = FatalSink::channel();
    Ok((LogStore::open(&directory, options, sink, hooks)?, watch))
}

/// openraft's log id.
pub(crate) fn log_id(term: u64, index: u64) -> RaftLogId {
    RaftLogId::new_term_index(term, index)
}

/// An entry whose payload tells its term and index and is `payload_bytes` long (at least 16).
pub(crate) fn entry(term: u64, index: u64, payload_bytes: usize) -> RaftEntry {
    let mut payload = [term.to_be_bytes(), index.to_be_bytes()].concat();
    payload.resize(payload_bytes.max(16), index as u8);
    RaftEntry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(EncodedCommand(payload.into())),
    }
}

/// [`entry`] for each index.
pub(crate) fn entries(term: u64, indexes: impl IntoIterator<Item = u64>) -> Vec<RaftEntry> {
    indexes.into_iter().map(|index| entry(term, index, 16)).collect()
}

/// Appends, and answers the receiver of the callback's outcome.
pub(crate) async fn start_append(log: &LogStore, entries: Vec<RaftEntry>) -> io::Result<Flushed> {
    let (sender, receiver) = TypeConfig::oneshot();
    log.clone().append(entries, IOFlushed::<TypeConfig>::signal(sender)).await?;
    Ok(receiver)
}

/// Appends and waits until it is acknowledged.
pub(crate) async fn append(log: &LogStore, entries: Vec<RaftEntry>) -> io::Result<()> {
    start_append(log, entries).await?.await.expect("the callback runs")
}

/// The entries of `range`.
pub(crate) async fn read(
    log: &LogStore,
    range: std::ops::Range<u64>,
) -> io::Result<Vec<RaftEntry>> {
    log.reader().try_get_log_entries(range).await
}

/// The indexes of entries.
pub(crate) fn indexes(entries: &[RaftEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}
