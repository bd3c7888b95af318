//! Giving snapshots to nodes that are not members, seen on whole nodes in one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Node, detach_copy, restore_new_cluster};
use crate::actors::{PreseedProgress, PreseedTarget};
use crate::auth::ClusterKey;
use crate::auth::cluster_key::CLUSTER_KEY_FILE;
use crate::config::NodeConfig;
use crate::rpc::peer::{
    ForwardedWrite, Lane, PeerConnection, PeerConnections, PeerDialer, SnapshotChunk, SnapshotOffer,
};
use crate::rpc::transport;
use crate::rpc::transport::limits::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::storage::Identity;
use crate::storage::snapshot::format::{PREFIX_BYTES, encode_prefix};
use crate::storage::snapshot::{SnapshotFile, SnapshotHeader, SnapshotWriter};
use crate::storage::state::layout::Table;
use crate::storage::state::layout::meta::{LAYOUT_VERSION, META_KEY, StateMeta, encode_meta};
use crate::types::{ClusterId, LogId, NodeId, Operation, Principal, PutRequest, Vote};

/// Far above what any wait here takes.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn config(directory: &std::path::Path) -> NodeConfig {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let mut config = NodeConfig {
        data_dir: directory.to_owned(),
        listen_client: any_port,
        listen_peer: any_port,
        listen_http: any_port,
        ..NodeConfig::default()
    };
    config.storage.log_map_bytes = 1 << 30;
    config.storage.state_map_bytes = 1 << 30;
    config
}

async fn leader(directory: &std::path::Path) -> Node {
    let node = Node::start(config(directory)).await.expect("the node starts");
    timeout(WAIT_MAX, node.ready()).await.expect("ready in time").expect("ready");
    node
}

/// A node that was given an id by the leader's cluster and nothing else.
async fn joiner(directory: &std::path::Path, leader: &Node, node_id: NodeId) -> Node {
    let identity = Identity {
        cluster_id: leader.handles().raft.node().cluster_id,
        node_id,
        incarnation: u128::from(node_id) << 64,
        name: NodeConfig::default().name,
    };
    let mut config = config(directory);
    config.auth.cluster_key = Some(leader.storage.directory.path().join(CLUSTER_KEY_FILE));
    Node::start_given(config, identity).await.expect("the node starts")
}

fn target(node: &Node) -> PreseedTarget {
    let node_id = node.handles().raft.node().node_id;
    PreseedTarget { node_id, peer_addr: node.peer_addr().to_string() }
}

