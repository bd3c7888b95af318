//! The leader's side: having a node given a snapshot before it is a member.
//!
//! The leader chooses who gives it: a live follower when there is one, itself otherwise. It polls a
//! follower, and turns to the next one when that one fails; what the target has received counts
//! with each of them that has the same file.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::seeding::{UNASKED_MAX, is_over};
use super::sources::{Candidate, order};
use super::{SnapshotHandle, name_of};
use crate::rpc::peer::{
    Lane, PeerCallError, PeerRefusal, SeedFailure, SeedPhase, SeedReport, SeedRequest,
};
use crate::types::{LogId, NodeId};

/// How often a source is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long one such question may take.
const POLL_MAX: Duration = Duration::from_secs(3);
/// A source that cannot be asked for this long is given up.
const SOURCE_LOST_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(SOURCE_LOST_MAX.as_secs() < UNASKED_MAX.as_secs());

/// Who is to be given a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreseedTarget {
    /// The id it will have.
    pub node_id: NodeId,
    /// Where it listens for peers, `HOST:PORT`.
    pub peer_addr: String,
}

/// Why a node was not given a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreseedError {
    /// This node does not lead, or no longer does.
    #[error("this node does not lead the cluster; ask the leader")]
    NotLeader,
    /// The last source that was asked could not do it.
    #[error("node {target} was not given a snapshot by node {source_id}: {failure}")]
    Failed {
        /// Who was to get it.
        target: NodeId,
        /// Who was to give it.
        source_id: NodeId,
        /// Why.
        failure: SeedFailure,
    },
}

impl PreseedError {
    /// Whether asking again may help, without anybody having changed something.
    pub fn may_resume(&self) -> bool {
        match self {
            Self::NotLeader => false,
            Self::Failed { failure, .. } => !is_final(failure),
        }
    }
}

/// Whether another source would meet the same failure.
fn is_final(failure: &SeedFailure) -> bool {
    match failure {
        SeedFailure::StaleVote { .. }
        | SeedFailure::TargetStorage { .. }
        | SeedFailure::TargetRefused { .. }
        | SeedFailure::Stalled { .. } => true,
        SeedFailure::Export { .. }
        | SeedFailure::SourceBehind { .. }
        | SeedFailure::Source { .. } => false,
    }
}

/// How far a preseeding is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreseedProgress {
    /// Who gives the snapshot; none until one was chosen.
    pub source_id: Option<NodeId>,
    /// What it says of it.
    pub report: Option<SeedReport>,
}

impl SnapshotHandle {
    /// Has `target` given a verified snapshot, and answers the last entry that it holds then. On
    /// the leader only. Called again it goes on where it was; dropped, it is given up.
    ///
    /// The leader's log must be held from what it has now on (the caller's hold): a snapshot that
    /// the log has left behind is replaced by another, a few times.
    ///
    /// # Errors
    /// See [`PreseedError`]. What the target has received stays there:
    /// [`abandon_preseed`](Self::abandon_preseed) removes it.
    pub async fn preseed(
        &self,
        target: &PreseedTarget,
        join_id: u64,
        progress: &watch::Sender<PreseedProgress>,
    ) -> Result<LogId, PreseedError> {
        if let Some(held) = self.held_by(target).await {
            return Ok(held);
        }
        let mut last = PreseedError::NotLeader;
        for source in self.sources(target).await {
            let outcome = self.seed_from(&source, target, join_id, progress).await;
            match outcome {
                Err(PreseedError::Failed { ref failure, .. }) if !is_final(failure) => {
                    tracing::warn!(source = source.node_id, %failure, "asking another source");
                    last = outcome.expect_err("it was just matched");
                }
                outcome => return outcome,
            }
        }
        Err(last)
    }

    /// Tells a target that nothing more will come, so that it removes what it has received. Worth
    /// trying: a target that cannot be reached removes it when it is started anew.
    pub async fn abandon_preseed(&self, target: &PreseedTarget) -> Result<(), PeerCallError> {
        let raft = &self.shared.raft;
        let connection = raft.connection(target.node_id, &target.peer_addr, Lane::Snapshot);
        connection.snapshot_abandon(POLL_MAX).await
    }

