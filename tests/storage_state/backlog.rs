//! An installed snapshot whose history follows later, and snapshots that are built upon others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chainfire::machine::StateView;
use chainfire::storage::{SnapshotFile, StateOptions, StateStore};
use chainfire::types::{ClusterId, KeyRange, Operation, VersionMeta};
use tempfile::TempDir;

use crate::shared_support::requests::{compact, delete, put, put_request};
use crate::support::{
    build_snapshot, execute, hasty, install_snapshot, last_index, noise, open, pairs, receive,
    unhurried, until, value,
};

const CLUSTER: ClusterId = ClusterId(1);
/// The last revision that [`donor`] writes.
const LAST: u64 = 421;

/// Nothing of the history is in the tables at first, and nothing follows.
fn leaving_it() -> StateOptions {
    StateOptions {
        install_history_bytes: 0,
        settle_bytes: 1,
        settle_rest: Duration::from_secs(3_600),
        ..hasty()
    }
}

/// Nothing is in the tables at first, and it follows a few versions at a time.
fn little_by_little() -> StateOptions {
    StateOptions { settle_rest: Duration::ZERO, settle_bytes: 20_000, ..leaving_it() }
}

/// A state of several chunks, with keys that have many versions.
async fn donor(path: &Path) -> StateStore {
    let (store, _watch) = open(path, unhurried()).unwrap();
    for number in 0..420 {
        let request = put_request(format!("key/{:03}", number % 70), noise(number));
        execute(&store, Operation::Put(request)).await;
    }
    assert_eq!(store.view().unwrap().revision(), LAST);
    store
}

type Pairs = BTreeMap<Bytes, (VersionMeta, Bytes)>;

/// What is there at many revisions from `first` on.
fn everything(store: &StateStore, first: u64) -> Vec<Pairs> {
    let view = store.view().unwrap();
    let revisions = (first..=LAST).step_by(7).chain([LAST]);
    revisions.map(|at| pairs(&view, &KeyRange::all(), at)).collect()
}

/// The state of `file`, in a store of its own.
async fn installed(path: &Path, options: StateOptions, file: &SnapshotFile) -> StateStore {
    let (store, _watch) = open(path, options).unwrap();
    install_snapshot(&store, receive(path, file.path())).await.unwrap();
    store
}

fn unsettled(store: &StateStore) -> u64 {
    store.stats().unwrap().unsettled_versions
}

#[tokio::test]
async fn history_is_read_from_the_file_until_it_is_in_the_tables() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = donor(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    let expected = everything(&store, 1);
    let receiver = installed(to.path(), leaving_it(), &file).await;
    let backlog = to.path().join("state/2/backlog.snap");
    // The first step may have been taken.
    assert!(unsettled(&receiver) >= 419 && backlog.exists());
    assert_eq!(receiver.stats().unwrap().versions, 420);
    assert!(everything(&receiver, 1) == expected);
    execute(&receiver, put("key/000", "new")).await;
    receiver.flush().await.unwrap();
    assert!(everything(&receiver, 1) == expected);
    drop(receiver);

    let (receiver, _watch) = open(to.path(), leaving_it()).unwrap();
    assert!(unsettled(&receiver) >= 400);
    assert!(everything(&receiver, 1) == expected, "also after a restart");
    assert_eq!(value(&receiver.view().unwrap(), "key/000").unwrap(), "new");
    drop(receiver);

    let (receiver, watch) = open(to.path(), little_by_little()).unwrap();
    let before = receiver.view().unwrap();
    until(|| unsettled(&receiver) < 300);
    assert!(everything(&receiver, 1) == expected, "half way");
    execute(&receiver, delete(KeyRange::prefix("key/00"))).await;
    until(|| unsettled(&receiver) == 0);
    until(|| !backlog.exists());
    assert!(everything(&receiver, 1) == expected);
    assert_eq!(receiver.stats().unwrap().versions, 420 + 1 + 10);
    assert!(pairs(&before, &KeyRange::all(), LAST) == expected[expected.len() - 1]);
    drop((before, receiver));
    let (receiver, _watch) = open(to.path(), leaving_it()).unwrap();
    assert!(everything(&receiver, 1) == expected);
    assert!(watch.current().is_none());
}

