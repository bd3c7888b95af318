//! What one caller may ask of the store, however it reached us: checked, authorised, done, and
//! told to the audit log.
//!
//! The order is the same for every call. What needs no state is refused first
//! ([`machine::validate`]), then comes authorisation, then the work, bounded by the deadline that
//! travelled with the call. Admission and the deadline's timer are the connection's.
//!
//! Nothing here knows tarpc or HTTP: both make a [`StoreSession`] from the user that a signature
//! has proven, and call it.

use std::net::SocketAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::admission::Budget;
use super::audited::{Audited, action, revision_of, target};
use super::direct::DirectCaller;
use super::limits::{CONNECTION_LONG_READS_MAX, LONG_READ_BYTES_MAX, LONG_READS_MAX};
use super::store_read::{self, Read};
use crate::actors::{AuthHandle, MembershipHandle, RaftHandle, SnapshotHandle};
use crate::machine;
use crate::rpc::api::{
    SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest, WriteRequest,
};
use crate::rpc::peer::ForwardedWrite;
use crate::rpc::transport::SessionUser;
use crate::telemetry::audit::id_of_one_request;
use crate::telemetry::{AuditCaller, AuditLog, AuditRecord, Decision};
use crate::types::{
    Answer, Asked, ClientId, ClusterReply, ClusterRequest, Member, NodeStatus, Operation,
    Principal, RangeAnswer, RangeRequest, RequestError, RequestId, RequestName, SignedRequest,
    TxnAnswer, TxnRequest, Written,
};

/// What every caller shares.
pub struct StoreBackend {
    pub(super) raft: RaftHandle,
    snapshots: SnapshotHandle,
    pub(super) auth: AuthHandle,
    members: MembershipHandle,
    audit: AuditLog,
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
        audit: AuditLog,
    ) -> Arc<Self> {
        let long_reads = Arc::new(Semaphore::new(LONG_READS_MAX));
        let long_read_bytes = Arc::new(Budget::new(LONG_READ_BYTES_MAX));
        Arc::new(Self { raft, snapshots, auth, members, audit, long_reads, long_read_bytes })
    }

    /// Where refusals are told that come before there is a session.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }
}

/// One caller: a connection, or a signed request. Make one for each; it is cheap.
pub struct StoreSession {
    pub(super) backend: Arc<StoreBackend>,
    /// On whose behalf it asks.
    principal: Principal,
    /// The key it signs with; none without authentication.
    pub(super) access_key_id: Option<String>,
    caller: Arc<AuditCaller>,
    /// What its audit lines are named that have no name of their own.
    line_id: Option<RequestId>,
    /// Its reads over many keys that are under way or not yet taken over by it.
    pub(super) long_reads: Arc<Semaphore>,
}

/// Something that was let in.
pub(super) struct Permit<'a> {
    /// The rules it was decided by.
    pub(super) auth_revision: u64,
    /// Its audit line, when it is to have one.
    audited: Option<Audited<'a>>,
}

impl Permit<'_> {
    /// It ended; `revision` tells the one that it made.
    pub(super) fn settle<T>(self, outcome: &Result<T, RequestError>, revision: fn(&T) -> u64) {
        if let Some(audited) = self.audited {
            audited.settle(outcome.as_ref().map(revision));
        }
    }
}

impl StoreSession {
    /// For whoever a signature has proven to be `user`; none without authentication.
    pub fn new(
        backend: Arc<StoreBackend>,
        user: Option<SessionUser>,
        remote: Option<SocketAddr>,
    ) -> Self {
        let long_reads = Arc::new(Semaphore::new(CONNECTION_LONG_READS_MAX));
        Self::of(backend, user, remote, None, long_reads)
    }

    /// For one request of several that share `long_reads`, as those of a connection do.
    pub(super) fn of_one_request(
        backend: Arc<StoreBackend>,
        caller: DirectCaller,
        long_reads: Arc<Semaphore>,
    ) -> Self {
        let DirectCaller { user, remote, request_id, signed: _ } = caller;
        let line_id = id_of_one_request(request_id);
        Self::of(backend, user, Some(remote), Some(line_id), long_reads)
    }

    fn of(
        backend: Arc<StoreBackend>,
        user: Option<SessionUser>,
        remote: Option<SocketAddr>,
        line_id: Option<RequestId>,
        long_reads: Arc<Semaphore>,
    ) -> Self {
        let (principal, access_key_id) = match user {
            Some(SessionUser { principal, access_key_id }) => (principal, Some(access_key_id)),
            None => (Principal::anyone(), None),
        };
        let caller = Arc::new(AuditCaller {
            access_key_id: access_key_id.clone().unwrap_or_default(),
            user: principal.0.clone(),
            peer: remote,
        });
        Self { backend, principal, access_key_id, caller, line_id, long_reads }
    }

