//! openraft's parameters: which of them we set, and why.

use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};

use super::start::ConsensusError;
use crate::config::RaftConfig;

/// A follower further behind than this would be given a snapshot. We keep the log instead: see
/// `retention`.
const REPLICATION_LAG_MAX: u64 = u64::MAX;
/// How long one snapshot transfer may take. Stalls are noticed much sooner, chunk by chunk.
const SNAPSHOT_TRANSFER_MAX_MS: u64 = 3_600_000;

/// openraft's configuration for a node of ours.
pub(super) fn openraft_config(
    raft: &RaftConfig,
    enable_elect: bool,
) -> Result<Arc<Config>, ConsensusError> {
    let config = Config {
        cluster_name: "chainfire".to_owned(),
        // openraft waits no longer than its interval for the answer to a heartbeat. Ours go out
        // more often: see `pulse`.
        heartbeat_interval: raft.round_trip_max_ms,
        // openraft's own elections only stand behind ours, which follow the link: see `failover`.
        election_timeout_min: raft.election_timeout_min_ms.max(raft.round_trip_max_ms * 3 / 2),
        election_timeout_max: raft.lease_ms(),
        install_snapshot_timeout: SNAPSHOT_TRANSFER_MAX_MS,
        max_payload_entries: raft.append_entries_max,
        max_append_entries: Some(raft.log_write_entries_max),
        api_batch_capacity: raft.request_batch_max,
        replication_lag_threshold: REPLICATION_LAG_MAX,
        // Snapshots and purging are ours: openraft would build a snapshot of a large state as often
        // as of a small one, and purge what the state does not have on its disk yet.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        quorum_loss_probe_interval: Some(raft.quorum_loss_probe_interval_ms),
        // A node that was away must not depose a healthy leader when it returns.
        enable_pre_vote: Some(true),
        enable_elect,
        // A follower that lost entries says so by a conflict below what it had acknowledged. The
        // leader then looks anew for where their logs agree; without this it would ask in vain for
        // ever. What a quorum accepted stays accepted.
        allow_log_reversion: Some(true),
        // A restarted leader has to win again: its state may be behind what it acknowledged.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    let config = config.validate().map_err(|error| ConsensusError::Config(error.to_string()))?;
    Ok(Arc::new(config))
}
