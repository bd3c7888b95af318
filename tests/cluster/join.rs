//! Nodes that join a cluster pre-seeded, and what may happen meanwhile.

use std::time::Duration;

use chainfire::auth::ClusterKey;
use chainfire::client::Client;
use chainfire::types::{ClusterRequest, JoinPhase, JoinStatus, MemberRole};

use crate::harness::{Cluster, Load, Node, chainfire, dump, eventually};

/// So slow that a snapshot of [`fill_slowly`] takes several seconds.
const SLOW: &str = "[snapshot]\ntransfer_bytes_per_second = 1048576\n";
/// Pairs that [`fill`] puts.
const PAIRS: u64 = 384;

/// Many small pairs.
async fn fill(client: &Client) {
    put_all(client, PAIRS, 64).await;
}

/// A few MiB that do not compress.
async fn fill_slowly(client: &Client) {
    put_all(client, 96, 64 * 1_024).await;
}

pub async fn put_all(client: &Client, pairs: u64, bytes: usize) {
    let mut seed = 7_u64;
    for number in 0..pairs {
        let value: Vec<u8> = (0..bytes)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        client.put(format!("key/{number:04}"), value).await.expect("acknowledged");
    }
}

/// Three founders that send snapshots slowly, with data.
async fn slow_cluster(count: usize) -> Cluster {
    let mut cluster = Cluster::new(count);
    for node in &mut cluster.nodes {
        node.set_config(SLOW);
    }
    cluster.start_all();
    fill_slowly(&cluster.client()).await;
    cluster
}

pub async fn join_of(client: &Client, name: &str) -> Option<JoinStatus> {
    let joins = client.joins().await.ok()?;
    joins.into_iter().rfind(|join| join.join.request.name == name)
}

/// Waits until the snapshot is on its way to the node.
async fn wait_transferring(client: &Client, name: &str) {
    eventually("the snapshot is being sent", async || {
        let join = join_of(client, name).await?;
        (join.stage == "transferring" && join.sent_bytes > 0).then_some(())
    })
    .await;
}

/// Every running node holds the same pairs.
pub async fn check_equal(cluster: &Cluster) {
    cluster.wait_converged().await;
    let first = dump(&cluster.client_of(0)).await.expect("answered");
    for place in 1..cluster.nodes.len() {
        let other = dump(&cluster.client_of(place)).await.expect("answered");
        assert!(first == other, "{} differs from the first", cluster.nodes[place].name);
    }
}

