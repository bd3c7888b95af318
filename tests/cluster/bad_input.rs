//! What is wrong, hostile or too large: a clear line for whoever sent it, and nobody else notices.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use chainfire::client::{Step, Txn};
use rand::{Rng as _, RngExt as _, SeedableRng};

use crate::harness::{Cluster, Load, Node, PATIENCE, chainfire, chainfire_with_input};

/// What a node may grow by while it is fed rubbish: its ordinary buffers, and nothing that an
/// announced length decides.
const GROWTH_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// The one line of a refused command.
fn refusal(output: &Output, code: i32) -> String {
    let line = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_with_its_limit_and_nothing_is_applied() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    let revision = client.put("before", "x").await.expect("acknowledged").revision;

    let key = client.put(vec![b'k'; 1_025], "v").await.expect_err("too long").to_string();
    assert!(key.contains("1024"), "{key}");
    let value = client.put("k", vec![0; 1_572_864]).await.expect_err("too large").to_string();
    assert!(value.contains("1572864"), "{value}");
    for bytes in [2 * 1024 * 1024, 64 * 1024 * 1024] {
        let huge = client.put("k", vec![0; bytes]).await.expect_err("far too large");
        assert!(!huge.is_unknown() && huge.to_string().contains("at most"), "{huge}");
    }
    let steps = (0..129).map(|n| Step::put(format!("k{n}"), "v"));
    let txn = client.txn(Txn::new().then(steps)).await.expect_err("too many").to_string();
    assert!(txn.contains("128"), "{txn}");
    let mut nested = Txn::new().then([Step::put("deep", "v")]);
    for _ in 0..64 {
        nested = Txn::new().then([Step::txn(nested)]);
    }
    let depth = client.txn(nested).await.expect_err("nested too deep").to_string();
    assert!(depth.contains("nested"), "{depth}");
    client.put("", "v").await.expect_err("an empty key");
    let exact = client.put(vec![b'k'; 1_024], "v").await.expect("exactly the limit is allowed");
    assert_eq!(exact.revision, revision + 1, "nothing of the refused was applied");
}

#[test]
fn the_command_line_says_what_is_wrong_in_one_line() {
    let cluster = Cluster::start(1);
    let endpoints = cluster.endpoints();
    let run = |arguments: &[&str]| {
        let mut all = vec!["--endpoints", &endpoints];
        all.extend(arguments);
        chainfire(&all)
    };
    refusal(&run(&["put", &"k".repeat(1_025), "v"]), 1);
    refusal(&run(&["put"]), 2);
    refusal(&run(&["put", "k", "v", "--no-such-flag"]), 2);
    refusal(&run(&["no-such-command"]), 2);
    refusal(&run(&["get", "k", "--rev", "-1"]), 2);
    let future = refusal(&run(&["get", "k", "--rev", "999"]), 1);
    assert!(future.contains("999"), "{future}");
    let nobody = chainfire(&["--endpoints", "127.0.0.1:1", "--timeout", "1s", "get", "k"]);
    let line = refusal(&nobody, 1);
    assert!(line.contains("127.0.0.1:1"), "{line}");
    let garbage = ["--endpoints", &endpoints, "txn"];
    refusal(&chainfire_with_input(&garbage, b"\xff\xfe nonsense\n\n\n\n"), 2);
    let import = ["--endpoints", &endpoints, "import"];
    let imported = chainfire_with_input(&import, b"{\"key\":\"!\"}\n");
    assert_eq!(imported.status.code(), Some(1));
    // Below the line that says how far it came.
    let said = String::from_utf8_lossy(&imported.stderr).into_owned();
    let line = said.lines().last().expect("a refusal says why");
    assert!(line.contains("line 1"), "it names the line: {line}");
}

/// Starts a node that must refuse to start, and gives the last line it said.
fn serve_refusal(node: &mut Node, code: i32) -> String {
    node.start();
    let status = node.wait_exit();
    let log = node.log();
    assert_eq!(status.code(), Some(code), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    log.lines().last().expect("a refusal says why").to_owned()
}

#[test]
fn a_wrong_configuration_is_refused_with_what_to_change() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cases = [
        ("nme = 'x'\n", "nme"),
        ("[raft]\nheartbeat_ms = 'soon'\n", ".toml:2: "),
        ("[raft]\nelection_timeout_min_ms = 1\n", "election_timeout_min_ms"),
        ("not toml at all", ".toml:1: "),
    ];
    for (number, (text, expected)) in cases.into_iter().enumerate() {
        let mut node = Node::new(&format!("n{number}"), directory.path());
        node.set_config(text);
        let line = serve_refusal(&mut node, 2);
        assert!(line.contains(expected), "{line}");
    }
    let open = chainfire(&["serve", "--insecure-no-auth", "--listen-client", "0.0.0.0:0"]);
    let line = refusal(&open, 2);
    assert!(line.contains("loopback"), "{line}");
}

