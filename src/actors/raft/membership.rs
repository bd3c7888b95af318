//! Who is a member, and changing that: in our words, over openraft's.
//!
//! # What must stay true
//! - Each change names the membership it was decided on; one that was made meanwhile refuses it.
//! - A change whose outcome is not known is never taken for failed: the membership itself tells.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::Precondition;
use tokio::time::{Instant, timeout_at};

use super::handle::RaftHandle;
use crate::consensus::{TypeConfig, log_id_from_openraft, log_id_to_openraft};
use crate::storage::crash_point::crash_point;
use crate::types::{LogId, NodeId, PeerAddress};

/// A node silent for longer does not count as alive.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// The membership as this node knows it at one moment; on the leader, with how its nodes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::actors) struct MembershipView {
    /// Where it was written.
    pub(in crate::actors) log_id: Option<LogId>,
    /// Whether this node leads.
    pub(in crate::actors) leads: bool,
    /// This node's term.
    pub(in crate::actors) term: u64,
    /// The voter sets: two while a change is under way.
    pub(in crate::actors) voter_sets: Vec<BTreeSet<NodeId>>,
    /// Every voter and learner.
    pub(in crate::actors) nodes: BTreeMap<NodeId, PeerAddress>,
    /// What each other node is known to have. On the leader only.
    pub(in crate::actors) matched: BTreeMap<NodeId, u64>,
    /// Who answered lately, this node included. On the leader only.
    pub(in crate::actors) alive: BTreeSet<NodeId>,
    /// The last entry in this node's log.
    pub(in crate::actors) last_log_index: u64,
    /// The last entry this node's log no longer has.
    pub(in crate::actors) purged_index: Option<u64>,
}

impl MembershipView {
    /// Whether a node is in any voter set.
    pub(in crate::actors) fn is_voter(&self, node: NodeId) -> bool {
        self.voter_sets.iter().any(|set| set.contains(&node))
    }

    /// Whether a node is a member at all.
    pub(in crate::actors) fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Who votes, once a change under way is complete.
    pub(in crate::actors) fn voters(&self) -> BTreeSet<NodeId> {
        self.voter_sets.last().cloned().unwrap_or_default()
    }

    /// Whether a change is under way.
    pub(in crate::actors) fn is_joint(&self) -> bool {
        self.voter_sets.len() > 1
    }

    /// How many entries a node lacks; none when nothing is known of it.
    pub(in crate::actors) fn lag_of(&self, node: NodeId) -> Option<u64> {
        self.matched.get(&node).map(|matched| self.last_log_index.saturating_sub(*matched))
    }
}

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::actors) enum MembershipChange {
    /// A node that holds a snapshot begins to receive the log.
    AddLearner(NodeId, PeerAddress),
    /// Learners become voters and voters learners, in one joint change.
    SetVoters(BTreeSet<NodeId>),
    /// A learner leaves.
    RemoveLearner(NodeId),
}

/// Why a membership was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::actors) enum ChangeError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// Another change is under way, or was made meanwhile.
    #[error("another change of the membership is under way: {0}")]
    Busy(String),
    /// It may have been made, or not.
    #[error("whether the membership was changed is unknown: {0}")]
    Unknown(String),
}

impl RaftHandle {
    /// The membership now.
    pub(in crate::actors) fn membership_view(&self) -> MembershipView {
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let me = self.shared.node.node_id;
        let config = metrics.membership_config.membership();
        let leads = self.leading_vote().is_some();
        let mut alive = BTreeSet::new();
        let mut matched = BTreeMap::new();
        if leads {
            alive.insert(me);
            for (id, at) in metrics.heartbeat.iter().flatten() {
                if at.as_ref().is_some_and(|at| at.elapsed() < SILENT_MAX) {
                    alive.insert(*id);
                }
            }
            let known = metrics.replication.iter().flatten();
            matched.extend(known.filter_map(|(id, at)| at.map(|log_id| (*id, log_id.index))));
        }
        MembershipView {
            log_id: metrics.membership_config.log_id().as_ref().map(log_id_from_openraft),
            leads,
            term: metrics.current_term,
            voter_sets: config.get_joint_config().clone(),
            nodes: config.nodes().map(|(id, node)| (*id, node.clone())).collect(),
            matched,
            alive,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            purged_index: metrics.purged.map(|log_id| log_id.index),
        }
    }

    /// Changes the membership that `decided_on` shows, on the leader.
    pub(in crate::actors) async fn change_membership(
        &self,
        decided_on: &MembershipView,
        change: MembershipChange,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let change = match change {
            MembershipChange::AddLearner(node, address) => {
                ChangeMembers::AddNodes(BTreeMap::from([(node, address)]))
            }
            MembershipChange::SetVoters(voters) => ChangeMembers::ReplaceAllVoters(voters),
            MembershipChange::RemoveLearner(node) => {
                ChangeMembers::RemoveNodes(BTreeSet::from([node]))
            }
        };
        let last_membership_log_id = decided_on.log_id.as_ref().map(log_id_to_openraft);
        let guard = Precondition::LastMembershipLogId { last_membership_log_id };
        let changed = self.shared.raft.change_membership_if(change, true, [guard]);
        match timeout_at(deadline, self.passing_joint(changed)).await {
            Err(_) => Err(ChangeError::Unknown("it was not committed in time".to_owned())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(changed_in_vain(&error)),
        }
    }

    /// Runs a change of the membership; a test may stop it where the first of its two entries is
    /// committed and the second is not written.
    async fn passing_joint<T>(&self, change: impl Future<Output = T>) -> T {
        let mut metrics = self.shared.raft.metrics();
        let mut passed = false;
        tokio::pin!(change);
        loop {
            if !passed && is_committed_joint(&metrics.borrow_and_update()) {
                passed = true;
                crash_point("membership.joint");
            }
            tokio::select! {
                biased;
                Ok(()) = metrics.changed(), if !passed => {}
                outcome = &mut change => return outcome,
            }
        }
    }

    /// Asks `to` to take over, and waits until another node leads.
    pub(in crate::actors) async fn hand_over_to(&self, to: NodeId, deadline: Instant) -> bool {
        let me = self.shared.node.node_id;
        if self.shared.raft.trigger().transfer_leader(to).await.is_err() {
            return false;
        }
        let mut server = self.shared.server.clone();
        let handed_over = async {
            while server.borrow_and_update().current_leader.is_none_or(|leader| leader == me) {
                if server.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout_at(deadline, handed_over).await.is_ok()
    }
}

fn is_committed_joint(metrics: &openraft::RaftMetrics<TypeConfig>) -> bool {
    let membership = &metrics.membership_config;
    let is_joint = membership.membership().get_joint_config().len() > 1;
    is_joint && metrics.local_committed.as_ref() >= membership.log_id().as_ref()
}

fn changed_in_vain(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ChangeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ChangeError::NotLeader,
        RaftError::APIError(
            error @ (ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ) => ChangeError::Busy(error.to_string()),
        other => ChangeError::Unknown(other.to_string()),
    }
}
