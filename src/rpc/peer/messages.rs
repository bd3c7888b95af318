//! What nodes call on each other.
//!
//! Three connections to each peer, so that no kind of traffic waits behind another
//! ([`Lane`](super::Lane)): votes, heartbeats, forwarded requests and read-index rounds; appends;
//! snapshots.

use serde::{Deserialize, Serialize};

use super::seed::{SeedReport, SeedRequest, SnapshotStatus};
use crate::rpc::api::{SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest};
use crate::rpc::transport::{ServicePaths, ServiceRequest};
use crate::types::{
    Answer, ClusterReply, ClusterRequest, LogEntry, LogId, MembershipConfig, NodeId, NodeStatus,
    Operation, Principal, RequestError, RequestName, StateHash, Vote,
};

/// Entries for a follower's log; without entries, a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendRequest {
    /// The leader's committed vote.
    pub vote: Vote,
    /// The entry before the first of `entries`.
    pub prev_log_id: Option<LogId>,
    /// Consecutive entries.
    pub entries: Vec<LogEntry>,
    /// How far the leader has committed.
    pub leader_commit: Option<LogId>,
}

/// A follower's answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendReply {
    /// Everything is on the follower's disk.
    Success,
    /// Entries up to this one are; more can be sent at once.
    PartialSuccess(Option<LogId>),
    /// `prev_log_id` is not in the follower's log.
    Conflict,
    /// The follower has seen a higher vote.
    HigherVote(Vote),
}

/// A candidate asks for a vote (or whether it would get one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRequest {
    /// The candidate's vote.
    pub vote: Vote,
    /// The end of its log.
    pub last_log_id: Option<LogId>,
    /// Whether the leader asked for this election.
    pub leadership_transfer: bool,
}

/// The answer to a vote request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteReply {
    /// The voter's vote afterwards.
    pub vote: Vote,
    /// Whether it was granted.
    pub vote_granted: bool,
    /// The end of the voter's log.
    pub last_log_id: Option<LogId>,
}

/// The leader asks a voter to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLeaderRequest {
    /// The leader's vote.
    pub from: Vote,
    /// Who takes over.
    pub to: NodeId,
    /// What the new leader must have in its log.
    pub last_log_id: Option<LogId>,
}

/// A write on its way to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedWrite {
    /// The write's name; none for the cluster's own.
    pub request_id: Option<RequestName>,
    /// On whose behalf, verified at the door of the first node.
    pub principal: Principal,
    /// What it was authorised against there.
    pub auth_revision: u64,
    /// What to write.
    pub operation: Operation,
}

/// A snapshot is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOffer {
    /// The leader's vote.
    pub vote: Vote,
    /// The last entry the snapshot holds.
    pub last_log_id: Option<LogId>,
    /// Where the membership in the snapshot was written.
    pub membership_log_id: Option<LogId>,
    /// The membership in the snapshot.
    pub membership: MembershipConfig,
    /// The size of the file, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file: names it, so that a transfer resumes only the same file.
    pub digest: [u8; 32],
}

/// Where to go on with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotProgress {
    /// Bytes the receiver already holds; send from here.
    pub offset_bytes: u64,
}

/// A piece of an offered snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotChunk {
    /// The digest of the offer.
    pub digest: [u8; 32],
    /// Where the piece belongs.
    pub offset_bytes: u64,
    /// CRC-32 of `bytes`.
    pub checksum: u32,
    /// The piece.
    pub bytes: bytes::Bytes,
}

/// What a node says of its state after an entry. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashReport {
    /// The hash; none when the entry is not applied yet, or was too long ago.
    pub hash: Option<StateHash>,
    /// The last entry that the node has applied.
    pub applied: u64,
    /// Whether the node trusts its state.
    pub trusted: bool,
}

/// Why a peer did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PeerRefusal {
    /// Consensus on the node has stopped.
    #[error("the node is stopping: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// The message makes no sense or is damaged.
    #[error("refused: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// A snapshot transfer that is not under way, or another one.
    #[error("no such snapshot transfer; offer the snapshot again")]
    NoSuchTransfer,
    /// The receiver could not store it.
    #[error("could not store the snapshot: {reason}")]
    Storage {
        /// Why.
        reason: String,
    },
    /// A step of the same kind is under way.
    #[error("another step of a transfer is under way; try again")]
    Busy,
    /// The caller's vote is older than what the node has seen.
    #[error("the snapshot comes from a leader that was since replaced")]
    StaleVote {
        /// The node's vote.
        known: Vote,
    },
    /// The node does not trust what it holds: it neither votes nor gives it away.
    #[error("the node does not trust what it holds: {reason}")]
    Untrusted {
        /// Why.
        reason: String,
    },
}

