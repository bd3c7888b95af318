//! A node dies under load: nothing that was acknowledged is lost, and the cluster goes on.

use crate::harness::{Cluster, Load, dump};

const WRITERS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_under_load_loses_nothing_and_comes_back() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let client = cluster.client();
    let load = Load::start(&client, "load", WRITERS);
    load.wait_for_more(200).await;

    cluster.nodes[leader].kill();
    load.wait_for_more(200).await;
    let successor = cluster.leader().await;
    assert_ne!(successor, leader);

    cluster.nodes[leader].restart();
    load.wait_for_more(200).await;
    let written = load.finish().await;
    written.check(&client, "load").await;
    assert_eq!(written.failed, Vec::<String>::new());
    assert!(written.unknown.is_empty(), "{:?}", written.unknown);

    cluster.wait_converged().await;
    let there = dump(&cluster.client_of(leader)).await.expect("the restarted node answers");
    let elsewhere = dump(&cluster.client_of(successor)).await.expect("the leader answers");
    assert_eq!(there, elsewhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_killed_under_load_fails_no_write_and_catches_up() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let client = cluster.client();
    let load = Load::start(&client, "load", WRITERS);
    load.wait_for_more(200).await;

    cluster.nodes[follower].kill();
    load.wait_for_more(200).await;
    cluster.nodes[follower].restart();
    load.wait_for_more(200).await;

    let written = load.finish().await;
    assert_eq!(written.failed, Vec::<String>::new());
    assert!(written.unknown.is_empty(), "{:?}", written.unknown);
    assert_eq!(cluster.leader().await, leader, "the leader had no reason to change");
    // Linearizable, through the node that was away.
    written.check(&cluster.client_of(follower), "load").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_acknowledged_and_local_reads_go_on() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.put("before", "1").await.expect("a majority is there");
    cluster.wait_converged().await;
    let leader = cluster.leader().await;
    cluster.nodes[(leader + 1) % 3].kill();
    cluster.nodes[(leader + 2) % 3].kill();

    let alone = cluster.client_of(leader);
    let short = std::time::Duration::from_secs(3);
    assert!(alone.put("after", "2").timeout(short).await.is_err());
    assert!(alone.get("before").timeout(short).await.is_err(), "not linearizable");
    let local = alone.get("before").serializable().await.expect("a local read needs nobody");
    assert_eq!(local.expect("it was put").value, "1");

    cluster.nodes[(leader + 1) % 3].restart();
    client.put("again", "3").await.expect("a majority is back");
    let pair = client.get("before").await.expect("a majority is back");
    assert_eq!(pair.expect("it was put").value, "1");
}
