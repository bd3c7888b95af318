//! The sections of the configuration, with their defaults.
//!
//! Units stand last in the names. Every queue, size and wait that an operator may want to change
//! is here; what must be the same on every member is in
//! [`types::limits`](crate::types::limits) instead.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The file with the cluster's keys, the same on every node (`chainfire keygen`); none = the
    /// one in the data directory, which a node that founds its cluster alone makes itself.
    pub cluster_key: Option<PathBuf>,
    /// Serve whoever connects, without authentication. Only on loopback listeners.
    pub insecure_no_auth: bool,
}

/// Who did what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// The file that audit lines are appended to; none = `audit.log` in the data directory.
    pub file: Option<PathBuf>,
    /// Above this size the file becomes `FILE.1`, in the place of the one before, and a new one is
    /// begun; 0 = never, for a file that something else rotates.
    pub file_bytes_max: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { file: None, file_bytes_max: 64 * MIB }
    }
}

/// Timings and batch sizes of consensus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftConfig {
    /// How often the leader says that it lives. Over a longer round trip: once a round trip.
    pub heartbeat_ms: u64,
    /// The shortest silence of the leader after which a follower stands for election. On far links
    /// the silence is longer: a few of the pauses that the leader usually makes.
    pub election_timeout_min_ms: u64,
    /// The longest; each follower draws its own between the two.
    pub election_timeout_max_ms: u64,
    /// The longest round trip between two members that the cluster works with: how long the answer
    /// to a heartbeat is waited for.
    pub round_trip_max_ms: u64,
    /// How often a leader without a quorum looks for one.
    pub quorum_loss_probe_interval_ms: u64,
    /// A snapshot is built after so many applied entries.
    pub snapshot_every_entries: u64,
    /// Entries kept in the log below what could be purged, so that a follower that was away for a
    /// moment is caught up from the log.
    pub log_kept_entries: u64,
    /// Bytes of log above which a follower that does not keep up is no longer waited for; it gets
    /// a snapshot instead.
    pub log_bytes_max: u64,
    /// Most entries in one append to a follower.
    pub append_entries_max: u64,
    /// Most bytes of entries in one append to a follower; one entry always goes.
    pub append_bytes_max: u64,
    /// Most entries in one write to the own log.
    pub log_write_entries_max: u64,
    /// Most requests taken from the queue at once.
    pub request_batch_max: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_timeout_min_ms: 600,
            election_timeout_max_ms: 1_000,
            round_trip_max_ms: 600,
            quorum_loss_probe_interval_ms: 2_400,
            snapshot_every_entries: 20_000,
            log_kept_entries: 5_000,
            log_bytes_max: 2 * GIB,
            append_entries_max: 512,
            append_bytes_max: 4 * MIB,
            log_write_entries_max: 1_024,
            request_batch_max: 1_024,
        }
    }
}

impl RaftConfig {
    /// [`heartbeat_ms`](Self::heartbeat_ms) as a duration.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// [`election_timeout_min_ms`](Self::election_timeout_min_ms) as a duration.
    pub fn election_timeout_min(&self) -> Duration {
        Duration::from_millis(self.election_timeout_min_ms)
    }

    /// [`election_timeout_max_ms`](Self::election_timeout_max_ms) as a duration.
    pub fn election_timeout_max(&self) -> Duration {
        Duration::from_millis(self.election_timeout_max_ms)
    }

    /// [`round_trip_max_ms`](Self::round_trip_max_ms) as a duration.
    pub fn round_trip_max(&self) -> Duration {
        Duration::from_millis(self.round_trip_max_ms)
    }

    /// The longest that a member honours a leader of which nothing is heard.
    pub fn lease_ms(&self) -> u64 {
        self.election_timeout_max_ms.max(self.round_trip_max_ms.saturating_mul(2))
    }
}

