//! What clients see of a whole node through its port: every call, every check at the door, and
//! how the node takes bad company.
#![cfg(feature = "server")]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chainfire::auth::credentials::ROOT_CREDENTIALS_FILE;
use chainfire::auth::{CLIENT_SERVICE, Credentials};
use chainfire::config::NodeConfig;
use chainfire::node::Node;
use chainfire::rpc::api::WriteRequest;
use chainfire::rpc::transport::{ConnectOptions, StoreConnection, call_context, connect_store};
use chainfire::types::limits::{ANSWER_BYTES_MAX, KEY_BYTES_MAX};
use chainfire::types::{
    Answer, ClientId, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange,
    MemberRole, NodeRole, Operation, OperationAnswer, OperationError, PeerAddress, PutRequest,
    RangeRequest, RequestError, RequestId, TxnOperation, TxnRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this takes no time unless it is broken")
}

struct Store {
    node: Node,
    connection: StoreConnection,
    sequence: u64,
    directory: tempfile::TempDir,
}

async fn start_node(directory: &Path) -> Node {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let mut config = NodeConfig {
        data_dir: directory.to_owned(),
        listen_client: any_port,
        listen_peer: any_port,
        listen_http: any_port,
        ..NodeConfig::default()
    };
    config.storage.log_map_bytes = 1 << 30;
    config.storage.state_map_bytes = 1 << 30;
    let node = Node::start(config).await.expect("the node starts");
    soon(node.ready()).await.expect("ready");
    node
}

/// Signs with the key that the node has made for its first user.
fn signed_by_root(directory: &Path) -> ConnectOptions {
    let credentials = Credentials::load(&directory.join(ROOT_CREDENTIALS_FILE)).expect("made");
    let signer = Arc::new(credentials.signer(CLIENT_SERVICE));
    ConnectOptions { credentials: Some(signer), ..ConnectOptions::default() }
}

/// The name of a write of client 7.
fn request_id(sequence: u64, lowest_unanswered: u64) -> RequestId {
    let client = ClientId(7);
    RequestId { client, sequence, lowest_unanswered, begun_ms: 0, window_ms: 0 }
}

impl Store {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let node = start_node(directory.path()).await;
        let address = node.client_addr().to_string();
        let options = signed_by_root(directory.path());
        let connection = connect_store(&address, &options).await.expect("let in");
        Self { node, connection, sequence: 0, directory }
    }

    async fn write(&mut self, operation: Operation) -> Result<Answer, RequestError> {
        self.sequence += 1;
        let sequence = self.sequence;
        let request_id = request_id(sequence, sequence);
        let request = WriteRequest { request_id, operation };
        let call = self.connection.client.write(call_context(PATIENCE), request);
        soon(call).await.expect("an answer")
    }

    async fn put(&mut self, key: &str, value: impl Into<Bytes>) -> u64 {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let put = PutRequest { key, value: value.into(), ..PutRequest::default() };
        match self.write(Operation::Put(put)).await {
            Ok(Answer::Put(answer)) => answer.revision,
            other => panic!("not put: {other:?}"),
        }
    }

    async fn range(
        &self,
        request: RangeRequest,
    ) -> Result<chainfire::types::RangeAnswer, RequestError> {
        let call = self.connection.client.range(call_context(PATIENCE), request);
        soon(call).await.expect("an answer")
    }

    async fn read_txn(
        &self,
        request: TxnRequest,
    ) -> Result<chainfire::types::TxnAnswer, RequestError> {
        let call = self.connection.client.read_txn(call_context(PATIENCE), request, false);
        soon(call).await.expect("an answer")
    }
}

