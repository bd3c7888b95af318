//! Nodes, members and what they say of themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DeleteProgress, Distrust, SpaceUse};

/// A node of the cluster; allocated by the cluster and never reused.
pub type NodeId = u64;

/// Names one cluster for ever: 128 bits, fixed when the cluster is first started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A member as `member list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where peers reach it, `HOST:PORT`.
    pub peer_addr: String,
    /// Where clients reach it; empty until the node has published it.
    pub client_addr: String,
    /// Its part in the cluster.
    pub role: MemberRole,
}

/// A member's part in the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    /// Counts in quorums.
    Voter,
    /// Receives the log, does not vote.
    Learner,
    /// On its way in.
    Joining,
}

/// A node's part in consensus at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeRole {
    /// Takes writes.
    Leader,
    /// Follows a leader and votes.
    Follower,
    /// Follows without a vote.
    Learner,
    /// Asks for votes.
    Candidate,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node_id: NodeId,
    /// Its name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// The leader it knows; none during an election.
    pub leader_id: Option<NodeId>,
    /// Its part in consensus.
    pub role: NodeRole,
    /// Its current term.
    pub term: u64,
    /// The last entry in its log.
    pub last_log_index: u64,
    /// The last entry it applied.
    pub applied_index: u64,
    /// Its current main revision.
    pub revision: u64,
    /// Oldest readable main revision.
    pub compact_revision: u64,
    /// Bytes of its database files on disk.
    pub db_size_bytes: u64,
    /// The release it runs.
    pub version: String,
    /// Why it does not trust what it holds, and so does not serve; empty when it does.
    pub untrusted: Vec<Distrust>,
    /// How much room its state has.
    pub space: SpaceUse,
    /// Deletes of many keys that are being written out.
    pub deletes: Vec<DeleteProgress>,
}
