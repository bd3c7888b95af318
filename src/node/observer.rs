//! Where the lower floors' measurements meet the node's metrics.

use std::time::Duration;

use crate::rpc::peer::{Lane, PeerObserver};
use crate::rpc::server::RequestObserver;
use crate::storage::StorageHooks;
use crate::telemetry::{NodeMetrics, SnapshotKind};
use crate::types::NodeId;

/// Counts what the storage and the connections tell.
pub(super) struct Observer(pub(super) NodeMetrics);

impl StorageHooks for Observer {
    fn log_committed(&self, entries: usize, bytes: usize, seconds: f64) {
        self.0.log_committed(entries, bytes, seconds);
    }

    fn log_checkpointed(&self, _entries: usize, seconds: f64) {
        self.0.log_checkpointed(seconds);
    }

    fn state_committed(&self, changes: usize, seconds: f64) {
        self.0.state_committed(changes, seconds);
    }

    fn snapshot_built(&self, bytes: u64, seconds: f64) {
        self.0.snapshot_done(SnapshotKind::Built, bytes, seconds);
    }

    fn snapshot_installed(&self, bytes: u64, seconds: f64) {
        self.0.snapshot_done(SnapshotKind::Installed, bytes, seconds);
    }
}

impl PeerObserver for Observer {
    fn answered(&self, peer: NodeId, _: Lane, _: &'static str, round_trip: Duration) {
        self.0.peer_answered(peer, round_trip);
    }

    fn entries_sent(&self, peer: NodeId, entries: usize) {
        self.0.entries_sent(peer, entries as u64);
    }

    fn consensus_snapshot_sent(&self, peer: NodeId) {
        self.0.consensus_snapshot_sent(peer);
    }

    fn failed(&self, peer: NodeId, _: Lane, _: &'static str) {
        self.0.peer_failed(peer);
    }
}

impl RequestObserver for Observer {
    fn request_answered(&self, method: &'static str, result: &'static str, took: Duration) {
        self.0.request_answered(method, result, took);
    }

    fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        self.0.connection_refused(listener, reason);
    }
}
