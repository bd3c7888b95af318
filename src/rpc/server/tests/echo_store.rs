//! A store that stores nothing: answers what it was asked, or does what the key says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Counts, IDENTITY, soon};
use crate::rpc::api::{Store, StoreRequest, StoreResponse, WriteRequest};
use crate::rpc::server::admission::{Admission, Cost};
use crate::rpc::server::doors::{STORE_FRAME_LIMITS, judge_client};
use crate::rpc::server::service::{Door, Service};
use crate::rpc::server::store_messages::{self, StoreMethod};
use crate::rpc::server::{Listener, ListenerHandle, ListenerLimits};
use crate::rpc::transport::{
    ConnectOptions, FrameLimits, Guard, Hello, Identity, Refusal, SessionUser, StoreConnection,
    call_context, connect_store, encode_hello,
};
use crate::types::{
    Answer, ClientId, KeyRange, KeyValue, Member, NodeStatus, Operation, PutAnswer, PutRequest,
    RangeAnswer, RangeRequest, RequestError, RequestId, TxnAnswer, TxnRequest,
};

/// A write of this key is answered when the test opens the gate.
pub(super) const HOLD: &str = "hold";
/// A write of this key panics.
pub(super) const PANIC: &str = "panic";
/// A write of this key is never answered.
pub(super) const NEVER: &str = "never";

/// See the module.
#[derive(Clone)]
pub(super) struct EchoStore {
    pub(super) gate: Arc<Semaphore>,
    pub(super) counts: Arc<Counts>,
}

impl Store for EchoStore {
    async fn write(self, _: Context, request: WriteRequest) -> Result<Answer, RequestError> {
        let Operation::Put(put) = request.operation else {
            return Err(RequestError::Invalid { reason: "only puts".into() });
        };
        if put.key == HOLD {
            self.counts.count("held".into());
            self.gate.acquire().await.expect("never closed").forget();
        } else if put.key == NEVER {
            self.counts.count("held".into());
            std::future::pending::<()>().await;
        }
        assert_ne!(put.key, PANIC, "asked to");
        let prev_kv = put.prev_kv.then(|| pair(put.key, put.value));
        Ok(Answer::Put(PutAnswer { revision: request.request_id.sequence, prev_kv }))
    }

    async fn range(self, _: Context, request: RangeRequest) -> Result<RangeAnswer, RequestError> {
        // As many bytes as the limit says.
        let value = vec![b'v'; usize::try_from(request.limit).expect("64 bits")];
        let kvs = vec![pair(request.range.key, value.into())];
        Ok(RangeAnswer { revision: 1, kvs, more: false, count: 1 })
    }

    async fn read_txn(
        self,
        _: Context,
        _: TxnRequest,
        _serializable: bool,
    ) -> Result<TxnAnswer, RequestError> {
        Err(RequestError::Invalid { reason: "no transactions".into() })
    }

    async fn status(self, _: Context) -> Result<NodeStatus, RequestError> {
        Err(RequestError::Unavailable { reason: "no status".into() })
    }

    async fn cluster(
        self,
        _: Context,
        _: crate::types::ClusterRequest,
    ) -> Result<crate::types::ClusterReply, RequestError> {
        Ok(crate::types::ClusterReply::Done { node_id: 1 })
    }

    async fn access(
        self,
        _: Context,
        _: crate::types::AccessRequest,
    ) -> Result<crate::types::AccessReply, RequestError> {
        Err(RequestError::Refused { reason: "no users here".to_owned() })
    }

    async fn members(self, _: Context) -> Result<Vec<Member>, RequestError> {
        Ok(Vec::new())
    }

    async fn snapshot_open(
        self,
        _: Context,
        _: crate::rpc::api::SnapshotOpenRequest,
    ) -> Result<crate::rpc::api::SnapshotOpened, RequestError> {
        Err(RequestError::DeadlinePassed)
    }

