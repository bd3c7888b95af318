//! The actor that keeps consensus healthy.
//!
//! It owns what consensus needs besides serving requests: how much log is kept, who leads (and
//! handing that over), and noticing that consensus itself has stopped. Requests never pass
//! through it: they use the [`RaftHandle`].
//!
//! # On failure
//! A panic here loses nothing: the actor is restarted and reads everything anew from openraft's
//! metrics. When *consensus* stops ([`SupervisorMessage::ConsensusFailed`]), the node stops: openraft cannot be
//! restarted in place.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::distance::warn_of_distances;
use super::handle::RaftHandle;
use super::pulse::beat;
use super::retention::{RetentionInput, is_snapshot_due, purge_up_to};
use super::silence::Timings;
use crate::actors::mailbox::MailboxMeter;
use crate::actors::supervisor::SupervisorMessage;
use crate::config::RaftConfig;
use crate::consensus::TypeConfig;
use crate::storage::StorageError;
use crate::storage::log::LogStats;
use crate::storage::snapshot::SnapshotFile;
use crate::types::NodeId;

/// How often the log's length is looked at.
const RETENTION_INTERVAL: Duration = Duration::from_millis(1_000);
/// How long a hand-over of leadership may take.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);
/// A follower that was silent for this long does not hold the log back once the cap is reached,
/// and is no candidate for leadership.
const FOLLOWER_SILENT_MAX: Duration = Duration::from_secs(2);

/// The pause after a snapshot could not be built.
const BUILD_RETRY_PAUSE: Duration = Duration::from_secs(10);

type Metrics = openraft::RaftMetrics<TypeConfig>;

/// What the raft actor is told.
pub enum RaftMessage {
    /// Time to look at the log's length. Sent by its own timer; no reply.
    TendLog,
    /// The log was looked at, and purged where that was due. Sent by its own task; no reply.
    LogTended {
        /// Whether a snapshot is due.
        snapshot_due: bool,
    },
    /// A snapshot was built, or not. Sent by its own task; no reply.
    SnapshotBuilt(Result<(), StorageError>),
    /// Give leadership to another voter, if this node has it. Sent by the supervisor when the node
    /// stops; replies once another node leads, or nobody could be found.
    HandOver(oneshot::Sender<()>),
    /// Fail, to prove supervision.
    #[cfg(test)]
    Panic,
}

/// What the actor starts with.
#[derive(Clone)]
pub struct RaftArgs {
    /// Consensus.
    pub raft: RaftHandle,
    /// How much log to keep.
    pub config: RaftConfig,
    /// Counts its mailbox.
    pub meter: MailboxMeter,
    /// Told when consensus stops.
    pub supervisor: ActorRef<SupervisorMessage>,
}

/// What the actor owns.
pub struct RaftState {
    args: RaftArgs,
    /// Tasks that live as long as the actor.
    tasks: Vec<JoinHandle<()>>,
    /// Whether the log is being tended: once at a time.
    tending: bool,
    /// Whether a snapshot is being built: once at a time, and beside tending the log.
    building: bool,
    /// After a snapshot could not be built: when to try again.
    build_not_before: Option<Instant>,
}

