//! The steps of a join, run by the leader outside the actor's mailbox.
//!
//! Each may be cut off anywhere and run again by this leader or the next: it looks first at how
//! things are. What it finds out becomes an [`Outcome`]; the plan decides what follows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::changes::check_quorum;
use super::live::LiveJoins;
use super::plan::{Outcome, Step};
use crate::actors::raft::{ChangeError, MembershipChange, MembershipView, RaftHandle};
use crate::actors::snapshot::{PreseedError, PreseedProgress, PreseedTarget, SnapshotHandle};
use crate::rpc::peer::{Lane, SeedFailure};
use crate::storage::crash_point::crash_point;
use crate::types::{JoinRecord, LogId, NodeId, PeerAddress};

/// A learner that lacks at most this many entries has caught up. Under load a healthy follower is
/// some hundred entries behind.
pub(super) const LAG_MAX: u64 = 1_000;
/// A learner that receives nothing for this long has stalled.
const CATCH_UP_STALL_MAX: Duration = Duration::from_secs(60);
/// How often the metrics are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long a change of the membership may take.
pub(super) const CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long a question to the target may take.
const ASK_MAX: Duration = Duration::from_secs(3);

/// What steps are run with.
#[derive(Clone)]
pub(super) struct StepContext {
    pub(super) raft: RaftHandle,
    pub(super) snapshot: SnapshotHandle,
    pub(super) live: Arc<LiveJoins>,
    /// Held while the membership is changed: one change after the other.
    pub(super) changing: Arc<Mutex<()>>,
}

impl StepContext {
    /// Runs a step to its end.
    pub(super) async fn run(&self, join: &JoinRecord, step: Step) -> Outcome {
        match step {
            Step::Hold => self.hold(join).await,
            Step::Seed => self.seed(join).await,
            Step::AddLearner => self.add_learner(join).await,
            Step::CatchUp => self.catch_up(join).await,
            Step::Promote => self.promote(join).await,
            Step::Undo => self.undo(join).await,
        }
    }

    async fn hold(&self, join: &JoinRecord) -> Outcome {
        let view = self.raft.membership_view();
        if view.is_voter(join.node_id) {
            return Outcome::Voter;
        }
        // One whose snapshot became useless after it was added starts over from outside.
        if let Err(outcome) = self.remove_learner(join.node_id).await {
            return outcome;
        }
        crash_point("join.hold");
        Outcome::Held(view.purged_index.unwrap_or(0))
    }

    async fn seed(&self, join: &JoinRecord) -> Outcome {
        crash_point("join.seed");
        let (progress, followed) = watch::channel(PreseedProgress::default());
        let _following = self.live.follow(join.join_id, followed);
        let target = target_of(join);
        let seeded = self.snapshot.preseed(&target, join.join_id, &progress).await;
        let PreseedProgress { source_id, report } = progress.borrow().clone();
        let snapshot = report.and_then(|report| report.snapshot);
        crash_point("join.seeded");
        match seeded {
            Ok(log_id) => Outcome::Seeded {
                snapshot: log_id,
                source: source_id,
                bytes: snapshot.map_or(0, |snapshot| snapshot.size_bytes),
            },
            Err(
                error @ PreseedError::Failed {
                    failure:
                        SeedFailure::TargetStorage { .. }
                        | SeedFailure::TargetRefused { .. }
                        | SeedFailure::Stalled { .. },
                    ..
                },
            ) => Outcome::Hopeless { reason: error.to_string() },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        }
    }

    async fn add_learner(&self, join: &JoinRecord) -> Outcome {
        let _changing = self.changing.lock().await;
        let view = self.raft.membership_view();
        if view.contains(join.node_id) {
            return Outcome::Added;
        }
        let Some(snapshot) = join.progress.snapshot else {
            return useless("no snapshot is known of");
        };
        if view.purged_index.is_some_and(|purged| purged > snapshot.index) {
            return useless("the log was purged past the snapshot");
        }
        if let Err(outcome) = self.check_held(join, snapshot).await {
            return outcome;
        }
        crash_point("join.before_add");
        let JoinRecord { node_id, request, .. } = join;
        let address =
            PeerAddress { name: request.name.clone(), peer_addr: request.peer_addr.clone() };
        let change = MembershipChange::AddLearner(*node_id, address);
        match self.change(&view, change).await {
            Ok(()) => {
                crash_point("join.added");
                Outcome::Added
            }
            Err(error) => failed(&error),
        }
    }