#[tokio::test]
async fn history_that_followed_takes_no_more_room_than_any() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (store, _watch) = open(from.path(), unhurried()).unwrap();
    for number in 0..3_000 {
        let request = put_request(format!("key/{number:04}"), vec![number as u8; 1_000]);
        execute(&store, Operation::Put(request)).await;
    }
    let file = build_snapshot(&store).await.unwrap();
    let receiver = installed(to.path(), leaving_it(), &file).await;
    // Written while there is a backlog, and to come after it.
    for number in 0..40 {
        execute(&store, put("after", "1")).await;
        execute(&receiver, put("after", "1")).await;
        if number % 10 == 0 {
            receiver.flush().await.unwrap();
        }
    }
    store.flush().await.unwrap();
    drop(receiver);
    let (receiver, _watch) = open(to.path(), little_by_little()).unwrap();
    until(|| !to.path().join("state/2/backlog.snap").exists());
    let (as_written, followed) = (store.stats().unwrap(), receiver.stats().unwrap());
    assert_eq!(followed.versions, as_written.versions);
    let most = as_written.used_bytes + as_written.used_bytes / 20;
    assert!(followed.used_bytes <= most, "{followed:?} {as_written:?}");
    let (one, other) = (store.view().unwrap(), receiver.view().unwrap());
    for at in [3_001, 3_020, 3_041] {
        assert!(pairs(&one, &KeyRange::all(), at) == pairs(&other, &KeyRange::all(), at));
    }
}

#[tokio::test]
async fn compaction_waits_for_the_history_to_be_whole() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = donor(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    let receiver = installed(to.path(), leaving_it(), &file).await;
    execute(&receiver, compact(400)).await;
    receiver.flush().await.unwrap();
    let expected = everything(&store, 400);
    assert!(everything(&receiver, 400) == expected);
    assert_eq!(receiver.stats().unwrap().versions, 420);
    drop(receiver);
    let (receiver, _watch) = open(to.path(), little_by_little()).unwrap();
    execute(&store, compact(400)).await;
    store.flush().await.unwrap();
    until(|| store.stats().unwrap().versions < 100);
    let left = store.stats().unwrap().versions;
    until(|| receiver.stats().unwrap().versions == left);
    assert!(everything(&receiver, 400) == expected);
}

#[tokio::test]
async fn a_state_with_a_backlog_gives_a_whole_snapshot() {
    let (from, to, third) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = donor(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    let expected = everything(&store, 1);
    let receiver = installed(to.path(), leaving_it(), &file).await;
    execute(&receiver, put("after", "0")).await;
    receiver.flush().await.unwrap();
    drop(receiver);
    let (receiver, _watch) = open(to.path(), leaving_it()).unwrap();
    execute(&receiver, put("after", "1")).await;
    let again = build_snapshot(&receiver).await.unwrap();
    assert!(unsettled(&receiver) >= 400);
    assert_eq!(last_index(&again), Some(421));
    SnapshotFile::open_verified(again.path(), CLUSTER).unwrap();
    let copy = installed(third.path(), hasty(), &again).await;
    assert_eq!(unsettled(&copy), 0);
    assert!(everything(&copy, 1) == expected);
    assert_eq!(value(&copy.view().unwrap(), "after").unwrap(), "1");
    assert_eq!(copy.stats().unwrap().versions, 422);
}

#[tokio::test]
async fn a_backlog_that_is_damaged_or_missing_is_refused_by_name() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = donor(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    drop(installed(to.path(), leaving_it(), &file).await);
    // Given back by itself: the other name of the file is not to be damaged with it.
    let backlog = to.path().join("state/2/backlog.snap");
    let whole = fs::read(&backlog).unwrap();
    fs::remove_file(&backlog).unwrap();
    let error = open(to.path(), leaving_it()).map(drop).unwrap_err().to_string();
    assert!(error.contains("backlog.snap"), "{error}");
    fs::write(&backlog, &whole).unwrap();
    let raw = fs::File::options().write(true).open(&backlog).unwrap();
    raw.write_all_at(b"?", whole.len() as u64 / 2).unwrap();
    let error = open(to.path(), leaving_it()).map(drop).unwrap_err().to_string();
    assert!(error.contains("backlog.snap") && error.contains("is corrupt"), "{error}");
    fs::copy(build_snapshot(&store).await.unwrap().path(), &backlog).unwrap();
    let (receiver, _watch) = open(to.path(), little_by_little()).unwrap();
    until(|| unsettled(&receiver) == 0);
    assert!(everything(&receiver, 1) == everything(&store, 1));
}

#[tokio::test]
async fn a_history_for_which_there_is_no_room_is_refused_before_it_is_the_state() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = donor(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    let small = StateOptions { map_bytes: 1 << 20, ..leaving_it() };
    let (receiver, watch) = open(to.path(), small).unwrap();
    execute(&receiver, put("mine", "1")).await;
    let error = install_snapshot(&receiver, file).await.unwrap_err().to_string();
    assert!(error.contains("raise its map size"), "{error}");
    assert_eq!(value(&receiver.view().unwrap(), "mine").unwrap(), "1");
    assert!(watch.current().is_none());
    assert!(!to.path().join("state/2").exists());
}

#[tokio::test]
async fn a_backlog_damaged_while_it_is_read_stops_the_store() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = donor(from.path()).await;
    let file = build_snapshot(&store).await.unwrap();
    drop(installed(to.path(), leaving_it(), &file).await);
    let slow = StateOptions { settle_rest: Duration::from_millis(200), ..leaving_it() };
    let (receiver, mut watch) = open(to.path(), slow).unwrap();
    let backlog = to.path().join("state/2/backlog.snap");
    let raw = fs::File::options().write(true).open(&backlog).unwrap();
    let size = raw.metadata().unwrap().len();
    for place in 1..20 {
        raw.write_all_at(b"????", size / 20 * place).unwrap();
    }
    let error = watch.failed().await.to_string();
    assert!(error.contains("backlog.snap") && error.contains("is corrupt"), "{error}");
    drop(receiver);
}

