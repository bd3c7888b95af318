//! A cluster in a few lines: the sessions of the state machine in memory, and nodes on real
//! sockets that fail on command.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chainfire::rpc::api::{Store, StoreRequest, StoreResponse, WriteRequest};
use chainfire::rpc::transport::{
    FrameLimits, Hello, Identity, PassThrough, SealedFrames, ServerTransport, accept,
};
use chainfire::types::limits::SESSION_ANSWERS_MAX;
use chainfire::types::{
    Answer, ClientId, ClusterId, KeyRange, KeyValue, Member, NodeRole, NodeStatus, Operation,
    OperationError, PutAnswer, RangeAnswer, RangeRequest, RequestError, RequestId, SpaceUse,
    StartClaim, TxnAnswer, TxnRequest,
};
use futures_util::StreamExt;
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

const FRAME_BYTES: usize = 8 * 1_024 * 1_024;

/// What a node does with a request instead of the right thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Does it and cuts the connection.
    CutAfter,
    /// Cuts the connection.
    CutBefore,
    /// Does it and never answers.
    SilentAfter,
    /// Neither does it nor answers.
    Silent,
    /// Does it and answers that nobody knows.
    UnknownAfter,
    /// Answers this, and does not do it.
    Refuse(RequestError),
}

/// The replicated part: revisions, pairs, sessions.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) id: u128,
    pub(crate) leader: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: u64,
    pairs: BTreeMap<Vec<u8>, KeyValue>,
    sessions: HashMap<ClientId, Session>,
    /// What began before is not told apart from what was forgotten.
    floor_ms: u64,
    received: Vec<RequestId>,
    applied: Vec<RequestId>,
}

#[derive(Default)]
struct Session {
    lowest: u64,
    answers: BTreeMap<u64, Result<Answer, OperationError>>,
}

impl Cluster {
    pub(crate) fn new(leader: u64) -> Arc<Self> {
        let state = Mutex::new(State { revision: 1, ..State::default() });
        Arc::new(Self { id: 7, leader, state })
    }

    pub(crate) fn foreign() -> Arc<Self> {
        Arc::new(Self { id: 8, ..Self::default() })
    }

    /// Every write as it arrived at a node.
    pub(crate) fn received(&self) -> Vec<RequestId> {
        self.state.lock().unwrap().received.clone()
    }

    /// Every write that was applied, in order.
    pub(crate) fn applied(&self) -> Vec<RequestId> {
        self.state.lock().unwrap().applied.clone()
    }

    /// Forgets every client's answers, as when they were silent for too long.
    pub(crate) fn expire_sessions(&self) {
        let state = &mut *self.state.lock().unwrap();
        state.sessions.clear();
        state.floor_ms += 1_000;
    }

    /// Puts without a client.
    pub(crate) fn fill(&self, key: &str) {
        self.state.lock().unwrap().put(key.as_bytes(), b"filled");
    }

    /// The rules of sessions, as the state machine has them.
    fn write(&self, request: &WriteRequest) -> Result<Answer, OperationError> {
        let RequestId { client, sequence, lowest_unanswered, .. } = request.request_id;
        let state = &mut *self.state.lock().unwrap();
        let RequestId { begun_ms, .. } = request.request_id;
        if begun_ms < state.floor_ms && !state.sessions.contains_key(&client) {
            return Err(OperationError::SessionExpired { now_ms: state.floor_ms });
        }
        let session = state.sessions.entry(client).or_default();
        session.lowest = session.lowest.max(lowest_unanswered);
        session.answers = session.answers.split_off(&session.lowest);
        if let Some(answer) = session.answers.get(&sequence) {
            return answer.clone();
        }
        if sequence < session.lowest {
            return Err(OperationError::SessionExpired { now_ms: state.floor_ms });
        }
        if session.answers.len() >= SESSION_ANSWERS_MAX {
            return Err(OperationError::TooManyInFlight { max: SESSION_ANSWERS_MAX as u64 });
        }
        let answer = match &request.operation {
            Operation::Put(put) if put.ignore_value => Err(OperationError::KeyNotFound),
            Operation::Put(put) => {
                let revision = state.put(&put.key, &put.value);
                state.applied.push(request.request_id);
                Ok(Answer::Put(PutAnswer { revision, prev_kv: None }))
            }
            other => panic!("the tests only put, not {other:?}"),
        };
        let session = state.sessions.get_mut(&client).unwrap();
        session.answers.insert(sequence, answer.clone());
        answer
    }

