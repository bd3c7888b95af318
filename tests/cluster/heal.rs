//! Nodes whose state is not what was written: they repair themselves from the others, and serve
//! nothing before they have.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use chainfire::client::Client;
use chainfire::types::{ClusterRequest, KeyValue};

use crate::harness::{Cluster, Node, dump, eventually};

const KEYS: usize = 200;

async fn fill(client: &Client, prefix: &str) {
    for number in 0..KEYS {
        let key = format!("{prefix}-{number:04}");
        client.put(key, format!("value {number}")).await.expect("written");
    }
}

/// The database file of the current epoch.
fn state_file(data_dir: &Path) -> PathBuf {
    let current = fs::read_to_string(data_dir.join("state/CURRENT")).expect("an epoch is current");
    let (epoch, _) = current.split_once(' ').expect("a number and a checksum");
    data_dir.join("state").join(epoch).join("data.mdb")
}

/// Makes both of LMDB's meta pages something else, so that the state does not open.
fn damage_state(node: &Node) {
    let path = state_file(&node.data_dir);
    let file = OpenOptions::new().write(true).open(&path).expect("the state is there");
    for page in [0, 4096] {
        file.write_all_at(&[0xa5; 64], page + 16).expect("writable");
    }
}

async fn contents_of(cluster: &Cluster, place: usize) -> Vec<KeyValue> {
    dump(&cluster.client_of(place)).await.expect("read through the node itself")
}

