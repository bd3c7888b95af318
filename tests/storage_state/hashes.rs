//! The rolling hash over what applying the log changed: one for each applied entry, the same at
//! every member whatever it did with the changes.

use std::time::Duration;

use chainfire::storage::{StateOptions, StateStore};
use chainfire::types::{KeyRange, Operation, StateHash};
use tempfile::TempDir;

use crate::shared_support::requests::{compact, delete, put, put_request};
use crate::support::{
    apply, build_snapshot, command, entry, execute, hasty, install_snapshot, next_index, open,
    receive, unhurried,
};

const ENTRIES: u64 = 60;

/// Writes, deletes and compacts: entry `index` of a log.
async fn step(store: &StateStore, index: u64) {
    let operation = match index % 10 {
        7 => delete(KeyRange::single(format!("key/{}", index % 4))),
        9 => compact(index / 2),
        _ => {
            let (key, value) = (format!("key/{}", index % 4), format!("value {index}"));
            Operation::Put(put_request(key, value))
        }
    };
    execute(store, operation).await;
}

async fn run_to(store: &StateStore, end: u64) {
    while next_index(store) < end {
        step(store, next_index(store)).await;
    }
}

fn hashes(store: &StateStore, from: u64) -> Vec<StateHash> {
    (from..ENTRIES).map(|index| store.hash_at(index).expect("it was applied")).collect()
}

#[tokio::test]
async fn members_at_one_entry_have_one_hash_however_they_flushed_and_compacted() {
    let path = [(); 4].map(|()| TempDir::new().unwrap());
    let (unhurried_store, _watch) = open(path[0].path(), unhurried()).unwrap();
    run_to(&unhurried_store, ENTRIES).await;
    let expected = hashes(&unhurried_store, 0);
    assert_eq!(unhurried_store.hash_at(ENTRIES), None, "it is not applied");
    let distinct: std::collections::HashSet<_> = expected.iter().collect();
    assert_eq!(distinct.len(), expected.len(), "each entry moves it");

    let (hasty_store, _watch) = open(path[1].path(), hasty()).unwrap();
    run_to(&hasty_store, ENTRIES).await;
    assert_eq!(hashes(&hasty_store, 0), expected);

    let (store, _watch) = open(path[2].path(), unhurried()).unwrap();
    run_to(&store, 31).await;
    store.shutdown();
    drop(store);
    let (reopened, _watch) = open(path[2].path(), hasty()).unwrap();
    assert_eq!(reopened.hash_at(29), None, "only the last is on the disk");
    assert_eq!(reopened.hash_at(30), Some(expected[30]));
    run_to(&reopened, ENTRIES).await;
    assert_eq!(hashes(&reopened, 30), expected[30..]);

    // From a snapshot, all of whose history stays in its file.
    let (donor, _watch) = open(path[3].path(), hasty()).unwrap();
    run_to(&donor, 43).await;
    let snapshot = build_snapshot(&donor).await.unwrap();
    assert_eq!(snapshot.header().hash, expected[42]);
    let leaving_it = StateOptions {
        install_history_bytes: 0,
        settle_bytes: 1,
        settle_rest: Duration::from_secs(3_600),
        ..hasty()
    };
    let directory = TempDir::new().unwrap();
    let (installed, _watch) = open(directory.path(), leaving_it).unwrap();
    run_to(&installed, 5).await;
    let received = receive(directory.path(), snapshot.path());
    install_snapshot(&installed, received).await.unwrap();
    assert_eq!(installed.hash_at(4), None, "what was before is another state's");
    run_to(&installed, ENTRIES).await;
    assert_eq!(hashes(&installed, 42), expected[42..]);
}

#[tokio::test]
async fn a_member_that_decided_otherwise_has_another_hash_from_there_on() {
    let paths = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let (one, _watch) = open(paths[0].path(), hasty()).unwrap();
    let (other, _watch) = open(paths[1].path(), hasty()).unwrap();
    run_to(&one, 20).await;
    run_to(&other, 10).await;
    let index = next_index(&other);
    let differs = entry(index, &command(put("key/0", "another value")));
    apply(&other, [differs]).await.unwrap();
    run_to(&other, 20).await;
    assert_eq!(one.hash_at(9), other.hash_at(9));
    for index in 10..20 {
        assert_ne!(one.hash_at(index), other.hash_at(index), "entry {index}");
    }
}