impl ServiceRequest for PeerRequest {
    const PATHS: ServicePaths = ServicePaths {
        methods: &[
            "/chainfire/peer/append",
            "/chainfire/peer/vote",
            "/chainfire/peer/pre_vote",
            "/chainfire/peer/transfer_leader",
            "/chainfire/peer/propose",
            "/chainfire/peer/read_index",
            "/chainfire/peer/snapshot_offer",
            "/chainfire/peer/snapshot_chunk",
            "/chainfire/peer/snapshot_install",
            "/chainfire/peer/status",
            "/chainfire/peer/snapshot_status",
            "/chainfire/peer/seed",
            "/chainfire/peer/snapshot_abandon",
            "/chainfire/peer/cluster",
            "/chainfire/peer/check_standing",
            "/chainfire/peer/is_founded",
            "/chainfire/peer/snapshot_open",
            "/chainfire/peer/snapshot_read",
            "/chainfire/peer/state_hash",
            "/chainfire/peer/state_differs",
        ],
        cancel: "/chainfire/peer/cancel",
    };

    fn method_number(&self) -> u8 {
        match self {
            Self::Append { .. } => 0,
            Self::Vote { .. } => 1,
            Self::PreVote { .. } => 2,
            Self::TransferLeader { .. } => 3,
            Self::Propose { .. } => 4,
            Self::ReadIndex {} => 5,
            Self::SnapshotOffer { .. } => 6,
            Self::SnapshotChunk { .. } => 7,
            Self::SnapshotInstall { .. } => 8,
            Self::Status {} => 9,
            Self::SnapshotStatus {} => 10,
            Self::Seed { .. } => 11,
            Self::SnapshotAbandon {} => 12,
            Self::Cluster { .. } => 13,
            Self::CheckStanding {} => 14,
            Self::IsFounded {} => 15,
            Self::SnapshotOpen { .. } => 16,
            Self::SnapshotRead { .. } => 17,
            Self::StateHash { .. } => 18,
            Self::StateDiffers { .. } => 19,
        }
    }
}

/// The calls of the peer listener. Append only.
#[tarpc::service]
pub trait Peer {
    /// Appends entries to the log, or is a heartbeat.
    async fn append(request: AppendRequest) -> Result<AppendReply, PeerRefusal>;
    /// Asks for a vote.
    async fn vote(request: VoteRequest) -> Result<VoteReply, PeerRefusal>;
    /// Asks whether a vote would be granted.
    async fn pre_vote(request: VoteRequest) -> Result<VoteReply, PeerRefusal>;
    /// Asks a voter to stand for election at once.
    async fn transfer_leader(request: TransferLeaderRequest) -> Result<bool, PeerRefusal>;
    /// Proposes a write; only the leader takes it.
    async fn propose(request: ForwardedWrite) -> Result<Answer, RequestError>;
    /// Confirms leadership and answers what must be applied before a linearizable read; only the
    /// leader answers.
    async fn read_index() -> Result<Option<LogId>, RequestError>;
    /// Offers a snapshot.
    async fn snapshot_offer(request: SnapshotOffer) -> Result<SnapshotProgress, PeerRefusal>;
    /// Sends a piece of an offered snapshot.
    async fn snapshot_chunk(request: SnapshotChunk) -> Result<SnapshotProgress, PeerRefusal>;
    /// Says that every piece was sent: verify, install, answer the receiver's vote.
    async fn snapshot_install(digest: [u8; 32]) -> Result<Vote, PeerRefusal>;
    /// What the node says of itself.
    async fn status() -> Result<NodeStatus, RequestError>;
    /// What the node holds: its state, finished snapshots and unfinished ones.
    async fn snapshot_status() -> Result<SnapshotStatus, PeerRefusal>;
    /// Asks the node to give a snapshot to a node that is not a member, and how far that is: the
    /// first call begins it, the next ones only report, and without them it is given up.
    async fn seed(request: SeedRequest) -> Result<SeedReport, PeerRefusal>;
    /// Says that no snapshot will come: removes what was received of them.
    async fn snapshot_abandon() -> Result<(), PeerRefusal>;
    /// Asks about members, or changes who is one; only the leader answers.
    async fn cluster(request: ClusterRequest) -> Result<ClusterReply, RequestError>;
    /// Says that the cluster may have gone on without this node, which then asks it.
    async fn check_standing() -> Result<(), RequestError>;
    /// Whether the node has ever been part of a cluster: whether it holds a log, or has voted.
    async fn is_founded() -> Result<bool, RequestError>;
    /// Opens a snapshot of what the node has applied, for a member whose state is not to be
    /// trusted. Refused by a node that does not trust its own.
    async fn snapshot_open(request: SnapshotOpenRequest) -> Result<SnapshotOpened, RequestError>;
    /// Reads a piece of a snapshot that was opened so.
    async fn snapshot_read(request: SnapshotReadRequest) -> Result<SnapshotPiece, RequestError>;
    /// The hash of the node's state after an entry.
    async fn state_hash(index: u64) -> Result<HashReport, RequestError>;
    /// The leader says that the node's state after this entry is not the majority's.
    async fn state_differs(index: u64) -> Result<(), RequestError>;
}
