//! What the HTTP gateway is given of its node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::{Keyring, RaftHandle};
use crate::config::NodeConfig;
use crate::http::gateway::{
    Caller, ClusterFigures, Gateway, GatewayParts, GatewayStore, RefusedRequest, StoreFuture,
};
use crate::rpc::server::{DirectCaller, DirectStore};
use crate::telemetry::NodeMetrics;
use crate::telemetry::audit::{AuditCaller, AuditLog, AuditRecord, Decision, id_of_one_request};
use crate::types::{
    Member, NodeStatus, Operation, RangeAnswer, RangeRequest, TxnAnswer, TxnRequest, Written,
};

/// What a gateway is made of.
pub(super) struct Parts<'a> {
    pub(super) store: DirectStore,
    pub(super) raft: RaftHandle,
    pub(super) keyring: Option<Arc<Keyring>>,
    pub(super) metrics: NodeMetrics,
    pub(super) audit: AuditLog,
    pub(super) config: &'a NodeConfig,
    /// Where it listens.
    pub(super) bound: SocketAddr,
}

pub(super) fn new(parts: Parts<'_>) -> Gateway {
    let Parts { store, raft, keyring, metrics, audit, config, bound } = parts;
    let parts = GatewayParts {
        store: Arc::new(Store { store, raft, metrics, audit }),
        keyring,
        authorities: config.http_authorities(bound),
    };
    Gateway::new(parts, &config.http)
}

fn direct(caller: Caller) -> DirectCaller {
    let Caller { user, remote, request_id, signed } = caller;
    DirectCaller { user, remote, request_id, signed }
}

/// How much of a path that was refused is written down.
const AUDITED_PATH_CHARS_MAX: usize = 256;

/// The store of this node, for its gateway.
struct Store {
    store: DirectStore,
    raft: RaftHandle,
    metrics: NodeMetrics,
    audit: AuditLog,
}

impl GatewayStore for Store {
    fn write(
        &self,
        caller: Caller,
        operation: Operation,
        timeout: Duration,
    ) -> StoreFuture<'_, Written> {
        Box::pin(self.store.write(direct(caller), operation, timeout))
    }

    fn range(
        &self,
        caller: Caller,
        request: RangeRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, RangeAnswer> {
        Box::pin(self.store.range(direct(caller), request, timeout))
    }

    fn read_txn(
        &self,
        caller: Caller,
        request: TxnRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, TxnAnswer> {
        Box::pin(self.store.read_txn(direct(caller), request, timeout))
    }

    fn status(&self, caller: Caller, timeout: Duration) -> StoreFuture<'_, NodeStatus> {
        Box::pin(self.store.status(direct(caller), timeout))
    }

    fn members(&self, caller: Caller, timeout: Duration) -> StoreFuture<'_, Vec<Member>> {
        Box::pin(self.store.members(direct(caller), timeout))
    }

    fn figures(&self) -> ClusterFigures {
        let node = self.raft.node();
        let (cluster_id, node_id) = (node.cluster_id, node.node_id);
        ClusterFigures { cluster_id, node_id, term: self.raft.progress().term }
    }

    fn request_refused(&self, refused: &RefusedRequest<'_>) {
        self.metrics.request_answered("http", refused.code, Duration::ZERO);
        let &RefusedRequest { remote, request_id, claimed_key_id, method, path, code } = refused;
        let caller = AuditCaller {
            access_key_id: claimed_key_id.to_owned(),
            user: String::new(),
            peer: Some(remote),
        };
        let path: String = path.chars().take(AUDITED_PATH_CHARS_MAX).collect();
        self.audit.record(AuditRecord {
            caller: Arc::new(caller),
            request_id: Some(id_of_one_request(request_id)),
            action: "http",
            target: format!("{method} {path}"),
            decision: Decision::Refused(code),
            outcome: "",
            revision: 0,
        });
    }
}
