//! The store for callers that are in this process: the HTTP gateway.
//!
//! They bring what a connection of clients would bring (on whose behalf, by when) and get what it
//! would get: the same refusals, authorisation, budgets, limits on long reads, and counting. What
//! they have not is a session: a write is known by its signature, and on a node without
//! authentication by nothing, so that sending it again is another write.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::admission::{Admission, ConnectionAdmission, Cost};
use super::limits::{CONNECTION_LONG_READS_MAX, RETRY_AFTER_MS};
use super::service::RequestObserver;
use super::sizes::{
    MESSAGE_BYTES, answer_bytes, operation_bytes, range_answer_bytes, txn_answer_bytes, txn_bytes,
};
use super::store_messages::{self, StoreMethod};
use super::store_session::{StoreBackend, StoreSession};
use crate::rpc::transport::SessionUser;
use crate::types::{
    Member, NodeStatus, Operation, RangeAnswer, RangeRequest, RequestError, SignedRequest,
    TxnAnswer, TxnRequest, Written,
};

/// See the module. One for all callers of one kind, who share its budgets.
pub struct DirectStore {
    backend: Arc<StoreBackend>,
    admission: Arc<ConnectionAdmission>,
    long_reads: Arc<Semaphore>,
    observer: Arc<dyn RequestObserver>,
}

/// Who asks, in one request.
#[derive(Clone, Debug)]
pub struct DirectCaller {
    /// Whom a signature has proven it to be; none without authentication.
    pub user: Option<SessionUser>,
    /// Where it came from.
    pub remote: SocketAddr,
    /// What the request is called in the audit log.
    pub request_id: u128,
    /// What it is known by when it comes again; none without authentication.
    pub signed: Option<SignedRequest>,
}

/// What a call counts as, before its answer is known.
struct Call {
    method: StoreMethod,
    /// In metrics.
    name: &'static str,
    bytes: usize,
    timeout: Duration,
}

impl DirectStore {
    /// Over a node's store. `node` is the budget that it shares with the connections of clients,
    /// `own` what of it all callers together may take.
    pub fn new(
        backend: Arc<StoreBackend>,
        node: Arc<Admission>,
        own: Admission,
        observer: Arc<dyn RequestObserver>,
    ) -> Self {
        let admission = ConnectionAdmission::new(node, own);
        let long_reads = Arc::new(Semaphore::new(CONNECTION_LONG_READS_MAX));
        Self { backend, admission, long_reads, observer }
    }

    /// Writes, at most once.
    ///
    /// # Errors
    /// As [`StoreSession::write`].
    pub async fn write(
        &self,
        caller: DirectCaller,
        operation: Operation,
        timeout: Duration,
    ) -> Result<Written, RequestError> {
        let bytes = operation_bytes(&operation);
        let call = Call { method: StoreMethod::Write, name: "http_write", bytes, timeout };
        let signed = caller.signed;
        let session = self.session(caller);
        let work = async |deadline| session.write_alone(signed, operation, deadline).await;
        let bytes_of = |written: &Written| written.outcome.as_ref().map_or(0, answer_bytes);
        self.run(call, work, bytes_of).await
    }

    /// Reads a range.
    ///
    /// # Errors
    /// As [`StoreSession::range`].
    pub async fn range(
        &self,
        caller: DirectCaller,
        request: RangeRequest,
        timeout: Duration,
    ) -> Result<RangeAnswer, RequestError> {
        let bytes = request.range.key.len() + request.range.range_end.len();
        let call = Call { method: StoreMethod::Range, name: "http_range", bytes, timeout };
        let session = self.session(caller);
        let work = async |deadline| session.range(request, deadline).await;
        self.run(call, work, range_answer_bytes).await
    }

    /// Runs a transaction that writes nothing.
    ///
    /// # Errors
    /// As [`StoreSession::read_txn`].
    pub async fn read_txn(
        &self,
        caller: DirectCaller,
        request: TxnRequest,
        timeout: Duration,
    ) -> Result<TxnAnswer, RequestError> {
        let bytes = txn_bytes(&request);
        let call = Call { method: StoreMethod::ReadTxn, name: "http_read_txn", bytes, timeout };
        let session = self.session(caller);
        let work = async |deadline| session.read_txn(request, false, deadline).await;
        self.run(call, work, txn_answer_bytes).await
    }

    /// How this node is.
    ///
    /// # Errors
    /// As [`StoreSession::status`].
    pub async fn status(
        &self,
        caller: DirectCaller,
        timeout: Duration,
    ) -> Result<NodeStatus, RequestError> {
        let call = Call { method: StoreMethod::Status, name: "http_status", bytes: 0, timeout };
        let session = self.session(caller);
        self.run(call, async |_| session.status(), |_| 0).await
    }

    /// The members as this node knows them.
    ///
    /// # Errors
    /// As [`StoreSession::members`].
    pub async fn members(
        &self,
        caller: DirectCaller,
        timeout: Duration,
    ) -> Result<Vec<Member>, RequestError> {
        let call = Call { method: StoreMethod::Members, name: "http_members", bytes: 0, timeout };
        let session = self.session(caller);
        self.run(call, async |_| session.members(), |members| members.len() * MESSAGE_BYTES).await
    }

    fn session(&self, caller: DirectCaller) -> StoreSession {
        StoreSession::of_one_request(self.backend.clone(), caller, self.long_reads.clone())
    }

    /// Admits, bounds and counts a call, as a connection does.
    async fn run<T, F>(
        &self,
        call: Call,
        work: impl FnOnce(Instant) -> F,
        answer_bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let started = Instant::now();
        let cost = Cost { bytes: MESSAGE_BYTES + call.bytes, refusable: true };
        let permit = self.admission.admit(cost);
        let outcome = match &permit {
            None => Err(RequestError::Overloaded { retry_after_ms: RETRY_AFTER_MS }),
            Some(_) => {
                let ended = timeout(call.timeout, work(started + call.timeout)).await;
                ended.unwrap_or_else(|_elapsed| Err(store_messages::overdue(call.method)))
            }
        };
        if let (Some(mut permit), Ok(answer)) = (permit, &outcome) {
            permit.correct(MESSAGE_BYTES + answer_bytes(answer));
        }
        let result = outcome.as_ref().err().map_or("ok", store_messages::error_kind);
        self.observer.request_answered(call.name, result, started.elapsed());
        outcome
    }
}
