//! What clients call over tarpc: thin, over [`StoreSession`].
//!
//! The future of a call has room for the largest of them and is moved on its way into the
//! connection's set. So the rare ones that are large are boxed.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio::time::Instant;

use super::admission::Cost;
use super::service::Service;
use super::store_messages::{self, StoreMethod};
use super::store_session::{StoreBackend, StoreSession};
use crate::rpc::api::{
    SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest, Store, StoreRequest,
    StoreResponse, WriteRequest,
};
use crate::rpc::transport::{SessionUser, remaining};
use crate::types::{
    AccessReply, AccessRequest, Answer, ClusterReply, ClusterRequest, Member, NodeStatus,
    RangeAnswer, RangeRequest, RequestError, TxnAnswer, TxnRequest,
};

/// The calls of one connection.
#[derive(Clone)]
pub struct StoreService {
    session: Arc<StoreSession>,
}

impl StoreService {
    /// For a new connection.
    pub(super) fn new(
        backend: Arc<StoreBackend>,
        user: Option<SessionUser>,
        remote: SocketAddr,
    ) -> Self {
        Self { session: Arc::new(StoreSession::new(backend, user, Some(remote))) }
    }
}

fn deadline_of(context: &Context) -> Instant {
    Instant::now() + remaining(context)
}

impl Store for StoreService {
    async fn write(self, context: Context, request: WriteRequest) -> Result<Answer, RequestError> {
        self.session.write(request, deadline_of(&context)).await
    }

    async fn range(
        self,
        context: Context,
        request: RangeRequest,
    ) -> Result<RangeAnswer, RequestError> {
        self.session.range(request, deadline_of(&context)).await
    }

    async fn read_txn(
        self,
        context: Context,
        request: TxnRequest,
        serializable: bool,
    ) -> Result<TxnAnswer, RequestError> {
        self.session.read_txn(request, serializable, deadline_of(&context)).await
    }

    async fn status(self, _context: Context) -> Result<NodeStatus, RequestError> {
        self.session.status()
    }

    async fn members(self, _context: Context) -> Result<Vec<Member>, RequestError> {
        self.session.members()
    }

    async fn snapshot_open(
        self,
        context: Context,
        request: SnapshotOpenRequest,
    ) -> Result<SnapshotOpened, RequestError> {
        self.session.snapshot_open(request, deadline_of(&context)).await
    }

    async fn snapshot_read(
        self,
        _context: Context,
        request: SnapshotReadRequest,
    ) -> Result<SnapshotPiece, RequestError> {
        self.session.snapshot_read(request).await
    }

    async fn cluster(
        self,
        context: Context,
        request: ClusterRequest,
    ) -> Result<ClusterReply, RequestError> {
        Box::pin(self.session.cluster(request, deadline_of(&context))).await
    }

    async fn access(
        self,
        context: Context,
        request: AccessRequest,
    ) -> Result<AccessReply, RequestError> {
        Box::pin(self.session.access(request, deadline_of(&context))).await
    }
}

impl Service for StoreService {
    type Request = StoreRequest;
    type Answer = StoreResponse;
    type Method = StoreMethod;

    fn method(request: &StoreRequest) -> StoreMethod {
        store_messages::method(request)
    }

    fn name(method: StoreMethod) -> &'static str {
        store_messages::name(method)
    }

    fn cost(request: &StoreRequest) -> Cost {
        store_messages::cost(request)
    }

    fn answer_bytes(answer: &StoreResponse) -> usize {
        store_messages::response_bytes(answer)
    }

    fn outcome(answer: &StoreResponse) -> &'static str {
        store_messages::outcome(answer)
    }

    fn overdue(method: StoreMethod) -> RequestError {
        store_messages::overdue(method)
    }

    fn refusal(method: StoreMethod, error: RequestError) -> Result<StoreResponse, ServerError> {
        store_messages::refusal(method, error)
    }

    fn revoked(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut views = self.session.backend.auth.watch();
        let principal = self.session.principal().clone();
        let access_key_id = self.session.access_key_id.clone();
        async move {
            let Some(access_key_id) = access_key_id else {
                return std::future::pending().await;
            };
            // An error means that the node stops, which closes the connection as well.
            let _ = views.wait_for(|view| !view.is_active(&access_key_id, &principal)).await;
        }
    }

    async fn answer(
        self,
        context: Context,
        request: StoreRequest,
    ) -> Result<StoreResponse, ServerError> {
        self.serve().serve(context, request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::server::peer_service::PeerService;

    /// Bytes of the future of a call.
    fn size_of_call<S: Service, F>(_: impl Fn(S, Context, S::Request) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_call_is_cheap_to_move() {
        const BYTES_MAX: usize = 4_096;
        let store = size_of_call(|service: StoreService, context, request| {
            service.answer(context, request)
        });
        let peer =
            size_of_call(|service: PeerService, context, request| service.answer(context, request));
        assert!(store <= BYTES_MAX && peer <= BYTES_MAX, "{store} and {peer} bytes: box the rare");
    }
}
