//! Why a node ended, and what it tells the service manager.

use std::process::ExitCode;

/// Why a node ended. Each has an exit code of its own, so that a service manager (and the person
/// who reads its log at night) can tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExitReason {
    /// Somebody asked for it.
    #[error("stopped on request")]
    Requested,
    /// The disk refused, or lied. What was acknowledged is in the log of a quorum; this node must
    /// not go on with what it holds in memory.
    #[error("storage failed: {0}; free space or replace the disk, then start the node again")]
    StorageFailed(String),
    /// Consensus stopped by itself.
    #[error("consensus failed: {0}; start the node again, and report this if it recurs")]
    ConsensusFailed(String),
    /// An actor failed more often than its budget allows.
    #[error("actor {actor} failed too often: {reason}; start the node again")]
    ActorFailed {
        /// Which.
        actor: &'static str,
        /// Its last words.
        reason: String,
    },
    /// The node is no member any more.
    #[error(
        "this node was removed from the cluster and no longer serves; to use the machine again, \
         empty the data directory and start it with --join"
    )]
    Removed,
    /// The cluster knows another data directory under the node's id.
    #[error("{0}")]
    NotRecognised(String),
    /// The node did not become a member.
    #[error("the join failed: {0}; what was received is discarded, start the node again to retry")]
    JoinFailed(String),
    /// The node's state is not to be trusted. Started again it repairs itself from its peers.
    #[error("this node does not trust its state: {0}; it repairs itself from its peers")]
    Distrusted(String),
    /// The node was given another cluster's key file.
    #[error(
        "the secrets in the state were sealed under another cluster key; start the node with the \
         --cluster-key file of the cluster that its data is of"
    )]
    OtherClusterKey,
}

impl ExitReason {
    /// The process's exit code: 0, 10 (storage), 11 (consensus), 12 (an actor), 13 (removed),
    /// 14 (not recognised), 15 (its join failed), 16 (another cluster's key),
    /// 18 (its state is not to be trusted).
    pub fn code(&self) -> u8 {
        match self {
            Self::Requested => 0,
            Self::StorageFailed(_) => 10,
            Self::ConsensusFailed(_) => 11,
            Self::ActorFailed { .. } => 12,
            Self::Removed => 13,
            Self::NotRecognised(_) => 14,
            Self::JoinFailed(_) => 15,
            Self::OtherClusterKey => 16,
            Self::Distrusted(_) => 18,
        }
    }
}

impl From<&ExitReason> for ExitCode {
    fn from(reason: &ExitReason) -> Self {
        Self::from(reason.code())
    }
}