/// Puts `count` pairs of about `value_bytes`, many at a time.
async fn fill(node: &Node, count: usize, value_bytes: usize) {
    let writers = 64.min(count);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let raft = node.handles().raft.clone();
        tasks.spawn(async move {
            for number in (writer..count).step_by(writers) {
                // Not compressible, or a snapshot of it would be a single piece.
                let mut noise = number as u64 + 1;
                let mut next = || {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (noise >> 33) as u8
                };
                let value: Vec<u8> = (0..value_bytes).map(|_| next()).collect();
                let put = PutRequest {
                    key: format!("key-{number:06}").into(),
                    value: value.into(),
                    ..PutRequest::default()
                };
                let write = ForwardedWrite {
                    request_id: None,
                    principal: Principal::cluster(),
                    auth_revision: 0,
                    operation: Operation::Put(put),
                };
                let deadline = tokio::time::Instant::now() + WAIT_MAX;
                raft.propose(write, deadline).await.expect("put");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("every writer ends");
    }
}

async fn preseed(leader: &Node, to: &Node, join_id: u64) -> LogId {
    let (progress, _) = watch::channel(PreseedProgress::default());
    let snapshots = &leader.handles().snapshot;
    let target = target(to);
    let seeded = snapshots.preseed(&target, join_id, &progress);
    timeout(WAIT_MAX, seeded).await.expect("in time").expect("preseeded")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WAIT_MAX, held).await.unwrap_or_else(|_| panic!("{what} did not come true"));
}

fn counted(node: &Node, metric: &str) -> u64 {
    let text = node.metrics().render();
    let line = text.lines().find_map(|line| line.strip_prefix(metric));
    line.map_or(0, |value| value.trim().parse::<f64>().expect("a number") as u64)
}

const INSTALLED: &str = "chainfire_snapshots_total{kind=\"installed\"} ";
const BUILT: &str = "chainfire_snapshots_total{kind=\"built\"} ";

#[tokio::test(flavor = "multi_thread")]
async fn preseeded_nodes_share_one_export_and_get_only_the_tail_afterwards() {
    let directories: Vec<_> = (0..4).map(|_| tempfile::tempdir().expect("a directory")).collect();
    let leader = leader(directories[0].path()).await;
    fill(&leader, 300, 8_192).await;
    leader.handles().raft.purge_behind_a_snapshot().await;
    let built = counted(&leader, BUILT);
    let mut joiners = Vec::new();
    for (node_id, directory) in (2..).zip(&directories[1..]) {
        joiners.push(joiner(directory.path(), &leader, node_id).await);
    }
    let held = tokio::join!(
        preseed(&leader, &joiners[0], 1),
        preseed(&leader, &joiners[1], 2),
        preseed(&leader, &joiners[2], 3)
    );
    assert_eq!((held.0, held.0), (held.1, held.2));
    assert_eq!(counted(&leader, BUILT), built, "the one there was is shared");
    let at = leader.handles().raft.status();
    for node in &joiners {
        assert_eq!(node.handles().raft.status().revision, at.revision);
        // Again: it holds what it needs, nothing is sent.
        assert_eq!(preseed(&leader, node, 9).await, held.0);
        assert_eq!(counted(node, INSTALLED), 1);
    }
    for node in &joiners {
        let target = target(node);
        leader.handles().raft.add_learner_as_it_is(target.node_id, target.peer_addr).await;
    }
    fill(&leader, 10, 10).await;
    let revision = leader.handles().raft.status().revision;
    for node in &joiners {
        until("the tail", || node.handles().raft.status().revision == revision).await;
        assert_eq!(counted(node, INSTALLED), 1, "no snapshot but the first");
    }
    for node in joiners {
        node.shutdown().await;
    }
    leader.shutdown().await;
}

/// A snapshot of an empty store that ends at entry `index` of the log.
fn snapshot_at(path: &std::path::Path, cluster_id: ClusterId, index: u64) -> SnapshotFile {
    let meta = StateMeta { applied: Some(LogId { term: 1, index }), ..StateMeta::empty() };
    let mut records = [0; Table::ALL.len()];
    records[Table::Meta as usize] = 1;
    let header = SnapshotHeader {
        cluster_id,
        last_log_id: meta.applied,
        membership_log_id: None,
        membership: meta.membership.clone(),
        revision: meta.revision,
        compact_revision: 0,
        layout_version: LAYOUT_VERSION,
        hash: crate::types::StateHash::EMPTY,
        records: records.to_vec().try_into().expect("every table"),
    };
    let output = std::fs::File::create(path).expect("a writable directory");
    let mut writer = SnapshotWriter::new(output, &header).expect("written");
    writer.record(Table::Meta, META_KEY, &encode_meta(&meta)).expect("written");
    writer.finish().expect("written");
    SnapshotFile::open(path).expect("a snapshot")
}

/// A cluster of one whose log begins behind entry `index`.
async fn leader_from(directory: &std::path::Path, index: u64) -> Node {
    let file = snapshot_at(&directory.join("made.snap"), ClusterId(9), index);
    let data_dir = directory.join("data");
    let founders = restore_new_cluster(file.path(), &data_dir, &config(&data_dir).name, None, 0);
    assert_eq!(founders.expect("restored").last_log_id.map(|it| it.index), Some(index));
    let key = ClusterKey::generate("restored", &mut rand::rng());
    key.create(&data_dir.join(CLUSTER_KEY_FILE)).expect("writable");
    leader(&data_dir).await
}

/// The fault this project began with: a leader whose log is purged was given an empty learner, and
/// an assertion failed. Which entries are read for it depends on how ids are ordered, so the log is
/// purged at each index around those where a byte is carried.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_learner_is_added_to_a_leader_whose_log_is_purged_at_any_index() {
    for carry in [256_u64, 65_536] {
        let directory = tempfile::tempdir().expect("a directory");
        let leader = leader_from(directory.path(), carry - 6).await;
        let raft = &leader.handles().raft;
        let (mut learners, mut purged) = (Vec::new(), 0);
        for node_id in 2.. {
            while purged < carry - 1 || learners.len() * 2 > (purged + 2 - carry) as usize {
                fill(&leader, 1, 10).await;
                purged = raft.purge_behind_a_snapshot().await;
            }
            let learner_dir = directory.path().join(node_id.to_string());
            let learner = joiner(&learner_dir, &leader, node_id).await;
            let to = target(&learner);
            raft.add_learner_as_it_is(to.node_id, to.peer_addr).await;
            fill(&leader, 3, 10).await;
            let revision = raft.status().revision;
            until("the learner has all", || learner.handles().raft.status().revision == revision)
                .await;
            assert_eq!(counted(&learner, INSTALLED), 1, "it needed a snapshot");
            learners.push(learner);
            if purged > carry + 1 {
                break;
            }
        }
        assert!(learners.len() >= 2, "{purged}");
        for learner in learners {
            learner.shutdown().await;
        }
        leader.shutdown().await;
    }
}