    /// What the target holds already, if this node's log goes on behind it: a directory that was
    /// filled by hand, or a snapshot that an earlier leader had given.
    async fn held_by(&self, target: &PreseedTarget) -> Option<LogId> {
        let raft = &self.shared.raft;
        let connection = raft.connection(target.node_id, &target.peer_addr, Lane::Snapshot);
        // One that does not answer now is tried by the source.
        let held = connection.snapshot_status(POLL_MAX).await.ok()?.held?;
        raft.leading_vote()?;
        match raft.continues(held).await {
            Ok(()) => Some(held),
            Err(gap) => {
                tracing::info!(node = target.node_id, %gap, "the node is given a snapshot");
                None
            }
        }
    }

    /// Who could give it, the best first.
    async fn sources(&self, target: &PreseedTarget) -> Vec<Candidate> {
        let raft = &self.shared.raft;
        let purged = raft.purged_index();
        let connection = raft.connection(target.node_id, &target.peer_addr, Lane::Snapshot);
        // One that does not answer now is tried by the source.
        let parts = connection.snapshot_status(POLL_MAX).await.map_or(vec![], |it| it.parts);
        let mut others = Vec::new();
        for follower in raft.live_followers() {
            if purged.is_some_and(|purged| follower.matched_index < purged) {
                continue;
            }
            let lane = raft.connection(follower.node_id, &follower.peer_addr, Lane::Snapshot);
            if let Ok(status) = lane.snapshot_status(POLL_MAX).await {
                let peer_addr = Some(follower.peer_addr);
                let files = status.files;
                others.push(Candidate { node_id: follower.node_id, peer_addr, files });
            }
        }
        let files = raft.state().snapshots().iter().map(name_of).collect();
        let leader = Candidate { node_id: raft.node().node_id, peer_addr: None, files };
        order(others, leader, &parts, purged)
    }

    /// Has one source do it, and follows it to the end.
    async fn seed_from(
        &self,
        source: &Candidate,
        target: &PreseedTarget,
        join_id: u64,
        progress: &watch::Sender<PreseedProgress>,
    ) -> Result<LogId, PreseedError> {
        let failed = |failure| PreseedError::Failed {
            target: target.node_id,
            source_id: source.node_id,
            failure,
        };
        let mut answered = Instant::now();
        loop {
            match self.ask_source(source, target, join_id).await? {
                Ok(report) => {
                    answered = Instant::now();
                    let over = is_over(&report).then(|| report.phase.clone());
                    let (source_id, report) = (Some(source.node_id), Some(report));
                    progress.send_replace(PreseedProgress { source_id, report });
                    match over {
                        Some(SeedPhase::Done(log_id)) => return Ok(log_id),
                        Some(SeedPhase::Failed(failure)) => return Err(failed(failure)),
                        _ => {}
                    }
                }
                Err(error) if answered.elapsed() > SOURCE_LOST_MAX => {
                    return Err(failed(SeedFailure::Source { reason: error.to_string() }));
                }
                Err(error) => tracing::debug!(source = source.node_id, %error, "asked in vain"),
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Asks a source once how far it is; the first time, to begin.
    async fn ask_source(
        &self,
        source: &Candidate,
        target: &PreseedTarget,
        join_id: u64,
    ) -> Result<Result<SeedReport, PeerCallError>, PreseedError> {
        let raft = &self.shared.raft;
        let vote = raft.leading_vote().ok_or(PreseedError::NotLeader)?;
        let request = SeedRequest {
            join_id,
            node_id: target.node_id,
            peer_addr: target.peer_addr.clone(),
            vote,
            purged_index: raft.purged_index(),
        };
        Ok(match &source.peer_addr {
            None => self.seed(request).map_err(|refusal: PeerRefusal| refusal.into()),
            Some(peer_addr) => {
                let lane = raft.connection(source.node_id, peer_addr, Lane::Snapshot);
                lane.seed(request, POLL_MAX).await
            }
        })
    }
}