    /// On whose behalf it asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The name of a write among those of its user alone. The first answer to a write is kept under
    /// its name, and may hold pairs: whoever learns a name of another user (audit lines have them)
    /// must not be answered by it.
    fn own(&self, id: RequestId) -> RequestId {
        if self.principal.is_builtin() {
            return id;
        }
        RequestId { client: client_of(&self.principal, id.client), ..id }
    }

    /// Lets in what is well formed and permitted. A refusal is audited here; a change, and whatever
    /// hands out all there is, by its permit.
    pub(super) fn permit<'a>(
        &'a self,
        request_id: Option<RequestId>,
        asked: Asked<'_>,
    ) -> Result<Permit<'a>, RequestError> {
        let auth_revision = self.decide(request_id, asked)?;
        let is_audited = asked.is_mutation() || matches!(asked, Asked::Snapshot);
        let audited = is_audited.then(|| {
            let record = self.record(request_id, asked, Decision::Allowed, "unknown");
            Audited::begin(&self.backend.audit, record)
        });
        Ok(Permit { auth_revision, audited })
    }

    /// The rules by which it is let in. A refusal is audited.
    fn decide(&self, request_id: Option<RequestId>, asked: Asked<'_>) -> Result<u64, RequestError> {
        let backend = &*self.backend;
        let decided = backend.auth.authorise(&self.principal, self.access_key_id.as_deref(), asked);
        decided.map_err(|denial| {
            let refused = Decision::Refused(denial.name());
            backend.audit.record(self.record(request_id, asked, refused, ""));
            denial.into()
        })
    }

    fn record(
        &self,
        request_id: Option<RequestId>,
        asked: Asked<'_>,
        decision: Decision,
        outcome: &'static str,
    ) -> AuditRecord {
        AuditRecord {
            caller: Arc::clone(&self.caller),
            request_id: request_id.or(self.line_id),
            action: action(asked),
            target: target(asked),
            decision,
            outcome,
            revision: 0,
        }
    }

    /// Applies an operation once.
    pub async fn write(
        &self,
        request: WriteRequest,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        let WriteRequest { request_id, operation } = request;
        validate_request_id(&request_id)?;
        refuse_not_for_clients(&operation)?;
        self.propose(Some(request_id), operation, None, deadline).await
    }

    /// A write that no session stands behind. One that was `signed` is applied once however often it
    /// is sent; any other, sent again, is applied again.
    pub(super) async fn write_alone(
        &self,
        signed: Option<SignedRequest>,
        operation: Operation,
        deadline: Instant,
    ) -> Result<Written, RequestError> {
        refuse_not_for_clients(&operation)?;
        let name = signed.map(RequestName::from);
        match self.propose_as(None, name, operation, None, deadline).await {
            Ok(Answer::Again(first)) => Ok(Written { outcome: *first, replayed: true }),
            Ok(answer) => Ok(Written { outcome: Ok(answer), replayed: false }),
            Err(RequestError::Operation(refusal)) => {
                Ok(Written { outcome: Err(refusal), replayed: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Has a well-formed and permitted operation applied. `asked` is what the caller asked for,
    /// where that is not the operation itself.
    pub(super) async fn propose(
        &self,
        request_id: Option<RequestId>,
        operation: Operation,
        asked: Option<Asked<'_>>,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        let name = request_id.map(|request_id| self.own(request_id).into());
        self.propose_as(request_id, name, operation, asked, deadline).await
    }

    /// The same, under the name that the log shall know it by.
    async fn propose_as(
        &self,
        request_id: Option<RequestId>,
        name: Option<RequestName>,
        operation: Operation,
        asked: Option<Asked<'_>>,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        machine::validate(&operation)?;
        let asked = asked.unwrap_or(Asked::Operation(&operation));
        self.backend.raft.trust().check_serves()?;
        let permit = self.permit(request_id, asked)?;
        let write = ForwardedWrite {
            request_id: name,
            principal: self.principal.clone(),
            auth_revision: permit.auth_revision,
            operation,
        };
        let answer = self.backend.raft.propose(write, deadline).await;
        permit.settle(&answer, revision_of);
        answer
    }

    /// Reads a range. Linearizable unless the request says serializable.
    pub async fn range(
        &self,
        request: RangeRequest,
        deadline: Instant,
    ) -> Result<RangeAnswer, RequestError> {
        machine::validate_range(&request)?;
        self.permit(None, Asked::Range(&request))?;
        if !request.serializable {
            self.backend.raft.read_barrier(deadline).await?;
        }
        store_read::run(self, Read::Range(request)).await?.into_range()
    }

    /// Evaluates a transaction that cannot write.
    pub async fn read_txn(
        &self,
        request: TxnRequest,
        serializable: bool,
        deadline: Instant,
    ) -> Result<TxnAnswer, RequestError> {
        machine::validate_txn(&request)?;
        if !request.is_read_only() {
            return Err(RequestError::Invalid {
                reason: "the transaction writes; send it as a write".to_owned(),
            });
        }
        self.permit(None, Asked::ReadTxn(&request))?;
        if !serializable {
            self.backend.raft.read_barrier(deadline).await?;
        }
        store_read::run(self, Read::Txn(request)).await?.into_txn()
    }

    /// What this node says of itself.
    pub fn status(&self) -> Result<NodeStatus, RequestError> {
        self.permit(None, Asked::Status)?;
        Ok(self.backend.raft.status())
    }

    /// The members, as this node knows them.
    pub fn members(&self) -> Result<Vec<Member>, RequestError> {
        self.permit(None, Asked::Members)?;
        Ok(self.backend.raft.members())
    }

    /// Opens a snapshot of everything acknowledged until now.
    pub async fn snapshot_open(
        &self,
        request: SnapshotOpenRequest,
        deadline: Instant,
    ) -> Result<SnapshotOpened, RequestError> {
        let permit = self.permit(None, Asked::Snapshot)?;
        let opened = async {
            if request.least_index.is_none() {
                self.backend.raft.read_barrier(deadline).await?;
            }
            self.backend.snapshots.open_download(request).await
        };
        let opened = opened.await;
        permit.settle(&opened, |_| 0);
        opened
    }

    /// Reads a piece of a snapshot that was opened here: that was audited.
    pub async fn snapshot_read(
        &self,
        request: SnapshotReadRequest,
    ) -> Result<SnapshotPiece, RequestError> {
        self.decide(None, Asked::Snapshot)?;
        let SnapshotReadRequest { digest, offset_bytes } = request;
        self.backend.snapshots.read_download(digest, offset_bytes).await
    }

    /// Asks about members, or changes who is one.
    pub async fn cluster(
        &self,
        request: ClusterRequest,
        deadline: Instant,
    ) -> Result<ClusterReply, RequestError> {
        self.backend.raft.trust().check_serves()?;
        let permit = self.permit(None, Asked::Cluster(&request))?;
        let reply = self.backend.members.execute(request, deadline).await;
        permit.settle(&reply, |_| 0);
        reply
    }
}

/// A client as the log knows it: the same on every node, another for every user.
fn client_of(principal: &Principal, client: ClientId) -> ClientId {
    let digest = Sha256::new()
        .chain_update(b"chainfire client of a user\0")
        .chain_update(&principal.0)
        // No name has this byte.
        .chain_update([0])
        .chain_update(client.0.to_be_bytes())
        .finalize();
    ClientId(digest.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

/// Refuses what no client of ours sends.
pub(super) fn validate_request_id(id: &RequestId) -> Result<(), RequestError> {
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
        Operation::ContinueDelete { .. } => Err(RequestError::Invalid {
            reason: "the cluster goes on with a delete by itself".to_owned(),
        }),
        Operation::RegisterMember { .. } | Operation::Cluster(_) => Err(RequestError::Invalid {
            reason: "only nodes publish what they are; use 'chainfire member'".to_owned(),
        }),
        Operation::Put(_)
        | Operation::DeleteRange(_)
        | Operation::Txn(_)
        | Operation::Compact(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PeerAddress;

    #[test]
    fn a_request_id_counts_itself_among_the_unanswered() {
        for (sequence, lowest_unanswered, valid) in
            [(1, 1, true), (5, 1, true), (5, 5, true), (5, 6, false), (0, 0, false), (1, 0, false)]
        {
            let id = RequestId {
                client: ClientId(1),
                sequence,
                lowest_unanswered,
                begun_ms: 0,
                window_ms: 0,
            };
            assert_eq!(validate_request_id(&id).is_ok(), valid, "{id:?}");
        }
    }

    #[test]
    fn a_client_of_one_user_is_none_of_another() {
        let of = |name: &str, client| client_of(&Principal(name.to_owned()), ClientId(client));
        assert_eq!(of("ann", 1), of("ann", 1));
        let others = [of("ann", 2), of("bob", 1), of("an", 1), ClientId(1)];
        assert!(others.iter().all(|other| *other != of("ann", 1)));
        // Every node must say the same, of every release.
        assert_eq!(of("ann", 1), ClientId(0x8ef5_3629_134b_69fe_e21f_db43_e240_7450));
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