/// A way to `node` for one who claims to be node 1 of its cluster.
fn lane(leader: &Node, node: &Node) -> PeerConnection {
    let identity = transport::Identity {
        cluster_id: leader.handles().raft.node().cluster_id,
        node_id: 77,
        incarnation: 77,
        claim: crate::types::StartClaim::NONE,
    };
    let target = target(node);
    let key = ClusterKey::load(&leader.storage.directory.path().join(CLUSTER_KEY_FILE));
    let credentials = Some(Arc::new(key.expect("it has one").peer_signer()));
    PeerConnections::new(PeerDialer { credentials, ..PeerDialer::new(identity) }).peer(
        target.node_id,
        &target.peer_addr,
        Lane::Snapshot,
    )
}

fn offer_of(file: &SnapshotFile, vote: Vote) -> SnapshotOffer {
    let header = file.header();
    SnapshotOffer {
        vote,
        last_log_id: header.last_log_id,
        membership_log_id: header.membership_log_id,
        membership: header.membership.clone(),
        size_bytes: file.size_bytes(),
        digest: file.digest(),
    }
}

fn chunk_of(bytes: &[u8], digest: [u8; 32], offset_bytes: u64) -> SnapshotChunk {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    SnapshotChunk { digest, offset_bytes, checksum: crc32fast::hash(&bytes), bytes }
}

