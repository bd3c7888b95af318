//! Every metric: its name, what it says, and for a histogram its buckets.

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name as it is scraped.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// What it says, for people.
    pub description: &'static str,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by the upper bounds given.
    Histogram(&'static [f64]),
}

/// A commit to a disk: from a fast cached write to a disk that hangs.
const DISK_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5,
    1.0, 2.0, 8.0,
];

/// A message to a peer and back, or a request: loopback to a bad day.
const NETWORK_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// A snapshot: from an empty store to tens of gigabytes.
const LONG_SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_200.0];

/// How many things went into one transaction.
const BATCH_COUNTS: &[f64] =
    &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0];

const fn counter(name: &'static str, description: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, description }
}

const fn gauge(name: &'static str, unit: Unit, description: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, description }
}

const fn histogram(
    name: &'static str,
    unit: Unit,
    buckets: &'static [f64],
    description: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), unit, description }
}

/// Label: `version`.
pub const BUILD_INFO: Metric = gauge(
    "chainfire_build_info",
    Unit::Count,
    "Always 1; the release that runs is in the label version.",
);

/// 0 or 1.
pub const HAS_LEADER: Metric = gauge(
    "chainfire_raft_has_leader",
    Unit::Count,
    "Whether the node knows a leader: 1 yes, 0 no. Without one it takes no writes.",
);
/// 0 or 1.
pub const IS_LEADER: Metric =
    gauge("chainfire_raft_is_leader", Unit::Count, "Whether the node is the leader: 1 yes, 0 no.");
/// Seen by this node since it started.
pub const LEADER_CHANGES: Metric = counter(
    "chainfire_raft_leader_changes_total",
    "How often the node saw a leader that was not the one before.",
);
/// Raft's term.
pub const TERM: Metric =
    gauge("chainfire_raft_term", Unit::Count, "The current term; it grows with every election.");
/// Log index.
pub const PROPOSALS_COMMITTED: Metric = counter(
    "chainfire_raft_proposals_committed_total",
    "Log entries known to be committed, counted from the first entry of the cluster.",
);
/// Log index.
pub const PROPOSALS_APPLIED: Metric = counter(
    "chainfire_raft_proposals_applied_total",
    "Log entries applied to the state, counted from the first entry of the cluster.",
);
/// Proposals of this node.
pub const PROPOSALS_PENDING: Metric = gauge(
    "chainfire_raft_proposals_pending",
    Unit::Count,
    "Writes proposed by this node and not yet answered.",
);
/// Proposals of this node.
pub const PROPOSALS_FAILED: Metric = counter(
    "chainfire_raft_proposals_failed_total",
    "Writes proposed by this node that ended without the state machine's answer.",
);
/// Entries.
pub const APPLY_LAG: Metric = gauge(
    "chainfire_raft_apply_lag_entries",
    Unit::Count,
    "Committed log entries that the node has not applied yet.",
);
/// Label: `reason`. 0 or 1.
pub const UNTRUSTED: Metric = gauge(
    "chainfire_untrusted",
    Unit::Count,
    "Whether the node does not trust what it holds, by reason: 1 yes, 0 no. While one is 1 it \
     serves nothing and does not vote; it repairs itself from its peers where it can.",
);
/// 0 or 1.
pub const STATES_DIFFER: Metric = gauge(
    "chainfire_states_differ",
    Unit::Count,
    "Whether members' states differ and no majority holds one of them, as this node found as the \
     leader: 1 yes, 0 no.",
);
/// Log index.
pub const STATES_AGREED_INDEX: Metric = gauge(
    "chainfire_states_agreed_index",
    Unit::Count,
    "The last log entry after which every member that answered held the same state, as this node \
     found as the leader.",
);
/// Label: `outcome` (`healed`, `failed`).
pub const HEALS: Metric = counter(
    "chainfire_heals_total",
    "Repairs of a state that was not to be trusted, by how they ended.",
);
/// Index of the last log entry.
pub const LAST_LOG_INDEX: Metric =
    gauge("chainfire_raft_last_log_index", Unit::Count, "Index of the last entry in the log.");
/// What a follower may lack at most without being given a snapshot begins after it.
pub const PURGED_LOG_INDEX: Metric = gauge(
    "chainfire_raft_purged_log_index",
    Unit::Count,
    "Index of the last entry that the log no longer has.",
);