#[test]
fn a_port_in_use_and_a_directory_that_cannot_be_are_refused() {
    let cluster = Cluster::start(1);
    let directory = cluster.directory().join("other");
    fs::create_dir(&directory).expect("writable");
    let mut node = Node::new("n1", &directory);
    node.client = cluster.nodes[0].client;
    let line = serve_refusal(&mut node, 1);
    assert!(line.contains(&cluster.nodes[0].client.to_string()), "{line}");

    let mut node = Node::new("n2", &directory);
    let file = directory.join("a-file");
    fs::write(&file, "x").expect("writable");
    node.data_dir = file.join("data");
    let line = serve_refusal(&mut node, 1);
    assert!(line.contains("a-file"), "{line}");
}

/// Sends bytes and reads until the node hangs up or patience ends; answers whether it hung up.
fn hangs_up_on(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).expect("the listener is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is allowed");
    // The node may hang up while we are still sending.
    let _ = stream.write_all(bytes);
    let mut sink = Vec::new();
    match stream.read_to_end(&mut sink) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Anonymous memory of a process, in bytes.
fn private_bytes(node: &Node) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", node.pid());
    let text = fs::read_to_string(path).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_every_port_disturbs_nobody() {
    const SEED: u64 = 4601;
    println!("seed {SEED}");
    let cluster = Cluster::start(3);
    let client = cluster.client();
    let leader = cluster.leader().await;
    let load = Load::start(&client, "load", 8);
    load.wait_for_more(50).await;
    let node = &cluster.nodes[leader];
    let before = private_bytes(node);

    let rounds = tokio::task::block_in_place(|| {
        let mut random = rand::rngs::StdRng::seed_from_u64(SEED);
        let mut rounds = 0;
        for address in [node.client, node.peer, node.http] {
            for _ in 0..50 {
                let mut bytes = vec![0; random.random_range(1..4_096)];
                random.fill_bytes(&mut bytes);
                assert!(hangs_up_on(address, &bytes), "{address} still listens to rubbish");
                rounds += 1;
            }
            // Frames that announce 4 GiB, in either byte order, and send next to nothing.
            for length in [[0xFF; 4], [0xFF, 0xFF, 0xFF, 0x7F], [0, 0, 0, 0xFF]] {
                let mut bytes = length.to_vec();
                bytes.extend([7; 64]);
                assert!(hangs_up_on(address, &bytes));
            }
        }
        rounds
    });
    assert_eq!(rounds, 150);
    load.wait_for_more(50).await;
    let grown = private_bytes(node).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the node grew by {grown} bytes");
    let written = load.finish().await;
    assert_eq!(written.failed, Vec::<String>::new());
    assert!(written.unknown.is_empty(), "{:?}", written.unknown);
    written.check(&client, "load").await;
    assert_eq!(cluster.leader().await, leader, "nobody noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_are_closed_and_take_no_place() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].set_config("[limits]\nhandshake_timeout_ms = 500\n");
    cluster.start_all();
    let node = &cluster.nodes[0];
    let silent: Vec<TcpStream> = [node.client, node.peer]
        .into_iter()
        .cycle()
        .take(100)
        .map(|address| TcpStream::connect(address).expect("the listener is there"))
        .collect();
    cluster.client().put("key", "value").await.expect("others are served meanwhile");
    tokio::task::block_in_place(|| {
        for mut stream in silent {
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is allowed");
            let mut sink = Vec::new();
            let ended = stream.read_to_end(&mut sink);
            let reset = std::io::ErrorKind::ConnectionReset;
            assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == reset));
        }
    });
    cluster.client().put("key", "value").await.expect("and afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_deadline_is_no_trouble() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    for timeout in [Duration::from_secs(u64::from(u32::MAX)), Duration::from_nanos(1)] {
        // Too short to be done is allowed to fail; a panic of the node is not.
        let _ = client.put("key", "value").timeout(timeout).await;
    }
    client.put("key", "value").await.expect("the node still serves");
    assert!(!cluster.nodes[0].log().contains("panicked"));
}