/// Sends `bytes` as the file of `offer` and asks for it to be installed; answers the refusal.
async fn refused(to: &PeerConnection, offer: SnapshotOffer, bytes: &[u8]) -> String {
    let digest = offer.digest;
    to.snapshot_offer(offer, WAIT_MAX).await.expect("offered");
    to.snapshot_chunk(chunk_of(bytes, digest, 0), WAIT_MAX).await.expect("a whole piece");
    to.snapshot_install(digest, WAIT_MAX).await.expect_err("refused").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_snapshots_are_refused_by_name_and_the_state_stays_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let leader = leader(&directory.path().join("1")).await;
    fill(&leader, 100, 100).await;
    leader.handles().raft.purge_behind_a_snapshot().await;
    let snapshots = directory.path().join("1").join("snapshots");
    let newest = std::fs::read_dir(&snapshots).expect("there").next().expect("one").expect("one");
    let file = SnapshotFile::open(&newest.path()).expect("a snapshot");
    let good = std::fs::read(newest.path()).expect("readable");
    let node = joiner(&directory.path().join("2"), &leader, 2).await;
    let to = lane(&leader, &node);
    let vote = leader.handles().raft.leading_vote_of_test().expect("it leads");
    let offer = || offer_of(&file, vote);
    let digest = file.digest();

    // Pieces.
    to.snapshot_offer(offer(), WAIT_MAX).await.expect("offered");
    let mut damaged = chunk_of(&good, digest, 0);
    damaged.checksum ^= 1;
    let refusal = to.snapshot_chunk(damaged, WAIT_MAX).await.expect_err("refused").to_string();
    assert!(refusal.contains("checksum"), "{refusal}");
    let foreign = chunk_of(&good, [1; 32], 0);
    let refusal = to.snapshot_chunk(foreign, WAIT_MAX).await.expect_err("refused").to_string();
    assert!(refusal.contains("no such snapshot transfer"), "{refusal}");
    let mut beyond = good.clone();
    beyond.push(0);
    let long = chunk_of(&beyond, digest, 0);
    let refusal = to.snapshot_chunk(long, WAIT_MAX).await.expect_err("refused").to_string();
    assert!(refusal.contains("outside"), "{refusal}");
    let early = to.snapshot_install(digest, WAIT_MAX).await.expect_err("refused").to_string();
    assert!(early.contains("not complete"), "{early}");
    let progress = to.snapshot_chunk(chunk_of(&good[..10], digest, 5), WAIT_MAX).await;
    assert_eq!(progress.expect("told where to go on").offset_bytes, 0);

    // Whole files.
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let refusal = refused(&to, offer(), &flipped).await;
    assert!(refusal.contains("is corrupt"), "{refusal}");
    let cut = &good[..good.len() - 40];
    let shorter = SnapshotOffer { size_bytes: cut.len() as u64, ..offer() };
    let refusal = refused(&to, shorter, cut).await;
    assert!(refusal.contains("not the one that was offered"), "{refusal}");
    let renamed = SnapshotOffer { digest: [5; 32], ..offer() };
    let refusal = refused(&to, renamed, &good).await;
    assert!(refusal.contains("not the one that was offered"), "{refusal}");
    let moved = SnapshotOffer { last_log_id: Some(LogId { term: 1, index: 1 }), ..offer() };
    let refusal = refused(&to, moved, &good).await;
    assert!(refusal.contains("another entry"), "{refusal}");
    let other_path = directory.path().join("other.snap");
    let other = snapshot_at(&other_path, ClusterId(1), 9);
    let bytes = std::fs::read(&other_path).expect("readable");
    let refusal = refused(&to, offer_of(&other, vote), &bytes).await;
    assert!(refusal.contains("belongs to cluster"), "{refusal}");
    let mut newer = good.clone();
    newer[..PREFIX_BYTES].copy_from_slice(&{
        let length = u32::from_be_bytes(good[12..16].try_into().expect("four bytes"));
        encode_prefix(2, length)
    });
    let refusal = refused(&to, offer(), &newer).await;
    assert!(refusal.contains("format 2"), "{refusal}");

    // Votes.
    let uncommitted = SnapshotOffer { vote: Vote { committed: false, ..vote }, ..offer() };
    let refusal = to.snapshot_offer(uncommitted, WAIT_MAX).await.expect_err("refused").to_string();
    assert!(refusal.contains("not elected"), "{refusal}");

    // Nothing of it stayed, and the good one is taken.
    assert_eq!(node.handles().raft.status().revision, 1);
    assert_eq!(counted(&node, INSTALLED), 0);
    preseed(&leader, &node, 1).await;
    let stale = SnapshotOffer { vote: Vote { term: 0, ..vote }, ..offer() };
    let refusal = to.snapshot_offer(stale, WAIT_MAX).await.expect_err("refused").to_string();
    assert!(refusal.contains("since replaced"), "{refusal}");
    let revision = leader.handles().raft.status().revision;
    assert_eq!(node.handles().raft.status().revision, revision);
    to.snapshot_abandon(WAIT_MAX).await.expect("removed");
    let left = std::fs::read_dir(directory.path().join("2").join("incoming")).expect("there");
    assert_eq!(left.count(), 0);
    assert!(node.actors.exit.borrow().is_none(), "nothing stopped it");
    node.shutdown().await;
    leader.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_where_it_was_after_a_restart_of_either_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let leader_dir = directory.path().join("1");
    let leader = leader(&leader_dir).await;
    fill(&leader, 500, 8_192).await;
    leader.handles().raft.purge_behind_a_snapshot().await;
    let node_dir = directory.path().join("2");
    let node = joiner(&node_dir, &leader, 2).await;
    let snapshots = std::fs::read_dir(leader_dir.join("snapshots")).expect("there");
    let path = snapshots.last().expect("one").expect("one").path();
    let file = SnapshotFile::open(&path).expect("a snapshot");
    assert!(file.size_bytes() > 2 * SNAPSHOT_CHUNK_BYTES_MAX as u64, "{}", file.size_bytes());
    let vote = leader.handles().raft.leading_vote_of_test().expect("it leads");
    let bytes = std::fs::read(&path).expect("readable");
    let to = lane(&leader, &node);
    to.snapshot_offer(offer_of(&file, vote), WAIT_MAX).await.expect("offered");
    let first = chunk_of(&bytes[..SNAPSHOT_CHUNK_BYTES_MAX], file.digest(), 0);
    to.snapshot_chunk(first, WAIT_MAX).await.expect("taken");
    let built = counted(&leader, BUILT);
    assert_eq!(built, 1);

    // Both go down; the file on the source and the piece on the target stay.
    node.shutdown().await;
    leader.shutdown().await;
    let leader = self::leader(&leader_dir).await;
    let node = joiner(&node_dir, &leader, 2).await;
    let (progress, mut reports) = watch::channel(PreseedProgress::default());
    let follow = tokio::spawn(async move {
        let mut least = u64::MAX;
        while reports.changed().await.is_ok() {
            let report = reports.borrow_and_update().report.clone();
            let sent = report.map_or(0, |report| report.sent_bytes);
            least = if sent > 0 { least.min(sent) } else { least };
        }
        least
    });
    let to = target(&node);
    let seeding = leader.handles().snapshot.preseed(&to, 1, &progress);
    timeout(WAIT_MAX, seeding).await.expect("in time").expect("preseeded");
    drop(progress);
    assert!(follow.await.expect("it only reads") >= SNAPSHOT_CHUNK_BYTES_MAX as u64);
    assert_eq!(counted(&leader, BUILT), 0, "the file from before the restart is the one sent");
    assert_eq!(counted(&node, INSTALLED), 1);
    node.shutdown().await;
    leader.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_stopped_member_becomes_a_new_one_that_lacks_only_the_tail() {
    let directory = tempfile::tempdir().expect("a directory");
    let (leader_dir, copy) = (directory.path().join("1"), directory.path().join("2"));
    let leader = leader(&leader_dir).await;
    fill(&leader, 200, 100).await;
    leader.handles().raft.purge_behind_a_snapshot().await;
    leader.shutdown().await;
    copy_directory(&leader_dir, &copy);
    let name = NodeConfig::default().name;
    let made = detach_copy(&copy, &name).expect("detached");
    assert_eq!(made.identity.node_id, 0);
    let refused = Node::start(config(&copy)).await.map(|_| ()).expect_err("it is nobody's");
    assert!(refused.to_string().contains("add --join"), "{refused}");

    let leader = self::leader(&leader_dir).await;
    fill(&leader, 5, 100).await;
    let node = joiner(&copy, &leader, 2).await;
    let held = preseed(&leader, &node, 1).await;
    assert_eq!(Some(held), made.last_log_id);
    assert_eq!(counted(&node, INSTALLED), 0, "nothing was sent");
    let to = target(&node);
    leader.handles().raft.add_learner_as_it_is(to.node_id, to.peer_addr).await;
    let revision = leader.handles().raft.status().revision;
    until("the tail", || node.handles().raft.status().revision == revision).await;
    assert_eq!(counted(&node, INSTALLED), 0, "the log was enough");
    node.shutdown().await;
    leader.shutdown().await;
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).expect("a writable directory");
    for entry in std::fs::read_dir(from).expect("there") {
        let (entry, to) = (entry.expect("there"), to.to_owned());
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}
