//! Backups: saved online, looked at, restored as a new cluster, and refused when they are damaged.

use std::fs;
use std::path::Path;

use chainfire::types::KeyValue;

use crate::harness::{Cluster, Load, Node, chainfire, dump};

/// How far the revision of a restored cluster is moved up.
const BUMPED: u64 = 1_000_000_000;

/// Runs a command that must succeed, and answers what it printed.
pub fn done(arguments: &[&str]) -> String {
    let output = chainfire(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that must be refused with exit code 1, and answers its one line.
pub fn refused(arguments: &[&str]) -> String {
    let output = chainfire(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let errors = String::from_utf8(output.stderr).expect("text");
    let line = errors.lines().last().expect("a reason").to_owned();
    assert!(line.starts_with("chainfire: "), "{errors}");
    line
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[tokio::test]
async fn a_backup_saved_under_load_becomes_a_new_cluster_whose_revision_is_moved_up() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    for number in 0..200 {
        client.put(format!("before/{number}"), vec![b'v'; 2_000]).await.expect("put");
    }
    client.delete("before/0").await.expect("deleted");
    let before: Vec<KeyValue> = dump(&client).await.expect("read");
    let load = Load::start(&client, "load", 4);
    load.wait_for_more(50).await;
    // From a follower as well: it must hold what the leader has acknowledged.
    let leader = cluster.leader().await;
    let follower = cluster.nodes[(leader + 1) % 3].client.to_string();
    let backup = cluster.directory().join("backup.snap");
    let saved = done(&["--endpoints", &follower, "snapshot", "save", text(&backup)]);
    assert!(saved.contains("(ok)"), "{saved}");
    let written = load.finish().await;
    assert_eq!(written.failed, [] as [String; 0]);
    let beside = fs::read_dir(cluster.directory()).expect("there");
    let names = beside.map(|entry| entry.expect("there").file_name().into_string().expect("text"));
    assert!(!names.into_iter().any(|name| name.ends_with(".part")), "nothing unfinished stays");

    let status = done(&["-o", "json", "snapshot", "status", text(&backup)]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["digest_ok"], true);
    let revision = status["revision"].as_u64().expect("a revision");
    let old_cluster = status["cluster_id"].as_str().expect("an id").to_owned();
    assert!(status["keys"].as_u64().expect("a number") >= 200);

    // Three founders, each from the same file with the same list.
    let mut restored = Cluster::new(3);
    let pairs: Vec<String> =
        restored.nodes.iter().map(|node| format!("{}={}", node.name, node.peer)).collect();
    for node in &restored.nodes {
        let made = done(&[
            "snapshot",
            "restore",
            text(&backup),
            "--data-dir",
            text(&node.data_dir),
            "--name",
            &node.name,
            "--new-cluster",
            "--initial-cluster",
            &pairs.join(","),
        ]);
        assert!(!made.contains(&old_cluster), "it has an identity of its own: {made}");
    }
    for node in &mut restored.nodes {
        // The directory knows its cluster.
        node.clear_initial_cluster();
    }
    restored.start_all();
    let client = restored.client();
    let pairs = dump(&client).await.expect("read");
    let kept = |pairs: &[KeyValue]| -> Vec<KeyValue> {
        pairs.iter().filter(|pair| pair.key.starts_with(b"before/")).cloned().collect()
    };
    assert_eq!(kept(&pairs), kept(&before), "values, versions and revisions are the same");
    let loaded = pairs.iter().filter(|pair| pair.key.starts_with(b"load/"));
    for pair in loaded {
        let key = String::from_utf8_lossy(&pair.key).into_owned();
        let known = written.acknowledged.get(&key);
        assert!(known.is_none_or(|(_, revision)| *revision == pair.mod_revision), "{key}");
    }
    // The old cluster goes on as well. What it names by a revision the new one never will.
    let old = cluster.client().put("after", "of the old one").await.expect("put");
    let new = client.put("after", "of the new one").await.expect("put");
    assert_eq!(new.revision, revision + BUMPED + 1, "the revision was moved up");
    assert!(old.revision > revision && old.revision < revision + BUMPED);
    let old_read = client.get("before/1").revision(revision).await;
    let error = old_read.expect_err("history is compacted").to_string();
    assert!(error.contains("compacted"), "whoever watches or reads there is told: {error}");
    let nobody =
        refused(&["snapshot", "restore", text(&backup), "--data-dir", text(cluster.directory())]);
    assert!(nobody.contains("is not empty"), "{nobody}");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_by_name_and_no_directory_is_made_of_it() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    for number in 0..50 {
        client.put(format!("key/{number}"), vec![b'v'; 500]).await.expect("put");
    }
    let backup = cluster.directory().join("backup.snap");
    let endpoint = cluster.endpoints();
    done(&["--endpoints", &endpoint, "snapshot", "save", text(&backup)]);
    let good = fs::read(&backup).expect("saved");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x10;
    let mut newer = good.clone();
    newer[11] = 2;
    let mut longer = good.clone();
    longer.push(0);
    let cases: [(&str, &[u8], &str); 5] = [
        ("flipped", &flipped, "corrupt"),
        ("cut", &good[..good.len() - 33], "truncated"),
        ("other", b"not a snapshot, but long enough to be read as one", "not a snapshot"),
        ("newer", &newer, "header is corrupt"),
        ("longer", &longer, "goes on after its end"),
    ];
    for (name, bytes, reason) in cases {
        let path = cluster.directory().join(name);
        fs::write(&path, bytes).expect("written");
        let line = refused(&["snapshot", "status", text(&path)]);
        assert!(line.contains(reason) && line.contains(name), "{name}: {line}");

        let mut node = Node::new(&format!("from-{name}"), cluster.directory());
        let restore = [
            "snapshot",
            "restore",
            text(&path),
            "--data-dir",
            text(&node.data_dir),
            "--new-cluster",
        ];
        let line = refused(&restore);
        assert!(line.contains(reason), "{name}: {line}");
        // Whether or not something was begun there: it is no data directory of anybody.
        if fs::read_dir(&node.data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
            let line = refused(&restore);
            assert!(line.contains("is not empty"), "{line}");
            node.set_initial_cluster(&format!("{}={}", node.name, node.peer));
            node.start();
            assert!(!node.wait_exit().success(), "half a restore is detected");
            assert!(node.log().contains("FORMAT is missing"), "{}", node.log());
        }
    }
}

#[tokio::test]
async fn a_restore_that_keeps_revisions_goes_on_where_the_backup_was() {
    let cluster = Cluster::of_one();
    let client = cluster.client();
    let first = client.put("key", "first").await.expect("put");
    let last = client.put("key", "second").await.expect("put");
    let backup = cluster.directory().join("backup.snap");
    done(&["--endpoints", &cluster.endpoints(), "snapshot", "save", text(&backup)]);
    let mut node = Node::new("restored", cluster.directory());
    let data_dir = text(&node.data_dir).to_owned();
    let restore = ["snapshot", "restore", text(&backup), "--data-dir", &data_dir];
    let restore = [&restore[..], &["--name", "restored", "--new-cluster", "--keep-revisions"]];
    done(&restore.concat());
    node.start();
    node.wait_ready();
    let restored = Cluster::of(vec![node]);
    let client = restored.client();
    let put = client.put("other", "x").await.expect("put");
    assert_eq!(put.revision, last.revision + 1);
    let old = client.get("key").revision(first.revision).await.expect("answered");
    assert_eq!(old.expect("the history is there").value, b"first"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cluster_that_lost_its_majority_a_new_one_is_made_with_all_that_the_survivor_held() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    for number in 0..50 {
        client.put(format!("key/{number}"), vec![b'v'; 1_000]).await.expect("put");
    }
    client.delete("key/0").await.expect("deleted");
    cluster.wait_converged().await;
    let before = dump(&client).await.expect("read");
    let revision = client.status().await.expect("answered").revision;
    let survivor = cluster.nodes[0].data_dir.clone();
    let file = cluster.directory().join("survivor.snap");
    let save = ["snapshot", "save", text(&file), "--from-data-dir", text(&survivor)];
    let busy = refused(&save);
    assert!(busy.contains("in use by another process"), "{busy}");
    // The other two burn. The survivor did not stop in order, and its state lags behind its log.
    for node in &mut cluster.nodes {
        node.kill();
    }
    let saved = chainfire(&save);
    let warned = String::from_utf8_lossy(&saved.stderr).into_owned();
    assert!(saved.status.success() && warned.contains("WARNING"), "{warned}");
    assert!(refused(&save).contains("is not empty"), "an earlier file is not written over");

    let mut restored = Cluster::new(3);
    let founders = restored.nodes.iter().map(|node| format!("{}={}", node.name, node.peer));
    let founders = founders.collect::<Vec<_>>().join(",");
    for node in &restored.nodes {
        let (dir, name) = (text(&node.data_dir), node.name.as_str());
        let restore = ["snapshot", "restore", text(&file), "--data-dir", dir, "--name", name];
        let founding = ["--new-cluster", "--initial-cluster", &founders];
        done(&[&restore[..], &founding[..]].concat());
    }
    for node in &mut restored.nodes {
        node.clear_initial_cluster();
    }
    restored.start_all();
    let client = restored.client();
    assert_eq!(dump(&client).await.expect("read"), before, "with users, versions and revisions");
    let put = client.put("after", "x").await.expect("put");
    assert_eq!(put.revision, revision + BUMPED + 1);
    // The survivor's own directory is as it was.
    let again = cluster.directory().join("again.snap");
    let save = ["-o", "json", "snapshot", "save", text(&again), "--from-data-dir", text(&survivor)];
    let status: serde_json::Value = serde_json::from_str(&done(&save)).expect("JSON");
    assert_eq!(status["revision"].as_u64(), Some(revision));
}
