//! A node that is asked to end, ends well.

use crate::harness::{Cluster, Load};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_asked_to_end_hands_over_and_fails_no_write() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let client = cluster.client();
    let load = Load::start(&client, "load", 16);
    load.wait_for_more(200).await;

    let status = cluster.nodes[leader].terminate();
    assert_eq!(status.code(), Some(0), "{}", cluster.nodes[leader].log());
    load.wait_for_more(200).await;
    let written = load.finish().await;
    assert_eq!(written.failed, Vec::<String>::new());
    assert!(written.unknown.is_empty(), "{:?}", written.unknown);
    written.check(&client, "load").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_asked_to_end_starts_again_with_everything() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    let load = Load::start(&client, "load", 8);
    load.wait_for_more(100).await;
    let written = load.finish().await;
    for node in &mut cluster.nodes {
        assert_eq!(node.terminate().code(), Some(0), "{}", node.log());
    }
    cluster.start_all();
    written.check(&client, "load").await;
}
