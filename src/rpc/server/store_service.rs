//! What clients call: checked, authorised, and handed to consensus or read from the state.
//!
//! The order is the same for every call. What needs no state is refused first
//! ([`machine::validate`]), then comes authorisation, then the work, bounded by the deadline that
//! travelled with the call. Admission and the deadline's timer are the connection's.

use std::future::Future;
use std::sync::Arc;

use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::admission::{Budget, Cost};
use super::limits::{CONNECTION_LONG_READS_MAX, LONG_READ_BYTES_MAX, LONG_READS_MAX};
use super::service::Service;
use super::store_messages::{self, StoreMethod};
use super::store_read::{self, Read};
use crate::actors::{AuthHandle, MembershipHandle, RaftHandle, SnapshotHandle};
use crate::machine;
use crate::rpc::api::{
    SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest, Store, StoreRequest,
    StoreResponse, WriteRequest,
};
use crate::rpc::peer::ForwardedWrite;
use crate::rpc::transport::{SessionUser, remaining};
use crate::types::{
    Answer, ClusterReply, ClusterRequest, KeyRange, Member, NodeStatus, Operation, Principal,
    RangeAnswer, RangeRequest, RequestError, RequestId, TxnAnswer, TxnOperation, TxnRequest,
};

/// What every connection of clients shares.
pub struct StoreBackend {
    pub(super) raft: RaftHandle,
    snapshots: SnapshotHandle,
    auth: AuthHandle,
    members: MembershipHandle,
    /// Reads over many keys that are computed at one moment.
    pub(super) long_reads: Arc<Semaphore>,
    /// Bytes for their answers.
    pub(super) long_read_bytes: Arc<Budget>,
}

impl StoreBackend {
    /// Over these handles.
    pub fn new(
        raft: RaftHandle,
        snapshots: SnapshotHandle,
        auth: AuthHandle,
        members: MembershipHandle,
    ) -> Arc<Self> {
        let long_reads = Arc::new(Semaphore::new(LONG_READS_MAX));
        let long_read_bytes = Arc::new(Budget::new(LONG_READ_BYTES_MAX));
        Arc::new(Self { raft, snapshots, auth, members, long_reads, long_read_bytes })
    }

