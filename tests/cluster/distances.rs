//! Members that are far from each other, and links that fall silent.

use std::time::Duration;

use crate::harness::{Cluster, Link, Proxy, eventually};

/// Half of the longest round trip that is promised with the default timings.
const FAR: Duration = Duration::from_millis(125);

/// Three nodes that reach each other through proxies only.
async fn behind_proxies(link: Link) -> (Cluster, Vec<Proxy>) {
    let mut cluster = Cluster::new(3);
    let mut proxies = Vec::new();
    for node in &cluster.nodes {
        let proxy = Proxy::before(node.peer).await;
        proxy.set(link);
        proxies.push(proxy);
    }
    let founders: Vec<String> = cluster
        .nodes
        .iter()
        .zip(&proxies)
        .map(|(node, proxy)| format!("{}={}", node.name, proxy.address))
        .collect();
    for (node, proxy) in cluster.nodes.iter_mut().zip(&proxies) {
        node.set_initial_cluster(&founders.join(","));
        node.set_config(&format!("advertise_peer = \"{}\"\n", proxy.address));
    }
    cluster.start_all();
    (cluster, proxies)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_round_trip_of_250_ms_writes_and_reads_go_on_under_one_leader() {
    let (cluster, _proxies) = behind_proxies(Link::Far(FAR)).await;
    let leader = cluster.leader().await;
    let client = cluster.client();
    client.put("first", "1").await.expect("a majority is there");
    let before = cluster.status_of(leader).await.expect("the leader answers");
    for number in 0..10 {
        let key = format!("far{number}");
        client.put(key.clone(), "1").await.expect("a majority is there");
        let read = cluster.client_of((leader + 1) % 3).get(key).await.expect("it is there");
        assert_eq!(read.expect("it was put").value, "1");
    }
    let after = cluster.status_of(leader).await.expect("the leader answers");
    assert_eq!(after.term, before.term, "an election for nothing");
    assert_eq!(after.leader_id, before.leader_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_have_fallen_silent_are_made_anew() {
    let (cluster, proxies) = behind_proxies(Link::Open).await;
    let client = cluster.client();
    client.put("before", "1").await.expect("a majority is there");
    for round in 0..3 {
        let leader = cluster.leader().await;
        for proxy in &proxies {
            proxy.set(Link::Silent);
        }
        // Nothing says so to either end: the heartbeats go out and are taken.
        let alone = cluster.client_of(leader);
        let short = Duration::from_secs(2);
        assert!(alone.put("lost", "1").timeout(short).await.is_err(), "no quorum in {round}");
        for proxy in &proxies {
            proxy.set(Link::Open);
        }
        client.put("after", "2").await.expect("new connections pass");
    }
    cluster.wait_converged().await;
}

/// Far longer than a test waits for anything.
const LONG_SILENCES: &str = "[raft]\nelection_timeout_min_ms = 300000\n\
    election_timeout_max_ms = 310000\nquorum_loss_probe_interval_ms = 620000\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_succeeded_before_its_silence_would_have_said_anything() {
    let mut cluster = Cluster::start(3);
    for place in 0..3 {
        cluster.nodes[place].set_config(LONG_SILENCES);
        cluster.nodes[place].restart();
    }
    let client = cluster.client();
    client.put("before", "1").await.expect("a majority is there");
    cluster.wait_converged().await;
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill();
    client.put("after", "2").await.expect("the others have seen it die");
    let successor = cluster.leader().await;
    assert_ne!(successor, leader);
    eventually("a follower has said so", async || {
        let said = |place: usize| cluster.nodes[place].log().contains("process is gone");
        (0..3).any(|place| place != leader && said(place)).then_some(())
    })
    .await;
}
