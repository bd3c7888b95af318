//! A peer that agrees with everything, or does what it is asked to.

use std::net::SocketAddr;
use std::sync::Arc;

use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;

use super::Counts;
use crate::rpc::peer::{
    AppendReply, AppendRequest, ForwardedWrite, Incarnations, Peer, PeerRefusal, PeerRequest,
    PeerResponse, SeedReport, SeedRequest, SnapshotChunk, SnapshotOffer, SnapshotProgress,
    SnapshotStatus, TransferLeaderRequest, VoteReply, VoteRequest, frame_limits,
};
use crate::rpc::server::admission::{Admission, Cost};
use crate::rpc::server::doors::{admit_peer, judge_peer};
use crate::rpc::server::peer_messages::{self, PeerMethod};
use crate::rpc::server::service::{Door, Service};
use crate::rpc::server::{Listener, ListenerHandle, ListenerLimits};
use crate::rpc::transport::{FrameLimits, Guard, Hello, Identity, Lane, Refusal, SessionUser};
use crate::types::{Answer, LogId, NodeStatus, RequestError, Vote};

/// See the module. An append with entries is never answered.
#[derive(Clone)]
pub(super) struct EchoPeer {
    pub(super) counts: Arc<Counts>,
}

impl Peer for EchoPeer {
    async fn append(self, _: Context, request: AppendRequest) -> Result<AppendReply, PeerRefusal> {
        if !request.entries.is_empty() {
            self.counts.count("held".into());
            std::future::pending::<()>().await;
        }
        Ok(AppendReply::Success)
    }

    async fn vote(self, _: Context, request: VoteRequest) -> Result<VoteReply, PeerRefusal> {
        Ok(VoteReply { vote: request.vote, vote_granted: true, last_log_id: None })
    }

    async fn pre_vote(self, _: Context, _: VoteRequest) -> Result<VoteReply, PeerRefusal> {
        Err(PeerRefusal::Stopped { reason: "a test".into() })
    }

    async fn transfer_leader(
        self,
        _: Context,
        _: TransferLeaderRequest,
    ) -> Result<bool, PeerRefusal> {
        Ok(true)
    }

    async fn propose(self, _: Context, _: ForwardedWrite) -> Result<Answer, RequestError> {
        Ok(Answer::RegisterMember)
    }

    async fn read_index(self, _: Context) -> Result<Option<LogId>, RequestError> {
        Ok(Some(LogId { term: 1, index: 2 }))
    }

    async fn snapshot_offer(
        self,
        _: Context,
        _: SnapshotOffer,
    ) -> Result<SnapshotProgress, PeerRefusal> {
        Ok(SnapshotProgress { offset_bytes: 0 })
    }

    async fn snapshot_chunk(
        self,
        _: Context,
        chunk: SnapshotChunk,
    ) -> Result<SnapshotProgress, PeerRefusal> {
        Ok(SnapshotProgress { offset_bytes: chunk.offset_bytes + chunk.bytes.len() as u64 })
    }

    async fn snapshot_status(self, _: Context) -> Result<SnapshotStatus, PeerRefusal> {
        Err(PeerRefusal::NoSuchTransfer)
    }

    async fn seed(self, _: Context, _: SeedRequest) -> Result<SeedReport, PeerRefusal> {
        Err(PeerRefusal::Busy)
    }

    async fn cluster(
        self,
        _: Context,
        _: crate::types::ClusterRequest,
    ) -> Result<crate::types::ClusterReply, RequestError> {
        Ok(crate::types::ClusterReply::Done { node_id: 1 })
    }

    async fn is_founded(self, _: Context) -> Result<bool, RequestError> {
        Ok(true)
    }

    async fn check_standing(self, _: Context) -> Result<(), RequestError> {
        Ok(())
    }

    async fn snapshot_open(
        self,
        _: Context,
        _: crate::rpc::api::SnapshotOpenRequest,
    ) -> Result<crate::rpc::api::SnapshotOpened, RequestError> {
        Err(RequestError::Unavailable { reason: "no snapshots".into() })
    }

    async fn snapshot_read(
        self,
        _: Context,
        _: crate::rpc::api::SnapshotReadRequest,
    ) -> Result<crate::rpc::api::SnapshotPiece, RequestError> {
        Err(RequestError::Unavailable { reason: "no snapshots".into() })
    }

    async fn state_hash(
        self,
        _: Context,
        _: u64,
    ) -> Result<crate::rpc::peer::HashReport, RequestError> {
        Err(RequestError::Unavailable { reason: "no state".into() })
    }

    async fn state_differs(self, _: Context, _: u64) -> Result<(), RequestError> {
        Ok(())
    }

    async fn snapshot_abandon(self, _: Context) -> Result<(), PeerRefusal> {
        Ok(())
    }

    async fn snapshot_install(self, _: Context, _: [u8; 32]) -> Result<Vote, PeerRefusal> {
        Err(PeerRefusal::NoSuchTransfer)
    }

    async fn status(self, _: Context) -> Result<NodeStatus, RequestError> {
        Err(RequestError::Unavailable { reason: "no status".into() })
    }
}

impl Service for EchoPeer {
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

    async fn answer(
        self,
        context: Context,
        request: PeerRequest,
    ) -> Result<PeerResponse, ServerError> {
        self.serve().serve(context, request).await
    }
}

pub(super) struct EchoPeerDoor {
    identity: Identity,
    guard: Option<Guard>,
    incarnations: Incarnations,
    service: EchoPeer,
}

impl Door for EchoPeerDoor {
    type Service = EchoPeer;

    fn name(&self) -> &'static str {
        "peer"
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        judge_peer(&self.identity, hello)
    }

    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        admit_peer(&self.incarnations, hello)
    }

    fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    fn open(
        &self,
        hello: &Hello,
        _: Option<SessionUser>,
        _: SocketAddr,
    ) -> (EchoPeer, FrameLimits) {
        let lane = hello.peer().map_or(Lane::Control, |peer| peer.lane);
        self.service.counts.count(format!("opened {}", lane.name()));
        (self.service.clone(), frame_limits(lane))
    }
}

/// A listener with an [`EchoPeer`] behind it.
pub(super) struct PeerServer {
    pub(super) handle: ListenerHandle,
    pub(super) address: String,
    pub(super) counts: Arc<Counts>,
}

impl PeerServer {
    pub(super) async fn start(identity: Identity) -> Self {
        Self::at("127.0.0.1:0", identity).await
    }

    pub(super) async fn at(address: &str, identity: Identity) -> Self {
        Self::guarded(address, identity, None).await
    }

    pub(super) async fn guarded(address: &str, identity: Identity, guard: Option<Guard>) -> Self {
        let listener = super::eventually(|| Listener::bind(address)).await;
        let address = listener.local_addr().to_string();
        let counts = Counts::new();
        let service = EchoPeer { counts: counts.clone() };
        let door = EchoPeerDoor { identity, guard, incarnations: Incarnations::new(), service };
        let node = Arc::new(Admission::new(1_000, 1 << 28));
        let handle = listener.serve(door, ListenerLimits::peers(), node, counts.clone());
        Self { handle, address, counts }
    }
}
