//! Who founds a cluster, and who never does: a node that was wiped, one that was joined, one that
//! was told nothing.

use std::fs;

use crate::backup::{done, text};
use crate::harness::{Cluster, Node, chainfire, eventually};

/// Waits until the node's log has a line with all of these words.
async fn wait_logged(node: &Node, words: &[&str]) {
    let logged = async || {
        let log = node.log();
        let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.map(drop)
    };
    eventually(&format!("{} says {words:?}", node.name), logged).await;
}

/// The last line of a node's log: why it ended.
fn last_line(node: &Node) -> String {
    node.log().lines().last().expect("a reason").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn founders_wait_for_the_last_one_and_say_for_whom() {
    let mut cluster = Cluster::new(3);
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    for place in [0, 1] {
        let node = &cluster.nodes[place];
        wait_logged(node, &["WARN", "every founder has answered", "n3"]).await;
        assert_eq!(crate::http::get(node.http, "/livez").lines().next(), Some("HTTP/1.1 200 OK"));
    }
    cluster.nodes[2].start();
    for node in &cluster.nodes {
        node.wait_ready();
    }
    cluster.client().put("key", "value").await.expect("founded");
    // From now on two are enough.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for place in [1, 2] {
        cluster.nodes[place].start();
    }
    cluster.nodes[1].wait_ready();
    cluster.nodes[2].wait_ready();
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_founders_found_nothing_beside_one_that_holds_data() {
    let mut cluster = Cluster::start(3);
    cluster.client().put("key", "value").await.expect("put");
    cluster.wait_converged().await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    for place in [1, 2] {
        fs::remove_dir_all(&cluster.nodes[place].data_dir).expect("removed");
        cluster.nodes[place].start();
    }
    for place in [1, 2] {
        wait_logged(&cluster.nodes[place], &["WARN", "every founder has answered", "n1"]).await;
    }
    cluster.nodes[0].start();
    for place in [1, 2] {
        assert_eq!(cluster.nodes[place].wait_exit().code(), Some(14));
        let line = last_line(&cluster.nodes[place]);
        assert!(line.contains("known with another data directory"), "{line}");
        assert!(line.contains("--join"), "it says what to do: {line}");
    }
    cluster.nodes[0].kill();
    let file = cluster.directory().join("held.snap");
    let (file, held) = (text(&file), text(&cluster.nodes[0].data_dir));
    let saved = done(&["-o", "json", "snapshot", "save", file, "--from-data-dir", held]);
    let saved: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
    assert_eq!(saved["keys"], 1, "what there was is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_given_key_and_an_empty_directory_founds_nothing_unasked() {
    let mut cluster = Cluster::of_one();
    let place = cluster.join("n2");
    // It has lost its disk, and is started the way it was restarted for years.
    cluster.nodes[place].kill();
    fs::remove_dir_all(&cluster.nodes[place].data_dir).expect("removed");
    cluster.nodes[place].clear_join();
    cluster.nodes[place].start();
    assert_eq!(cluster.nodes[place].wait_exit().code(), Some(2));
    let line = last_line(&cluster.nodes[place]);
    assert!(line.contains("--join MEMBER") && line.contains("--initial-cluster n2="), "{line}");
    assert!(!cluster.nodes[place].data_dir.exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_alone_and_an_address_of_nobody_are_refused_by_name() {
    let cluster = Cluster::new(1);
    let cases = [
        ("learner = true", "a learner founds no cluster"),
        ("advertise_client = \"0.0.0.0:4601\"", "advertise_client is 0.0.0.0:4601"),
        ("advertise_peer = \"[::]:4602\"", "advertise_peer is [::]:4602"),
    ];
    for (place, (text, reason)) in cases.into_iter().enumerate() {
        let mut node = Node::new(&format!("n{place}"), cluster.directory());
        node.set_config(&format!("{text}\n"));
        node.start();
        assert_eq!(node.wait_exit().code(), Some(2), "{text}");
        assert!(last_line(&node).contains(reason), "{text}: {}", node.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_with_its_own_fresh_keys_founds_alone() {
    let cluster = Cluster::new(1);
    let mut node = Node::new("alone", cluster.directory());
    node.set_own_keys();
    node.start();
    node.wait_ready();
    assert!(node.data_dir.join("cluster-key.toml").exists());
}

/// A link to `key` at the node, and the status line of what it is answered with.
fn status_over_http(node: &Node, key: &str) -> String {
    let endpoint = node.http.to_string();
    let link = done(&["presign", key, "--http-endpoint", &endpoint]);
    crate::http::follow(&link).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_before_there_is_a_user_is_told_to_come_again_and_is_not_audited() {
    let mut cluster = Cluster::new(2);
    cluster.nodes[0].start();
    let node = &cluster.nodes[0];
    eventually("it listens", async || std::net::TcpStream::connect(node.http).ok().map(drop)).await;
    let client = node.client.to_string();
    let put = chainfire(&["--endpoints", &client, "--timeout", "1s", "put", "key", "value"]);
    let error = String::from_utf8_lossy(&put.stderr).into_owned();
    assert!(!put.status.success() && error.contains("not ready yet"), "{error}");
    assert_eq!(status_over_http(node, "key"), "HTTP/1.1 503 Service Unavailable");
    let ready = crate::http::get(node.http, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    cluster.nodes[1].start();
    for node in &cluster.nodes {
        node.wait_ready();
    }
    cluster.client().put("key", "value").await.expect("served");
    for node in &cluster.nodes {
        let audited = fs::read_to_string(node.data_dir.join("audit.log")).expect("readable");
        assert!(!audited.contains("\"decision\":\"refused\""), "{audited}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signed_requests_after_ready_are_served_over_rpc_and_over_http() {
    for _ in 0..4 {
        let cluster = Cluster::of_one();
        let node = &cluster.nodes[0];
        assert_eq!(status_over_http(node, "key"), "HTTP/1.1 404 Not Found", "let in, not there");
        let ready = crate::http::get(node.http, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        // Without a retry: the handshake alone tells.
        let client = node.client.to_string();
        done(&["--endpoints", &client, "put", "key", "value"]);
        let scrape = crate::http::get(node.http, "/metrics");
        let refused = "chainfire_refused_connections_total{listener=\"client\"";
        assert!(!scrape.contains(refused), "nobody was turned away");
        assert_eq!(status_over_http(node, "key"), "HTTP/1.1 200 OK");
    }
}
