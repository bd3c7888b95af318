//! Two data directories of one node, and one that was put back older: never do both go on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::filled_by_hand::copy;
use crate::harness::{Cluster, Node};

/// The exit code of a directory that is not the last one of its node.
const NOT_THE_LAST: i32 = 14;

/// A node on a copy of the directory of the one at `place`, with ports of its own.
fn copied(cluster: &Cluster, place: usize) -> Node {
    let original = &cluster.nodes[place];
    let directory: PathBuf = cluster.directory().join("copy");
    copy(&original.data_dir, &directory.join(&original.name));
    Node::at(&original.name, &directory, &directory.join(&original.name))
}

fn refused(node: &mut Node) {
    assert_eq!(node.wait_exit().code(), Some(NOT_THE_LAST), "{}", node.log());
    let log = node.log();
    assert!(!log.contains("panicked"), "{log}");
}

async fn goes_on(cluster: &Cluster, key: &'static str) {
    let client = cluster.client();
    client.put(key, "value").await.expect("acknowledged");
    assert_eq!(client.get(key).await.expect("answered").expect("there").value, "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_beside_its_running_original_is_refused() {
    let mut cluster = Cluster::start(3);
    let follower = (cluster.leader().await + 1) % 3;
    assert!(cluster.nodes[follower].terminate().success());
    let mut copy = copied(&cluster, follower);
    cluster.nodes[follower].restart();
    copy.start();
    refused(&mut copy);
    goes_on(&cluster, "after").await;
    assert!(cluster.status_of(follower).await.is_some(), "the original is not disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_beside_its_running_copy_is_refused() {
    let mut cluster = Cluster::start(3);
    let follower = (cluster.leader().await + 1) % 3;
    assert!(cluster.nodes[follower].terminate().success());
    let mut copy = copied(&cluster, follower);
    copy.start();
    copy.wait_ready();
    cluster.nodes[follower].start();
    refused(&mut cluster.nodes[follower]);
    goes_on(&cluster, "after").await;
    cluster.nodes[follower] = copy;
    cluster.wait_converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_original_whose_copy_went_on_ends_when_it_wakes_up() {
    let mut cluster = Cluster::start(3);
    let follower = (cluster.leader().await + 1) % 3;
    cluster.nodes[follower].pause();
    let mut copy = copied(&cluster, follower);
    copy.start();
    copy.wait_ready();
    cluster.nodes[follower].resume();
    refused(&mut cluster.nodes[follower]);
    goes_on(&cluster, "after").await;
    cluster.nodes[follower] = copy;
    cluster.wait_converged().await;
}

/// Put back whole, and put back but for the claim beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_put_back_older_is_refused() {
    let mut cluster = Cluster::start(3);
    let follower = (cluster.leader().await + 1) % 3;
    assert!(cluster.nodes[follower].terminate().success());
    let older = cluster.directory().join("older");
    copy(&cluster.nodes[follower].data_dir, &older);
    cluster.nodes[follower].restart();
    goes_on(&cluster, "between").await;
    assert!(cluster.nodes[follower].terminate().success());
    let newer = cluster.directory().join("newer");
    copy(&cluster.nodes[follower].data_dir, &newer);

    put_back(&older, &cluster.nodes[follower].data_dir);
    cluster.nodes[follower].start();
    refused(&mut cluster.nodes[follower]);
    assert!(cluster.nodes[follower].log().contains("is a copy, or was put back older"));

    put_back(&newer, &cluster.nodes[follower].data_dir);
    fs::copy(older.join("CLAIM"), cluster.nodes[follower].data_dir.join("CLAIM")).expect("copied");
    cluster.nodes[follower].start();
    refused(&mut cluster.nodes[follower]);
    assert!(cluster.nodes[follower].log().contains("CLAIM is older than the state beside it"));

    put_back(&newer, &cluster.nodes[follower].data_dir);
    cluster.nodes[follower].restart();
    goes_on(&cluster, "after").await;
    cluster.wait_converged().await;
}

fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("there");
    copy(from, to);
}

/// All at once, again and again, killed before they could be heard: no start shuts a node out.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_often_and_are_never_heard_are_not_shut_out() {
    let mut cluster = Cluster::start(3);
    for _ in 0..10 {
        for node in &mut cluster.nodes {
            node.kill();
        }
        // One of three: it claims on its disk, and nobody takes the claim.
        cluster.nodes[0].start();
        cluster.nodes[0].kill();
    }
    cluster.start_all();
    goes_on(&cluster, "after").await;
}
