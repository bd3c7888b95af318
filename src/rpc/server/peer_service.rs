//! What nodes call on each other: handed to consensus or to the receiver of snapshots.
//!
//! A forwarded write was validated, authorised and admitted at the door of the node that took it;
//! here it must find the leader, and is never passed on again.

use std::sync::Arc;

use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio::time::Instant;

use super::admission::Cost;
use super::peer_messages::{self, PeerMethod};
use super::service::Service;
use crate::actors::{MembershipHandle, RaftHandle, SnapshotHandle};
use crate::rpc::api::{SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest};
use crate::rpc::peer::{
    AppendReply, AppendRequest, Caller, ForwardedWrite, HashReport, Incarnations, Peer,
    PeerRefusal, PeerRequest, PeerResponse, SeedReport, SeedRequest, SnapshotChunk, SnapshotOffer,
    SnapshotProgress, SnapshotStatus, TransferLeaderRequest, VoteReply, VoteRequest,
};
use crate::rpc::transport::remaining;
use crate::types::{
    Answer, ClusterReply, ClusterRequest, Distrust, LogId, NodeStatus, RequestError, Vote,
};

/// The calls of peers. Clones share the handles.
#[derive(Clone)]
pub struct PeerService {
    raft: RaftHandle,
    snapshots: SnapshotHandle,
    members: MembershipHandle,
    /// Of a connection: who is at the other end.
    caller: Option<Arc<Connected>>,
}

/// The peer at the other end of a connection. Tells consensus when it has ended.
struct Connected {
    raft: RaftHandle,
    incarnations: Incarnations,
    caller: Caller,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.raft.peer_hung_up(self.caller.node_id);
    }
}

impl PeerService {
    /// Over these handles.
    pub fn new(raft: RaftHandle, snapshots: SnapshotHandle, members: MembershipHandle) -> Self {
        Self { raft, snapshots, members, caller: None }
    }

    /// For one connection of this peer, which has ended when the last clone is dropped, and is closed
    /// when the peer is recognised no more.
    pub(super) fn for_caller(&self, incarnations: Incarnations, caller: Caller) -> Self {
        let connected = Connected { raft: self.raft.clone(), incarnations, caller };
        Self { caller: Some(Arc::new(connected)), ..self.clone() }
    }
}

fn deadline_of(context: &Context) -> Instant {
    Instant::now() + remaining(context)
}

impl Peer for PeerService {
    async fn append(
        self,
        _context: Context,
        request: AppendRequest,
    ) -> Result<AppendReply, PeerRefusal> {
        self.raft.append(request).await
    }

    async fn vote(self, _context: Context, request: VoteRequest) -> Result<VoteReply, PeerRefusal> {
        self.raft.vote(request).await
    }

    async fn pre_vote(
        self,
        _context: Context,
        request: VoteRequest,
    ) -> Result<VoteReply, PeerRefusal> {
        self.raft.pre_vote(request).await
    }

    async fn transfer_leader(
        self,
        _context: Context,
        request: TransferLeaderRequest,
    ) -> Result<bool, PeerRefusal> {
        self.raft.transfer_leader(request).await
    }

    async fn propose(
        self,
        context: Context,
        request: ForwardedWrite,
    ) -> Result<Answer, RequestError> {
        self.raft.propose_local(request, deadline_of(&context)).await
    }

    async fn read_index(self, context: Context) -> Result<Option<LogId>, RequestError> {
        self.raft.read_index_local(deadline_of(&context)).await
    }

    async fn snapshot_offer(
        self,
        _context: Context,
        request: SnapshotOffer,
    ) -> Result<SnapshotProgress, PeerRefusal> {
        self.snapshots.offer(request).await
    }

    async fn snapshot_chunk(
        self,
        _context: Context,
        request: SnapshotChunk,
    ) -> Result<SnapshotProgress, PeerRefusal> {
        self.snapshots.chunk(request).await
    }

    async fn snapshot_install(
        self,
        _context: Context,
        digest: [u8; 32],
    ) -> Result<Vote, PeerRefusal> {
        self.snapshots.install(digest).await
    }

    async fn status(self, _context: Context) -> Result<NodeStatus, RequestError> {
        Ok(self.raft.status())
    }

    async fn snapshot_status(self, _context: Context) -> Result<SnapshotStatus, PeerRefusal> {
        self.snapshots.status().await
    }

    async fn seed(
        self,
        _context: Context,
        request: SeedRequest,
    ) -> Result<SeedReport, PeerRefusal> {
        self.snapshots.seed(request)
    }

    async fn snapshot_abandon(self, _context: Context) -> Result<(), PeerRefusal> {
        self.snapshots.abandon_received().await
    }

    async fn cluster(
        self,
        context: Context,
        request: ClusterRequest,
    ) -> Result<ClusterReply, RequestError> {
        // Boxed, as in `StoreService`: the frequent calls would carry room for it.
        Box::pin(self.members.execute_here(request, deadline_of(&context))).await
    }

    async fn is_founded(self, _context: Context) -> Result<bool, RequestError> {
        let founded = self.raft.is_founded().await;
        founded.map_err(|error| RequestError::Unavailable { reason: error.to_string() })
    }

    async fn check_standing(self, _context: Context) -> Result<(), RequestError> {
        self.members.check_standing();
        Ok(())
    }

    async fn snapshot_open(
        self,
        _context: Context,
        request: SnapshotOpenRequest,
    ) -> Result<SnapshotOpened, RequestError> {
        self.snapshots.open_download(request).await
    }

    async fn snapshot_read(
        self,
        _context: Context,
        request: SnapshotReadRequest,
    ) -> Result<SnapshotPiece, RequestError> {
        self.snapshots.read_download(request.digest, request.offset_bytes).await
    }

    async fn state_hash(self, _context: Context, index: u64) -> Result<HashReport, RequestError> {
        Ok(self.raft.hash_report(index))
    }

    async fn state_differs(self, _context: Context, index: u64) -> Result<(), RequestError> {
        self.raft.trust().distrust(Distrust::StateDiffers { index });
        Ok(())
    }
}

impl Service for PeerService {
    type Request = PeerRequest;
    type Answer = PeerResponse;
    type Method = PeerMethod;

    fn method(request: &PeerRequest) -> PeerMethod {
        peer_messages::method(request)
    }

    fn name(method: PeerMethod) -> &'static str {
        peer_messages::name(method)
    }

    fn cost(request: &PeerRequest) -> Cost {
        peer_messages::cost(request)
    }

    fn answer_bytes(answer: &PeerResponse) -> usize {
        peer_messages::response_bytes(answer)
    }

    fn outcome(answer: &PeerResponse) -> &'static str {
        peer_messages::outcome(answer)
    }

    fn overdue(method: PeerMethod) -> RequestError {
        peer_messages::overdue(method)
    }

    fn refusal(method: PeerMethod, error: RequestError) -> Result<PeerResponse, ServerError> {
        peer_messages::refusal(method, error)
    }

    fn revoked(&self) -> impl Future<Output = ()> + Send + 'static {
        let superseded =
            self.caller.as_ref().map(|known| known.incarnations.superseded(known.caller));
        async move {
            match superseded {
                Some(superseded) => superseded.await,
                None => std::future::pending().await,
            }
        }
    }

    async fn answer(
        self,
        context: Context,
        request: PeerRequest,
    ) -> Result<PeerResponse, ServerError> {
        self.serve().serve(context, request).await
    }
}