    async fn snapshot_read(
        self,
        _: Context,
        _: crate::rpc::api::SnapshotReadRequest,
    ) -> Result<crate::rpc::api::SnapshotPiece, RequestError> {
        Err(RequestError::DeadlinePassed)
    }
}

fn pair(key: Bytes, value: Bytes) -> KeyValue {
    KeyValue { key, value, create_revision: 1, mod_revision: 1, version: 1, lease: 0 }
}

impl Service for EchoStore {
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

    async fn answer(
        self,
        context: Context,
        request: StoreRequest,
    ) -> Result<StoreResponse, ServerError> {
        self.serve().serve(context, request).await
    }
}

/// Lets every client in.
pub(super) struct EchoDoor {
    pub(super) guard: Option<Guard>,
    pub(super) service: EchoStore,
}

impl Door for EchoDoor {
    type Service = EchoStore;

    fn name(&self) -> &'static str {
        "client"
    }

    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        judge_client(&IDENTITY, hello)
    }

    fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    fn open(&self, _: &Hello, _: Option<SessionUser>, _: SocketAddr) -> (EchoStore, FrameLimits) {
        (self.service.clone(), STORE_FRAME_LIMITS)
    }
}

/// A listener with an [`EchoStore`] behind it.
pub(super) struct EchoServer {
    pub(super) handle: ListenerHandle,
    pub(super) address: String,
    pub(super) gate: Arc<Semaphore>,
    pub(super) counts: Arc<Counts>,
    pub(super) node: Arc<Admission>,
}

impl EchoServer {
    pub(super) async fn start() -> Self {
        Self::with(ListenerLimits::clients(), Admission::new(1_000, 1 << 26)).await
    }

    pub(super) async fn with(limits: ListenerLimits, node: Admission) -> Self {
        Self::guarded(limits, node, None).await
    }

    pub(super) async fn guarded(
        limits: ListenerLimits,
        node: Admission,
        guard: Option<Guard>,
    ) -> Self {
        let listener = Listener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().to_string();
        let (gate, counts, node) = (Arc::new(Semaphore::new(0)), Counts::new(), Arc::new(node));
        let service = EchoStore { gate: gate.clone(), counts: counts.clone() };
        let door = EchoDoor { guard, service };
        let handle = listener.serve(door, limits, node.clone(), counts.clone());
        Self { handle, address, gate, counts, node }
    }

    pub(super) async fn connect(&self) -> StoreConnection {
        let options = ConnectOptions::default();
        soon(connect_store(&self.address, &options)).await.expect("let in")
    }

    /// A socket that was welcomed and has sent no frame.
    pub(super) async fn raw(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.expect("listening");
        stream.write_all(&encode_hello(&Hello::Client { cluster_id: None })).await.expect("sent");
        let mut header = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut header).await.expect("a reply");
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[10], header[11]]))];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.expect("a reply");
        assert_eq!(body[0], 0, "welcome");
        stream
    }
}

/// A write.
pub(super) fn write(key: &str, sequence: u64) -> WriteRequest {
    let client = ClientId(1);
    let request_id =
        RequestId { client, sequence, lowest_unanswered: 1, begun_ms: 0, window_ms: 0 };
    let put = PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..PutRequest::default() };
    WriteRequest { request_id, operation: Operation::Put(put) }
}

/// A read whose answer has `bytes`.
pub(super) fn read(bytes: u64) -> RangeRequest {
    RangeRequest { limit: bytes, ..RangeRequest::new(KeyRange::single("k")) }
}

/// Checks that a client is served.
pub(super) async fn is_served(connection: &StoreConnection) {
    let context = call_context(Duration::from_secs(10));
    let answer = soon(connection.client.write(context, write("k", 7))).await;
    let answer = answer.expect("an answer").expect("a good answer");
    assert_eq!(answer, Answer::Put(PutAnswer { revision: 7, prev_kv: None }));
}