/// The value of a series on a node's metrics; 0 when it is not there.
pub fn metric(node: &Node, series: &str) -> f64 {
    let scrape = crate::http::get(node.http, "/metrics");
    crate::http::sample(&scrape, series).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_joins_a_first_one_that_has_data() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    fill(&client).await;
    let load = Load::start(&client, "load/", 4);
    load.wait_for_more(200).await;
    let place = cluster.join("n2");
    load.wait_for_more(200).await;
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);

    let members = cluster.client_of(place).members().await.expect("answered");
    let known: Vec<_> = members.iter().map(|it| (it.id, it.name.as_str(), it.role)).collect();
    assert_eq!(known, [(1, "n1", MemberRole::Voter), (2, "n2", MemberRole::Voter)]);
    check_equal(&cluster).await;
    written.check(&cluster.client_of(place), "load/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tail_is_replicated_to_a_node_that_joins() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    fill(&client).await;
    cluster.join("n2");
    let join = join_of(&client, "n2").await.expect("it is remembered");
    assert_eq!(join.join.progress.phase, JoinPhase::Joined);
    let snapshot = join.join.progress.snapshot.expect("it was given one").index;
    let last = client.status().await.expect("answered").last_log_index;
    let sent = metric(&cluster.nodes[0], "chainfire_entries_sent_total{peer=\"2\"}");
    let tail = last - snapshot;
    let appended = metric(&cluster.nodes[1], "chainfire_log_commit_entries_sum");
    assert!(snapshot > PAIRS && tail > 0, "{snapshot} {tail}");
    assert_eq!(appended, tail as f64, "entries that the node wrote into its log");
    // Consensus finds where the log continues by halving, with up to 8 entries a question.
    let questions = 64 - last.leading_zeros();
    let most = tail + u64::from(8 * questions);
    assert!(sent <= most as f64, "{sent} entries were sent for a tail of {tail}");
    let given = "chainfire_consensus_snapshots_sent_total{peer=\"2\"}";
    assert_eq!(metric(&cluster.nodes[0], given), 0.0);
    assert_eq!(metric(&cluster.nodes[0], "chainfire_joins_total{outcome=\"joined\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_join_at_once_under_load() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    fill(&client).await;
    let load = Load::start(&client, "load/", 4);
    for name in ["n2", "n3", "n4"] {
        let place = cluster.add_joining(name);
        cluster.nodes[place].start();
    }
    for node in &cluster.nodes[1..] {
        node.wait_ready();
    }
    load.wait_for_more(100).await;
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    let members = client.members().await.expect("answered");
    assert!(members.iter().all(|member| member.role == MemberRole::Voter), "{members:?}");
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    check_equal(&cluster).await;
    written.check(&cluster.client_of(3), "load/").await;
}

/// The leader dies at a place of its own choosing, and the next one goes on from there; at other
/// places it does in `join_faults`.
#[cfg(debug_assertions)]
async fn a_leader_dies_at(place: &str) {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    fill(&client).await;
    let victim = usize::from(cluster.leader().await == 0);
    cluster.nodes[victim].kill();
    cluster.nodes[victim].set_crash_point(Some(place));
    cluster.nodes[victim].start();
    cluster.nodes[victim].wait_ready();
    let to = Some(cluster.nodes[victim].name.clone());
    let moved = eventually("the victim leads", async || {
        client.change_members(ClusterRequest::MoveLeader { to: to.clone() }).await.ok()
    });
    moved.await;

    let load = Load::start(&client, "load/", 4);
    let joining = cluster.add_joining("n4");
    cluster.nodes[joining].start();
    cluster.nodes[victim].wait_line(&format!("crash point {place}"));
    cluster.nodes[victim].kill();
    cluster.nodes[joining].wait_ready();
    cluster.nodes[victim].set_crash_point(None);
    cluster.nodes[victim].start();
    cluster.nodes[victim].wait_ready();
    load.wait_for_more(50).await;
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{place}: {:?}", written.failed);
    check_equal(&cluster).await;
    for place in 0..cluster.nodes.len() {
        written.check(&cluster.client_of(place), "load/").await;
    }
    let join = join_of(&client, "n4").await.expect("it is remembered");
    assert_eq!((join.join.progress.phase, join.join.node_id), (JoinPhase::Joined, 4));
    assert_eq!(join.join.progress.held_index, None);
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_a_join_whose_leader_died_before_the_snapshot() {
    a_leader_dies_at("join.seed").await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_a_join_whose_leader_died_after_the_snapshot() {
    a_leader_dies_at("join.seeded").await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_a_join_whose_leader_died_having_added_the_learner() {
    a_leader_dies_at("join.added").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_killed_while_it_sends_is_replaced_by_another() {
    let mut cluster = slow_cluster(3).await;
    let client = cluster.client();
    let leader = cluster.leader().await;
    let joining = cluster.add_joining("n4");
    cluster.nodes[joining].start();
    wait_transferring(&client, "n4").await;
    let join = join_of(&client, "n4").await.expect("under way");
    let source = usize::try_from(join.source.expect("it is sent")).expect("small") - 1;
    assert_ne!(source, leader, "a follower spares the leader");
    cluster.nodes[source].kill();
    cluster.nodes[joining].wait_ready();
    cluster.nodes[source].start();
    cluster.nodes[source].wait_ready();
    check_equal(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_join_leaves_nothing_behind() {
    let mut cluster = slow_cluster(1).await;
    let client = cluster.client();
    let joining = cluster.add_joining("n2");
    cluster.nodes[joining].start();
    wait_transferring(&client, "n2").await;
    let members = client.members().await.expect("answered");
    assert_eq!(members.last().map(|member| member.role), Some(MemberRole::Joining));
    let endpoint = cluster.nodes[0].client.to_string();
    let table = chainfire(&["--endpoints", &endpoint, "join", "status"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("transferring") && table.contains("n2"), "{table}");
    let transferring = || metric(&cluster.nodes[0], "chainfire_joins_open{stage=\"transferring\"}");
    eventually("the metrics say so", async || (transferring() > 0.0).then_some(())).await;

    let cancelled = chainfire(&["--endpoints", &endpoint, "member", "cancel", "n2"]);
    assert_eq!(String::from_utf8_lossy(&cancelled.stdout), "node 2 is no longer joining\n");
    assert_eq!(cluster.nodes[joining].wait_exit().code(), Some(15));
    let left = std::fs::read_dir(&cluster.nodes[joining].data_dir).expect("it is there").count();
    assert_eq!(left, 0, "files in the data directory");
    let join = join_of(&client, "n2").await.expect("it is remembered");
    assert_eq!(join.join.progress.phase, JoinPhase::Cancelled);
    assert_eq!(client.members().await.expect("answered").len(), 1);

    // The machine may try again, as another node.
    cluster.nodes[joining].start();
    cluster.nodes[joining].wait_ready();
    assert_eq!(cluster.status_of(joining).await.expect("it serves").node_id, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_took_a_snapshot_waits_until_it_is_added() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    fill(&client).await;
    let waiting = cluster.add_joining("n2");
    let endpoint = cluster.nodes[0].client.to_string();
    cluster.nodes[waiting].set_bootstrap_from(&endpoint);
    cluster.nodes[waiting].start();
    let seeded = eventually("it holds a snapshot and waits", async || {
        let progress = join_of(&client, "n2").await?.join.progress;
        (progress.phase == JoinPhase::Waiting).then_some(progress.snapshot?.index)
    });
    let seeded = seeded.await;
    client.put("later", "x").await.expect("acknowledged");
    let added = chainfire(&["--endpoints", &endpoint, "member", "add", "n2"]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    cluster.nodes[waiting].wait_ready();
    let progress = join_of(&client, "n2").await.expect("it is remembered").join.progress;
    assert_eq!((progress.seeds, progress.snapshot.map(|it| it.index)), (1, Some(seeded)));
    check_equal(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_purged_past_the_snapshot_makes_another_snapshot() {
    let mut cluster = Cluster::new(1);
    let small_log = "[raft]\nlog_bytes_max = 2097152\nsnapshot_every_entries = 10\n";
    cluster.nodes[0].set_config(&format!("{SLOW}{small_log}"));
    cluster.start_all();
    let client = cluster.client();
    fill_slowly(&client).await;
    let joining = cluster.add_joining("n2");
    cluster.nodes[joining].start();
    wait_transferring(&client, "n2").await;
    let first = join_of(&client, "n2").await.expect("it is under way").total_bytes;
    fill_slowly(&client).await;
    cluster.nodes[joining].wait_ready();
    let progress = join_of(&client, "n2").await.expect("it is remembered").join.progress;
    assert!(first > 0 && progress.bytes > first, "another one than {first}: {progress:?}");
    let given = "chainfire_consensus_snapshots_sent_total{peer=\"2\"}";
    assert_eq!(metric(&cluster.nodes[0], given), 0.0, "consensus gives none");
    check_equal(&cluster).await;
}

/// How long the long version of coming and going goes on.
const SOAK: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_under_load() {
    come_and_go(|round| round < 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes of joins and removals"]
async fn nodes_come_and_go_under_load_for_five_minutes() {
    let end = tokio::time::Instant::now() + SOAK;
    come_and_go(|_| tokio::time::Instant::now() < end).await;
}

/// Joins and removals one after the other under load.
async fn come_and_go(goes_on: impl Fn(usize) -> bool) {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    let load = Load::start(&client, "load/", 4);
    let mut round = 0;
    while goes_on(round) {
        let name = format!("m{round}");
        let place = cluster.join(&name);
        load.wait_for_more(20).await;
        let remove = ClusterRequest::Remove { node: name, force: false };
        client.change_members(remove).await.expect("removed");
        assert_eq!(cluster.nodes[place].wait_exit().code(), Some(13));
        cluster.nodes.pop();
        round += 1;
    }
    println!("{round} rounds");
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    written.check(&client, "load/").await;
    let members = client.members().await.expect("answered");
    assert_eq!(members.len(), 1, "{members:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_asks_at_another_port_or_with_other_keys_is_told_at_once_and_ends() {
    let mut cluster = Cluster::of_one();
    let (client, peer) = (cluster.nodes[0].client, cluster.nodes[0].peer);
    let key_file = cluster.directory().join("other-key.toml");
    let other_key = ClusterKey::generate("scenarios", &mut rand::rng());
    other_key.create(&key_file).expect("a writable directory");
    let cases = [
        ("port", peer.to_string(), None, "this is the port for peers"),
        ("keys", client.to_string(), Some(&key_file), "the node does not accept this key"),
    ];
    for (name, contact, key, reason) in cases {
        let place = cluster.add_joining(name);
        let node = &mut cluster.nodes[place];
        node.set_join(&contact);
        if let Some(key) = key {
            node.set_cluster_key(key);
        }
        node.start();
        assert_eq!(node.wait_exit().code(), Some(1), "{name}");
        let log = node.log();
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains(reason));
        let last = log.lines().last().expect("a reason");
        assert!(warned && last.contains(reason) && last.contains("--join"), "{name}: {log}");
    }
}
