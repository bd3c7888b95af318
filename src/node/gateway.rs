//! What the HTTP gateway is given of its node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::{Keyring, RaftHandle};
use crate::auth::replay::REMEMBERED_MAX;
use crate::auth::{AmzDate, ReplayGuard};
use crate::config::NodeConfig;
use crate::http::gateway::{ClusterFigures, Gateway, GatewayParts, GatewayStore, StoreFuture};
use crate::rpc::server::DirectStore;
use crate::rpc::transport::SessionUser;
use crate::telemetry::NodeMetrics;
use crate::types::{
    Answer, Member, NodeStatus, Operation, RangeAnswer, RangeRequest, TxnAnswer, TxnRequest,
};

/// What a gateway is made of.
pub(super) struct Parts<'a> {
    pub(super) store: DirectStore,
    pub(super) raft: RaftHandle,
    pub(super) keyring: Option<Arc<Keyring>>,
    pub(super) metrics: NodeMetrics,
    /// When the node started.
    pub(super) started: AmzDate,
    pub(super) config: &'a NodeConfig,
    /// Where it listens.
    pub(super) bound: SocketAddr,
}

pub(super) fn new(parts: Parts<'_>) -> Gateway {
    let Parts { store, raft, keyring, metrics, started, config, bound } = parts;
    let parts = GatewayParts {
        store: Arc::new(Store { store, raft, metrics }),
        keyring,
        authorities: config.http_authorities(bound),
        replay: Arc::new(ReplayGuard::new(started, REMEMBERED_MAX)),
    };
    Gateway::new(parts, &config.http)
}

/// The store of this node, for its gateway.
struct Store {
    store: DirectStore,
    raft: RaftHandle,
    metrics: NodeMetrics,
}

impl GatewayStore for Store {
    fn write(
        &self,
        user: Option<SessionUser>,
        operation: Operation,
        timeout: Duration,
    ) -> StoreFuture<'_, Answer> {
        Box::pin(self.store.write(user, operation, timeout))
    }

    fn range(
        &self,
        user: Option<SessionUser>,
        request: RangeRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, RangeAnswer> {
        Box::pin(self.store.range(user, request, timeout))
    }

    fn read_txn(
        &self,
        user: Option<SessionUser>,
        request: TxnRequest,
        timeout: Duration,
    ) -> StoreFuture<'_, TxnAnswer> {
        Box::pin(self.store.read_txn(user, request, timeout))
    }

    fn status(&self, user: Option<SessionUser>, timeout: Duration) -> StoreFuture<'_, NodeStatus> {
        Box::pin(self.store.status(user, timeout))
    }

    fn members(
        &self,
        user: Option<SessionUser>,
        timeout: Duration,
    ) -> StoreFuture<'_, Vec<Member>> {
        Box::pin(self.store.members(user, timeout))
    }

    fn figures(&self) -> ClusterFigures {
        let node = self.raft.node();
        let (cluster_id, node_id) = (node.cluster_id, node.node_id);
        ClusterFigures { cluster_id, node_id, term: self.raft.progress().term }
    }

    fn request_refused(&self, code: &'static str) {
        self.metrics.request_answered("http", code, Duration::ZERO);
    }
}
