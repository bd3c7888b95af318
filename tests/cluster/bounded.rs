//! What is large or full holds nobody up: a delete of many keys, a store without room.

use std::time::Duration;

use chainfire::client::{Client, Error, Failure, Step, Txn};
use chainfire::types::KeyRange;

use crate::harness::{Cluster, Load, chainfire, dump, eventually};

/// Keys deleted at once: many steps.
const KEYS: u64 = 20_000;
/// Keys put in one transaction.
const PUT_AT_ONCE: u64 = 100;

async fn fill(client: &Client, prefix: &str) {
    for first in (0..KEYS).step_by(PUT_AT_ONCE as usize) {
        let puts = (first..first + PUT_AT_ONCE).map(|n| Step::put(format!("{prefix}{n:06}"), "v"));
        client.txn(Txn::new().then(puts)).await.expect("a quorum is there");
    }
}

async fn count(client: &Client, prefix: &str, revision: u64) -> u64 {
    let counted = client.prefix(prefix.to_owned()).count_only().revision(revision).await;
    counted.expect("a quorum is there").count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_many_keys_is_one_revision_and_goes_on_when_its_leader_dies() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    fill(&client, "big/").await;
    let leader = cluster.leader().await;
    let load = Load::start(&client, "load", 4);
    load.wait_for_more(20).await;

    let deleting = {
        let delete = client.delete_range(KeyRange::prefix("big/")).progress(|_| {});
        tokio::spawn(async move { delete.await })
    };
    let staged = eventually("the delete is staged, or over", async || {
        let status = cluster.status_of(leader).await?;
        let staged = status.deletes.first().map(|staged| staged.revision);
        (staged.is_some() || deleting.is_finished()).then_some(staged)
    })
    .await;
    if let Some(revision) = staged {
        assert_eq!(count(&client, "big/", 0).await, 0, "all of it is gone at once");
        assert_eq!(count(&client, "big/", revision - 1).await, KEYS);
        cluster.nodes[leader].kill();
    }
    let deleted = deleting.await.expect("no panic").expect("the next leader goes on");
    assert_eq!(deleted.deleted, KEYS);
    assert_eq!(staged.unwrap_or(deleted.revision), deleted.revision);
    assert_eq!(count(&client, "big/", deleted.revision).await, 0);
    assert_eq!(count(&client, "big/", deleted.revision - 1).await, KEYS);
    load.wait_for_more(20).await;
    let written = load.finish().await;
    written.check(&client, "load").await;
    assert_eq!(written.failed, Vec::<String>::new());

    if staged.is_some() {
        cluster.nodes[leader].restart();
    }
    cluster.wait_converged().await;
    let one = dump(&cluster.client_of(leader)).await.expect("it answers");
    let other = dump(&cluster.client_of((leader + 1) % 3)).await.expect("it answers");
    assert_eq!(one, other);
    for place in 0..3 {
        let status = cluster.status_of(place).await.expect("it answers");
        assert!(status.deletes.is_empty() && status.untrusted.is_empty(), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_quota_writes_are_refused_and_deletes_and_compaction_make_room_again() {
    let mut cluster = Cluster::new(3);
    for node in &mut cluster.nodes {
        node.set_config("[storage]\nstate_map_bytes = 8388608\n");
    }
    cluster.start_all();
    let client = cluster.client();
    let value = vec![b'v'; 64 << 10];
    let mut keys = 0;
    let refused = loop {
        match client.put(format!("fill/{keys:04}"), value.clone()).await {
            Ok(_) => keys += 1,
            Err(error) => break error,
        }
        assert!(keys < 128, "8 MiB are full by now");
    };
    assert!(matches!(refused, Error::Failed(Failure::NoSpace(_))), "{refused}");
    assert!(keys >= 16, "half of the map is there to be used, not {keys} values");
    let alarms = chainfire(&["--endpoints", &cluster.endpoints(), "alarm", "list"]);
    let alarms = String::from_utf8(alarms.stdout).expect("text");
    assert!(alarms.contains("NoSpace"), "{alarms}");
    let written = count(&client, "fill/", 0).await;
    assert_eq!(written, keys, "reads go on");

    // A full store starts again.
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.start_all();
    let answer = client.delete_range(KeyRange::prefix("fill/")).await.expect("deletes go on");
    assert_eq!(answer.deleted, keys);
    client.compact(answer.revision).await.expect("compaction goes on");
    eventually("there is room again", async || client.put("again", "1").await.ok()).await;
    eventually("the alarm is over", async || {
        let alarms = chainfire(&["--endpoints", &cluster.endpoints(), "alarm", "list"]);
        (alarms.status.success() && alarms.stdout.is_empty()).then_some(())
    })
    .await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.start_all();
    let pair = client.get("again").timeout(Duration::from_secs(60)).await.expect("it serves");
    assert_eq!(pair.expect("it was put").value, "1");
}