/// Begin to sync.
pub const LOG_COMMIT_SECONDS: Metric = histogram(
    "chainfire_log_commit_seconds",
    Unit::Seconds,
    DISK_SECONDS,
    "One write of the log, from its begin until the disk has confirmed the sync.",
);
/// From a segment of the journal into the tables.
pub const LOG_CHECKPOINT_SECONDS: Metric = histogram(
    "chainfire_log_checkpoint_seconds",
    Unit::Seconds,
    DISK_SECONDS,
    "One transaction that puts entries from the log's journal into its tables.",
);
/// Entries in a write.
pub const LOG_COMMIT_ENTRIES: Metric = histogram(
    "chainfire_log_commit_entries",
    Unit::Count,
    BATCH_COUNTS,
    "Entries in one write of the log.",
);
/// Encoded entries.
pub const LOG_WRITTEN_BYTES: Metric =
    counter("chainfire_log_written_bytes_total", "Bytes of entries written to the log.");
/// Begin to sync.
pub const STATE_COMMIT_SECONDS: Metric = histogram(
    "chainfire_state_commit_seconds",
    Unit::Seconds,
    DISK_SECONDS,
    "One transaction of the state, from its begin until the disk has confirmed the sync.",
);
/// Changes in a transaction.
pub const STATE_COMMIT_CHANGES: Metric = histogram(
    "chainfire_state_commit_changes",
    Unit::Count,
    BATCH_COUNTS,
    "Changes written by one transaction of the state.",
);

/// Label: `peer`, the other node's id.
pub const PEER_ROUND_TRIP_SECONDS: Metric = histogram(
    "chainfire_peer_round_trip_seconds",
    Unit::Seconds,
    NETWORK_SECONDS,
    "One call to another node, from sending it until its answer.",
);
/// Label: `peer`, the other node's id.
pub const PEER_DISTANCE_SECONDS: Metric = gauge(
    "chainfire_peer_distance_seconds",
    Unit::Seconds,
    "The round trip to another node, as the heartbeats of this node have it; while it leads.",
);
/// No label.
pub const ROUND_TRIP_MAX_SECONDS: Metric = gauge(
    "chainfire_round_trip_max_seconds",
    Unit::Seconds,
    "The longest round trip that the configuration allows for (raft.round_trip_max_ms).",
);
/// Label: `peer`, the other node's id.
pub const PEER_CALLS_FAILED: Metric = counter(
    "chainfire_peer_calls_failed_total",
    "Calls to another node that were not answered in time, or at all.",
);

/// Labels: `method`, `result`.
pub const REQUESTS: Metric =
    counter("chainfire_requests_total", "Requests of clients and of peers that were answered.");
/// Label: `method`.
pub const REQUEST_SECONDS: Metric = histogram(
    "chainfire_request_seconds",
    Unit::Seconds,
    NETWORK_SECONDS,
    "One request of a client or of a peer, from its last byte until its answer.",
);
/// Labels: `listener`, `reason`.
pub const REFUSED_CONNECTIONS: Metric = counter(
    "chainfire_refused_connections_total",
    "Connections that were closed before they could ask anything.",
);

/// Label: `reason`.
pub const AUTH_REFUSALS: Metric = counter(
    "chainfire_auth_refusals_total",
    "Requests and connections that were refused for who asked, or for what they may not do.",
);
/// Lines.
pub const AUDIT_LOST: Metric = counter(
    "chainfire_audit_lost_total",
    "Audit lines that were lost, because too many waited or the disk refused them.",
);
/// 0 or 1.
pub const INSECURE_NO_AUTH: Metric = gauge(
    "chainfire_insecure_no_auth",
    Unit::Count,
    "Whether the node serves whoever connects, without authentication: 1 yes, 0 no.",
);

/// Label: `listener`.
pub const TLS_NOT_AFTER: Metric = gauge(
    "chainfire_tls_certificate_not_after_seconds",
    Unit::Seconds,
    "When the certificate of a listener expires, in seconds since 1970.",
);
/// Labels: `listener`, `outcome`.
pub const TLS_RELOADS: Metric = counter(
    "chainfire_tls_reloads_total",
    "How often the certificate of a listener was read again: ok, or failed and the old one kept.",
);

/// Label: `environment`, `log` or `state`.
pub const DATABASE_BYTES: Metric =
    gauge("chainfire_database_bytes", Unit::Bytes, "Size of the database file on the disk.");
/// Label: `environment`, `log` or `state`.
pub const DATABASE_USED_BYTES: Metric = gauge(
    "chainfire_database_used_bytes",
    Unit::Bytes,
    "Bytes of the database file that hold data; the rest is free for new data.",
);
/// Label: `environment`, `log` or `state`.
pub const DATABASE_LIMIT_BYTES: Metric = gauge(
    "chainfire_database_limit_bytes",
    Unit::Bytes,
    "Size beyond which the database file does not grow; a node that reaches it stops.",
);
/// Label: `environment`, `log` or `state`.
pub const OPEN_READ_TRANSACTIONS: Metric = gauge(
    "chainfire_open_read_transactions",
    Unit::Count,
    "Read transactions open on the database; an old one keeps its space from being reused.",
);