fn single(key: &'static str) -> RangeRequest {
    RangeRequest::new(KeyRange::single(key))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_read_and_what_was_deleted_is_not() {
    let mut store = Store::start().await;
    let revision = store.put("a", "1").await;
    let read = store.range(single("a")).await.expect("read");
    assert_eq!((read.revision, read.count, &read.kvs[0].value[..]), (revision, 1, &b"1"[..]));
    let serializable = RangeRequest { serializable: true, ..single("a") };
    assert_eq!(store.range(serializable).await.expect("read").kvs, read.kvs);

    let delete = DeleteRangeRequest { range: KeyRange::single("a"), prev_kv: true };
    let deleted = store.write(Operation::DeleteRange(delete)).await.expect("deleted");
    let Answer::DeleteRange(deleted) = deleted else { panic!("{deleted:?}") };
    assert_eq!((deleted.deleted, deleted.prev_kvs), (1, read.kvs));
    assert_eq!(store.range(single("a")).await.expect("read").kvs, []);
    let before = RangeRequest { revision, ..single("a") };
    assert_eq!(store.range(before).await.expect("read").count, 1);
    store.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_over_another_connection_gets_the_first_answer() {
    let mut store = Store::start().await;
    let revision = store.put("a", "1").await;
    store.sequence -= 1;
    let address = store.node.client_addr().to_string();
    let options = signed_by_root(store.directory.path());
    store.connection = connect_store(&address, &options).await.expect("let in");
    assert_eq!(store.put("a", "1").await, revision);
    assert_eq!(store.put("a", "1").await, revision + 1);
    store.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_range_is_answered_in_pages_of_bounded_size_at_one_revision() {
    let mut store = Store::start().await;
    for key in 0..6 {
        store.put(&format!("k{key}"), vec![key; 1_000_000]).await;
    }
    // As many at once as anybody likes.
    let all = || RangeRequest::new(KeyRange::prefix("k"));
    let reads = (0..40).map(|_| store.range(all()));
    for first in futures_util::future::join_all(reads).await {
        let first = first.expect("read");
        assert!(first.more && first.count == 6);
        assert!(first.kvs.iter().map(|kv| kv.value.len()).sum::<usize>() <= ANSWER_BYTES_MAX);
    }
    let (mut range, mut revision, mut keys) = (KeyRange::prefix("k"), 0, Vec::new());
    loop {
        let page = RangeRequest { revision, ..RangeRequest::new(range.clone()) };
        let page = store.range(page).await.expect("read");
        if revision == 0 {
            revision = page.revision;
            store.put("k7", "later").await;
        }
        keys.extend(page.kvs.iter().map(|kv| kv.key.clone()));
        let Some(last) = page.kvs.last() else { break };
        range = range.after(&last.key);
        if !page.more {
            break;
        }
    }
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4", "k5"].map(Bytes::from));
    store.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_only_reads_needs_no_log_and_one_that_writes_is_sent_back() {
    let mut store = Store::start().await;
    store.put("a", "1").await;
    let compares = vec![Compare {
        range: KeyRange::single("a"),
        target: CompareTarget::Value("1".into()),
        operator: CompareOperator::Equal,
    }];
    let success = vec![TxnOperation::Range(single("a"))];
    let request = TxnRequest { compares: compares.clone(), success, failure: Vec::new() };
    let before = store.connection.client.status(call_context(PATIENCE)).await;
    let answer = store.read_txn(request).await.expect("read");
    assert!(answer.succeeded);
    let OperationAnswer::Range(read) = &answer.answers[0] else { panic!("{answer:?}") };
    assert_eq!(read.kvs[0].value, "1");
    let over_many = TxnRequest {
        success: vec![TxnOperation::Range(RangeRequest::new(KeyRange::all()))],
        ..TxnRequest::default()
    };
    assert_eq!(store.read_txn(over_many).await.expect("read").answers.len(), 1);
    let after = store.connection.client.status(call_context(PATIENCE)).await;
    let index = |status: Result<Result<chainfire::types::NodeStatus, _>, _>| {
        status
            .expect("an answer")
            .map_err(|error: RequestError| error)
            .expect("status")
            .last_log_index
    };
    assert_eq!(index(before), index(after), "nothing went through the log");

    let put = PutRequest { key: "a".into(), ..PutRequest::default() };
    let writes =
        TxnRequest { success: vec![TxnOperation::Put(put)], compares, failure: Vec::new() };
    let error = store.read_txn(writes).await.expect_err("it writes");
    assert!(matches!(error, RequestError::Invalid { .. }), "{error}");
    store.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_at_the_door_by_name() {
    let mut store = Store::start().await;
    let put =
        |key: Vec<u8>| Operation::Put(PutRequest { key: key.into(), ..PutRequest::default() });
    let error = store.write(put(Vec::new())).await.expect_err("no key");
    assert_eq!(error, RequestError::Operation(OperationError::EmptyKey));
    let error = store.write(put(vec![0; KEY_BYTES_MAX + 1])).await.expect_err("a long key");
    assert!(matches!(error, RequestError::Operation(OperationError::KeyTooLong { .. })));
    let large = PutRequest {
        key: "k".into(),
        value: vec![0; 1_540 * 1_024].into(),
        ..PutRequest::default()
    };
    let error = store.write(Operation::Put(large)).await.expect_err("too large");
    assert!(matches!(error, RequestError::Operation(OperationError::RequestTooLarge { .. })));
    let nested = (0..9).fold(TxnRequest::default(), |inner, _| TxnRequest {
        success: vec![TxnOperation::Txn(inner)],
        ..TxnRequest::default()
    });
    let error = store.write(Operation::Txn(nested)).await.expect_err("too deep");
    assert!(matches!(error, RequestError::Operation(OperationError::NestedTooDeep { .. })));
    let register = Operation::RegisterMember {
        node_id: 9,
        address: PeerAddress { name: "evil".into(), peer_addr: "127.0.0.1:1".into() },
        client_addr: "127.0.0.1:2".into(),
    };
    let error = store.write(register).await.expect_err("not a client's business");
    assert!(matches!(error, RequestError::Invalid { .. }), "{error}");
    let request_id = request_id(1, 2);
    let request = WriteRequest { request_id, operation: put(b"k".to_vec()) };
    let answer = store.connection.client.write(call_context(PATIENCE), request).await;
    let error = answer.expect("an answer").expect_err("a broken id");
    assert!(matches!(error, RequestError::Invalid { .. }), "{error}");
    let future = RangeRequest { revision: 1_000, ..single("k") };
    let error = store.range(future).await.expect_err("not yet");
    assert!(matches!(error, RequestError::Operation(OperationError::FutureRevision { .. })));
    store.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_who_it_is_and_who_is_a_member() {
    let mut store = Store::start().await;
    let revision = store.put("a", "1").await;
    let client = &store.connection.client;
    let status = client.status(call_context(PATIENCE)).await.expect("an answer").expect("status");
    assert_eq!(status.cluster_id, store.connection.identity.cluster_id);
    assert_eq!(status.node_id, store.connection.identity.node_id);
    assert_eq!((status.role, status.leader_id), (NodeRole::Leader, Some(status.node_id)));
    assert!(status.revision >= revision);
    let members =
        client.members(call_context(PATIENCE)).await.expect("an answer").expect("members");
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].id, members[0].role), (status.node_id, MemberRole::Voter));
    store.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_company_on_every_port_disturbs_nobody() {
    let mut store = Store::start().await;
    let ports = [store.node.client_addr(), store.node.peer_addr()];
    let mut company = Vec::new();
    for round in 0..20_u8 {
        for port in ports {
            let mut stream = TcpStream::connect(port).await.expect("listening");
            let bytes: Vec<u8> = match round % 4 {
                0 => Vec::new(),
                1 => b"GET /metrics HTTP/1.1\r\n\r\n".to_vec(),
                2 => (0..=255).map(|byte: u8| byte.wrapping_mul(31).wrapping_add(round)).collect(),
                _ => b"\x93CHFIRE\n\x00\x01\x00\x02\x00\x00\xff\xff\xff\xff".to_vec(),
            };
            stream.write_all(&bytes).await.expect("sent");
            company.push((bytes.is_empty(), stream));
        }
        store.put("a", "1").await;
        store.range(single("a")).await.expect("read");
    }
    for (silent, stream) in &mut company {
        if !*silent {
            // Closed, be it by a reset.
            let _ = soon(stream.read_to_end(&mut Vec::new())).await;
        }
    }
    store.put("a", "1").await;
    soon(store.node.shutdown()).await;
}
