//! Applying, reading back, flushing, opening again.

use chainfire::machine::StateView;
use chainfire::storage::{StateOptions, StorageError};
use chainfire::types::{KeyRange, LogId, Operation, PeerAddress};
use openraft::storage::RaftStateMachine;
use tempfile::TempDir;

use crate::shared_support::requests::{delete, put};
use crate::support::{
    apply, blank, command, entry, execute, hasty, log_id, open, pairs, unhurried, value,
};

#[tokio::test]
async fn what_is_applied_is_visible_before_it_is_on_the_disk() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    execute(&store, put("key", "value")).await;
    let view = store.view().unwrap();
    assert_eq!((view.revision(), value(&view, "key").unwrap()), (2, "value".into()));
    assert_eq!(*store.durable().borrow(), None);
    assert_eq!(store.stats().unwrap().keys, 0);

    store.flush().await.unwrap();
    assert_eq!(*store.durable().borrow(), Some(LogId { term: 1, index: 0 }));
    assert_eq!(store.stats().unwrap().keys, 1);
    assert_eq!(store.stats().unwrap().unflushed_bytes, 0);
    assert_eq!(value(&store.view().unwrap(), "key").unwrap(), "value");
}

#[tokio::test]
async fn a_view_stays_at_its_revision_whatever_is_applied_and_flushed() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    execute(&store, put("a", "1")).await;
    let in_memory = store.view().unwrap();
    store.flush().await.unwrap();
    let on_disk = store.view().unwrap();
    execute(&store, put("a", "2")).await;
    execute(&store, put("b", "2")).await;
    execute(&store, delete(KeyRange::single("a"))).await;
    store.flush().await.unwrap();
    execute(&store, put("c", "3")).await;
    store.flush().await.unwrap();
    for view in [&in_memory, &on_disk] {
        assert_eq!(view.revision(), 2);
        assert_eq!(value(view, "a").unwrap(), "1");
        assert_eq!(value(view, "b"), None);
        let keys: Vec<_> = pairs(view, &KeyRange::all(), 2).into_keys().collect();
        assert_eq!(keys, ["a"]);
    }
    let now = store.view().unwrap();
    let keys = |at| pairs(&now, &KeyRange::all(), at).into_keys().collect::<Vec<_>>();
    assert_eq!(keys(1), [""; 0]);
    assert_eq!(keys(2), ["a"]);
    assert_eq!(keys(4), ["a", "b"]);
    assert_eq!(keys(6), ["b", "c"]);
}

#[tokio::test]
async fn a_store_opened_again_stands_where_it_was_durable() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    let address = PeerAddress { name: "n".into(), peer_addr: "127.0.0.1:1".into() };
    let register = Operation::RegisterMember {
        node_id: 3,
        address: address.clone(),
        client_addr: "127.0.0.1:2".into(),
    };
    execute(&store, put("a", "1")).await;
    execute(&store, register).await;
    let time = chainfire::types::Command { leader_time_ms: 77, ..command(put("a", "2")) };
    apply(&store, [entry(2, &time), blank(3)]).await.unwrap();
    let applied = *store.applied().borrow();
    assert_eq!((applied.revision, applied.leader_time_ms), (3, 77));
    store.shutdown();
    drop(store);

    let (mut store, _watch) = open(path.path(), unhurried()).unwrap();
    assert_eq!(*store.applied().borrow(), applied);
    assert_eq!(*store.durable().borrow(), applied.log_id);
    assert_eq!(store.applied_state().await.unwrap().0, Some(log_id(1, 3)));
    assert_eq!(store.members(), [(3, address, "127.0.0.1:2".to_owned())]);
    assert_eq!(value(&store.view().unwrap(), "a").unwrap(), "2");
}

#[tokio::test]
async fn an_entry_out_of_order_stops_the_store() {
    let path = TempDir::new().unwrap();
    let (store, mut watch) = open(path.path(), unhurried()).unwrap();
    execute(&store, put("a", "1")).await;
    let error = apply(&store, [blank(2)]).await.unwrap_err();
    assert!(error.to_string().contains("log entry 2 does not follow"), "{error}");
    let fatal = watch.failed().await;
    let expected = StorageError::NotConsecutive { expected: 1, found: 2 };
    assert_eq!(fatal.to_string(), expected.to_string());
    apply(&store, [blank(1)]).await.unwrap_err();
    assert_eq!(value(&store.view().unwrap(), "a").unwrap(), "1", "reading goes on");
}

#[tokio::test]
async fn applying_waits_for_the_disk_when_too_much_is_in_memory() {
    let path = TempDir::new().unwrap();
    let options = StateOptions { unflushed_bytes_max: 4_096, flush_bytes: 2_048, ..hasty() };
    let (store, _watch) = open(path.path(), options).unwrap();
    for index in 0..400 {
        apply(&store, [entry(index, &command(put("key", "value")))]).await.unwrap();
        let unflushed = store.stats().unwrap().unflushed_bytes;
        assert!(unflushed < 8_192, "{unflushed} bytes wait for the disk");
    }
    assert_eq!(store.view().unwrap().revision(), 401);
}

#[tokio::test]
async fn after_shutdown_reading_works_and_applying_is_refused() {
    let path = TempDir::new().unwrap();
    let (store, watch) = open(path.path(), unhurried()).unwrap();
    execute(&store, put("a", "1")).await;
    store.shutdown();
    store.shutdown();
    assert_eq!(*store.durable().borrow(), Some(LogId { term: 1, index: 0 }));
    assert_eq!(value(&store.view().unwrap(), "a").unwrap(), "1");
    let error = apply(&store, [blank(1)]).await.unwrap_err();
    assert_eq!(error.to_string(), StorageError::ShutDown.to_string());
    assert!(watch.current().is_none(), "a shutdown is no failure");
}
