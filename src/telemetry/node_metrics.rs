//! The metrics of one node, and the recorder behind them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use tokio::time::MissedTickBehavior;

use super::catalogue::{self as c, Kind, Metric};
use super::family::Family;
use crate::types::{NodeId, SpaceUse};

/// How often observations are moved from their buffers into the buckets, and the sources are
/// asked. Between two upkeeps each observation costs 8 bytes.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// The metrics of one node. Cheap to clone; every clone counts into the same recorder.
#[derive(Clone)]
pub struct NodeMetrics {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: metrics_process::Collector,
    sources: Mutex<Vec<Source>>,
    raft: RaftMetrics,
    storage: StorageMetrics,
    peer_round_trip: Family<NodeId, Histogram>,
    peer_distance: Family<NodeId, Gauge>,
    peer_failed: Family<NodeId, Counter>,
    entries_sent: Family<NodeId, Counter>,
    requests: Family<(&'static str, &'static str), Counter>,
    request_seconds: Family<&'static str, Histogram>,
    refused: Family<(&'static str, &'static str), Counter>,
    auth: AuthMetrics,
}

/// Sets its figures when it is asked.
type Source = Box<dyn Fn(&NodeMetrics) + Send + Sync>;

struct RaftMetrics {
    has_leader: Gauge,
    is_leader: Gauge,
    leader_changes: Counter,
    term: Gauge,
    committed: Counter,
    applied: Counter,
    pending: Gauge,
    failed: Counter,
    apply_lag: Gauge,
    last_log_index: Gauge,
    purged_index: Gauge,
    /// The last leader this node knew.
    last_leader: Mutex<Option<NodeId>>,
}

struct AuthMetrics {
    refusals: Family<&'static str, Counter>,
    audit_lost: Counter,
    insecure_no_auth: Gauge,
}

struct StorageMetrics {
    log_commit_seconds: Histogram,
    log_checkpoint_seconds: Histogram,
    log_commit_entries: Histogram,
    log_written_bytes: Counter,
    state_commit_seconds: Histogram,
    state_commit_changes: Histogram,
    snapshot_received_bytes: Counter,
    built: SnapshotMetrics,
    installed: SnapshotMetrics,
    state_damage: Counter,
    snapshot_damage: Counter,
    scrubbed_bytes: Counter,
    scrubs: Counter,
    scrub_seconds: Gauge,
}

struct SnapshotMetrics {
    count: Counter,
    seconds: Histogram,
    bytes: Gauge,
}

/// What consensus says of itself. Indexes are 0 when there is nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftFigures {
    /// The leader the node knows.
    pub leader_id: Option<NodeId>,
    /// Whether that is the node itself.
    pub is_leader: bool,
    /// The current term.
    pub term: u64,
    /// The last entry in the log.
    pub last_log_index: u64,
    /// The last entry the log no longer has.
    pub purged_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied.
    pub applied_index: u64,
}

/// What one database says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// Size of the file.
    pub file_bytes: u64,
    /// Bytes of it that hold data.
    pub used_bytes: u64,
    /// Size beyond which the file does not grow.
    pub limit_bytes: u64,
    /// Open read transactions.
    pub read_transactions: u64,
}

/// How far one join is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinFigures {
    /// Bytes of the snapshot that the node has.
    pub sent_bytes: u64,
    /// The size of the snapshot.
    pub total_bytes: u64,
    /// How fast it is sent.
    pub bytes_per_second: u64,
    /// Entries of the log that the node lacks.
    pub tail_entries: u64,
}

/// How far a follower is.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerProgress {
    /// The last entry that it is known to hold.
    pub match_index: u64,
    /// Entries that it lacks.
    pub lag_entries: u64,
    /// How long ago it answered last.
    pub unheard: Duration,
}

/// What happened to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Written by this node.
    Built,
    /// Received, and now the state.
    Installed,
}

/// What was found damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The state.
    State,
    /// A finished snapshot file.
    Snapshot,
}

