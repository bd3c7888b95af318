//! Small calls over one loopback connection, both ends in this process: what the transport, the
//! handshake's connection and tarpc cost together, with nothing behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chainfire::rpc::api::{Store, StoreRequest, StoreResponse, WriteRequest};
use chainfire::rpc::server::{
    Admission, Cost, Door, Listener, ListenerLimits, NoRequestObserver, Service,
};
use chainfire::rpc::transport::{
    ConnectOptions, FrameLimits, Guard, Hello, Identity, Refusal, SessionUser, StoreConnection,
    call_context, connect_store,
};
use chainfire::types::{
    Answer, ClientId, ClusterId, Member, NodeStatus, Operation, PutAnswer, PutRequest, RangeAnswer,
    RangeRequest, RequestError, RequestId, TxnAnswer, TxnRequest,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tarpc::ServerError;
use tarpc::context::Context;
use tarpc::server::Serve;

#[derive(Clone)]
struct Agrees;

impl Store for Agrees {
    async fn write(self, _: Context, request: WriteRequest) -> Result<Answer, RequestError> {
        let revision = request.request_id.sequence;
        Ok(Answer::Put(PutAnswer { revision, prev_kv: None }))
    }

    async fn range(self, _: Context, _: RangeRequest) -> Result<RangeAnswer, RequestError> {
        Ok(RangeAnswer::default())
    }

    async fn read_txn(
        self,
        _: Context,
        _: TxnRequest,
        _serializable: bool,
    ) -> Result<TxnAnswer, RequestError> {
        Err(RequestError::DeadlinePassed)
    }

    async fn status(self, _: Context) -> Result<NodeStatus, RequestError> {
        Err(RequestError::DeadlinePassed)
    }

    async fn cluster(
        self,
        _: Context,
        _: chainfire::types::ClusterRequest,
    ) -> Result<chainfire::types::ClusterReply, RequestError> {
        Ok(chainfire::types::ClusterReply::Done { node_id: 1 })
    }

    async fn access(
        self,
        _: Context,
        _: chainfire::types::AccessRequest,
    ) -> Result<chainfire::types::AccessReply, RequestError> {
        Err(RequestError::Refused { reason: "no users here".to_owned() })
    }

    async fn members(self, _: Context) -> Result<Vec<Member>, RequestError> {
        Ok(Vec::new())
    }

    async fn snapshot_open(
        self,
        _: Context,
        _: chainfire::rpc::api::SnapshotOpenRequest,
    ) -> Result<chainfire::rpc::api::SnapshotOpened, RequestError> {
        Err(RequestError::DeadlinePassed)
    }

    async fn snapshot_read(
        self,
        _: Context,
        _: chainfire::rpc::api::SnapshotReadRequest,
    ) -> Result<chainfire::rpc::api::SnapshotPiece, RequestError> {
        Err(RequestError::DeadlinePassed)
    }
}

impl Service for Agrees {
    type Request = StoreRequest;
    type Answer = StoreResponse;
    type Method = ();

    fn method(_: &StoreRequest) {}

    fn name((): ()) -> &'static str {
        "call"
    }

    fn cost(_: &StoreRequest) -> Cost {
        Cost { bytes: 512, refusable: true }
    }

    fn answer_bytes(_: &StoreResponse) -> usize {
        64
    }

    fn outcome(_: &StoreResponse) -> &'static str {
        "ok"
    }

    fn overdue((): ()) -> RequestError {
        RequestError::DeadlinePassed
    }

    fn refusal((): (), error: RequestError) -> Result<StoreResponse, ServerError> {
        Ok(StoreResponse::Write(Err(error)))
    }

    async fn answer(
        self,
        context: Context,
        request: StoreRequest,
    ) -> Result<StoreResponse, ServerError> {
        self.serve().serve(context, request).await
    }
}

impl Door for Agrees {
    type Service = Self;

    fn name(&self) -> &'static str {
        "bench"
    }

    fn identity(&self) -> Identity {
        Identity {
            cluster_id: ClusterId(1),
            node_id: 1,
            incarnation: 1,
            claim: chainfire::types::StartClaim::NONE,
        }
    }

    fn judge(&self, _: &Hello) -> Result<(), Refusal> {
        Ok(())
    }

    fn guard(&self) -> Option<&Guard> {
        None
    }

    fn open(&self, _: &Hello, _: Option<SessionUser>, _: SocketAddr) -> (Self, FrameLimits) {
        let limits = FrameLimits { incoming_bytes_max: 1 << 20, outgoing_bytes_max: 1 << 20 };
        (self.clone(), limits)
    }
}

/// Makes `calls` puts of 256 bytes over `connections` with `in_flight` callers on each.
async fn puts(connections: &[StoreConnection], in_flight: u64, calls: u64) -> Duration {
    let value = Bytes::from(vec![7; 256]);
    let callers = in_flight * connections.len() as u64;
    let started = chainfire::clock::monotonic();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let client = connections[caller as usize % connections.len()].client.clone();
        let value = value.clone();
        let share = calls / callers + u64::from(caller < calls % callers);
        tasks.spawn(async move {
            for sequence in 1..=share {
                let request_id = RequestId {
                    client: ClientId(1),
                    sequence,
                    lowest_unanswered: sequence,
                    begun_ms: 0,
                    window_ms: 0,
                };
                let key = Bytes::from_static(b"a/key/of/some/length");
                let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
                let request = WriteRequest { request_id, operation: Operation::Put(put) };
                let context = call_context(Duration::from_secs(5));
                let call = client.write(context, request);
                let answer = tokio::time::timeout(Duration::from_secs(5), call).await;
                answer.expect("in time").expect("an answer").expect("a good answer");
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    started.elapsed()
}

fn rpc(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (handle, connections) = runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0").await.expect("a free port");
        let node = Arc::new(Admission::new(100_000, 1 << 30));
        let limits = ListenerLimits::clients();
        let handle = listener.serve(Agrees, limits, node, Arc::new(NoRequestObserver));
        let address = handle.local_addr().to_string();
        let mut connections = Vec::new();
        for _ in 0..16 {
            let options = ConnectOptions::default();
            connections.push(connect_store(&address, &options).await.expect("let in"));
        }
        (handle, connections)
    });
    let mut group = criterion.benchmark_group("put of 256 bytes over loopback");
    group.throughput(Throughput::Elements(1));
    for (name, count, in_flight) in [
        ("1 connection, 1 caller", 1, 1),
        ("1 connection, 64 callers", 1, 64),
        ("1 connection, 256 callers", 1, 256),
        ("16 connections, 4 callers each", 16, 4),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|calls| {
                runtime.block_on(puts(&connections[..count], in_flight, calls))
            });
        });
    }
    group.finish();
    runtime.block_on(handle.stop(Duration::ZERO));
}

criterion_group!(benches, rpc);
criterion_main!(benches);
