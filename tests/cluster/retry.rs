//! A client that retries through failovers sees each of its writes applied once.

use crate::harness::{Cluster, Load};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_through_failovers_applies_once() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    let before = client.put("first", "write").await.expect("the cluster is whole").revision;
    let load = Load::start(&client, "load", 32);
    for _ in 0..3 {
        load.wait_for_more(100).await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].restart();
    }
    load.wait_for_more(100).await;
    let written = load.finish().await;
    assert_eq!(written.failed, Vec::<String>::new());
    assert!(written.unknown.is_empty(), "{:?}", written.unknown);
    written.check(&client, "load").await;

    // One revision for each write: a write that was applied twice would have taken two.
    let last = client.get("first").await.expect("the cluster is whole").expect("it was put");
    assert_eq!(last.version, 1);
    let after = client.put("last", "write").await.expect("the cluster is whole").revision;
    assert_eq!(after - before - 1, written.acknowledged.len() as u64);
}