    fn range(&self, request: &RangeRequest) -> RangeAnswer {
        let state = self.state.lock().unwrap();
        let in_range = |kv: &&KeyValue| {
            request.range.contains(&kv.key)
                && (request.revision == 0 || kv.mod_revision <= request.revision)
        };
        let mut kvs: Vec<_> = state.pairs.values().filter(in_range).cloned().collect();
        let count = if request.skip_count { 0 } else { kvs.len() as u64 };
        let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        RangeAnswer { revision: state.revision, kvs, more, count }
    }
}

impl State {
    fn put(&mut self, key: &[u8], value: &[u8]) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        let pair = KeyValue {
            key: key.to_vec().into(),
            value: value.to_vec().into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        };
        self.pairs.insert(key.to_vec(), pair);
        revision
    }
}

/// One node on a socket of its own. Stops when dropped.
pub(crate) struct Node {
    pub(crate) address: String,
    inner: Arc<Inner>,
    task: AbortHandle,
}

struct Inner {
    id: u64,
    cluster: Arc<Cluster>,
    faults: Mutex<VecDeque<Fault>>,
    for_ever: Mutex<Option<Fault>>,
    writes: Mutex<Vec<RequestId>>,
    ranges: Mutex<Vec<RangeRequest>>,
    behind: Mutex<bool>,
    connections: Mutex<HashSet<u64>>,
    cut: Notify,
    changed: Notify,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.cut.notify_waiters();
    }
}

impl Node {
    pub(crate) async fn start(id: u64, cluster: &Arc<Cluster>) -> Self {
        Self::start_at(id, cluster, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(id: u64, cluster: &Arc<Cluster>, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(Inner {
            id,
            cluster: Arc::clone(cluster),
            faults: Mutex::default(),
            for_ever: Mutex::default(),
            writes: Mutex::default(),
            ranges: Mutex::default(),
            behind: Mutex::default(),
            connections: Mutex::default(),
            cut: Notify::new(),
            changed: Notify::new(),
        });
        let task = tokio::spawn(listen(listener, Arc::clone(&inner))).abort_handle();
        Self { address, inner, task }
    }

    /// The next requests end so, one each; those after them rightly.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner.faults.lock().unwrap().extend(faults);
    }

    /// Every request ends so until told otherwise.
    pub(crate) fn fail_for_ever(&self, fault: Option<Fault>) {
        *self.inner.for_ever.lock().unwrap() = fault;
    }

    /// The node has not applied what the others have.
    pub(crate) fn fall_behind(&self) {
        *self.inner.behind.lock().unwrap() = true;
    }

    /// Cuts every connection.
    pub(crate) fn cut_all(&self) {
        self.inner.cut.notify_waiters();
    }

    /// The writes that arrived here.
    pub(crate) fn writes(&self) -> Vec<RequestId> {
        self.inner.writes.lock().unwrap().clone()
    }

    /// The reads that arrived here.
    pub(crate) fn ranges(&self) -> Vec<RangeRequest> {
        self.inner.ranges.lock().unwrap().clone()
    }

    /// Connections open now.
    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.lock().unwrap().len()
    }

    /// Returns when `holds` does.
    pub(crate) async fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let changed = self.inner.changed.notified();
                if holds(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the condition holds");
    }
}

async fn listen(listener: TcpListener, node: Arc<Inner>) {
    for number in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, number, Arc::clone(&node)));
    }
}

