//! Joins and what else the cluster remembers of its nodes, in the replicated state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::COMMAND_FORMAT_FIRST;
use super::{Claim, LogId, NodeId, StartClaim};

/// Names one join for ever: counted from 1, never reused.
pub type JoinId = u64;

/// What a node asks for that wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// 128 random bits, on the node's disk before it first asks: asking again is the same join.
    /// They become the incarnation of its data directory.
    pub nonce: u128,
    /// Its name.
    pub name: String,
    /// Where peers reach it, `HOST:PORT`.
    pub peer_addr: String,
    /// Where clients reach it, `HOST:PORT`.
    pub client_addr: String,
    /// What it is to become.
    pub target: JoinTarget,
    /// Whether it only takes a snapshot and then waits to be added.
    pub waits: bool,
    /// The newest format of commands that it reads.
    pub command_format: u8,
}

/// What a node becomes by joining. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinTarget {
    /// Counts in quorums.
    Voter,
    /// Receives the log, does not vote.
    Learner,
}

/// How far a join is. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinPhase {
    /// It is being given a snapshot; the log is held.
    Seeding,
    /// It holds a snapshot and waits for `member add`; the log is not held.
    Waiting,
    /// It holds a snapshot that the log continues, and becomes a learner.
    Adding,
    /// It is a learner and receives the tail of the log.
    CatchingUp,
    /// It has caught up and becomes a voter.
    Promoting,
    /// What was done is undone; then the join is failed or cancelled.
    Undoing,
    /// It is a member.
    Joined,
    /// It ended, and left nothing behind.
    Failed,
    /// Somebody called it off, and it left nothing behind.
    Cancelled,
}

impl JoinPhase {
    /// Every phase.
    pub const ALL: [Self; 9] = [
        Self::Seeding,
        Self::Waiting,
        Self::Adding,
        Self::CatchingUp,
        Self::Promoting,
        Self::Undoing,
        Self::Joined,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing more happens.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Joined | Self::Failed | Self::Cancelled)
    }

    /// For people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seeding => "seeding",
            Self::Waiting => "waiting",
            Self::Adding => "adding",
            Self::CatchingUp => "catching-up",
            Self::Promoting => "promoting",
            Self::Undoing => "undoing",
            Self::Joined => "joined",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One join, as the cluster remembers it. Fields are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRecord {
    /// The join.
    pub join_id: JoinId,
    /// The id the node was given.
    pub node_id: NodeId,
    /// What was asked for.
    pub request: JoinRequest,
    /// When it began, on the replicated clock, in milliseconds.
    pub started_ms: u64,
    /// How far it is.
    pub progress: JoinProgress,
    /// When it ended, on the replicated clock, in milliseconds.
    pub ended_ms: Option<u64>,
}

impl JoinRecord {
    /// Whether something is still to be done about it, or waited for.
    pub fn is_open(&self) -> bool {
        !self.progress.phase.is_over()
    }
}

/// How far one join is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinProgress {
    /// The phase.
    pub phase: JoinPhase,
    /// How many snapshots were begun for it.
    pub seeds: u32,
    /// No member removes log entries above this index for as long as this is set.
    pub held_index: Option<u64>,
    /// The last entry in the snapshot the node holds.
    pub snapshot: Option<LogId>,
    /// Who gave it that snapshot.
    pub source: Option<NodeId>,
    /// The size of that snapshot's file.
    pub bytes: u64,
    /// Why it is being undone, or failed.
    pub failure: Option<String>,
}

impl JoinProgress {
    /// Nothing was done yet.
    pub const BEGUN: Self = Self {
        phase: JoinPhase::Seeding,
        seeds: 0,
        held_index: None,
        snapshot: None,
        source: None,
        bytes: 0,
        failure: None,
    };
}

/// What a node learns that asked to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTicket {
    /// The join.
    pub join_id: JoinId,
    /// The node's id from now on.
    pub node_id: NodeId,
}

/// What the cluster remembers of its nodes besides the membership. Fields are only ever appended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The highest node id ever given to anybody.
    pub last_node_id: NodeId,
    /// The highest join id ever given.
    pub last_join_id: JoinId,
    /// The data directory behind each member and each node that joins.
    pub incarnations: BTreeMap<NodeId, u128>,
    /// Members whose removal was decided and is not complete; true = whoever is alive.
    pub leaving: BTreeMap<NodeId, bool>,
    /// The joins under way, and the last ones that ended.
    pub joins: BTreeMap<JoinId, JoinRecord>,
    /// The newest format of commands that each member, and each node that joins, reads.
    pub formats: BTreeMap<NodeId, u8>,
    /// The last start of each member's data directory that was taken for it.
    pub claims: BTreeMap<NodeId, Claim>,
}

impl Roster {
    /// The joins that are not over.
    pub fn open_joins(&self) -> impl Iterator<Item = &JoinRecord> {
        self.joins.values().filter(|join| join.is_open())
    }

    /// The join that is not over by which `node_id` comes in.
    pub fn open_join_of(&self, node_id: NodeId) -> Option<&JoinRecord> {
        self.open_joins().find(|join| join.node_id == node_id)
    }

    /// The newest format of commands that a node is known to read.
    pub fn format_of(&self, node_id: NodeId) -> u8 {
        self.formats.get(&node_id).copied().unwrap_or(COMMAND_FORMAT_FIRST)
    }

    /// The lowest index that a join holds the log at.
    pub fn held_index(&self) -> Option<u64> {
        self.open_joins().filter_map(|join| join.progress.held_index).min()
    }
}

/// A change of the [`Roster`] that goes through the log. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterOperation {
    /// A node wants to join.
    StartJoin {
        /// What it asks for.
        request: JoinRequest,
        /// The highest id in the leader's membership.
        member_id_max: NodeId,
    },
    /// A join goes on, if it is still where the one who says so believes.
    AdvanceJoin {
        /// The join.
        join_id: JoinId,
        /// The phase it leaves.
        from: JoinPhase,
        /// How far it is now.
        progress: JoinProgress,
    },
    /// A join is called off.
    CancelJoin {
        /// The join.
        join_id: JoinId,
    },
    /// A node that waits is to be added.
    AddWaiting {
        /// The join.
        join_id: JoinId,
        /// What it is to become.
        target: JoinTarget,
    },
    /// A member says which data directory is behind its id, and which start of it.
    Claim {
        /// The member.
        node_id: NodeId,
        /// Its data directory.
        incarnation: u128,
        /// This start of it.
        claim: StartClaim,
    },
    /// A member is to leave, or is not after all.
    SetLeaving {
        /// The member.
        node_id: NodeId,
        /// Whether.
        leaving: bool,
        /// Also when no majority of the others is alive.
        force: bool,
    },
    /// A member says which commands it reads.
    SetFormat {
        /// The member.
        node_id: NodeId,
        /// The newest format of commands that it reads.
        command_format: u8,
    },
}

/// The answer to a [`ClusterOperation`]. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterAnswer {
    /// To `StartJoin`.
    Ticket(JoinTicket),
    /// To every other one.
    Done,
}