/// A copy of a state by way of a snapshot built now.
async fn copied(store: &StateStore) -> (TempDir, StateStore) {
    let directory = TempDir::new().unwrap();
    let file = build_snapshot(store).await.unwrap();
    SnapshotFile::open_verified(file.path(), CLUSTER).unwrap();
    let copy = installed(directory.path(), hasty(), &file).await;
    (directory, copy)
}

#[tokio::test]
async fn a_snapshot_built_upon_another_is_as_good_as_one_built_from_nothing() {
    let from = TempDir::new().unwrap();
    let store = donor(from.path()).await;
    build_snapshot(&store).await.unwrap();
    let expected = everything(&store, 1);
    for round in 0..4u32 {
        let request = put_request("after", round.to_string());
        execute(&store, Operation::Put(request)).await;
        let (_directory, copy) = copied(&store).await;
        assert!(everything(&copy, 1) == expected);
        assert_eq!(value(&copy.view().unwrap(), "after").unwrap(), round.to_string());
        let revision = copy.view().unwrap().revision();
        assert_eq!(revision, LAST + 1 + u64::from(round));
        let later = pairs(&store.view().unwrap(), &KeyRange::all(), revision);
        assert!(pairs(&copy.view().unwrap(), &KeyRange::all(), revision) == later);
    }

    // What compaction takes is in no later one.
    execute(&store, compact(400)).await;
    store.flush().await.unwrap();
    until(|| store.stats().unwrap().versions < 100);
    let (_directory, copy) = copied(&store).await;
    assert_eq!(copy.stats().unwrap().versions, store.stats().unwrap().versions);
    assert!(everything(&copy, 400) == everything(&store, 400));
}

/// Where the chunks of a table begin in a file.
fn chunks_of(file: &[u8], table: u8) -> Vec<u64> {
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut found) = (20 + number(12), Vec::new());
    while file[at] != u8::MAX {
        if file[at] == table {
            found.push(at as u64);
        }
        at += 17 + number(at + 9);
    }
    found
}

#[tokio::test]
async fn a_damaged_snapshot_is_not_built_upon() {
    let from = TempDir::new().unwrap();
    let store = donor(from.path()).await;
    let mut damages = 0;
    // In the middle of a chunk; and a history chunk that says it is one of the keys, or of the end.
    for damage in [None, Some(0), Some(5)] {
        let file = build_snapshot(&store).await.unwrap();
        let raw = fs::File::options().write(true).open(file.path()).unwrap();
        let history = chunks_of(&fs::read(file.path()).unwrap(), 1);
        assert!(history.len() > 3);
        match damage {
            None => raw.write_all_at(b"?", history[2] + 100).unwrap(),
            Some(table) => raw.write_all_at(&[table], history[2]).unwrap(),
        }
        damages += 1;
        execute(&store, put("after", "1")).await;
        let (_directory, copy) = copied(&store).await;
        assert!(everything(&copy, 1) == everything(&store, 1));
        assert_eq!(copy.stats().unwrap().versions, 420 + damages);
    }
}
