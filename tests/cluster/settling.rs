//! Members whose history is still on its way into their tables: whole in every respect.

use crate::harness::{Cluster, Holds, Load, eventually};
use crate::join::{check_equal, metric, put_all};

/// Before a step of that way.
const STEP: &str = "state.before_settle_commit";
const PAIRS: u64 = 240;
const LEFT: &str = "chainfire_unsettled_versions";

/// More history than is in the tables before a received snapshot is the state.
async fn founded() -> (Cluster, Holds) {
    let mut cluster = Cluster::new(1);
    let holds = Holds::new(cluster.directory());
    cluster.start_all();
    put_all(&cluster.client(), PAIRS, 64 * 1_024).await;
    (cluster, holds)
}

/// What was there before anybody joined, the member at `place` has as well.
async fn check_founded(cluster: &Cluster, place: usize) {
    let (first, member) = (cluster.client(), cluster.client_of(place));
    for number in 0..PAIRS {
        let key = format!("key/{number:04}");
        let expected = first.get(key.clone()).await.expect("answered");
        assert!(expected.is_some());
        assert!(member.get(key.clone()).await.expect("answered") == expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_killed_while_its_history_follows_and_gives_another_a_snapshot() {
    let (mut cluster, holds) = founded().await;
    let client = cluster.client();
    let load = Load::start(&client, "load/", 2);
    let place = cluster.add_joining("n2");
    holds.govern(&mut cluster.nodes[place]);
    holds.hold(STEP);
    cluster.nodes[place].start();
    cluster.nodes[place].wait_ready();
    holds.wait_reached(STEP).await;
    assert!(metric(&cluster.nodes[place], LEFT) > 0.0);
    // What lies in the file is read through the node.
    check_founded(&cluster, place).await;

    cluster.nodes[place].kill();
    cluster.nodes[place].start();
    cluster.nodes[place].wait_ready();
    assert!(metric(&cluster.nodes[place], LEFT) > 0.0);
    check_founded(&cluster, place).await;
    load.wait_for_more(20).await;

    // The next one asks this member for a snapshot.
    holds.release(STEP);
    let third = cluster.join("n3");
    load.wait_for_more(20).await;
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    eventually("all of its history is in its tables", async || {
        (metric(&cluster.nodes[place], LEFT) == 0.0).then_some(())
    })
    .await;
    check_equal(&cluster).await;
    written.check(&cluster.client_of(place), "load/").await;
    written.check(&cluster.client_of(third), "load/").await;
    let backlog = cluster.nodes[place].data_dir.join("state/2/backlog.snap");
    eventually("the file is gone", async || (!backlog.exists()).then_some(())).await;
}