async fn serve(mut stream: TcpStream, number: u64, node: Arc<Inner>) {
    let cut_all = node.cut.notified();
    let identity = Identity {
        cluster_id: ClusterId(node.cluster.id),
        node_id: node.id,
        incarnation: 1,
        claim: StartClaim::NONE,
    };
    let wait = Duration::from_secs(5);
    if accept(&mut stream, identity, None, wait, |_: &Hello| Ok(())).await.is_err() {
        return;
    }
    stream.set_nodelay(true).unwrap();
    let limits = FrameLimits { incoming_bytes_max: FRAME_BYTES, outgoing_bytes_max: FRAME_BYTES };
    let frames = SealedFrames::new(stream, PassThrough::new(), limits);
    let transport: ServerTransport<_, StoreRequest, StoreResponse> = ServerTransport::new(frames);
    let cut = Arc::new(Notify::new());
    let service = Service { node: Arc::clone(&node), cut: Arc::clone(&cut) };
    let requests = BaseChannel::with_defaults(transport).execute(service.serve());
    let run = requests.for_each(|handler| async {
        tokio::spawn(handler);
    });
    node.connections.lock().unwrap().insert(number);
    node.changed.notify_waiters();
    tokio::select! {
        () = run => {}
        () = cut.notified() => {}
        () = cut_all => {}
    }
    node.connections.lock().unwrap().remove(&number);
    node.changed.notify_waiters();
}

#[derive(Clone)]
struct Service {
    node: Arc<Inner>,
    cut: Arc<Notify>,
}

impl Service {
    /// Does `work` as the next fault says.
    async fn answer<T>(
        &self,
        work: impl FnOnce() -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let next = self.node.faults.lock().unwrap().pop_front();
        let fault = next.or_else(|| self.node.for_ever.lock().unwrap().clone());
        self.node.changed.notify_waiters();
        match fault {
            None => return work(),
            Some(Fault::Refuse(error)) => return Err(error),
            Some(Fault::UnknownAfter) => {
                let _ = work();
                return Err(RequestError::OutcomeUnknown { reason: "told to".into() });
            }
            Some(Fault::CutAfter) => {
                let _ = work();
                self.cut.notify_one();
            }
            Some(Fault::CutBefore) => self.cut.notify_one(),
            Some(Fault::SilentAfter) => {
                let _ = work();
            }
            Some(Fault::Silent) => {}
        }
        std::future::pending().await
    }
}

impl Store for Service {
    async fn write(self, _: Context, request: WriteRequest) -> Result<Answer, RequestError> {
        self.node.writes.lock().unwrap().push(request.request_id);
        self.node.cluster.state.lock().unwrap().received.push(request.request_id);
        self.answer(|| self.node.cluster.write(&request).map_err(RequestError::from)).await
    }

    async fn range(self, _: Context, request: RangeRequest) -> Result<RangeAnswer, RequestError> {
        self.node.ranges.lock().unwrap().push(request.clone());
        if *self.node.behind.lock().unwrap() && request.serializable && request.revision > 0 {
            let requested = request.revision;
            return Err(OperationError::FutureRevision { requested, current: 1 }.into());
        }
        self.answer(|| Ok(self.node.cluster.range(&request))).await
    }

    async fn read_txn(self, _: Context, _: TxnRequest, _: bool) -> Result<TxnAnswer, RequestError> {
        let all = self.node.cluster.range(&RangeRequest::new(KeyRange::all()));
        self.answer(|| Ok(TxnAnswer { revision: all.revision, succeeded: true, answers: vec![] }))
            .await
    }

    async fn status(self, _: Context) -> Result<NodeStatus, RequestError> {
        let leads = self.node.cluster.leader == self.node.id;
        Ok(NodeStatus {
            node_id: self.node.id,
            name: format!("n{}", self.node.id),
            cluster_id: ClusterId(self.node.cluster.id),
            leader_id: Some(self.node.cluster.leader).filter(|leader| *leader > 0),
            role: if leads { NodeRole::Leader } else { NodeRole::Follower },
            term: 1,
            last_log_index: 1,
            applied_index: 1,
            revision: 1,
            compact_revision: 0,
            db_size_bytes: 0,
            version: "0".into(),
            untrusted: Vec::new(),
            space: SpaceUse::default(),
            deletes: Vec::new(),
        })
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