impl Drop for RaftState {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// See the module.
pub struct RaftActor;

impl Actor for RaftActor {
    type Msg = RaftMessage;
    type State = RaftState;
    type Arguments = RaftArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RaftMessage>,
        args: RaftArgs,
    ) -> Result<RaftState, ActorProcessingErr> {
        let tasks = vec![
            tokio::spawn(args.raft.clone().serve_read_rounds()),
            tokio::spawn(args.raft.clone().stand_when_leaderless(Timings::new(&args.config))),
            tokio::spawn(warn_of_distances(args.raft.clone())),
            tokio::spawn(beat(args.raft.clone(), args.config.heartbeat())),
            tokio::spawn(args.raft.clone().compare_states()),
            tokio::spawn(watch_consensus(args.raft.clone(), args.supervisor.clone())),
            tokio::spawn(args.raft.clone().keep_time()),
            tokio::spawn(tick(myself)),
        ];
        Ok(RaftState { args, tasks, tending: false, building: false, build_not_before: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<RaftMessage>,
        message: RaftMessage,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RaftMessage::TendLog => on_tend_log(state, myself),
            RaftMessage::LogTended { snapshot_due } => {
                state.tending = false;
                if snapshot_due {
                    on_snapshot_due(state, myself);
                }
            }
            RaftMessage::SnapshotBuilt(outcome) => on_snapshot_built(state, outcome),
            RaftMessage::HandOver(reply) => {
                state.args.meter.taken();
                on_hand_over(state, reply);
            }
            #[cfg(test)]
            RaftMessage::Panic => panic!("asked to fail"),
        }
        Ok(())
    }

    /// An orderly stop ends consensus as well. A failed actor skips this: its successor takes
    /// consensus over as it runs.
    async fn post_stop(
        &self,
        _myself: ActorRef<RaftMessage>,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        state.args.raft.shared.raft.shutdown().await?;
        Ok(())
    }
}

fn on_tend_log(state: &mut RaftState, myself: ActorRef<RaftMessage>) {
    if state.tending {
        return;
    }
    state.tending = true;
    let (raft, config) = (state.args.raft.clone(), state.args.config.clone());
    tokio::spawn(async move {
        let snapshot_due = tend_log(raft, config).await;
        // The actor may be gone; then nobody waits for this.
        let _ = myself.send_message(RaftMessage::LogTended { snapshot_due });
    });
}

/// Has the log purged, where that is due; answers whether a snapshot is.
async fn tend_log(raft: RaftHandle, config: RaftConfig) -> bool {
    let read = raft.clone();
    // The figures are read from the databases.
    let input = tokio::task::spawn_blocking(move || retention_input(&read, &config)).await;
    let Ok(input) = input else { return false };
    if let Some(up_to) = purge_up_to(&input) {
        tracing::debug!(up_to, "purging the log");
        // An error means that consensus has stopped, which `watch_consensus` reports.
        let _ = raft.shared.raft.trigger().purge_log(up_to).await;
    }
    is_snapshot_due(&input)
}

/// Builds a snapshot, unless one is being built or could not be built just now.
fn on_snapshot_due(state: &mut RaftState, myself: ActorRef<RaftMessage>) {
    let waits = state.build_not_before.is_some_and(|at| Instant::now() < at);
    if state.building || waits {
        return;
    }
    state.building = true;
    let raft = state.args.raft.clone();
    let recent_entries = state.args.config.snapshot_every_entries / 2;
    tokio::spawn(async move {
        let applied = raft.applied_log_id().map_or(0, |applied| applied.index);
        // One that was written to be given away serves as well.
        let is_recent = |file: &SnapshotFile| {
            let last = file.header().last_log_id.map_or(0, |last| last.index);
            applied.saturating_sub(last) < recent_entries
        };
        let built = raft.shared.state.prepare_snapshot(is_recent).await;
        if built.is_ok() {
            // Takes what was prepared. An error as in `tend_log`.
            let _ = raft.shared.raft.trigger().snapshot().await;
        }
        // The actor may be gone; its successor builds the next one.
        let _ = myself.send_message(RaftMessage::SnapshotBuilt(built));
    });
}

/// A snapshot that could not be built (the disk is full) costs nothing but the log's length.
fn on_snapshot_built(state: &mut RaftState, outcome: Result<(), StorageError>) {
    state.building = false;
    state.build_not_before = None;
    if let Err(error) = outcome {
        state.args.raft.shared.state.note_damage(&error);
        tracing::error!(%error, "no snapshot was built; the log grows until one is");
        state.build_not_before = Some(Instant::now() + BUILD_RETRY_PAUSE);
    }
}

fn on_hand_over(state: &RaftState, reply: oneshot::Sender<()>) {
    let raft = state.args.raft.clone();
    tokio::spawn(async move {
        hand_over(&raft).await;
        // The supervisor waits with a limit of its own and may be gone.
        let _ = reply.send(());
    });
}

fn retention_input(raft: &RaftHandle, config: &RaftConfig) -> RetentionInput {
    let metrics = metrics(raft);
    let me = raft.shared.node.node_id;
    let followers = metrics.replication.iter().flatten().filter(|(id, _)| **id != me);
    RetentionInput {
        snapshot: metrics.snapshot.map(|log_id| log_id.index),
        durable: raft.shared.state.durable().borrow().map(|log_id| log_id.index),
        purged: metrics.purged.map(|log_id| log_id.index),
        followers: followers.map(|(_, matched)| matched.map(|log_id| log_id.index)).collect(),
        held: raft.roster().held_index(),
        last: metrics.last_log_index,
        // Unreadable figures only put purging off: the store reports its failures itself.
        log_bytes: raft.shared.log.stats().map_or(0, |stats| live_bytes(&stats)),
        log_bytes_max: config.log_bytes_max,
        state_bytes: raft
            .shared
            .state
            .stats()
            .map_or(u64::MAX, |stats| stats.used_bytes.saturating_add(stats.unsettled_bytes)),
        snapshot_every_entries: config.snapshot_every_entries,
        applied: raft.shared.state.applied().borrow().log_id.map(|log_id| log_id.index),
        kept_entries: config.log_kept_entries,
    }
}

/// Bytes of the entries that are not purged, some of which may not be deleted yet.
fn live_bytes(stats: &LogStats) -> u64 {
    stats.disk_bytes / stats.disk_entries.max(1) * stats.entries.min(stats.disk_entries)
}

fn metrics(raft: &RaftHandle) -> Metrics {
    raft.shared.raft.metrics().borrow_watched().clone()
}

/// Gives leadership to the live voter with the longest log, and waits until it has it.
async fn hand_over(raft: &RaftHandle) {
    let deadline = Instant::now() + HAND_OVER_MAX;
    let me = raft.shared.node.node_id;
    let Some(successor) = successor(&metrics(raft), me) else { return };
    tracing::info!(successor, "handing over leadership");
    if raft.shared.raft.trigger().transfer_leader(successor).await.is_err() {
        return;
    }
    let mut server = raft.shared.server.clone();
    let handed_over = async {
        while server.borrow_and_update().current_leader.is_none_or(|leader| leader == me) {
            if server.changed().await.is_err() {
                return;
            }
        }
    };
    if timeout_at(deadline, handed_over).await.is_err() {
        tracing::warn!(successor, "leadership was not taken over in time");
    }
}

/// The live voter with the longest log besides this node, if this node leads.
fn successor(metrics: &Metrics, me: NodeId) -> Option<NodeId> {
    let replication = metrics.replication.as_ref()?;
    let heartbeat = metrics.heartbeat.as_ref()?;
    let voters = metrics.membership_config.membership().voter_ids();
    voters
        .filter(|id| *id != me)
        .filter(|id| {
            let heard = heartbeat.get(id).and_then(Option::as_ref);
            heard.is_some_and(|at| at.elapsed() < FOLLOWER_SILENT_MAX)
        })
        .max_by_key(|id| replication.get(id).copied().flatten())
}

/// Tells the supervisor when consensus stops by itself.
async fn watch_consensus(raft: RaftHandle, supervisor: ActorRef<SupervisorMessage>) {
    let mut metrics = raft.shared.raft.metrics();
    loop {
        let running = metrics.borrow_and_update().running_state.clone();
        let reason = match running {
            Err(fatal) => fatal.to_string(),
            Ok(()) => match metrics.changed().await {
                Ok(()) => continue,
                Err(_) => "its task ended".to_owned(),
            },
        };
        // The supervisor is only gone when the node stops anyway.
        let _ = supervisor.send_message(SupervisorMessage::ConsensusFailed(reason));
        return;
    }
}

async fn tick(myself: ActorRef<RaftMessage>) {
    let mut interval = interval(RETENTION_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        if myself.send_message(RaftMessage::TendLog).is_err() {
            return;
        }
    }
}
