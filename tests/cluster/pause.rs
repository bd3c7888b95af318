//! A leader that is frozen and wakes up in a world that went on without it.

use std::time::Duration;

use crate::harness::Cluster;

/// Several election timeouts.
const PAUSE: Duration = Duration::from_secs(3);
const READERS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_answers_no_stale_read() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    client.put("key", "old").await.expect("the cluster is whole");
    let leader = cluster.leader().await;
    let direct = cluster.client_of(leader);
    // Opens the connection, so that the reads below are in its buffers when it wakes up.
    direct.get("key").await.expect("the leader answers");

    cluster.nodes[leader].pause();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let direct = direct.clone();
            tokio::spawn(async move { direct.get("key").timeout(Duration::from_secs(30)).await })
        })
        .collect();
    let rest = async {
        client.put("key", "new").await.expect("the other two are a majority");
    };
    tokio::join!(rest, tokio::time::sleep(PAUSE));
    cluster.nodes[leader].resume();

    let mut answered = 0;
    for reader in readers {
        // Not to answer is allowed; to answer with what was is not.
        if let Ok(pair) = reader.await.expect("no reader panics") {
            assert_eq!(pair.expect("it was put").value, "new");
            answered += 1;
        }
    }
    // And it serves again: as a follower, with the truth.
    let pair = direct.get("key").await.expect("it is a follower of the others now");
    assert_eq!(pair.expect("it was put").value, "new");
    println!("{answered} of {READERS} reads sent to the paused leader were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_follower_catches_up_without_an_election() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let term = cluster.status_of(leader).await.expect("the leader answers").term;
    cluster.nodes[follower].pause();
    for number in 0..100 {
        client.put(format!("key-{number}"), "value").await.expect("two are a majority");
    }
    cluster.nodes[follower].resume();
    cluster.wait_converged().await;
    let status = cluster.status_of(leader).await.expect("the leader answers");
    assert_eq!(status.leader_id, Some(status.node_id));
    assert_eq!(status.term, term, "a pre-vote is not granted while the leader lives");
}
