//! Snapshot files: built, kept, installed, and refused when anything is wrong with them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chainfire::machine::StateView;
use chainfire::storage::{SnapshotFile, StateStore};
use chainfire::types::{ClusterId, KeyRange, Operation};
use openraft::storage::RaftStateMachine;
use tempfile::TempDir;

use crate::shared_support::requests::{compact, delete, put, put_request};
use crate::support::{
    apply, blank, build_snapshot, execute, hasty, install_snapshot, last_index, next_index, noise,
    open, pairs, receive, unhurried, value,
};

const CLUSTER: ClusterId = ClusterId(1);

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn with_some_data(path: &Path) -> StateStore {
    let (store, _watch) = open(path, unhurried()).unwrap();
    for number in 0..300 {
        let request = put_request(format!("key/{number:03}"), noise(number));
        execute(&store, Operation::Put(request)).await;
    }
    execute(&store, delete(KeyRange::prefix("key/01"))).await;
    execute(&store, compact(200)).await;
    store
}

/// A copy of a snapshot, changed.
fn damaged(file: &SnapshotFile, directory: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(file.path()).unwrap();
    damage(&mut bytes);
    let path = directory.join("damaged.snap");
    fs::write(&path, bytes).unwrap();
    path
}

fn refusal(path: &Path) -> String {
    let error = SnapshotFile::open_verified(path, CLUSTER).unwrap_err().to_string();
    let start = format!("snapshot {}: ", path.display());
    error.strip_prefix(&start).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[tokio::test]
async fn a_snapshot_holds_the_state_and_says_what_it_is() {
    let path = TempDir::new().unwrap();
    let store = with_some_data(path.path()).await;
    assert!(store.current_snapshot().is_none());
    let file = build_snapshot(&store).await.unwrap();
    let header = file.header();
    assert_eq!(header.cluster_id, CLUSTER);
    assert_eq!(header.last_log_id, store.applied().borrow().log_id);
    assert_eq!((header.revision, header.compact_revision, header.key_count()), (302, 200, 300));
    assert_eq!(file.size_bytes(), fs::metadata(file.path()).unwrap().len());
    let verified = SnapshotFile::open_verified(file.path(), CLUSTER).unwrap();
    assert_eq!(verified.digest(), file.digest());
    let mut bytes = vec![0; file.size_bytes() as usize + 9];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len() - 9);
    assert_eq!(bytes[bytes.len() - 9 - 32..bytes.len() - 9], file.digest());
    let current = store.clone().get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.snapshot.path(), file.path());
    assert_eq!(store.stats().unwrap().snapshots, 1);
}

#[tokio::test]
async fn an_installed_snapshot_is_the_state_now_and_after_a_restart() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = with_some_data(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    let (receiver, watch) = open(to.path(), hasty()).unwrap();
    execute(&receiver, put("other", "1")).await;
    receiver.flush().await.unwrap();
    execute(&receiver, put("other", "2")).await;
    let before = receiver.view().unwrap();

    let received = receive(to.path(), file.path());
    let incoming = received.path().to_owned();
    install_snapshot(&receiver, received).await.unwrap();

    let everything = |store: &StateStore| {
        let view = store.view().unwrap();
        (200..=302).map(|at| pairs(&view, &KeyRange::all(), at)).collect::<Vec<_>>()
    };
    let expected = everything(&store);
    assert!(everything(&receiver) == expected);
    assert_eq!(value(&before, "other").unwrap(), "2", "a view from before stays what it was");
    assert_eq!(before.revision(), 3);
    assert!(!incoming.exists(), "the file was moved");
    let current = receiver.current_snapshot().unwrap();
    assert_eq!(last_index(&current), last_index(&file));
    assert_eq!(names(&to.path().join("state")), ["2", "CURRENT"]);
    drop(before);

    // Compaction and new changes go on from there.
    execute(&receiver, put("key/000", "new")).await;
    receiver.flush().await.unwrap();
    drop(receiver);
    let (receiver, _watch) = open(to.path(), hasty()).unwrap();
    assert_eq!(value(&receiver.view().unwrap(), "key/000").unwrap(), "new");
    let view = receiver.view().unwrap();
    assert!(pairs(&view, &KeyRange::all(), 302) == expected[102]);
    assert_eq!(last_index(&receiver.current_snapshot().unwrap()), last_index(&file));
    assert!(watch.current().is_none());
}

