//! A state to measure: opened, filled, applied to.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::sync::Arc;

use bytes::Bytes;
use chainfire::consensus::{EncodedCommand, RaftEntry, RaftLogId};
use chainfire::storage::{DataDir, FatalSink, Identity, NoHooks, StateOptions, StateStore};
use chainfire::types::{
    ClientId, ClusterId, Command, Operation, Principal, PutRequest, RequestId, RequestName,
    Revision,
};
use futures_util::stream;
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine;
use tokio::runtime::Runtime;

/// Entries applied together, about as many as a busy node has at hand.
pub(crate) const BATCH: u64 = 64;

/// An open state, and the next entry of its log.
pub(crate) struct State {
    pub(crate) store: StateStore,
    pub(crate) runtime: Runtime,
    next: u64,
    /// The last sequence of the one client there is.
    sequence: u64,
    _directory: tempfile::TempDir,
}

/// The key of a number; scattered, so that neighbours in time are none in the table.
pub(crate) fn key(number: u64) -> Bytes {
    format!("key/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into()
}

impl State {
    /// An empty one, in the directory `TMPDIR` names.
    pub(crate) fn open(options: StateOptions) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let identity = || Identity {
            cluster_id: ClusterId(1),
            node_id: 1,
            incarnation: 1,
            name: "bench".to_owned(),
        };
        let (data, _) = DataDir::create_or_open(directory.path(), identity).expect("a directory");
        let (sink, _watch) = FatalSink::channel();
        let store = StateStore::open(&data, options, sink, Arc::new(NoHooks)).expect("a new state");
        let runtime = Runtime::new().expect("a runtime");
        Self { store, runtime, next: 0, sequence: 0, _directory: directory }
    }

    /// One with `keys` keys on the disk.
    pub(crate) fn filled(options: StateOptions, keys: u64, value_bytes: usize) -> Self {
        let mut state = Self::open(options);
        for start in (0..keys).step_by(BATCH as usize) {
            let end = (start + BATCH).min(keys);
            let batch = state.puts((start..end).map(key), value_bytes, None);
            state.apply(batch);
        }
        state.flush();
        state
    }

    /// Entries that put each key once. With a client, each has its place in the client's session.
    pub(crate) fn puts(
        &mut self,
        keys: impl Iterator<Item = Bytes>,
        value_bytes: usize,
        client: Option<ClientId>,
    ) -> Vec<RaftEntry> {
        let mut entries = Vec::new();
        for key in keys {
            let request_id = client.map(|client| {
                self.sequence += 1;
                let sequence = self.sequence;
                let lowest_unanswered = sequence.saturating_sub(BATCH).max(1);
                let (begun_ms, window_ms) = (0, 0);
                RequestName::from(RequestId {
                    client,
                    sequence,
                    lowest_unanswered,
                    begun_ms,
                    window_ms,
                })
            });
            let value = vec![self.next as u8; value_bytes].into();
            let command = Command {
                request_id,
                principal: Principal("bench".to_owned()),
                auth_revision: 0,
                leader_time_ms: self.next,
                operation: Operation::Put(PutRequest { key, value, ..PutRequest::default() }),
            };
            entries.push(RaftEntry {
                log_id: RaftLogId::new_term_index(1, self.next),
                payload: EntryPayload::Normal(EncodedCommand(command.encode())),
            });
            self.next += 1;
        }
        entries
    }

    /// Applies entries as openraft does.
    pub(crate) fn apply(&self, entries: Vec<RaftEntry>) {
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        let mut store = self.store.clone();
        let applied = store.apply(stream::iter(entries));
        self.runtime.block_on(applied).expect("the state is well");
    }

    /// Every put so far made a revision: what was measured was applied, and not refused.
    pub(crate) fn check(&self) {
        let applied = *self.store.applied().borrow();
        assert_eq!(applied.log_id.map(|log_id| log_id.index + 1), Some(self.next));
        assert_eq!(applied.revision, self.next + Revision::EMPTY_STORE);
    }

    /// Waits until everything is on the disk.
    pub(crate) fn flush(&self) {
        self.runtime.block_on(self.store.flush()).expect("the state is well");
    }
}
