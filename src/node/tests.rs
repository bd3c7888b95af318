//! What the supervision of a node's actors promises, seen on whole nodes.

use std::time::Duration;

use tokio::time::timeout;

use super::Node;
use crate::actors::{Child, ExitReason};
use crate::config::NodeConfig;
use crate::rpc::peer::{ForwardedWrite, PeerRefusal, VoteRequest};
use crate::types::{Answer, Distrust, Operation, Principal, PutRequest, Vote};

/// Far above what any wait here takes.
const WAIT_MAX: Duration = Duration::from_secs(30);

async fn start(directory: &std::path::Path) -> Node {
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
    timeout(WAIT_MAX, node.ready()).await.expect("ready in time").expect("ready");
    node
}

async fn put(node: &Node, key: &'static str) -> u64 {
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation: Operation::Put(PutRequest { key: key.into(), ..PutRequest::default() }),
    };
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    match node.handles().raft.propose(write, deadline).await {
        Ok(Answer::Put(answer)) => answer.revision,
        other => panic!("not put: {other:?}"),
    }
}

/// Makes an actor panic; waits until it runs when it restarts just now.
async fn make_panic(node: &Node, child: Child) {
    let sent = async {
        // Closed while it restarts, full while it has not taken the last one.
        while node.handles().make_panic(child).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT_MAX, sent).await.expect("the actor runs again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_actor_that_panics_is_restarted_and_the_node_goes_on_serving() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = start(directory.path()).await;
    let mut revision = put(&node, "before").await;
    for child in Child::ALL {
        make_panic(&node, child).await;
        let next = put(&node, "after").await;
        assert_eq!(next, revision + 1, "{child:?}");
        revision = next;
        timeout(WAIT_MAX, node.ready()).await.expect("reads in time").expect("reads");
    }
    for actor in ["raft", "snapshot", "auth", "membership"] {
        counted(&node, &format!("chainfire_actor_restarts_total{{actor=\"{actor}\"}} 1")).await;
    }
    assert!(node.actors.exit.borrow().is_none());
    node.shutdown().await;
}

/// Waits until a line stands in the metrics: the supervisor learns of a failure after the failed
/// actor's own task, and after whoever made it fail.
async fn counted(node: &Node, line: &str) {
    let seen = async {
        while !node.metrics().render().lines().any(|found| found == line) {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT_MAX, seen).await.unwrap_or_else(|_| panic!("{line} is never counted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_fails_beyond_its_budget_ends_the_node_with_its_own_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = start(directory.path()).await;
    let failing = async {
        loop {
            make_panic(&node, Child::Auth).await;
            tokio::task::yield_now().await;
        }
    };
    let reason = tokio::select! {
        () = failing => unreachable!("it goes on for ever"),
        reason = timeout(WAIT_MAX, node.failed()) => reason.expect("it gives up in time"),
    };
    assert!(matches!(reason, ExitReason::ActorFailed { actor: "auth", .. }), "{reason}");
    assert_eq!(reason.code(), 12);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_an_orderly_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = start(directory.path()).await;
    let revision = put(&node, "kept").await;
    node.shutdown().await;
    let node = start(directory.path()).await;
    assert_eq!(put(&node, "more").await, revision + 1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_trust_its_state_serves_nothing_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = start(directory.path()).await;
    put(&node, "before").await;
    let raft = node.handles().raft.clone();
    raft.trust().distrust(Distrust::StateDiffers { index: 3 });

    let soon = || tokio::time::Instant::now() + WAIT_MAX;
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation: Operation::Put(PutRequest { key: "no".into(), ..PutRequest::default() }),
    };
    let refusals = [
        raft.read_barrier(soon()).await.expect_err("a linearizable read"),
        raft.read_index_local(soon()).await.expect_err("a round of a follower's"),
        raft.view().map(drop).expect_err("a serializable read"),
        raft.propose_local(write, soon()).await.expect_err("a forwarded write"),
    ];
    for refusal in refusals {
        assert!(refusal.is_retryable(), "{refusal}");
        assert!(refusal.to_string().contains("does not trust its state"), "{refusal}");
    }
    let vote = VoteRequest {
        vote: Vote { term: 99, node_id: 2, committed: false },
        last_log_id: None,
        leadership_transfer: false,
    };
    let untrusted = |refusal| matches!(refusal, Err(PeerRefusal::Untrusted { .. }));
    assert!(untrusted(raft.vote(vote).await));
    assert!(untrusted(raft.pre_vote(vote).await));
    assert_eq!(raft.status().untrusted, [Distrust::StateDiffers { index: 3 }]);
    counted(&node, "chainfire_untrusted{reason=\"state_differs\"} 1").await;

    raft.trust().regain("state_differs");
    put(&node, "after").await;
    counted(&node, "chainfire_untrusted{reason=\"state_differs\"} 0").await;
    node.shutdown().await;
}
