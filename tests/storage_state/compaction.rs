//! Compaction on the disk: what goes, what stays, and when.

use chainfire::machine::StateView;
use chainfire::types::KeyRange;
use tempfile::TempDir;

use crate::shared_support::requests::{compact, delete, put};
use crate::support::{apply, command, entry, execute, hasty, open, pairs, unhurried, until, value};

#[tokio::test]
async fn a_tombstone_at_the_compacted_revision_stays_until_the_next_compaction() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    let kept = |keys, versions| {
        until(|| {
            let stats = store.stats().unwrap();
            (stats.keys, stats.versions) == (keys, versions)
        });
    };
    execute(&store, put("a", "1")).await; // 2
    execute(&store, put("b", "1")).await; // 3
    execute(&store, delete(KeyRange::single("a"))).await; // 4
    execute(&store, put("b", "2")).await; // 5
    store.flush().await.unwrap();
    kept(2, 4);
    execute(&store, compact(4)).await;
    store.flush().await.unwrap();
    kept(2, 3); // a's tombstone at 4, b at 3 and 5
    execute(&store, compact(5)).await;
    store.flush().await.unwrap();
    kept(1, 1);
    execute(&store, put("a", "again")).await; // 6
    store.flush().await.unwrap();
    let view = store.view().unwrap();
    assert_eq!(value(&view, "a").unwrap(), "again");
    let meta = view.current(b"a").unwrap().unwrap();
    assert_eq!((meta.version, meta.create_revision), (1, 6));
    let keys: Vec<_> = pairs(&view, &KeyRange::all(), 5).into_keys().collect();
    assert_eq!(keys, ["b"]);
}

#[tokio::test]
async fn what_a_restart_interrupted_is_finished_after_it() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    // Far more than one step looks at.
    let puts = (0..25_000).map(|index| entry(index, &command(put("key", "value"))));
    apply(&store, puts).await.unwrap();
    store.flush().await.unwrap();
    execute(&store, compact(24_000)).await;
    // The compaction is on the disk, its work is not done: a shutdown does one step.
    store.shutdown();
    let left = store.stats().unwrap().versions;
    assert!(left > 1_001, "{left} versions");
    drop(store);
    let (store, _watch) = open(path.path(), hasty()).unwrap();
    until(|| store.stats().unwrap().versions == 25_001 - 24_000 + 1);
    let view = store.view().unwrap();
    for at in [24_000, 24_001, 25_001] {
        let found = pairs(&view, &KeyRange::all(), at);
        assert_eq!(found[&b"key"[..]].0.mod_revision.main, at);
    }
}
