//! The one place where openraft's vocabulary meets ours.
//!
//! openraft's line is young and its types move, so three rooms only name them: `storage` (which
//! implements its log and state machine traits), `actors/raft` (which runs it), and this one,
//! which fixes its type parameters and translates. What goes to disks and wires is
//! [`types::consensus`](crate::types::consensus), never a type of openraft's.

mod convert;

use std::fmt;

use bytes::Bytes;

use crate::types::{Answer, NodeId, OperationError, PeerAddress};

pub use convert::{
    entry_from_openraft, entry_to_openraft, log_id_from_openraft, log_id_to_openraft,
    membership_from_openraft, membership_to_openraft, vote_from_openraft, vote_to_openraft,
};

/// A [`Command`](crate::types::Command) in its log encoding: made once at the leader's door, then
/// shared by the log, every replication stream and the state machine without another copy.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedCommand(pub Bytes);

impl fmt::Debug for EncodedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedCommand({} bytes)", self.0.len())
    }
}

impl fmt::Display for EncodedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

/// What applying one entry answers; none for entries that are not commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyResponse(pub Option<Result<Answer, OperationError>>);

impl fmt::Display for ApplyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("no answer"),
            Some(Ok(_)) => f.write_str("answer"),
            Some(Err(error)) => write!(f, "refused: {error}"),
        }
    }
}

openraft::declare_raft_types!(
    /// openraft's parameters: standard Raft (one leader a term), our node ids and addresses,
    /// encoded commands in, answers out.
    pub TypeConfig:
        D = EncodedCommand,
        R = ApplyResponse,
        NodeId = NodeId,
        Node = PeerAddress,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft::TokioRuntime,
);

/// openraft's log id under [`TypeConfig`].
pub type RaftLogId = openraft::alias::LogIdOf<TypeConfig>;
/// openraft's vote under [`TypeConfig`].
pub type RaftVote = openraft::alias::VoteOf<TypeConfig>;
/// openraft's log entry under [`TypeConfig`].
pub type RaftEntry = openraft::alias::EntryOf<TypeConfig>;
/// openraft's membership under [`TypeConfig`].
pub type RaftMembership = openraft::Membership<NodeId, PeerAddress>;
/// openraft's membership with the log id it was written at, under [`TypeConfig`].
pub type RaftStoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
