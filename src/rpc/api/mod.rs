//! What clients may call, and the types they call it with.
//!
//! The canonical name of a call, which is what a signature covers, is
//! `/chainfire/<service>/<method>`: `/chainfire/store/write`. Methods and variants are only ever
//! appended: tarpc numbers them by position.

mod snapshot;

use serde::{Deserialize, Serialize};

pub use snapshot::{
    SnapshotInfo, SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest,
};

use crate::rpc::transport::{ServicePaths, ServiceRequest};
use crate::types::{
    AccessReply, AccessRequest, Answer, ClusterReply, ClusterRequest, Member, NodeStatus,
    Operation, RangeAnswer, RangeRequest, RequestError, RequestId, TxnAnswer, TxnRequest,
};

/// A write and the name under which it may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteRequest {
    /// The write's name.
    pub request_id: RequestId,
    /// What to write.
    pub operation: Operation,
}

impl ServiceRequest for StoreRequest {
    const PATHS: ServicePaths = ServicePaths {
        methods: &[
            "/chainfire/store/write",
            "/chainfire/store/range",
            "/chainfire/store/read_txn",
            "/chainfire/store/status",
            "/chainfire/store/members",
            "/chainfire/store/snapshot_open",
            "/chainfire/store/snapshot_read",
            "/chainfire/store/cluster",
            "/chainfire/store/access",
        ],
        cancel: "/chainfire/store/cancel",
    };

    fn method_number(&self) -> u8 {
        match self {
            Self::Write { .. } => 0,
            Self::Range { .. } => 1,
            Self::ReadTxn { .. } => 2,
            Self::Status {} => 3,
            Self::Members {} => 4,
            Self::SnapshotOpen { .. } => 5,
            Self::SnapshotRead { .. } => 6,
            Self::Cluster { .. } => 7,
            Self::Access { .. } => 8,
        }
    }
}

/// The calls of the client listener. Any node answers any of them; what needs the leader travels
/// there over the peer connection. The deadline travels in tarpc's context.
#[tarpc::service]
pub trait Store {
    /// Applies an operation once.
    async fn write(request: WriteRequest) -> Result<Answer, RequestError>;
    /// Reads a range. Linearizable unless the request says serializable.
    async fn range(request: RangeRequest) -> Result<RangeAnswer, RequestError>;
    /// Evaluates a transaction that cannot write, without the log. `serializable` as for a range.
    async fn read_txn(request: TxnRequest, serializable: bool) -> Result<TxnAnswer, RequestError>;
    /// What the asked node says of itself.
    async fn status() -> Result<NodeStatus, RequestError>;
    /// The members, as the asked node knows them.
    async fn members() -> Result<Vec<Member>, RequestError>;
    /// Asks for a snapshot to read, of everything acknowledged until now.
    async fn snapshot_open(request: SnapshotOpenRequest) -> Result<SnapshotOpened, RequestError>;
    /// Reads a piece of a snapshot that was opened on the same node.
    async fn snapshot_read(request: SnapshotReadRequest) -> Result<SnapshotPiece, RequestError>;
    /// Asks about members, or changes who is one. Any node takes it; the leader does it.
    async fn cluster(request: ClusterRequest) -> Result<ClusterReply, RequestError>;
    /// Asks about users, roles and keys, or changes them. Any node takes it.
    async fn access(request: AccessRequest) -> Result<AccessReply, RequestError>;
}
