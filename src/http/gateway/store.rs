//! What the gateway asks of the node it is part of.

use std::pin::Pin;
use std::time::Duration;

use crate::rpc::transport::SessionUser;
use crate::types::{
    Answer, ClusterId, Member, NodeId, NodeStatus, Operation, RangeAnswer, RangeRequest,
    RequestError, TxnAnswer, TxnRequest,
};

/// An answer to come.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, RequestError>> + Send + 'a>>;

/// What stands in the header of etcd's answers beside the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFigures {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This node.
    pub node_id: NodeId,
    /// Its term.
    pub term: u64,
}

/// The store, with authorisation and admission before it. `user` is on whose behalf; none without
/// authentication.
pub trait GatewayStore: Send + Sync + 'static {
    /// Writes, at most once.
    fn write(
        &self,
        user: Option<SessionUser>,
        operation: Operation,
        timeout: Duration,
    ) -> StoreFuture<'_, Answer>;

    /// Reads a range.
    fn range(
        &self,
        user: Option<SessionUser>,
        request: RangeRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, RangeAnswer>;

    /// Runs a transaction that writes nothing.
    fn read_txn(
        &self,
        user: Option<SessionUser>,
        request: TxnRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, TxnAnswer>;

    /// How this node is.
    fn status(&self, user: Option<SessionUser>, timeout: Duration) -> StoreFuture<'_, NodeStatus>;

    /// The members as this node knows them.
    fn members(&self, user: Option<SessionUser>, timeout: Duration)
    -> StoreFuture<'_, Vec<Member>>;

    /// For the headers of answers.
    fn figures(&self) -> ClusterFigures;

    /// A request was refused before it was dispatched, under this code.
    fn request_refused(&self, code: &'static str);
}
