//! What the gateway asks of the node it is part of.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::rpc::transport::SessionUser;
use crate::types::{
    ClusterId, Member, NodeId, NodeStatus, Operation, RangeAnswer, RangeRequest, RequestError,
    SignedRequest, TxnAnswer, TxnRequest, Written,
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

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who signed the request; none without authentication.
    pub user: Option<SessionUser>,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Under which name it is answered.
    pub request_id: u128,
    /// What a write is known by when it comes again; none without authentication.
    pub signed: Option<SignedRequest>,
}

/// A request that was refused before it was dispatched.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'a> {
    /// Where it came from.
    pub remote: SocketAddr,
    /// Under which name it was answered.
    pub request_id: u128,
    /// The key that it says it is signed with; nothing of it need be true.
    pub claimed_key_id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// Why.
    pub code: &'static str,
}

/// The store, with authorisation and admission before it.
pub trait GatewayStore: Send + Sync + 'static {
    /// Writes, at most once; a signed write once, however often it is sent.
    fn write(
        &self,
        caller: Caller,
        operation: Operation,
        timeout: Duration,
    ) -> StoreFuture<'_, Written>;

    /// Reads a range.
    fn range(
        &self,
        caller: Caller,
        request: RangeRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, RangeAnswer>;

    /// Runs a transaction that writes nothing.
    fn read_txn(
        &self,
        caller: Caller,
        request: TxnRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, TxnAnswer>;

    /// How this node is.
    fn status(&self, caller: Caller, timeout: Duration) -> StoreFuture<'_, NodeStatus>;

    /// The members as this node knows them.
    fn members(&self, caller: Caller, timeout: Duration) -> StoreFuture<'_, Vec<Member>>;

    /// For the headers of answers.
    fn figures(&self) -> ClusterFigures;

    /// A request was refused before it was dispatched.
    fn request_refused(&self, refused: &RefusedRequest<'_>);
}