    /// The node must still have what it was given.
    async fn check_held(&self, join: &JoinRecord, snapshot: LogId) -> Result<(), Outcome> {
        let target = target_of(join);
        let lane = self.raft.connection(target.node_id, &target.peer_addr, Lane::Snapshot);
        match lane.snapshot_status(ASK_MAX).await {
            Ok(status) if status.held.is_some_and(|held| held >= snapshot) => Ok(()),
            Ok(_) => Err(useless("the node has lost the snapshot")),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn catch_up(&self, join: &JoinRecord) -> Outcome {
        let node = join.node_id;
        let mut best = None;
        let mut moved = Instant::now();
        loop {
            let view = self.raft.membership_view();
            if view.is_voter(node) {
                return Outcome::CaughtUp;
            }
            if !view.leads {
                return Outcome::Failed { reason: "this node no longer leads".to_owned() };
            }
            if !view.contains(node) {
                return useless("the learner was removed");
            }
            let matched = view.matched.get(&node).copied();
            if matched.zip(view.purged_index).is_some_and(|(matched, purged)| purged > matched) {
                return useless("the log was purged past the learner");
            }
            if has_caught_up(&view, node) {
                crash_point("join.caught_up");
                return Outcome::CaughtUp;
            }
            if matched > best {
                (best, moved) = (matched, Instant::now());
            }
            if moved.elapsed() > CATCH_UP_STALL_MAX {
                let seconds = CATCH_UP_STALL_MAX.as_secs();
                let reason = format!("the learner received nothing for {seconds} seconds");
                return Outcome::Hopeless { reason };
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn promote(&self, join: &JoinRecord) -> Outcome {
        let _changing = self.changing.lock().await;
        let view = self.raft.membership_view();
        if view.is_voter(join.node_id) && !view.is_joint() {
            return Outcome::Voter;
        }
        if !view.contains(join.node_id) {
            return useless("the learner was removed");
        }
        if !has_caught_up(&view, join.node_id) {
            return Outcome::Failed { reason: "the learner lags again".to_owned() };
        }
        crash_point("join.before_promote");
        let mut voters = view.voters();
        voters.insert(join.node_id);
        // The node may have died since: a cluster of one would wait for its vote from now on.
        if let Err(error) = check_quorum(self, &voters, false).await {
            return failed(&error);
        }
        match self.change(&view, MembershipChange::SetVoters(voters)).await {
            Ok(()) => Outcome::Voter,
            Err(error) => failed(&error),
        }
    }

    async fn undo(&self, join: &JoinRecord) -> Outcome {
        if self.raft.membership_view().is_voter(join.node_id) {
            return Outcome::Voter;
        }
        if let Err(outcome) = self.remove_learner(join.node_id).await {
            return outcome;
        }
        // A node that cannot be told finds out when it asks for its standing.
        if let Err(error) = self.snapshot.abandon_preseed(&target_of(join)).await {
            tracing::debug!(node = join.node_id, %error, "could not tell the node to discard");
        }
        Outcome::Undone
    }

    /// Takes a learner out of the membership, if it is in.
    async fn remove_learner(&self, node: NodeId) -> Result<(), Outcome> {
        let _changing = self.changing.lock().await;
        let view = self.raft.membership_view();
        if !view.contains(node) {
            return Ok(());
        }
        let removed = self.change(&view, MembershipChange::RemoveLearner(node)).await;
        removed.map_err(|error| failed(&error))
    }

    async fn change(
        &self,
        view: &MembershipView,
        change: MembershipChange,
    ) -> Result<(), ChangeError> {
        self.raft.change_membership(view, change, Instant::now() + CHANGE_MAX).await
    }
}

/// Whether a node has nearly all of the leader's log.
pub(super) fn has_caught_up(view: &MembershipView, node: NodeId) -> bool {
    view.lag_of(node).is_some_and(|lag| lag <= LAG_MAX)
}

fn target_of(join: &JoinRecord) -> PreseedTarget {
    PreseedTarget { node_id: join.node_id, peer_addr: join.request.peer_addr.clone() }
}

fn failed(error: &impl ToString) -> Outcome {
    Outcome::Failed { reason: error.to_string() }
}

fn useless(reason: &str) -> Outcome {
    Outcome::SnapshotUseless { reason: reason.to_owned() }
}
