//! What clients and nodes ask about who is a member, and what they are answered.

use serde::{Deserialize, Serialize};

use super::{ClusterId, JoinRecord, JoinRequest, JoinTarget, JoinTicket, LogId, NodeId};

/// A question or a change about members. A node is named by its id or its name. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterRequest {
    /// A node wants to join.
    Join {
        /// What it asks for.
        request: JoinRequest,
        /// The last entry in the state that its directory holds already; none = it holds none.
        held: Option<LogId>,
    },
    /// Add a node that holds a snapshot and waits.
    AddWaiting {
        /// The node.
        node: String,
        /// What it is to become.
        target: JoinTarget,
    },
    /// How the joins are.
    Joins,
    /// Call a join off.
    CancelJoin {
        /// The node.
        node: String,
    },
    /// Make a learner a voter.
    Promote {
        /// The learner.
        node: String,
        /// Also when a quorum of the voters afterwards is not alive.
        force: bool,
    },
    /// Make a voter a learner.
    Demote {
        /// The voter.
        node: String,
        /// As for `Promote`.
        force: bool,
    },
    /// Make a member leave.
    Remove {
        /// The member.
        node: String,
        /// As for `Promote`.
        force: bool,
    },
    /// Make a learner a voter in the place of one that leaves, in one change.
    Replace {
        /// The member that leaves.
        old: String,
        /// The learner.
        new: String,
        /// As for `Promote`.
        force: bool,
    },
    /// Change where a member is reached; none = as it is.
    Update {
        /// The member.
        node: String,
        /// Where peers reach it, `HOST:PORT`.
        peer_addr: Option<String>,
        /// Where clients reach it, `HOST:PORT`.
        client_addr: Option<String>,
    },
    /// Give leadership to another voter; none = the one with the longest log.
    MoveLeader {
        /// The voter.
        to: Option<String>,
    },
    /// What the cluster says of a node.
    Standing {
        /// The node.
        node_id: NodeId,
    },
}

/// The answer to a [`ClusterRequest`]. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterReply {
    /// To `Join`.
    Ticket {
        /// The cluster.
        cluster_id: ClusterId,
        /// The node's place in it.
        ticket: JoinTicket,
        /// Why the state that the node holds is of no use: the log does not continue it. None when
        /// it does, and when the node holds none.
        unusable: Option<String>,
    },
    /// To `Joins`, the oldest first.
    Joins(Vec<JoinStatus>),
    /// To `Standing`.
    Standing(Standing),
    /// It was done, to this node.
    Done {
        /// The node.
        node_id: NodeId,
    },
}

/// What the cluster says of a node. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is a member, and no join of it is under way.
    Member,
    /// It is on its way in.
    Joining,
    /// Its join came to nothing.
    JoinFailed {
        /// Why.
        reason: String,
    },
    /// It is no member.
    Removed,
}

/// How a join is, as the leader sees it. Fields are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinStatus {
    /// What the cluster remembers of it.
    pub join: JoinRecord,
    /// What is done at this moment, in a word.
    pub stage: String,
    /// Who gives the snapshot.
    pub source: Option<NodeId>,
    /// Bytes of the snapshot the node has.
    pub sent_bytes: u64,
    /// The size of the snapshot.
    pub total_bytes: u64,
    /// How fast it is sent, over the last few seconds.
    pub bytes_per_second: u64,
    /// Entries of the log that the node lacks; none when that is not known.
    pub lag_entries: Option<u64>,
    /// How long it took so far, on the replicated clock.
    pub elapsed_ms: u64,
}
