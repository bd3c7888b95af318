//! A live follower that fell so far behind that the log it needs is gone: it is given a snapshot.
//!
//! openraft stops for good when a snapshot purges entries that are just being applied (its issue
//! 2116). So the follower is first drained, and here it has something to drain.

use std::time::Duration;

use chainfire::client::Client;
use chainfire::types::ClusterRequest;

use crate::harness::{Cluster, Holds, Load, eventually};
use crate::join::{metric, put_all};

/// A log that is soon full.
const SMALL_LOG: &str = "[raft]\nlog_bytes_max = 2097152\nsnapshot_every_entries = 10\n";
/// The place of the follower, which never leads.
const FOLLOWER: usize = 2;
/// Rounds of the short version.
const ROUNDS: usize = 2;
/// How long the long version goes on.
const SOAK: Duration = Duration::from_secs(300);

/// Three nodes with small logs, led by the first; the last obeys holds.
async fn small_logs() -> (Cluster, Holds, Client) {
    let mut cluster = Cluster::new(3);
    let holds = Holds::new(cluster.directory());
    for node in &mut cluster.nodes {
        node.set_config(SMALL_LOG);
    }
    holds.govern(&mut cluster.nodes[FOLLOWER]);
    cluster.start_all();
    let client = cluster.client();
    lead(&client).await;
    (cluster, holds, client)
}

/// The first node leads.
async fn lead(client: &Client) {
    let to = || Some("n1".to_owned());
    eventually("the first node leads", async || {
        client.change_members(ClusterRequest::MoveLeader { to: to() }).await.ok()
    })
    .await;
}

fn snapshots_given(cluster: &Cluster) -> f64 {
    let series = "chainfire_consensus_snapshots_sent_total{peer=\"3\"}";
    cluster.nodes[..FOLLOWER].iter().map(|node| metric(node, series)).sum()
}

/// The follower is frozen until the log that it needs is gone.
async fn fall_behind(cluster: &Cluster, client: &Client) {
    let has = cluster.status_of(FOLLOWER).await.expect("it answers").last_log_index as f64;
    cluster.nodes[FOLLOWER].pause();
    let purged = || metric(&cluster.nodes[0], "chainfire_raft_purged_log_index");
    eventually("the log that the follower needs is gone", async || {
        put_all(client, 16, 64 * 1_024).await;
        (purged() > has).then_some(())
    })
    .await;
    cluster.nodes[FOLLOWER].resume();
}

fn check_unharmed(cluster: &Cluster) {
    for node in &cluster.nodes {
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_follower_with_entries_to_apply_is_drained_before_it_takes_a_snapshot() {
    let (cluster, holds, client) = small_logs().await;
    let load = Load::start(&client, "load/", 4);
    // It has what is committed, and has not applied it.
    holds.hold("state.apply");
    holds.wait_reached("state.apply").await;
    load.wait_for_more(200).await;
    holds.hold("install.drain");
    fall_behind(&cluster, &client).await;
    holds.wait_reached("install.drain").await;
    holds.release("install.drain");
    holds.release("state.apply");
    load.wait_for_more(100).await;
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    cluster.wait_converged().await;
    assert!(snapshots_given(&cluster) > 0.0, "the log was enough");
    for place in 0..cluster.nodes.len() {
        written.check(&cluster.client_of(place), "load/").await;
    }
    check_unharmed(&cluster);
}

/// A follower falls behind under a load of small writes, again and again.
async fn falls_behind_again_and_again(goes_on: impl Fn(usize) -> bool) {
    let (cluster, _holds, client) = small_logs().await;
    let load = Load::start(&client, "load/", 32);
    let mut rounds = 0;
    while goes_on(rounds) {
        lead(&client).await;
        let given = snapshots_given(&cluster);
        fall_behind(&cluster, &client).await;
        eventually("it is given a snapshot", async || {
            (snapshots_given(&cluster) > given).then_some(())
        })
        .await;
        let goal = cluster.status_of(0).await.expect("it answers").applied_index;
        eventually("it follows again", async || {
            (cluster.status_of(FOLLOWER).await?.applied_index >= goal).then_some(())
        })
        .await;
        rounds += 1;
    }
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    cluster.wait_converged().await;
    for place in 0..cluster.nodes.len() {
        written.check(&cluster.client_of(place), "load/").await;
    }
    check_unharmed(&cluster);
    println!("{rounds} rounds, {} writes", written.acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_falls_behind_under_load_is_seeded_anew() {
    falls_behind_again_and_again(|rounds| rounds < ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes of load"]
async fn a_follower_that_falls_behind_for_five_minutes_is_seeded_anew_each_time() {
    let end = tokio::time::Instant::now() + SOAK;
    falls_behind_again_and_again(|_| tokio::time::Instant::now() < end).await;
}
