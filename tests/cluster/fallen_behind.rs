//! A live follower that fell so far behind that the log it needs is gone: it is given a snapshot.
//!
//! openraft may stop for good when a snapshot purges entries that it is about to apply (its issue
//! 2116), so the follower is first drained. Here it has something to drain, and load all the while;
//! what must hold is that no node panics and no write is lost. The fault itself takes a race inside
//! openraft that nothing here forces.

use std::time::Duration;

use chainfire::client::Client;
use chainfire::types::ClusterRequest;

#[cfg(debug_assertions)]
use crate::harness::last_for;
use crate::harness::{Cluster, Holds, Load, eventually};
use crate::join::{metric, put_all};

/// A log that is soon full.
const SMALL_LOG: &str = "[raft]\nlog_bytes_max = 2097152\nsnapshot_every_entries = 10\n";
/// The place of the follower, which never leads.
const FOLLOWER: usize = 2;
/// Rounds of the short version.
const ROUNDS: usize = 1;
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
    lead(&client, "n1").await;
    (cluster, holds, client)
}

/// Has a node lead.
async fn lead(client: &Client, name: &str) {
    let to = || Some(name.to_owned());
    eventually("it leads", async || {
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
    cluster.nodes[FOLLOWER].pause();
    // What was on its way to the follower waits in its sockets, and is its when it goes on.
    put_all(client, 16, 64 * 1_024).await;
    let has = cluster.status_of(0).await.expect("it answers").last_log_index as f64;
    let purged_by = |node| metric(node, "chainfire_raft_purged_log_index");
    let others = &cluster.nodes[..FOLLOWER];
    let purged = || others.iter().map(purged_by).fold(f64::INFINITY, f64::min);
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

/// The follower is held at `place` with work to do, and given a snapshot.
#[cfg(debug_assertions)]
async fn drains(place: &str) {
    let (cluster, holds, client) = small_logs().await;
    let load = Load::start(&client, "load/", 4);
    holds.hold(place);
    holds.wait_reached(place).await;
    load.wait_for_more(200).await;
    // What another leader says comes on top of the work.
    lead(&client, "n2").await;
    holds.hold("install.drain");
    fall_behind(&cluster, &client).await;
    holds.wait_reached("install.drain").await;
    holds.release("install.drain");
    // Time in which a node that did not wait would go on.
    last_for(Duration::from_secs(1)).await;
    holds.release(place);
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

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn a_live_follower_with_committed_entries_to_apply_takes_a_snapshot_unharmed() {
    drains("state.apply").await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn a_live_follower_with_entries_on_their_way_to_the_disk_takes_a_snapshot_unharmed() {
    drains("log.before_commit").await;
}

/// A follower falls behind under a load of small writes, again and again.
async fn falls_behind_again_and_again(writers: usize, goes_on: impl Fn(usize) -> bool) {
    let (cluster, _holds, client) = small_logs().await;
    let load = Load::start(&client, "load/", writers);
    let mut rounds = 0;
    while goes_on(rounds) {
        lead(&client, "n1").await;
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
    falls_behind_again_and_again(16, |rounds| rounds < ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes of load"]
async fn a_follower_that_falls_behind_for_five_minutes_is_seeded_anew_each_time() {
    let end = tokio::time::Instant::now() + SOAK;
    falls_behind_again_and_again(64, |_| tokio::time::Instant::now() < end).await;
}