/// The node at `place` holds what the others hold, and a quorum can be made with it alone.
async fn is_whole(cluster: &mut Cluster, place: usize) {
    cluster.wait_converged().await;
    let expected = contents_of(cluster, (place + 1) % 3).await;
    assert_eq!(contents_of(cluster, place).await, expected);
    let status = cluster.status_of(place).await.expect("it answers");
    assert_eq!(status.untrusted, []);
    cluster.nodes[(place + 1) % 3].kill();
    let client = cluster.client();
    client.put("counts", "again").await.expect("two of three are a quorum");
    cluster.nodes[(place + 1) % 3].start();
    cluster.nodes[(place + 1) % 3].wait_ready();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_state_does_not_open_heals_before_it_serves() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    fill(&client, "before").await;
    let follower = (cluster.leader().await + 1) % 3;
    assert!(cluster.nodes[follower].terminate().success());
    fill(&client, "meanwhile").await;
    damage_state(&cluster.nodes[follower]);
    cluster.nodes[follower].start();
    cluster.nodes[follower].wait_ready();
    assert!(cluster.nodes[follower].log().contains("the state was replaced by a healthy one"));
    is_whole(&mut cluster, follower).await;

    // What it took is there after a restart as well.
    cluster.nodes[follower].restart();
    cluster.nodes[follower].wait_ready();
    is_whole(&mut cluster, follower).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pointer_to_the_state_is_healed_too() {
    let mut cluster = Cluster::start(3);
    fill(&cluster.client(), "before").await;
    assert!(cluster.nodes[1].terminate().success());
    fs::write(cluster.nodes[1].data_dir.join("state/CURRENT"), "7 00000000\n").expect("writable");
    cluster.nodes[1].start();
    cluster.nodes[1].wait_ready();
    is_whole(&mut cluster, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_that_are_damaged_heal_from_the_third_which_leads_nobody() {
    let mut cluster = Cluster::start(3);
    fill(&cluster.client(), "before").await;
    cluster.wait_converged().await;
    for node in &mut cluster.nodes {
        assert!(node.terminate().success());
    }
    damage_state(&cluster.nodes[0]);
    damage_state(&cluster.nodes[2]);
    // The damaged ones first: they wait, and say why, until there is somebody healthy.
    cluster.nodes[0].start();
    cluster.nodes[2].start();
    for damaged in [0, 2] {
        eventually("it says that it repairs itself", async || {
            cluster.nodes[damaged].log().contains("repairing the state").then_some(())
        })
        .await;
        let ready = http(&cluster.nodes[damaged], "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.contains("does not trust its state"), "{ready}");
        let metrics = http(&cluster.nodes[damaged], "/metrics").await;
        assert!(metrics.contains("chainfire_untrusted{reason=\"state_damaged\"} 1"), "{metrics}");
        assert!(cluster.nodes[damaged].is_running());
    }
    cluster.nodes[1].start();
    for node in &cluster.nodes {
        node.wait_ready();
    }
    is_whole(&mut cluster, 0).await;
    let metrics = http(&cluster.nodes[2], "/metrics").await;
    assert!(metrics.contains("chainfire_heals_total{outcome=\"healed\"} 1"), "{metrics}");
    assert!(metrics.contains("chainfire_untrusted{reason=\"state_damaged\"} 0"), "{metrics}");
}

#[test]
fn a_single_node_with_a_damaged_state_stops_by_name() {
    let mut cluster = Cluster::of_one();
    let node = &mut cluster.nodes[0];
    assert!(node.terminate().success());
    damage_state(node);
    for _ in 0..2 {
        node.start();
        assert_eq!(node.wait_exit().code(), Some(18));
        let log = node.log();
        let line = log.lines().last().expect("it says why");
        assert!(line.contains("no other member is known to repair it from"), "{line}");
        assert!(line.contains("chainfire snapshot restore"), "{line}");
    }
}

/// Waits until the node has replaced its state, and answers again.
async fn has_healed(cluster: &Cluster, place: usize) {
    eventually("the node replaces its state", async || {
        let replaced =
            cluster.nodes[place].log().contains("the state was replaced by a healthy one");
        let status = cluster.status_of(place).await?;
        (replaced && status.untrusted.is_empty()).then_some(())
    })
    .await;
}

/// Three nodes, of which the one at `place` stores something else than the others under "wrong".
fn of_which_one_decides_otherwise(place: usize) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.nodes[place].set_environment("CHAINFIRE_DECIDES_OTHERWISE", "wrong");
    cluster.start_all();
    cluster
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_decided_otherwise_is_found_by_comparing_and_heals() {
    let mut cluster = of_which_one_decides_otherwise(2);
    let client = cluster.client();
    make_leader(&cluster, 0).await;
    let pid = cluster.nodes[2].pid();
    client.put("wrong", "right").await.expect("written");
    has_healed(&cluster, 2).await;
    assert_eq!(cluster.nodes[2].pid(), pid, "the process went on");
    assert!(cluster.nodes[2].log().contains("its state differs from the majority's"));
    is_whole(&mut cluster, 2).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_decided_otherwise_hands_over_and_heals() {
    let mut cluster = of_which_one_decides_otherwise(1);
    let client = cluster.client();
    make_leader(&cluster, 1).await;
    client.put("wrong", "right").await.expect("written");
    has_healed(&cluster, 1).await;
    assert!(cluster.nodes[1].log().contains("handing over leadership"));
    let read = client.get("wrong").await.expect("read").expect("it is there");
    assert_eq!(read.value, "right");
    is_whole(&mut cluster, 1).await;
}

async fn make_leader(cluster: &Cluster, place: usize) {
    let client = cluster.client();
    eventually("the node leads", async || {
        if cluster.leader().await == place {
            return Some(());
        }
        let to = Some(cluster.nodes[place].name.clone());
        // Refused while the node lacks something; then it is asked again.
        let _ = client.change_members(ClusterRequest::MoveLeader { to }).await;
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_damaged_under_a_running_node_gives_no_wrong_value_and_heals() {
    const VALUE: &str = "a value that is looked for in the file of the state";
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.put("looked-for", VALUE).await.expect("written");
    fill(&client, "others").await;
    let place = (cluster.leader().await + 1) % 3;
    // Out of the memory of the running node: from now on it reads the file.
    cluster.nodes[place].restart();
    cluster.wait_converged().await;
    let path = state_file(&cluster.nodes[place].data_dir);
    let offsets = eventually("the value is in the file", async || {
        let bytes = fs::read(&path).expect("the state is there");
        let found = bytes.windows(VALUE.len()).enumerate();
        let found: Vec<_> =
            found.filter(|(_, window)| *window == VALUE.as_bytes()).map(|(at, _)| at).collect();
        (!found.is_empty()).then_some(found)
    })
    .await;
    let file = OpenOptions::new().write(true).open(&path).expect("the state is there");
    for offset in offsets {
        file.write_all_at(b"A", offset as u64).expect("writable");
    }
    let client = cluster.client_of(place);
    eventually("the value is read through the node", async || {
        match client.get("looked-for").await {
            Ok(read) => {
                assert_eq!(read.expect("it is there").value, VALUE);
                Some(())
            }
            Err(_) => None,
        }
    })
    .await;
    has_healed(&cluster, place).await;
    is_whole(&mut cluster, place).await;
}

/// What the node's HTTP listener says, once it does.
async fn http(node: &Node, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    eventually("the node answers over HTTP", async || {
        let mut stream = tokio::net::TcpStream::connect(node.http).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", node.http);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    })
    .await
}