/// No label.
pub const SPACE_USED_BYTES: Metric = gauge(
    "chainfire_space_used_bytes",
    Unit::Bytes,
    "Bytes that count against the space quota: pages of the state that hold something, and changes \
     that are not written yet.",
);
/// The least of the quota, half of the map, and what the disk has less a reserve.
pub const SPACE_LIMIT_BYTES: Metric = gauge(
    "chainfire_space_limit_bytes",
    Unit::Bytes,
    "Bytes from which on writes are refused with NoSpace.",
);
/// 0 or 1.
pub const NO_SPACE: Metric = gauge(
    "chainfire_no_space",
    Unit::Count,
    "Whether this node is full: 1 yes, 0 no. While a member is, the leader refuses what adds.",
);
/// See ADR 0015.
pub const STAGED_DELETES: Metric = gauge(
    "chainfire_staged_deletes",
    Unit::Count,
    "Deletes of many keys that are visible and still being written out.",
);
/// See ADR 0010.
pub const UNSETTLED_VERSIONS: Metric = gauge(
    "chainfire_unsettled_versions",
    Unit::Count,
    "Versions of keys that are read from the snapshot the state was built from, until they are in \
     the database.",
);

/// Label: `kind`, `built` or `installed`.
pub const SNAPSHOTS: Metric =
    counter("chainfire_snapshots_total", "Snapshots that were built, or received and installed.");
/// Label: `kind`, `built` or `installed`.
pub const SNAPSHOT_SECONDS: Metric = histogram(
    "chainfire_snapshot_seconds",
    Unit::Seconds,
    LONG_SECONDS,
    "How long a snapshot took to build or to install.",
);
/// Label: `kind`, `built` or `installed`.
pub const SNAPSHOT_BYTES: Metric = gauge(
    "chainfire_snapshot_bytes",
    Unit::Bytes,
    "Size of the last snapshot that was built or installed.",
);

/// Label: `kind`, `state` or `snapshot`.
pub const DAMAGE_FOUND: Metric = counter(
    "chainfire_damage_found_total",
    "Reads that met something stored which is not what was written.",
);
/// No label.
pub const SCRUBBED_BYTES: Metric =
    counter("chainfire_scrubbed_bytes_total", "Bytes that the scrub of the state read.");
/// No label.
pub const SCRUBS: Metric = counter(
    "chainfire_scrubs_total",
    "Passes of the scrub over all of the state that found nothing wrong.",
);
/// No label.
pub const SCRUB_SECONDS: Metric = gauge(
    "chainfire_scrub_last_seconds",
    Unit::Seconds,
    "How long the last complete pass of the scrub took; 0 before the first.",
);

/// No label.
pub const SNAPSHOT_RECEIVED_BYTES: Metric = counter(
    "chainfire_snapshot_received_bytes_total",
    "Bytes of snapshots that this node received from other nodes.",
);

/// Label: `peer`, the other node's id.
pub const ENTRIES_SENT: Metric = counter(
    "chainfire_entries_sent_total",
    "Log entries sent to another node, counted again when they are sent again.",
);
/// Label: `peer`, the other node's id.
pub const CONSENSUS_SNAPSHOTS_SENT: Metric = counter(
    "chainfire_consensus_snapshots_sent_total",
    "Snapshots that consensus gave to a member whose log had fallen behind; joins need none.",
);
/// Label: `peer`, the follower's id. On the leader; 0 elsewhere.
pub const FOLLOWER_MATCH_INDEX: Metric = gauge(
    "chainfire_raft_follower_match_index",
    Unit::Count,
    "Index of the last log entry that the follower is known to hold; 0 unless this node leads.",
);
/// Label: `peer`, the follower's id. On the leader; 0 elsewhere.
pub const FOLLOWER_LAG_ENTRIES: Metric = gauge(
    "chainfire_raft_follower_lag_entries",
    Unit::Count,
    "Entries of the leader's log that the follower lacks; 0 unless this node leads.",
);
/// Label: `peer`, the follower's id. On the leader; 0 elsewhere.
pub const FOLLOWER_UNHEARD_SECONDS: Metric = gauge(
    "chainfire_raft_follower_unheard_seconds",
    Unit::Seconds,
    "How long ago the follower answered the leader last, or since when it leads; 0 unless this \
     node leads.",
);
/// Label: `peer`, the follower's id.
pub const FOLLOWER_LOST_ENTRIES: Metric = counter(
    "chainfire_raft_follower_lost_entries_total",
    "How often a follower was found to hold less of the log than it had acknowledged.",
);
/// Label: `stage`, the phase, or what the leader knows of the phase `seeding`: `exporting`,
/// `transferring`, `applying`, `applied`, `failing`.
pub const JOINS_OPEN: Metric =
    gauge("chainfire_joins_open", Unit::Count, "Joins under way, by the stage they are in.");