/// Sizes of what lies on the disk, and of what waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Address space of the log's environment: its file grows up to this, and not beyond.
    pub log_map_bytes: u64,
    /// Address space of the state's environment.
    pub state_map_bytes: u64,
    /// Bytes of the state in use from which on writes are refused (`NoSpace`), at any member: the
    /// least counts. Where half of the map, or the disk less a reserve, is less, that is the limit.
    pub quota_bytes: u64,
    /// Bytes of the newest log entries kept in memory, for followers and for apply.
    pub log_tail_bytes_max: u64,
    /// Bytes of applied changes that may wait in memory for the disk before apply waits.
    pub memory_table_bytes_max: u64,
    /// How fast the scrub reads the state and the snapshots, in bytes a second; 0 = no scrub.
    pub scrub_bytes_per_second: u64,
    /// How long the scrub rests before each pass, in seconds.
    pub scrub_rest_s: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            log_map_bytes: 64 * GIB,
            state_map_bytes: 256 * GIB,
            quota_bytes: 8 * GIB,
            log_tail_bytes_max: 16 * MIB,
            memory_table_bytes_max: 32 * MIB,
            scrub_bytes_per_second: 8 * MIB,
            scrub_rest_s: 3_600,
        }
    }
}

/// Giving snapshots to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotConfig {
    /// Bytes a second that this node sends of a snapshot, to all who get one together; 0 = as fast
    /// as the disk and the network go.
    pub transfer_bytes_per_second: u64,
    /// A transfer that moves nothing for this long is given up, and the snapshot with it.
    pub transfer_stall_ms: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self { transfer_bytes_per_second: 0, transfer_stall_ms: 60_000 }
    }
}

/// What the listeners admit. Beyond a limit a request is refused at once, never queued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Client connections at one time.
    pub client_connections_max: u64,
    /// Peer connections at one time.
    pub peer_connections_max: u64,
    /// Requests at one time on one connection.
    pub connection_requests_max: u64,
    /// Requests at one time on the node.
    pub node_requests_max: u64,
    /// Bytes of requests at one time on one connection.
    pub connection_bytes_max: u64,
    /// Bytes of requests at one time on the node.
    pub node_bytes_max: u64,
    /// How long a new connection may take to say who it is.
    pub handshake_timeout_ms: u64,
    /// How long a connection may be silent.
    pub idle_timeout_ms: u64,
    /// The longest deadline that is honoured; a longer one is cut to this.
    pub deadline_max_ms: u64,
    /// How long a node that stops waits for requests in flight.
    pub shutdown_timeout_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            client_connections_max: 4_096,
            peer_connections_max: 256,
            connection_requests_max: 1_024,
            node_requests_max: 16_384,
            connection_bytes_max: 32 * MIB,
            node_bytes_max: 256 * MIB,
            handshake_timeout_ms: 5_000,
            idle_timeout_ms: 300_000,
            deadline_max_ms: 600_000,
            shutdown_timeout_ms: 10_000,
        }
    }
}

/// TLS, for each listener on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// For clients; none = in the clear.
    pub client: Option<TlsSection>,
    /// Between nodes, either way: the certificate is shown to who connects and to whom is
    /// connected to, and `ca` must have signed theirs.
    pub peer: Option<TlsSection>,
    /// For HTTP; none = in the clear.
    pub http: Option<TlsSection>,
}

/// The files of one listener's TLS, in PEM. Read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The certificate, and after it those that lead to its CA.
    pub certificate: PathBuf,
    /// Its key; a file that only its owner can read.
    pub key: PathBuf,
    /// The CA that must have signed the certificate of whoever connects; none = nobody is asked
    /// for one.
    pub ca: Option<PathBuf>,
}

/// The HTTP listener: gateway, metrics and probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Connections at one time.
    pub connections_max: u64,
    /// How long a request's body may take to arrive, its answer to be made, and that answer to be
    /// taken; each of them.
    pub request_timeout_ms: u64,
    /// How long a connection may take to say what it asks, and be silent between two requests.
    pub idle_timeout_ms: u64,
    /// Bytes of the gateway's requests and answers in memory at one time. Beyond it a request is
    /// refused at once.
    pub bytes_max: u64,
    /// How long the read round behind `/readyz` may take before the node counts as not ready.
    pub ready_timeout_ms: u64,
    /// How long the outcome of a read round answers further probes.
    pub ready_cache_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 256,
            request_timeout_ms: 10_000,
            idle_timeout_ms: 30_000,
            bytes_max: 64 * MIB,
            ready_timeout_ms: 2_000,
            ready_cache_ms: 500,
        }
    }
}
