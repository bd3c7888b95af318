//! The vocabulary of consensus as *we* write it to disks and wires, apart from any library.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::NodeId;

/// The place of an entry in the log: the term of the leader that wrote it, and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The leader's term (at most one leader a term).
    pub term: u64,
    /// The position, from 0.
    pub index: u64,
}

/// A vote in a term: for a candidate, or committed to an elected leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// For whom.
    pub node_id: NodeId,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// A node's name and where its peers reach it, as the membership keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerAddress {
    /// The node's name.
    pub name: String,
    /// Where peers reach it, `HOST:PORT`.
    pub peer_addr: String,
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.peer_addr)
    }
}

/// Who votes and who listens. Two voter sets while a joint change is under way, else one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipConfig {
    /// The voter sets; a majority of each is a quorum.
    pub voter_sets: Vec<BTreeSet<NodeId>>,
    /// Every voter and learner.
    pub nodes: BTreeMap<NodeId, PeerAddress>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place.
    pub log_id: LogId,
    /// What it holds.
    pub payload: LogEntryPayload,
}

/// What an entry holds. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogEntryPayload {
    /// A new leader's first entry.
    Blank,
    /// An encoded [`Command`](super::Command).
    Command(Bytes),
    /// A change of the membership.
    Membership(MembershipConfig),
}