/// Label: `outcome`, `joined`, `failed` or `cancelled`.
pub const JOINS_ENDED: Metric =
    counter("chainfire_joins_total", "Joins that this node, leading, brought to an end.");
/// Label: `node`, the id of the node that joins.
pub const JOIN_SENT_BYTES: Metric = gauge(
    "chainfire_join_sent_bytes",
    Unit::Bytes,
    "Bytes of its snapshot that a joining node has; set on the leader.",
);
/// Label: `node`.
pub const JOIN_TOTAL_BYTES: Metric = gauge(
    "chainfire_join_total_bytes",
    Unit::Bytes,
    "Size of the snapshot that a joining node is given; set on the leader.",
);
/// Label: `node`.
pub const JOIN_BYTES_PER_SECOND: Metric = gauge(
    "chainfire_join_bytes_per_second",
    Unit::Count,
    "How fast a joining node is given its snapshot; set on the leader.",
);
/// Label: `node`.
pub const JOIN_TAIL_ENTRIES: Metric = gauge(
    "chainfire_join_tail_entries",
    Unit::Count,
    "Entries of the leader's log that a joining node lacks; set on the leader.",
);

/// Label: `actor`.
pub const MAILBOX_DEPTH: Metric =
    gauge("chainfire_mailbox_depth", Unit::Count, "Messages that wait in an actor's mailbox.");
/// Label: `actor`.
pub const ACTOR_RESTARTS: Metric =
    counter("chainfire_actor_restarts_total", "Actors that failed and were started again.");

/// All of them.
pub const ALL: &[Metric] = &[
    BUILD_INFO,
    HAS_LEADER,
    IS_LEADER,
    UNTRUSTED,
    HEALS,
    STATES_DIFFER,
    STATES_AGREED_INDEX,
    LEADER_CHANGES,
    TERM,
    PROPOSALS_COMMITTED,
    PROPOSALS_APPLIED,
    PROPOSALS_PENDING,
    PROPOSALS_FAILED,
    APPLY_LAG,
    LAST_LOG_INDEX,
    PURGED_LOG_INDEX,
    LOG_COMMIT_SECONDS,
    LOG_CHECKPOINT_SECONDS,
    LOG_COMMIT_ENTRIES,
    LOG_WRITTEN_BYTES,
    STATE_COMMIT_SECONDS,
    STATE_COMMIT_CHANGES,
    PEER_ROUND_TRIP_SECONDS,
    PEER_DISTANCE_SECONDS,
    ROUND_TRIP_MAX_SECONDS,
    PEER_CALLS_FAILED,
    REQUESTS,
    REQUEST_SECONDS,
    REFUSED_CONNECTIONS,
    AUTH_REFUSALS,
    AUDIT_LOST,
    INSECURE_NO_AUTH,
    TLS_NOT_AFTER,
    TLS_RELOADS,
    DATABASE_BYTES,
    DATABASE_USED_BYTES,
    DATABASE_LIMIT_BYTES,
    OPEN_READ_TRANSACTIONS,
    SPACE_USED_BYTES,
    SPACE_LIMIT_BYTES,
    NO_SPACE,
    STAGED_DELETES,
    UNSETTLED_VERSIONS,
    SNAPSHOTS,
    SNAPSHOT_SECONDS,
    SNAPSHOT_BYTES,
    ENTRIES_SENT,
    CONSENSUS_SNAPSHOTS_SENT,
    DAMAGE_FOUND,
    SCRUBBED_BYTES,
    SCRUBS,
    SCRUB_SECONDS,
    FOLLOWER_MATCH_INDEX,
    FOLLOWER_LAG_ENTRIES,
    FOLLOWER_UNHEARD_SECONDS,
    FOLLOWER_LOST_ENTRIES,
    SNAPSHOT_RECEIVED_BYTES,
    JOINS_OPEN,
    JOINS_ENDED,
    JOIN_SENT_BYTES,
    JOIN_TOTAL_BYTES,
    JOIN_BYTES_PER_SECOND,
    JOIN_TAIL_ENTRIES,
    MAILBOX_DEPTH,
    ACTOR_RESTARTS,
];

/// A builder that knows the buckets of every histogram.
pub(super) fn builder() -> PrometheusBuilder {
    ALL.iter().fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram(buckets) => builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
            .expect("no list of buckets is empty"),
        Kind::Counter | Kind::Gauge => builder,
    })
}
