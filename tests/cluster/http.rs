//! What probes and Prometheus see of a real node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Cluster, eventually};

/// The whole answer to a GET.
pub fn get(address: SocketAddr, path: &str) -> String {
    get_of("test", address, path)
}

/// The whole answer to what a presigned link asks of a node.
pub fn follow(link: &str) -> String {
    let (host, path) =
        link.trim().strip_prefix("http://").and_then(|it| it.split_once('/')).expect("a link");
    get_of(host, host.parse().expect("an address"), &format!("/{path}"))
}

fn get_of(host: &str, address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the listener is there");
    let close = "Connection: close";
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The value of a series in a scrape.
pub fn sample(scrape: &str, series: &str) -> Option<f64> {
    let line = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_shows_what_the_node_did() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    let leader = cluster.leader().await;
    for number in 0..50 {
        client.put(format!("key-{number}"), "value").await.expect("acknowledged");
    }
    client.get("key-1").await.expect("answered");
    // What the node did reaches the state's tables a moment later.
    let scrape = loop {
        let scrape = get(cluster.nodes[leader].http, "/metrics");
        let used = sample(&scrape, "chainfire_database_used_bytes{environment=\"state\"}");
        if used.is_some_and(|bytes| bytes >= 1.0) {
            break scrape;
        }
    };
    let at_least = |series: &str, least: f64| {
        let value = sample(&scrape, series).unwrap_or_else(|| panic!("no {series} in\n{scrape}"));
        assert!(value >= least, "{series} is {value}");
    };
    at_least("chainfire_raft_has_leader", 1.0);
    at_least("chainfire_raft_is_leader", 1.0);
    at_least("chainfire_raft_leader_changes_total", 1.0);
    at_least("chainfire_raft_term", 1.0);
    at_least("chainfire_raft_proposals_committed_total", 50.0);
    at_least("chainfire_raft_proposals_applied_total", 50.0);
    at_least("chainfire_log_commit_seconds_count", 1.0);
    at_least("chainfire_log_commit_seconds_sum", f64::MIN_POSITIVE);
    at_least("chainfire_log_written_bytes_total", 50.0 * 5.0);
    at_least("chainfire_database_bytes{environment=\"log\"}", 1.0);
    at_least("chainfire_database_bytes{environment=\"state\"}", 1.0);
    at_least("chainfire_database_used_bytes{environment=\"state\"}", 1.0);
    at_least("chainfire_database_limit_bytes{environment=\"state\"}", 1.0);
    at_least("chainfire_open_read_transactions{environment=\"state\"}", 0.0);
    at_least("process_resident_memory_bytes", 1.0);
    // An election at the wrong moment fails a proposal; the client's retry made up for it.
    at_least("chainfire_raft_proposals_failed_total", 0.0);
    for family in [
        "chainfire_peer_round_trip_seconds_count{peer=",
        "chainfire_mailbox_depth{actor=",
        "chainfire_requests_total{method=\"write\",result=\"ok\"}",
        "chainfire_request_seconds_bucket{method=\"write\"",
    ] {
        assert!(scrape.contains(family), "no {family} in\n{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_while_it_can_read_and_live_while_it_runs() {
    let mut cluster = Cluster::start(3);
    let status = |address, path| get(address, path).lines().next().map(str::to_owned);
    let is_ready = |address| status(address, "/readyz").is_some_and(|line| line.contains(" 200"));
    let watched = cluster.nodes[0].http;
    eventually("ready", async || is_ready(watched).then_some(())).await;

    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    eventually("not ready without a majority", async || (!is_ready(watched)).then_some(())).await;
    assert!(status(watched, "/livez").is_some_and(|line| line.contains(" 200")));

    cluster.nodes[1].restart();
    eventually("ready again", async || is_ready(watched).then_some(())).await;
    assert!(get(watched, "/version").contains(env!("CARGO_PKG_VERSION")));
}