impl NodeMetrics {
    /// Metrics that start at zero, for one node.
    pub fn new() -> Self {
        let recorder = c::builder().build_recorder();
        for metric in c::ALL {
            describe(&recorder, metric);
        }
        let process = metrics_process::Collector::default();
        metrics::with_local_recorder(&recorder, || process.describe());
        let version = Label::from_static_parts("version", env!("CARGO_PKG_VERSION"));
        gauge(&recorder, &c::BUILD_INFO, vec![version]).set(1.0);
        for outcome in ["healed", "failed"] {
            // There from the first scrape on: an increase from nothing is none.
            let labels = static_labels([("outcome", outcome)]);
            counter(&recorder, &c::HEALS, labels).increment(0);
        }
        let inner = Inner {
            handle: recorder.handle(),
            process,
            sources: Mutex::default(),
            raft: RaftMetrics::new(&recorder),
            storage: StorageMetrics::new(&recorder),
            peer_round_trip: Family::new(),
            peer_distance: Family::new(),
            peer_failed: Family::new(),
            entries_sent: Family::new(),
            requests: Family::new(),
            request_seconds: Family::new(),
            refused: Family::new(),
            auth: AuthMetrics {
                refusals: Family::new(),
                audit_lost: counter(&recorder, &c::AUDIT_LOST, Vec::new()),
                insecure_no_auth: gauge(&recorder, &c::INSECURE_NO_AUTH, Vec::new()),
            },
            recorder,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn recorder(&self) -> &PrometheusRecorder {
        &self.inner.recorder
    }

    /// Everything, in Prometheus' text format. Reads `/proc` and asks the sources added with
    /// [`on_scrape`](Self::on_scrape): call it where blocking for a moment is allowed.
    pub fn render(&self) -> String {
        self.ask_sources();
        metrics::with_local_recorder(&self.inner.recorder, || self.inner.process.collect());
        self.inner.handle.render()
    }

    fn ask_sources(&self) {
        let sources = self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for source in sources.iter() {
            source(self);
        }
    }

    /// Has `source` set its figures right before each scrape, and at each upkeep so that what
    /// happens between two scrapes is seen: for what is cheaper to ask for than to follow. It must
    /// be quick, and must not call `render`.
    pub fn on_scrape(&self, source: impl Fn(&Self) + Send + Sync + 'static) {
        let mut sources = self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.push(Box::new(source));
    }

    /// Forgets every source, and so whatever they hold on to.
    pub fn forget_sources(&self) {
        self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Starts the periodic upkeep on the current tokio runtime; it ends when the task is dropped.
    pub fn spawn_upkeep(&self) -> UpkeepTask {
        let metrics = self.clone();
        UpkeepTask(tokio::spawn(async move {
            let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let metrics = metrics.clone();
                let upkeep = tokio::task::spawn_blocking(move || {
                    metrics.ask_sources();
                    metrics.inner.handle.run_upkeep();
                });
                if let Err(error) = upkeep.await {
                    tracing::error!(%error, "the upkeep of the metrics failed");
                }
            }
        }))
    }

    /// Consensus moved.
    pub fn raft_changed(&self, figures: &RaftFigures) {
        let raft = &self.inner.raft;
        raft.has_leader.set(f64::from(u8::from(figures.leader_id.is_some())));
        raft.is_leader.set(f64::from(u8::from(figures.is_leader)));
        raft.term.set(figures.term as f64);
        raft.committed.absolute(figures.committed_index);
        raft.applied.absolute(figures.applied_index);
        raft.last_log_index.set(figures.last_log_index as f64);
        raft.purged_index.set(figures.purged_index as f64);
        let lag = figures.committed_index.saturating_sub(figures.applied_index);
        raft.apply_lag.set(lag as f64);
        if let Some(leader) = figures.leader_id {
            let mut last = raft.last_leader.lock().unwrap_or_else(PoisonError::into_inner);
            if last.replace(leader) != Some(leader) {
                raft.leader_changes.increment(1);
            }
        }
    }

    /// Sets how many writes proposed by this node are not yet answered, and how many have ended
    /// without the state machine's answer since it started.
    pub fn proposals(&self, pending: u64, failed_total: u64) {
        self.inner.raft.pending.set(pending as f64);
        self.inner.raft.failed.absolute(failed_total);
    }

    /// The log put entries from its journal into its tables.
    pub fn log_checkpointed(&self, seconds: f64) {
        self.inner.storage.log_checkpoint_seconds.record(seconds);
    }

    /// The log acknowledged one batch.
    pub fn log_committed(&self, entries: usize, bytes: usize, seconds: f64) {
        let storage = &self.inner.storage;
        storage.log_commit_seconds.record(seconds);
        storage.log_commit_entries.record(entries as f64);
        storage.log_written_bytes.increment(bytes as u64);
    }

    /// The state committed one transaction.
    pub fn state_committed(&self, changes: usize, seconds: f64) {
        self.inner.storage.state_commit_seconds.record(seconds);
        self.inner.storage.state_commit_changes.record(changes as f64);
    }

    /// A snapshot was built or installed.
    pub fn snapshot_done(&self, kind: SnapshotKind, bytes: u64, seconds: f64) {
        let metrics = match kind {
            SnapshotKind::Built => &self.inner.storage.built,
            SnapshotKind::Installed => &self.inner.storage.installed,
        };
        metrics.count.increment(1);
        metrics.seconds.record(seconds);
        metrics.bytes.set(bytes as f64);
    }

    /// A read met something that is not what was written.
    pub fn damage_found(&self, kind: DamageKind) {
        match kind {
            DamageKind::State => self.inner.storage.state_damage.increment(1),
            DamageKind::Snapshot => self.inner.storage.snapshot_damage.increment(1),
        }
    }

    /// The scrub read so many bytes.
    pub fn scrubbed(&self, bytes: u64) {
        self.inner.storage.scrubbed_bytes.increment(bytes);
    }

    /// The scrub read everything and found nothing wrong.
    pub fn scrub_completed(&self, seconds: f64) {
        self.inner.storage.scrubs.increment(1);
        self.inner.storage.scrub_seconds.set(seconds);
    }

    /// A peer answered a call.
    pub fn peer_answered(&self, peer: NodeId, round_trip: Duration) {
        let make = || {
            let peer = vec![Label::new("peer", peer.to_string())];
            histogram(&self.inner.recorder, &c::PEER_ROUND_TRIP_SECONDS, peer)
        };
        self.inner.peer_round_trip.get(&peer, make).record(round_trip);
    }

    /// Sets how far a peer is; zero = not known now.
    pub fn peer_distance(&self, peer: NodeId, round_trip: Duration) {
        let make = || {
            let peer = vec![Label::new("peer", peer.to_string())];
            gauge(&self.inner.recorder, &c::PEER_DISTANCE_SECONDS, peer)
        };
        self.inner.peer_distance.get(&peer, make).set(round_trip.as_secs_f64());
    }

    /// Sets the longest round trip that the configuration allows for.
    pub fn round_trip_max(&self, round_trip: Duration) {
        gauge(&self.inner.recorder, &c::ROUND_TRIP_MAX_SECONDS, Vec::new())
            .set(round_trip.as_secs_f64());
    }

    /// A peer did not answer a call.
    pub fn peer_failed(&self, peer: NodeId) {
        let make = || {
            let peer = vec![Label::new("peer", peer.to_string())];
            counter(&self.inner.recorder, &c::PEER_CALLS_FAILED, peer)
        };
        self.inner.peer_failed.get(&peer, make).increment(1);
    }

    /// A client's request was answered. `result` is `ok` or the kind of error.
    pub fn request_answered(&self, method: &'static str, result: &'static str, took: Duration) {
        let recorder = &self.inner.recorder;
        let count = self.inner.requests.get(&(method, result), || {
            counter(recorder, &c::REQUESTS, static_labels([("method", method), ("result", result)]))
        });
        count.increment(1);
        let seconds = self.inner.request_seconds.get(&method, || {
            histogram(recorder, &c::REQUEST_SECONDS, static_labels([("method", method)]))
        });
        seconds.record(took);
    }

    /// A connection was closed before it could ask anything.
    pub fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        let count = self.inner.refused.get(&(listener, reason), || {
            let labels = static_labels([("listener", listener), ("reason", reason)]);
            counter(&self.inner.recorder, &c::REFUSED_CONNECTIONS, labels)
        });
        count.increment(1);
    }

    /// Something was refused for who asked, or for what they may not do.
    pub fn auth_refused(&self, reason: &'static str) {
        let count = self.inner.auth.refusals.get(&reason, || {
            counter(&self.inner.recorder, &c::AUTH_REFUSALS, static_labels([("reason", reason)]))
        });
        count.increment(1);
    }

    /// Audit lines were lost.
    pub fn audit_lost(&self, lines: u64) {
        self.inner.auth.audit_lost.increment(lines);
    }

    /// Sets whether the node runs without authentication.
    pub fn insecure_no_auth(&self, insecure: bool) {
        self.inner.auth.insecure_no_auth.set(f64::from(u8::from(insecure)));
    }

    /// Sets the figures of one database: `log` or `state`.
    pub fn database(&self, environment: &'static str, figures: &DatabaseFigures) {
        for (metric, value) in [
            (&c::DATABASE_BYTES, figures.file_bytes),
            (&c::DATABASE_USED_BYTES, figures.used_bytes),
            (&c::DATABASE_LIMIT_BYTES, figures.limit_bytes),
            (&c::OPEN_READ_TRANSACTIONS, figures.read_transactions),
        ] {
            let labels = static_labels([("environment", environment)]);
            gauge(&self.inner.recorder, metric, labels).set(value as f64);
        }
    }

    /// Sets how much room the state has, and how many deletes are being written out.
    pub fn space(&self, space: &SpaceUse, staged_deletes: usize) {
        for (metric, value) in [
            (&c::SPACE_USED_BYTES, space.used_bytes as f64),
            (&c::SPACE_LIMIT_BYTES, space.limit_bytes as f64),
            (&c::NO_SPACE, f64::from(u8::from(space.is_full))),
            (&c::STAGED_DELETES, staged_deletes as f64),
        ] {
            gauge(&self.inner.recorder, metric, Vec::new()).set(value);
        }
    }

    /// Sets how many versions of keys are not in the state's database yet.
    pub fn unsettled_versions(&self, versions: u64) {
        gauge(&self.inner.recorder, &c::UNSETTLED_VERSIONS, Vec::new()).set(versions as f64);
    }

    /// Sets how many messages wait for an actor.
    pub fn mailbox_depth(&self, actor: &'static str, messages: usize) {
        let labels = static_labels([("actor", actor)]);
        gauge(&self.inner.recorder, &c::MAILBOX_DEPTH, labels).set(messages as f64);
    }

    /// Entries of the log were sent to a peer.
    pub fn entries_sent(&self, peer: NodeId, entries: u64) {
        let recorder = &self.inner.recorder;
        let make = || counter(recorder, &c::ENTRIES_SENT, node_label("peer", peer));
        self.inner.entries_sent.get(&peer, make).increment(entries);
    }

    /// Consensus gives a peer a snapshot.
    pub fn consensus_snapshot_sent(&self, peer: NodeId) {
        let labels = node_label("peer", peer);
        counter(&self.inner.recorder, &c::CONSENSUS_SNAPSHOTS_SENT, labels).increment(1);
    }

    /// A follower was found to hold less of the log than it had acknowledged.
    pub fn follower_lost_entries(&self, peer: NodeId) {
        let labels = node_label("peer", peer);
        counter(&self.inner.recorder, &c::FOLLOWER_LOST_ENTRIES, labels).increment(1);
    }

    /// Sets how far a follower is; all 0 on a node that does not lead.
    pub fn follower(&self, peer: NodeId, figures: &PeerProgress) {
        let set = |metric, value: f64| {
            gauge(&self.inner.recorder, metric, node_label("peer", peer)).set(value);
        };
        set(&c::FOLLOWER_MATCH_INDEX, figures.match_index as f64);
        set(&c::FOLLOWER_LAG_ENTRIES, figures.lag_entries as f64);
        set(&c::FOLLOWER_UNHEARD_SECONDS, figures.unheard.as_secs_f64());
        // So that the first one is an increase.
        counter(&self.inner.recorder, &c::FOLLOWER_LOST_ENTRIES, node_label("peer", peer))
            .increment(0);
    }

    /// A piece of a snapshot was received from another node.
    pub fn snapshot_received(&self, bytes: u64) {
        self.inner.storage.snapshot_received_bytes.increment(bytes);
    }

    /// A join ended as `outcome` says.
    pub fn join_ended(&self, outcome: &'static str) {
        let labels = static_labels([("outcome", outcome)]);
        counter(&self.inner.recorder, &c::JOINS_ENDED, labels).increment(1);
    }

    /// Sets how many joins are in `stage`.
    pub fn joins_open(&self, stage: &'static str, joins: usize) {
        let labels = static_labels([("stage", stage)]);
        gauge(&self.inner.recorder, &c::JOINS_OPEN, labels).set(joins as f64);
    }

    /// Sets whether the node does not trust what it holds, for this reason.
    pub fn untrusted(&self, reason: &'static str, is_so: bool) {
        let labels = static_labels([("reason", reason)]);
        gauge(&self.inner.recorder, &c::UNTRUSTED, labels).set(f64::from(u8::from(is_so)));
    }

    /// Sets what comparing the members' states has shown.
    pub fn states_compared(&self, agreed_index: u64, differ: bool) {
        let set = |metric, value| gauge(&self.inner.recorder, metric, Vec::new()).set(value);
        set(&c::STATES_AGREED_INDEX, agreed_index as f64);
        set(&c::STATES_DIFFER, f64::from(u8::from(differ)));
    }

    /// A repair of the state ended so.
    pub fn healed(&self, outcome: &'static str) {
        let labels = static_labels([("outcome", outcome)]);
        counter(&self.inner.recorder, &c::HEALS, labels).increment(1);
    }

    /// Sets how far the join of `node` is.
    pub fn join_progress(&self, node: NodeId, figures: &JoinFigures) {
        let recorder = &self.inner.recorder;
        let set = |metric, value: u64| {
            gauge(recorder, metric, node_label("node", node)).set(value as f64);
        };
        set(&c::JOIN_SENT_BYTES, figures.sent_bytes);
        set(&c::JOIN_TOTAL_BYTES, figures.total_bytes);
        set(&c::JOIN_BYTES_PER_SECOND, figures.bytes_per_second);
        set(&c::JOIN_TAIL_ENTRIES, figures.tail_entries);
    }

    /// An actor failed and was started again.
    pub fn actor_restarted(&self, actor: &'static str) {
        let labels = static_labels([("actor", actor)]);
        counter(&self.inner.recorder, &c::ACTOR_RESTARTS, labels).increment(1);
    }
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the upkeep of one node's metrics running until dropped.
pub struct UpkeepTask(tokio::task::JoinHandle<()>);

impl Drop for UpkeepTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RaftMetrics {
    fn new(recorder: &PrometheusRecorder) -> Self {
        let gauge = |metric| gauge(recorder, metric, Vec::new());
        let counter = |metric| counter(recorder, metric, Vec::new());
        Self {
            has_leader: gauge(&c::HAS_LEADER),
            is_leader: gauge(&c::IS_LEADER),
            leader_changes: counter(&c::LEADER_CHANGES),
            term: gauge(&c::TERM),
            committed: counter(&c::PROPOSALS_COMMITTED),
            applied: counter(&c::PROPOSALS_APPLIED),
            pending: gauge(&c::PROPOSALS_PENDING),
            failed: counter(&c::PROPOSALS_FAILED),
            apply_lag: gauge(&c::APPLY_LAG),
            last_log_index: gauge(&c::LAST_LOG_INDEX),
            purged_index: gauge(&c::PURGED_LOG_INDEX),
            last_leader: Mutex::default(),
        }
    }
}

impl StorageMetrics {
    fn new(recorder: &PrometheusRecorder) -> Self {
        let histogram = |metric| histogram(recorder, metric, Vec::new());
        let damage = |kind| counter(recorder, &c::DAMAGE_FOUND, static_labels([("kind", kind)]));
        Self {
            log_commit_seconds: histogram(&c::LOG_COMMIT_SECONDS),
            log_checkpoint_seconds: histogram(&c::LOG_CHECKPOINT_SECONDS),
            log_commit_entries: histogram(&c::LOG_COMMIT_ENTRIES),
            snapshot_received_bytes: counter(recorder, &c::SNAPSHOT_RECEIVED_BYTES, Vec::new()),
            log_written_bytes: counter(recorder, &c::LOG_WRITTEN_BYTES, Vec::new()),
            state_commit_seconds: histogram(&c::STATE_COMMIT_SECONDS),
            state_commit_changes: histogram(&c::STATE_COMMIT_CHANGES),
            built: SnapshotMetrics::new(recorder, "built"),
            installed: SnapshotMetrics::new(recorder, "installed"),
            state_damage: damage("state"),
            snapshot_damage: damage("snapshot"),
            scrubbed_bytes: counter(recorder, &c::SCRUBBED_BYTES, Vec::new()),
            scrubs: counter(recorder, &c::SCRUBS, Vec::new()),
            scrub_seconds: gauge(recorder, &c::SCRUB_SECONDS, Vec::new()),
        }
    }
}

impl SnapshotMetrics {
    fn new(recorder: &PrometheusRecorder, kind: &'static str) -> Self {
        Self {
            count: counter(recorder, &c::SNAPSHOTS, static_labels([("kind", kind)])),
            seconds: histogram(recorder, &c::SNAPSHOT_SECONDS, static_labels([("kind", kind)])),
            bytes: gauge(recorder, &c::SNAPSHOT_BYTES, static_labels([("kind", kind)])),
        }
    }
}

fn node_label(name: &'static str, node: NodeId) -> Vec<Label> {
    vec![Label::new(name, node.to_string())]
}

pub(super) fn static_labels<const N: usize>(
    pairs: [(&'static str, &'static str); N],
) -> Vec<Label> {
    pairs.into_iter().map(|(name, value)| Label::from_static_parts(name, value)).collect()
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

pub(super) fn counter(
    recorder: &PrometheusRecorder,
    metric: &Metric,
    labels: Vec<Label>,
) -> Counter {
    recorder.register_counter(&Key::from_parts(metric.name, labels), &METADATA)
}

pub(super) fn gauge(recorder: &PrometheusRecorder, metric: &Metric, labels: Vec<Label>) -> Gauge {
    recorder.register_gauge(&Key::from_parts(metric.name, labels), &METADATA)
}

fn histogram(recorder: &PrometheusRecorder, metric: &Metric, labels: Vec<Label>) -> Histogram {
    recorder.register_histogram(&Key::from_parts(metric.name, labels), &METADATA)
}

fn describe(recorder: &PrometheusRecorder, metric: &Metric) {
    let (name, unit) = (metric.name.into(), Some(metric.unit));
    let description = metric.description.into();
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, unit, description),
        Kind::Gauge => recorder.describe_gauge(name, unit, description),
        Kind::Histogram(_) => recorder.describe_histogram(name, unit, description),
    }
}
