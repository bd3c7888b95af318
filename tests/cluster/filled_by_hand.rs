//! Members whose data directory was filled by hand, from a backup or from a copy: what is there is
//! not sent again, and what does not belong to the cluster's log is replaced.

use std::fs;
use std::path::{Path, PathBuf};

use chainfire::types::{ClusterRequest, JoinPhase, JoinTarget};

use crate::backup::{done, refused, text};
use crate::harness::{Cluster, Node, cluster_key_file, eventually};
use crate::join::{check_equal, join_of, metric, put_all};

const RECEIVED: &str = "chainfire_snapshot_received_bytes_total";
const INSTALLED: &str = "chainfire_snapshots_total{kind=\"installed\"}";

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable directory");
    for entry in fs::read_dir(from).expect("there") {
        let entry = entry.expect("there");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

/// What `snapshot restore` and `snapshot detach` print, and the command in it.
fn printed_command(printed: &str) -> String {
    let (_, command) = printed.trim_end().split_once("start it with: ").expect("a command");
    command.to_owned()
}

/// Takes a copy away from the member it is of; answers the printed command.
fn detach(copy: &Path, name: &str) -> String {
    let key = text(cluster_key_file());
    let arguments = ["snapshot", "detach", text(copy), "--name", name, "--cluster-key", key];
    printed_command(&done(&arguments))
}

/// Adds a node that is started by a printed command, and starts it.
fn start_by(cluster: &mut Cluster, name: &str, data_dir: &Path, command: &str) -> usize {
    let mut node = Node::at(name, cluster.directory(), data_dir);
    node.set_command(command);
    node.start();
    cluster.nodes.push(node);
    cluster.nodes.len() - 1
}

/// The copy of the first node's directory, taken while it is stopped.
fn copy_of_the_first(cluster: &mut Cluster, name: &str) -> PathBuf {
    let data_dir = cluster.directory().join(name);
    assert!(cluster.nodes[0].terminate().success());
    copy(&cluster.nodes[0].data_dir, &data_dir);
    cluster.nodes[0].start();
    cluster.nodes[0].wait_ready();
    data_dir
}

/// The node has become a member, and received no byte of a snapshot.
async fn check_only_the_tail_was_sent(cluster: &Cluster, place: usize) {
    let node = &cluster.nodes[place];
    assert_eq!((metric(node, RECEIVED), metric(node, INSTALLED)), (0.0, 0.0), "no snapshot");
    let join = join_of(&cluster.client(), &node.name).await.expect("it is remembered");
    assert_eq!(join.join.progress.phase, JoinPhase::Joined);
    assert_eq!((join.join.progress.bytes, join.join.progress.source), (0, None));
    let given = join.join.progress.snapshot.expect("where it stood").index;
    let last = cluster.client_of(0).status().await.expect("answered").last_log_index;
    let appended = metric(node, "chainfire_log_commit_entries_sum");
    assert!(appended <= (last - given) as f64, "{appended} of {} entries", last - given);
    assert!(node.log().contains("only its tail is sent"), "it says so");
    check_equal(cluster).await;
}

/// The node has become a member by a snapshot, and said why.
async fn check_it_was_replaced(cluster: &Cluster, place: usize, reason: &str) {
    let node = &cluster.nodes[place];
    assert!(metric(node, RECEIVED) > 0.0 && metric(node, INSTALLED) == 1.0, "a whole snapshot");
    let log = node.log();
    let line = log.lines().find(|line| line.contains("does not continue the state"));
    let line = line.unwrap_or_else(|| panic!("it does not say so: {log}"));
    assert!(line.contains(reason), "{line}");
    check_equal(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_becomes_a_member_by_the_printed_command_and_only_the_tail_is_sent() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    put_all(&client, 100, 1_000).await;
    let backup = cluster.directory().join("backup.snap");
    done(&["--endpoints", &cluster.endpoints(), "snapshot", "save", text(&backup)]);
    put_all(&client, 20, 500).await;
    let data_dir = cluster.directory().join("n2");
    let printed = done(&[
        "snapshot",
        "restore",
        text(&backup),
        "--data-dir",
        text(&data_dir),
        "--name",
        "n2",
        "--cluster-key",
        text(cluster_key_file()),
    ]);
    let command = printed_command(&printed);
    assert!(command.contains(&format!("--join {}", cluster.endpoints())), "{command}");
    let place = start_by(&mut cluster, "n2", &data_dir, &command);
    cluster.nodes[place].wait_ready();
    check_only_the_tail_was_sent(&cluster, place).await;
    // It is a member like any other, also after a restart by the same command.
    assert!(cluster.nodes[place].terminate().success());
    cluster.nodes[place].start();
    cluster.nodes[place].wait_ready();
    client.put("after", "x").await.expect("both vote");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_of_a_stopped_member_becomes_another_one_and_only_the_tail_is_sent() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    put_all(&client, 100, 1_000).await;
    let data_dir = copy_of_the_first(&mut cluster, "n2");
    put_all(&client, 20, 500).await;
    let command = detach(&data_dir, "n2");
    let place = start_by(&mut cluster, "n2", &data_dir, &command);
    cluster.nodes[place].wait_ready();
    check_only_the_tail_was_sent(&cluster, place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_directory_waits_for_member_add_and_only_the_tail_is_sent() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    put_all(&client, 100, 1_000).await;
    let data_dir = copy_of_the_first(&mut cluster, "n2");
    let command = detach(&data_dir, "n2").replace("--join", "--bootstrap-from");
    let place = start_by(&mut cluster, "n2", &data_dir, &command);
    eventually("it waits to be added", async || {
        let join = join_of(&client, "n2").await?;
        (join.join.progress.phase == JoinPhase::Waiting).then_some(())
    })
    .await;
    eventually("it says for what it waits", async || {
        cluster.nodes[place].log().contains("'chainfire member add n2'").then_some(())
    })
    .await;
    put_all(&client, 20, 500).await;
    let add = ClusterRequest::AddWaiting { node: "n2".into(), target: JoinTarget::Voter };
    client.change_members(add).await.expect("added");
    cluster.nodes[place].wait_ready();
    check_only_the_tail_was_sent(&cluster, place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_the_log_has_left_behind_is_replaced_and_the_node_says_so() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].set_config(
        "[raft]\nlog_bytes_max = 1048576\nlog_kept_entries = 0\nsnapshot_every_entries = 10\n",
    );
    cluster.start_all();
    let client = cluster.client();
    put_all(&client, 10, 1_000).await;
    let backup = cluster.directory().join("backup.snap");
    done(&["--endpoints", &cluster.endpoints(), "snapshot", "save", text(&backup)]);
    let held = client.status().await.expect("answered").last_log_index;
    eventually("the log begins later", async || {
        put_all(&client, 20, 20_000).await;
        let purged = metric(&cluster.nodes[0], "chainfire_raft_purged_log_index");
        (purged > held as f64).then_some(())
    })
    .await;
    let data_dir = cluster.directory().join("n2");
    let key = text(cluster_key_file());
    let printed = done(&[
        "snapshot",
        "restore",
        text(&backup),
        "--data-dir",
        text(&data_dir),
        "--name",
        "n2",
        "--cluster-key",
        key,
    ]);
    let place = start_by(&mut cluster, "n2", &data_dir, &printed_command(&printed));
    cluster.nodes[place].wait_ready();
    check_it_was_replaced(&cluster, place, "the log begins behind entry").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_went_another_way_is_replaced_though_the_log_has_its_index() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    put_all(&client, 20, 500).await;
    assert!(cluster.nodes[0].terminate().success());
    let data_dir = cluster.directory().join("n2");
    copy(&cluster.nodes[0].data_dir, &data_dir);
    // The copy runs for a while as the node it was, where nobody can tell.
    let double = Node::at("n1", data_dir.parent().expect("there"), &data_dir);
    let mut other = Cluster::of(vec![double]);
    for _ in 0..3 {
        other.nodes[0].start();
        other.nodes[0].wait_ready();
        other.client().put("key/0000", "of another history").await.expect("put");
        assert!(other.nodes[0].terminate().success());
    }
    cluster.nodes[0].start();
    cluster.nodes[0].wait_ready();
    put_all(&client, 40, 500).await;
    let command = detach(&data_dir, "n2").replace(
        &format!("--join {}", other.endpoints()),
        &format!("--join {}", cluster.endpoints()),
    );
    let place = start_by(&mut cluster, "n2", &data_dir, &command);
    cluster.nodes[place].wait_ready();
    check_it_was_replaced(&cluster, place, "and that of the log of term").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_cluster_is_refused_by_name_and_nothing_is_begun() {
    let mut one = Cluster::of_one();
    let other = Cluster::of_one();
    put_all(&one.client(), 5, 100).await;
    let data_dir = copy_of_the_first(&mut one, "n2");
    let command = detach(&data_dir, "n2").replace(&one.endpoints(), &other.endpoints());
    let place = start_by(&mut one, "n2", &data_dir, &command);
    assert_eq!(one.nodes[place].wait_exit().code(), Some(1));
    let log = one.nodes[place].log();
    let last = log.lines().last().expect("a reason");
    assert!(last.contains("the node belongs to cluster"), "{last}");
    assert!(other.client().joins().await.expect("answered").is_empty(), "nothing was begun");
    // It is as it was, and joins the cluster it is of.
    let joins = command.replace(&other.endpoints(), &one.nodes[0].client.to_string());
    one.nodes[place].set_command(&joins);
    one.nodes[place].start();
    one.nodes[place].wait_ready();
    check_only_the_tail_was_sent(&one, place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_member_that_runs_or_was_killed_is_refused_by_name() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    put_all(&client, 50, 1_000).await;
    let detached = |name: &str| {
        let data_dir = cluster.directory().join(name);
        copy(&cluster.nodes[0].data_dir, &data_dir);
        refused(&["snapshot", "detach", text(&data_dir), "--name", name])
    };
    let line = detached("of-a-running-one");
    assert!(line.contains("was copied while its node ran"), "{line}");
    cluster.nodes[0].kill();
    let data_dir = cluster.directory().join("of-a-killed-one");
    copy(&cluster.nodes[0].data_dir, &data_dir);
    let line = refused(&["snapshot", "detach", text(&data_dir), "--name", "n2"]);
    assert!(line.contains("did not stop in order"), "{line}");
    // Started and stopped, it is one that can be copied.
    cluster.nodes[0].start();
    cluster.nodes[0].wait_ready();
    let data_dir = copy_of_the_first(&mut cluster, "n2");
    detach(&data_dir, "n2");
}