    /// Whether the principal may read every range that `request` reads or compares.
    fn authorise_txn_read(
        &self,
        principal: &Principal,
        request: &TxnRequest,
    ) -> Result<(), RequestError> {
        for compare in &request.compares {
            self.authorise_read(principal, &compare.range)?;
        }
        for operation in request.success.iter().chain(&request.failure) {
            match operation {
                TxnOperation::Range(range) => self.authorise_read(principal, &range.range)?,
                TxnOperation::Txn(nested) => self.authorise_txn_read(principal, nested)?,
                TxnOperation::Put(_) | TxnOperation::DeleteRange(_) => {
                    return Err(RequestError::Invalid {
                        reason: "the transaction writes; send it as a write".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn authorise_read(&self, principal: &Principal, range: &KeyRange) -> Result<(), RequestError> {
        self.auth.authorise_read(principal, range).map(drop)
    }
}

/// The calls of one connection.
#[derive(Clone)]
pub struct StoreService {
    connection: Arc<StoreConnection>,
}

pub(super) struct StoreConnection {
    pub(super) backend: Arc<StoreBackend>,
    /// Who signs its frames; none without authentication.
    user: Option<SessionUser>,
    /// Reads over many keys of this connection that are under way or not yet taken over by it.
    pub(super) long_reads: Arc<Semaphore>,
}

impl StoreService {
    /// For a new connection.
    pub(super) fn new(backend: Arc<StoreBackend>, user: Option<SessionUser>) -> Self {
        Self::sharing(backend, user, Arc::new(Semaphore::new(CONNECTION_LONG_READS_MAX)))
    }

    /// For one request of several that share `long_reads`, as those of a connection do.
    pub(super) fn sharing(
        backend: Arc<StoreBackend>,
        user: Option<SessionUser>,
        long_reads: Arc<Semaphore>,
    ) -> Self {
        Self { connection: Arc::new(StoreConnection { backend, user, long_reads }) }
    }

    /// A write that no session stands behind: sent again, it is applied again.
    pub(super) async fn write_once(
        &self,
        context: Context,
        operation: Operation,
    ) -> Result<Answer, RequestError> {
        self.propose(context, None, operation).await
    }

    async fn propose(
        &self,
        context: Context,
        request_id: Option<RequestId>,
        operation: Operation,
    ) -> Result<Answer, RequestError> {
        refuse_not_for_clients(&operation)?;
        machine::validate(&operation)?;
        let backend = self.backend();
        let principal = self.principal()?;
        let auth_revision = backend.auth.authorise(&principal, &operation)?;
        let write = ForwardedWrite { request_id, principal, auth_revision, operation };
        backend.raft.propose(write, deadline_of(&context)).await
    }

    /// On whose behalf this request is, if the connection's key is still accepted.
    fn principal(&self) -> Result<Principal, RequestError> {
        let Some(user) = &self.connection.user else { return Ok(Principal::anyone()) };
        let view = self.backend().auth.view();
        if view.is_active(&user.access_key_id, &user.principal) {
            return Ok(user.principal.clone());
        }
        let reason = format!("key {} is no longer accepted", user.access_key_id);
        Err(RequestError::PermissionDenied { reason })
    }

    fn backend(&self) -> &StoreBackend {
        &self.connection.backend
    }
}

fn deadline_of(context: &Context) -> Instant {
    Instant::now() + remaining(context)
}

/// Refuses what no client of ours sends.
fn validate_request_id(id: &RequestId) -> Result<(), RequestError> {
    let counted_from_one = id.lowest_unanswered >= 1;
    let includes_itself = id.lowest_unanswered <= id.sequence;
    if counted_from_one && includes_itself {
        return Ok(());
    }
    Err(RequestError::Invalid {
        reason: "the request id's sequence lies below its lowest unanswered one".to_owned(),
    })
}

/// Only nodes speak for nodes, and users are changed by calls of their own, which seal secrets.
fn refuse_not_for_clients(operation: &Operation) -> Result<(), RequestError> {
    match operation {
        Operation::Access(_) => Err(RequestError::Invalid {
            reason: "users, roles and keys are changed by calls of their own".to_owned(),
        }),
        Operation::RegisterMember { .. } | Operation::Cluster(_) => Err(RequestError::Invalid {
            reason: "only nodes publish what they are; use 'chainfire member'".to_owned(),
        }),
        _ => Ok(()),
    }
}

impl Store for StoreService {
    async fn write(self, context: Context, request: WriteRequest) -> Result<Answer, RequestError> {
        let WriteRequest { request_id, operation } = request;
        validate_request_id(&request_id)?;
        self.propose(context, Some(request_id), operation).await
    }

    async fn range(
        self,
        context: Context,
        request: RangeRequest,
    ) -> Result<RangeAnswer, RequestError> {
        machine::validate_range(&request)?;
        self.backend().authorise_read(&self.principal()?, &request.range)?;
        if !request.serializable {
            self.backend().raft.read_barrier(deadline_of(&context)).await?;
        }
        store_read::run(&self.connection, Read::Range(request)).await?.into_range()
    }

    async fn read_txn(
        self,
        context: Context,
        request: TxnRequest,
        serializable: bool,
    ) -> Result<TxnAnswer, RequestError> {
        machine::validate_txn(&request)?;
        self.backend().authorise_txn_read(&self.principal()?, &request)?;
        if !serializable {
            self.backend().raft.read_barrier(deadline_of(&context)).await?;
        }
        store_read::run(&self.connection, Read::Txn(request)).await?.into_txn()
    }

    async fn status(self, _context: Context) -> Result<NodeStatus, RequestError> {
        self.principal()?;
        Ok(self.backend().raft.status())
    }

    async fn members(self, _context: Context) -> Result<Vec<Member>, RequestError> {
        self.principal()?;
        Ok(self.backend().raft.members())
    }

    async fn snapshot_open(
        self,
        context: Context,
        request: SnapshotOpenRequest,
    ) -> Result<SnapshotOpened, RequestError> {
        self.backend().authorise_read(&self.principal()?, &KeyRange::all())?;
        if request.least_index.is_none() {
            self.backend().raft.read_barrier(deadline_of(&context)).await?;
        }
        self.backend().snapshots.open_download(request).await
    }

    async fn snapshot_read(
        self,
        _context: Context,
        request: SnapshotReadRequest,
    ) -> Result<SnapshotPiece, RequestError> {
        self.backend().authorise_read(&self.principal()?, &KeyRange::all())?;
        let SnapshotReadRequest { digest, offset_bytes } = request;
        self.backend().snapshots.read_download(digest, offset_bytes).await
    }

    async fn cluster(
        self,
        context: Context,
        request: ClusterRequest,
    ) -> Result<ClusterReply, RequestError> {
        let backend = self.backend();
        backend.auth.authorise_cluster(&self.principal()?, &request)?;
        backend.members.execute(request, deadline_of(&context)).await
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
        let mut views = self.backend().auth.watch();
        let user = self.connection.user.clone();
        async move {
            let Some(SessionUser { principal, access_key_id }) = user else {
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
    use crate::types::{ClientId, PeerAddress};

    #[test]
    fn a_request_id_counts_itself_among_the_unanswered() {
        for (sequence, lowest_unanswered, valid) in
            [(1, 1, true), (5, 1, true), (5, 5, true), (5, 6, false), (0, 0, false), (1, 0, false)]
        {
            let id = RequestId { client: ClientId(1), sequence, lowest_unanswered };
            assert_eq!(validate_request_id(&id).is_ok(), valid, "{id:?}");
        }
    }

    #[test]
    fn a_client_cannot_register_a_member() {
        let operation = Operation::RegisterMember {
            node_id: 1,
            address: PeerAddress::default(),
            client_addr: String::new(),
        };
        assert!(matches!(refuse_not_for_clients(&operation), Err(RequestError::Invalid { .. })));
    }
}
