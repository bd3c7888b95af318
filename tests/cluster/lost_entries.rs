//! A node that lost what it had acknowledged: it says so, has no say until it has it again, and the
//! leader notices.

use std::path::Path;

use chainfire::types::NodeRole;

use crate::harness::{Cluster, Node, eventually, last_for};
use crate::join::metric;

/// Flips a bit of `value` in the journal of a stopped node. Whether it was there.
fn flip_in_journal(data_dir: &Path, value: &str) -> bool {
    for segment in ["journal.0", "journal.1"] {
        let path = data_dir.join("log").join(segment);
        let mut bytes = std::fs::read(&path).expect("a node has a journal");
        let place = bytes.windows(value.len()).position(|window| window == value.as_bytes());
        if let Some(place) = place {
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).expect("writable");
            return true;
        }
    }
    false
}

fn says_that_it_lost_entries(node: &Node) -> bool {
    node.log().contains("the log's journal is damaged and acknowledged entries are lost")
}

/// Writes, ends the node at `place` at once, damages what it acknowledged last, and starts it, until
/// it finds that it lost something: it may have moved the write into its tables already. The nodes in
/// `with` end with it.
async fn lose_the_last_write(cluster: &mut Cluster, place: usize, with: &[usize]) -> String {
    for round in 0.. {
        assert!(round < 20, "the write is always in the tables already");
        let (key, value) = (format!("key-{round}"), format!("written last in round {round}"));
        cluster.client().put(key.clone(), value.clone()).await.expect("acknowledged");
        let mut ended = vec![place];
        ended.extend_from_slice(with);
        for place in &ended {
            cluster.nodes[*place].kill();
        }
        let damaged = flip_in_journal(&cluster.nodes[place].data_dir, &value);
        cluster.nodes[place].start();
        let lost = eventually("it opened its log", async || {
            let node = &cluster.nodes[place];
            let answers =
                says_that_it_lost_entries(node) || cluster.status_of(place).await.is_some();
            answers.then(|| says_that_it_lost_entries(node))
        });
        if lost.await {
            assert!(damaged, "nothing else is damaged");
            return key;
        }
        for place in with {
            cluster.nodes[*place].start();
            cluster.nodes[*place].wait_ready();
        }
        cluster.nodes[place].wait_ready();
    }
    unreachable!("the rounds end above")
}

/// Three nodes, one away; a write acknowledged by the other two; a flipped bit in it on the follower,
/// and the leader dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_lost_an_acknowledged_write_elects_nobody_without_it() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let (follower, away) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[away].kill();
    let key = lose_the_last_write(&mut cluster, follower, &[leader]).await;
    cluster.nodes[away].start();
    // Longer than any election takes.
    last_for(std::time::Duration::from_secs(4)).await;
    for place in [follower, away] {
        let answered = eventually("it answers", async || cluster.status_of(place).await);
        let status = answered.await;
        assert_ne!(status.role, NodeRole::Leader, "nobody leads without the write");
    }
    cluster.nodes[leader].start();
    for place in 0..3 {
        cluster.nodes[place].wait_ready();
    }
    cluster.wait_converged().await;
    for place in 0..3 {
        let found = cluster.client_of(place).get(key.clone()).await.expect("answered");
        assert!(found.is_some(), "node {place} has the write");
    }
    assert!(cluster.nodes[follower].log().contains("the log has again what it had lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_notices_a_follower_that_lost_what_it_acknowledged_and_gives_it_again() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let key = lose_the_last_write(&mut cluster, follower, &[]).await;
    cluster.nodes[follower].wait_ready();
    cluster.wait_converged().await;
    assert!(cluster.nodes[leader].log().contains("holds less of the log than it acknowledged"));
    let id = cluster.status_of(follower).await.expect("it answers").node_id;
    let lost = format!("chainfire_raft_follower_lost_entries_total{{peer=\"{id}\"}}");
    assert_eq!(metric(&cluster.nodes[leader], &lost), 1.0);
    // It counts again: with the third one gone, writes need it.
    cluster.nodes[other].kill();
    cluster.client().put("after", "value").await.expect("acknowledged");
    let found = cluster.client_of(follower).get(key.clone()).await.expect("answered");
    assert!(found.is_some(), "it has the write again");
}

/// Nobody else has what it lost: it says so and what to do, and does not go on without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_that_lost_an_acknowledged_write_refuses_to_start() {
    let mut cluster = Cluster::start(1);
    lose_the_last_write(&mut cluster, 0, &[]).await;
    assert_eq!(cluster.nodes[0].wait_exit().code(), Some(1));
    let log = cluster.nodes[0].log();
    assert!(log.contains("lost acknowledged entries and no other member has them"), "{log}");
    assert!(log.contains("docs/faults.md"), "it says where to read on: {log}");
    // It is so again, and not forgotten by having been told once.
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].wait_exit().code(), Some(1));
}

/// The log's tables of a follower, zeroed: its vote and its state are what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_log_is_damaged_makes_it_anew_behind_its_state() {
    let mut cluster = Cluster::start(3);
    cluster.client().put("before", "value").await.expect("acknowledged");
    cluster.wait_converged().await;
    let leader = cluster.leader().await;
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    assert!(cluster.nodes[follower].terminate().success());
    let database = cluster.nodes[follower].data_dir.join("log").join("data.mdb");
    let bytes = std::fs::metadata(&database).expect("it has a log").len();
    let zeros = vec![0; usize::try_from(bytes.min(1 << 20)).expect("small")];
    std::fs::write(&database, zeros).expect("writable");
    cluster.client().put("meanwhile", "value").await.expect("acknowledged");
    cluster.nodes[follower].restart();
    assert!(cluster.nodes[follower].log().contains("it is made anew behind the state"));
    cluster.wait_converged().await;
    // It votes and counts again.
    cluster.nodes[leader].kill();
    cluster.client().put("after", "value").await.expect("acknowledged");
    for place in [follower, other] {
        for key in ["before", "meanwhile", "after"] {
            let found = cluster.client_of(place).get(key).await.expect("answered");
            assert!(found.is_some(), "node {place} has {key}");
        }
    }
}
