//! A cluster of two releases, seen on whole nodes in one process: some say that they read the next
//! format of commands.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Node;
use crate::auth::cluster_key::CLUSTER_KEY_FILE;
use crate::config::NodeConfig;
use crate::rpc::peer::ForwardedWrite;
use crate::types::command::COMMAND_FORMAT_VERSION;
use crate::types::{ClusterRequest, Operation, Principal, PutRequest};

/// Far above what any wait here takes.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The format of the release after this one.
const NEXT: u8 = COMMAND_FORMAT_VERSION + 1;

fn config(parent: &Path, name: &str, command_format: u8) -> NodeConfig {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let mut config = NodeConfig {
        name: name.to_owned(),
        data_dir: parent.join(name),
        listen_client: any_port,
        listen_peer: any_port,
        listen_http: any_port,
        command_format,
        ..NodeConfig::default()
    };
    config.storage.log_map_bytes = 1 << 30;
    config.storage.state_map_bytes = 1 << 30;
    config
}

async fn start(config: NodeConfig) -> Node {
    let node = Box::pin(Node::start(config)).await.expect("the node starts");
    timeout(WAIT_MAX, node.ready()).await.expect("ready in time").expect("ready");
    node
}

/// A node that joins `leader`.
fn joining(parent: &Path, name: &str, command_format: u8, leader: &Node) -> NodeConfig {
    let mut config = config(parent, name, command_format);
    config.auth.cluster_key = Some(parent.join("old").join(CLUSTER_KEY_FILE));
    config.join = vec![leader.client_addr().to_string()];
    config
}

async fn put(node: &Node, key: &str) {
    let put = PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation: Operation::Put(put),
    };
    node.handles().raft.propose(write, soon()).await.expect("put");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_release_adds_is_written_when_every_member_reads_it_and_not_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let parent = directory.path();
    let this = COMMAND_FORMAT_VERSION;
    let old_config = config(parent, "old", this);
    let old = start(old_config.clone()).await;
    let other_config = joining(parent, "other", this, &old);
    let other = start(other_config.clone()).await;
    let new = start(joining(parent, "new", NEXT, &old)).await;
    let raft = &new.handles().raft;

    // Beside two of this release the next one leads, and what it writes is read by all.
    let to = Some("new".to_owned());
    let moved = new.handles().membership.execute(ClusterRequest::MoveLeader { to }, soon()).await;
    moved.expect("it leads");
    for (node, key) in [(&old, "a"), (&other, "b"), (&new, "c")] {
        put(node, key).await;
    }
    let refused = raft.check_format(NEXT).expect_err("two do not read it").to_string();
    assert!(refused.contains("upgrade every member"), "{refused}");

    // They are upgraded one after the other; the last one decides.
    other.shutdown().await;
    let other = start(NodeConfig { command_format: NEXT, ..other_config }).await;
    let refused = raft.check_format(NEXT).expect_err("one does not read it").to_string();
    assert!(refused.contains("member 1 reads commands up to format"), "{refused}");
    old.shutdown().await;
    let old = start(NodeConfig { command_format: NEXT, ..old_config }).await;
    until("all read it", || raft.check_format(NEXT).is_ok()).await;
    put(&old, "d").await;

    // One that does not read what may be written now does not come in.
    let late = Box::pin(Node::start(joining(parent, "late", this, &new))).await;
    let refused = late.map(drop).expect_err("it reads too little").to_string();
    assert!(refused.contains("upgrade the node"), "{refused}");
    for node in [old, other, new] {
        node.shutdown().await;
    }
}

fn soon() -> Instant {
    Instant::now() + WAIT_MAX
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = timeout(WAIT_MAX, async {
        while !done() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("gave up waiting: {what}"));
}