#[tokio::test]
async fn the_newest_two_snapshots_are_kept_and_older_ones_while_they_are_read() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    let snapshots = path.path().join("snapshots");
    let mut first = None;
    for index in 0..4 {
        execute(&store, put("key", "value")).await;
        let file = build_snapshot(&store).await.unwrap();
        assert_eq!(last_index(&file), Some(index));
        first.get_or_insert(file);
    }
    assert_eq!(names(&snapshots), ["1-0.snap", "1-2.snap", "1-3.snap"]);
    drop(first);
    assert_eq!(names(&snapshots), ["1-2.snap", "1-3.snap"]);

    let again = build_snapshot(&store).await.unwrap();
    assert_eq!(last_index(&again), Some(3), "nothing changed: the same snapshot");
    drop((store, again));
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    assert_eq!(last_index(&store.current_snapshot().unwrap()), Some(3));
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let path = TempDir::new().unwrap();
    let store = with_some_data(path.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    let size = file.size_bytes() as usize;
    let copies = TempDir::new().unwrap();

    let flipped = damaged(&file, copies.path(), |bytes| bytes[size / 2] ^= 1);
    let error = refusal(&flipped);
    assert!(error.starts_with("its chunk "), "{error}");
    assert!(error.ends_with("is corrupt: its checksum does not match; fetch it again"), "{error}");
    let header = damaged(&file, copies.path(), |bytes| bytes[30] ^= 1);
    assert!(refusal(&header).starts_with("its header is corrupt"), "{}", refusal(&header));
    let digest = damaged(&file, copies.path(), |bytes| bytes[size - 1] ^= 1);
    assert_eq!(refusal(&digest), "its digest does not match its contents; fetch it again");
    let truncated = damaged(&file, copies.path(), |bytes| bytes.truncate(size / 2));
    assert!(refusal(&truncated).starts_with("it is truncated in chunk "));
    let longer = damaged(&file, copies.path(), |bytes| bytes.push(0));
    assert_eq!(refusal(&longer), "it goes on after its end; fetch it again");
    let empty = damaged(&file, copies.path(), Vec::clear);
    assert_eq!(refusal(&empty), "it is truncated in its header; fetch it again");
    let foreign = damaged(&file, copies.path(), |bytes| bytes[0] = 0);
    assert_eq!(refusal(&foreign), "it is not a snapshot file");
    let newer = damaged(&file, copies.path(), |bytes| {
        bytes[11] = 9;
        let checksum = crc32fast::hash(&bytes[..16]);
        bytes[16..20].copy_from_slice(&checksum.to_be_bytes());
    });
    assert!(refusal(&newer).starts_with("it has format 9, this release reads up to 1"));
    let other = SnapshotFile::open_verified(file.path(), ClusterId(2)).unwrap_err().to_string();
    assert!(other.contains("it belongs to cluster 00000000000000000000000000000001"), "{other}");
}

#[tokio::test]
async fn a_snapshot_damaged_after_it_was_verified_changes_nothing() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = with_some_data(from.path()).await;
    let built = build_snapshot(&store).await.unwrap();
    let copy = damaged(&built, from.path(), |_| ());
    let file = SnapshotFile::open_verified(&copy, CLUSTER).unwrap();
    let raw = fs::File::options().write(true).open(&copy).unwrap();
    raw.write_all_at(b"?", file.size_bytes() - 100).unwrap();

    let (receiver, watch) = open(to.path(), unhurried()).unwrap();
    execute(&receiver, put("mine", "1")).await;
    let error = install_snapshot(&receiver, file).await.unwrap_err();
    assert!(error.to_string().contains("is corrupt"), "{error}");
    assert_eq!(value(&receiver.view().unwrap(), "mine").unwrap(), "1");
    assert_eq!(names(&to.path().join("state")), ["1", "CURRENT"]);
    assert!(receiver.current_snapshot().is_none());
    assert!(watch.current().is_none());
    execute(&receiver, put("mine", "2")).await;
    receiver.flush().await.unwrap();
}

#[tokio::test]
async fn a_received_snapshot_that_was_not_installed_is_forgotten_at_the_next_start() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = with_some_data(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    drop(open(to.path(), unhurried()).unwrap());
    let name = file.path().file_name().unwrap();
    fs::copy(file.path(), to.path().join("snapshots").join(name)).unwrap();
    fs::write(to.path().join("snapshots/1-9.snap.unfinished"), b"half").unwrap();
    let (receiver, _watch) = open(to.path(), unhurried()).unwrap();
    assert!(receiver.current_snapshot().is_none());
    assert_eq!(names(&to.path().join("snapshots")), [""; 0]);
}

#[tokio::test]
async fn when_the_newest_snapshot_is_damaged_no_older_one_is_served() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    for _ in 0..2 {
        execute(&store, put("key", "value")).await;
        build_snapshot(&store).await.unwrap();
    }
    drop(store);
    fs::write(path.path().join("snapshots/1-1.snap"), b"nothing").unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    assert!(store.current_snapshot().is_none());
    assert_eq!(last_index(&build_snapshot(&store).await.unwrap()), Some(1));
    drop(store);
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    assert_eq!(last_index(&store.current_snapshot().unwrap()), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_goes_on_while_a_snapshot_is_built() {
    let path = TempDir::new().unwrap();
    let store = with_some_data(path.path()).await;
    let builder = store.clone();
    let building = tokio::spawn(async move { build_snapshot(&builder).await.unwrap() });
    let mut written = 0;
    while !building.is_finished() || written < 50 {
        let index = next_index(&store);
        apply(&store, [blank(index)]).await.unwrap();
        execute(&store, put("while", "building")).await;
        written += 1;
    }
    let file = building.await.unwrap();
    let (to, last) = (TempDir::new().unwrap(), last_index(&file).unwrap());
    assert!(last >= 301, "{last}: what was applied before is in it");
    let (receiver, _watch) = open(to.path(), unhurried()).unwrap();
    let revision = file.header().revision;
    install_snapshot(&receiver, file).await.unwrap();
    let (received, view) = (receiver.view().unwrap(), store.view().unwrap());
    assert_eq!(received.revision(), revision);
    let expected = pairs(&view, &KeyRange::all(), revision);
    assert!(pairs(&received, &KeyRange::all(), revision) == expected);
}
