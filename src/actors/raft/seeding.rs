//! What giving a snapshot to a node asks of consensus.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;

use super::handle::RaftHandle;
use crate::actors::snapshot::Pace;
use crate::consensus::vote_from_openraft;
use crate::rpc::peer::{Lane, PeerConnection};
use crate::storage::state::StateStore;
use crate::types::{LogId, NodeId, Vote};

/// A follower silent for longer is not asked to give snapshots.
const FOLLOWER_SILENT_MAX: Duration = Duration::from_secs(2);

/// A follower that can be asked for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::actors) struct LiveFollower {
    /// The node.
    pub(in crate::actors) node_id: NodeId,
    /// Where it listens for peers.
    pub(in crate::actors) peer_addr: String,
    /// The last entry it is known to have.
    pub(in crate::actors) matched_index: u64,
}

impl RaftHandle {
    /// This node's vote, as it is.
    pub(in crate::actors) fn vote_now(&self) -> Vote {
        vote_from_openraft(&self.shared.raft.metrics().borrow_watched().vote)
    }

    /// The vote by which this node leads; none when it does not.
    pub(in crate::actors) fn leading_vote(&self) -> Option<Vote> {
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let vote = vote_from_openraft(&metrics.vote);
        let leads = metrics.current_leader == Some(self.node().node_id);
        (leads && vote.committed && vote.node_id == self.node().node_id).then_some(vote)
    }

    /// The last entry that this node's log no longer has.
    pub(in crate::actors) fn purged_index(&self) -> Option<u64> {
        self.shared.raft.metrics().borrow_watched().purged.map(|log_id| log_id.index)
    }

    /// The last entry this node has applied.
    pub(in crate::actors) fn applied_log_id(&self) -> Option<LogId> {
        self.shared.state.applied().borrow().log_id
    }

    /// How fast snapshots are sent.
    pub(in crate::actors) fn pace(&self) -> Pace {
        self.shared.pace.clone()
    }

    /// The state and its snapshots.
    pub(in crate::actors) fn state(&self) -> &StateStore {
        &self.shared.state
    }

    /// A connection to any node, a member or not.
    pub(in crate::actors) fn connection(
        &self,
        node_id: NodeId,
        peer_addr: &str,
        lane: Lane,
    ) -> PeerConnection {
        self.shared.peers.peer(node_id, peer_addr, lane)
    }

    /// On the leader: the voters that answered lately, the one with the longest log first.
    pub(in crate::actors) fn live_followers(&self) -> Vec<LiveFollower> {
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let (Some(replication), Some(heartbeat)) = (&metrics.replication, &metrics.heartbeat)
        else {
            return Vec::new();
        };
        let me = self.node().node_id;
        let membership = metrics.membership_config.membership();
        let mut live = Vec::new();
        for id in membership.voter_ids().filter(|id| *id != me) {
            let heard = heartbeat.get(&id).and_then(Option::as_ref);
            let is_live = heard.is_some_and(|at| at.elapsed() < FOLLOWER_SILENT_MAX);
            let matched = replication.get(&id).copied().flatten();
            if let (true, Some(node), Some(matched)) = (is_live, membership.get_node(&id), matched)
            {
                let peer_addr = node.peer_addr.clone();
                live.push(LiveFollower { node_id: id, peer_addr, matched_index: matched.index });
            }
        }
        live.sort_by_key(|follower| (std::cmp::Reverse(follower.matched_index), follower.node_id));
        live
    }
}

#[cfg(test)]
impl RaftHandle {
    /// The vote by which this node leads.
    pub(crate) fn leading_vote_of_test(&self) -> Option<Vote> {
        self.leading_vote()
    }

    /// Adds a learner at once, as it is.
    pub(crate) async fn add_learner_as_it_is(&self, node_id: NodeId, peer_addr: String) {
        let address = crate::types::PeerAddress { name: format!("n{node_id}"), peer_addr };
        let added = self.shared.raft.add_learner(node_id, address, false).await;
        added.expect("the learner is taken");
    }

    /// Has the log purged up to the snapshot that is written now.
    pub(crate) async fn purge_behind_a_snapshot(&self) -> u64 {
        self.shared.state.prepare_snapshot(|_| false).await.expect("written");
        self.shared.raft.trigger().snapshot().await.expect("running");
        let mut metrics = self.shared.raft.metrics();
        let file = self.shared.state.current_snapshot().expect("it was just written");
        let last = file.header().last_log_id.expect("entries").index;
        let reached =
            |of: Option<crate::consensus::RaftLogId>| of.is_some_and(|it| it.index >= last);
        while !reached(metrics.borrow_and_update().snapshot) {
            metrics.changed().await.expect("running");
        }
        self.shared.raft.trigger().purge_log(last).await.expect("running");
        while !reached(metrics.borrow_and_update().purged) {
            metrics.changed().await.expect("running");
        }
        last
    }
}
