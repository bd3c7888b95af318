//! What the tests of the state share: opening one, applying commands, looking at everything.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chainfire::consensus::{EncodedCommand, RaftEntry, RaftLogId};
use chainfire::machine::{StateView, Visits};
use chainfire::storage::{
    DataDir, FatalSink, FatalWatch, Identity, NoHooks, SnapshotFile, StateOptions, StateStore,
    StorageError, View,
};
use chainfire::types::{ClusterId, Command, KeyRange, Operation, Principal, VersionMeta};
use futures_util::stream;
use openraft::EntryPayload;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};

/// Changes are written only when a test asks for it.
pub(crate) fn unhurried() -> StateOptions {
    StateOptions {
        map_bytes: 256 << 20,
        flush_interval: Duration::from_secs(3_600),
        flush_bytes: usize::MAX,
        ..StateOptions::default()
    }
}

/// Changes are written at once.
pub(crate) fn hasty() -> StateOptions {
    StateOptions { flush_interval: Duration::ZERO, ..unhurried() }
}

/// The data directory at `path`, created when it is not there.
pub(crate) fn data_dir(path: &Path) -> Result<DataDir, StorageError> {
    let identity = || Identity {
        cluster_id: ClusterId(1),
        node_id: 1,
        incarnation: 1,
        name: "test".to_owned(),
    };
    Ok(DataDir::create_or_open(path, identity)?.0)
}

/// Opens the state in the data directory `path`, creating both.
pub(crate) fn open(
    path: &Path,
    options: StateOptions,
) -> Result<(StateStore, FatalWatch), StorageError> {
    let (sink, watch) = FatalSink::channel();
    let store = StateStore::open(&data_dir(path)?, options, sink, Arc::new(NoHooks))?;
    Ok((store, watch))
}

/// openraft's log id.
pub(crate) fn log_id(term: u64, index: u64) -> RaftLogId {
    RaftLogId::new_term_index(term, index)
}

/// An entry with a command.
pub(crate) fn entry(index: u64, command: &Command) -> RaftEntry {
    let payload = EntryPayload::Normal(EncodedCommand(command.encode()));
    RaftEntry { log_id: log_id(1, index), payload }
}

/// An entry without one.
pub(crate) fn blank(index: u64) -> RaftEntry {
    RaftEntry { log_id: log_id(1, index), payload: EntryPayload::Blank }
}

/// A command of the cluster's own.
pub(crate) fn command(operation: Operation) -> Command {
    Command {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        leader_time_ms: 0,
        operation,
    }
}

/// Applies entries as openraft does.
pub(crate) async fn apply(
    store: &StateStore,
    entries: impl IntoIterator<Item = RaftEntry, IntoIter: Send>,
) -> io::Result<()> {
    let entries = entries.into_iter().map(|entry| Ok((entry, None)));
    store.clone().apply(stream::iter(entries)).await
}

/// The index of the next entry to apply.
pub(crate) fn next_index(store: &StateStore) -> u64 {
    store.applied().borrow().log_id.map_or(0, |applied| applied.index + 1)
}

/// Applies one operation of the cluster's own.
pub(crate) async fn execute(store: &StateStore, operation: Operation) {
    let entry = entry(next_index(store), &command(operation));
    apply(store, [entry]).await.expect("the state is well");
}

/// Builds a snapshot as openraft does.
pub(crate) async fn build_snapshot(store: &StateStore) -> io::Result<SnapshotFile> {
    let builder = store.clone().try_create_snapshot_builder(true).await;
    let snapshot = builder.expect("a builder is never refused").build_snapshot().await?;
    assert_eq!(snapshot.meta.last_log_id.map(|id| id.index), last_index(&snapshot.snapshot));
    Ok(snapshot.snapshot)
}

/// Values that do not compress, each number's another: enough of them make several chunks.
pub(crate) fn noise(number: u32) -> Vec<u8> {
    (0..4_000u32).map(|at| (at.wrapping_mul(at).wrapping_mul(number * 2 + 7) >> 5) as u8).collect()
}

/// Puts a copy of a snapshot where received ones lie in the data directory `path`.
pub(crate) fn receive(path: &Path, from: &Path) -> SnapshotFile {
    let received = path.canonicalize().expect("a directory").join("incoming/received");
    std::fs::copy(from, &received).expect("room for a copy");
    SnapshotFile::open_verified(&received, ClusterId(1)).expect("a whole snapshot")
}

/// Installs a snapshot as openraft does.
pub(crate) async fn install_snapshot(store: &StateStore, file: SnapshotFile) -> io::Result<()> {
    store.clone().install_snapshot(&Default::default(), file).await
}

/// The index of the last entry in a snapshot.
pub(crate) fn last_index(file: &SnapshotFile) -> Option<u64> {
    file.header().last_log_id.map(|log_id| log_id.index)
}

/// The keys that exist at a revision, with their values.
pub(crate) fn pairs<V: StateView<Error: std::fmt::Debug>>(
    view: &V,
    range: &KeyRange,
    at: u64,
) -> BTreeMap<Bytes, (VersionMeta, Bytes)> {
    let mut found = Vec::new();
    view.scan(range, at, &Visits::unlimited(), &mut |key, meta| {
        found.push((Bytes::copy_from_slice(key), *meta));
        ControlFlow::Continue(())
    })
    .expect("the state can be read");
    assert!(found.is_sorted_by(|one, other| one.0 < other.0), "keys ascend");
    let with_value = |(key, meta): (Bytes, VersionMeta)| {
        let value = view.value(meta.mod_revision).expect("the state can be read");
        (key, (meta, value))
    };
    found.into_iter().map(with_value).collect()
}

/// The current value of a key.
pub(crate) fn value(view: &View, key: &str) -> Option<Bytes> {
    let meta = view.current(key.as_bytes()).expect("the state can be read")?;
    Some(view.value(meta.mod_revision).expect("the state can be read"))
}

/// Waits until something another thread works on is true.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let started = chainfire::clock::monotonic();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not become true");
        std::thread::yield_now();
    }
}
