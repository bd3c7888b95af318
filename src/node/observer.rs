//! Where the lower floors' measurements meet the node's metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::Trust;
use crate::rpc::peer::{Lane, PeerObserver};
use crate::rpc::server::{CallerRefused, RequestObserver};
use crate::storage::{StorageError, StorageHooks};
use crate::telemetry::{
    AuditCaller, AuditLog, AuditRecord, DamageKind, Decision, NodeMetrics, SnapshotKind,
};
use crate::types::{Distrust, NodeId};

/// Counts what the storage and the connections tell, and distrusts what the storage found wrong.
pub(super) struct Observer {
    pub(super) metrics: NodeMetrics,
    pub(super) trust: Trust,
}

impl StorageHooks for Observer {
    fn log_committed(&self, entries: usize, bytes: usize, seconds: f64) {
        self.metrics.log_committed(entries, bytes, seconds);
    }

    fn log_checkpointed(&self, _entries: usize, seconds: f64) {
        self.metrics.log_checkpointed(seconds);
    }

    fn state_committed(&self, changes: usize, seconds: f64) {
        self.metrics.state_committed(changes, seconds);
    }

    fn snapshot_built(&self, bytes: u64, seconds: f64) {
        self.metrics.snapshot_done(SnapshotKind::Built, bytes, seconds);
    }

    fn snapshot_installed(&self, bytes: u64, seconds: f64) {
        self.metrics.snapshot_done(SnapshotKind::Installed, bytes, seconds);
    }

    fn state_damaged(&self, error: &StorageError) {
        self.metrics.damage_found(DamageKind::State);
        self.trust.distrust(Distrust::StateDamaged { detail: error.to_string() });
    }

    fn snapshot_damaged(&self, _error: &StorageError) {
        self.metrics.damage_found(DamageKind::Snapshot);
    }

    fn scrubbed(&self, bytes: u64) {
        self.metrics.scrubbed(bytes);
    }

    fn scrub_completed(&self, seconds: f64) {
        self.metrics.scrub_completed(seconds);
    }
}

impl PeerObserver for Observer {
    fn answered(&self, peer: NodeId, _: Lane, _: &'static str, round_trip: Duration) {
        self.metrics.peer_answered(peer, round_trip);
    }

    fn entries_sent(&self, peer: NodeId, entries: usize) {
        self.metrics.entries_sent(peer, entries as u64);
    }

    fn consensus_snapshot_sent(&self, peer: NodeId) {
        self.metrics.consensus_snapshot_sent(peer);
    }

    fn lost_entries(&self, peer: NodeId) {
        self.metrics.follower_lost_entries(peer);
    }

    fn failed(&self, peer: NodeId, _: Lane, _: &'static str) {
        self.metrics.peer_failed(peer);
    }
}

/// Counts what the listeners tell, and has refusals audited.
pub(super) struct DoorObserver {
    pub(super) metrics: NodeMetrics,
    pub(super) audit: AuditLog,
}

impl RequestObserver for DoorObserver {
    fn request_answered(&self, method: &'static str, result: &'static str, took: Duration) {
        self.metrics.request_answered(method, result, took);
    }

    fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        self.metrics.connection_refused(listener, reason);
    }

    fn caller_refused(&self, refused: &CallerRefused<'_>) {
        let caller = AuditCaller {
            access_key_id: refused.access_key_id.unwrap_or_default().to_owned(),
            user: String::new(),
            peer: Some(refused.remote),
        };
        self.audit.record(AuditRecord {
            caller: Arc::new(caller),
            request_id: None,
            action: "connect",
            target: refused.listener.to_owned(),
            decision: Decision::Refused(refused.reason),
            outcome: "",
            revision: 0,
        });
    }
}
