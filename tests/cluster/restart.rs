//! Nodes that start again: on their own directory, and on one that is not for them.

use std::fs;

use crate::harness::{Cluster, Load, Node};

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_under_load_lose_nothing_acknowledged() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    for round in 0..3 {
        let prefix = format!("round-{round}");
        let load = Load::start(&client, &prefix, 16);
        load.wait_for_more(150).await;
        for node in &mut cluster.nodes {
            node.kill();
        }
        cluster.start_all();
        // The same writers go on with the cluster that came back.
        load.wait_for_more(50).await;
        load.finish().await.check(&client, &prefix).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::start(1);
    let client = cluster.client();
    for round in 0..3 {
        let prefix = format!("round-{round}");
        let load = Load::start(&client, &prefix, 4);
        load.wait_for_more(50).await;
        cluster.nodes[0].restart();
        load.wait_for_more(50).await;
        load.finish().await.check(&client, &prefix).await;
    }
}

/// Starts a node that must refuse, and gives the one line that says why.
fn refusal(node: &mut Node) -> String {
    node.start();
    let status = node.wait_exit();
    assert!(!status.success(), "the node should have refused");
    let log = node.log();
    let line = log.lines().last().expect("a refusal says why").to_owned();
    assert!(!log.contains("panicked"), "{log}");
    line
}

#[test]
fn a_directory_of_a_newer_release_is_refused() {
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    assert!(node.terminate().success());
    let format = node.data_dir.join("FORMAT");
    let line = fs::read_to_string(&format).expect("every directory has a format");
    let (version, _) = line.trim_end().rsplit_once(' ').expect("a version and a checksum");
    let newer = format!("{}9", version.trim_end_matches(|c: char| c.is_ascii_digit()));
    fs::write(&format, format!("{newer} {:08x}\n", crc32fast::hash(newer.as_bytes())))
        .expect("writable");

    let line = refusal(node);
    assert!(line.contains("newer") || line.contains("format 9"), "{line}");
    assert!(line.contains("upgrade"), "it says what to do: {line}");

    fs::write(&format, b"not a format\n").expect("writable");
    let line = refusal(node);
    assert!(line.contains("FORMAT"), "{line}");
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    let mut cluster = Cluster::start(1);
    assert!(cluster.nodes[0].terminate().success());
    let mut other = Cluster::new(3);
    other.nodes[0].data_dir = cluster.nodes[0].data_dir.clone();

    let line = refusal(&mut other.nodes[0]);
    assert!(line.contains("cluster"), "{line}");
    cluster.nodes[0].restart();
}

#[test]
fn a_directory_in_use_is_refused_and_its_user_goes_on() {
    let mut cluster = Cluster::start(1);
    let mut second = Node::new("n1", &cluster.directory().join("elsewhere"));
    fs::create_dir(cluster.directory().join("elsewhere")).expect("writable");
    second.data_dir = cluster.nodes[0].data_dir.clone();
    let line = refusal(&mut second);
    assert!(line.contains("in use") || line.contains("another process"), "{line}");
    assert!(cluster.nodes[0].terminate().success());
}

#[test]
fn a_corrupt_log_is_named_and_refused() {
    let mut cluster = Cluster::start(1);
    let client = cluster.endpoints();
    for number in 0..20 {
        let key = format!("key-{number}");
        let value = "the-value-that-is-looked-for";
        let put = crate::harness::chainfire(&["--endpoints", &client, "put", &key, value]);
        assert!(put.status.success());
    }
    let node = &mut cluster.nodes[0];
    assert!(node.terminate().success());
    let log = node.data_dir.join("log").join("data.mdb");
    let mut bytes = fs::read(&log).expect("the log's file");
    let needle = b"the-value-that-is-looked-for";
    let places: Vec<usize> = (0..bytes.len() - needle.len())
        .filter(|at| &bytes[*at..*at + needle.len()] == needle)
        .collect();
    assert!(!places.is_empty(), "the log holds what was put");
    for place in places {
        bytes[place] ^= 1;
    }
    fs::write(&log, bytes).expect("writable");

    let line = refusal(node);
    assert!(line.contains("corrupt"), "{line}");
}
