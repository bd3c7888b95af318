//! Users, roles and keys on the disk, in memory and in snapshots.

use std::sync::Arc;

use chainfire::machine::StateView;
use chainfire::types::{AccessKey, AccessOperation, AccessTables, Operation};
use tempfile::TempDir;

use crate::shared_support::requests::put;
use crate::support::{build_snapshot, execute, install_snapshot, open, unhurried};

fn key(id: &str) -> AccessKey {
    let sealed_secret = format!("sealed {id}").into();
    AccessKey { id: id.to_owned(), user: "ann".to_owned(), version: 1, active: true, sealed_secret }
}

fn operations() -> Vec<Operation> {
    let (ann, bob) = ("ann".to_owned(), "bob".to_owned());
    let operations = [
        AccessOperation::Bootstrap(key("R")),
        AccessOperation::AddUser { name: ann },
        AccessOperation::AddUser { name: bob.clone() },
        AccessOperation::AddRole { name: "reader".to_owned() },
        AccessOperation::GrantRole { user: bob.clone(), role: "reader".to_owned() },
        AccessOperation::CreateKey(key("A")),
        AccessOperation::CreateKey(key("B")),
        AccessOperation::RemoveKey { id: "A".to_owned() },
        AccessOperation::RemoveUser { name: bob },
    ];
    operations.map(Operation::Access).into()
}

fn check(access: &AccessTables) {
    assert_eq!(access.revision, 9);
    assert_eq!(access.users.keys().collect::<Vec<_>>(), ["ann", "root"]);
    assert_eq!(access.roles.keys().collect::<Vec<_>>(), ["reader"]);
    assert_eq!(access.keys.keys().collect::<Vec<_>>(), ["B", "R"]);
}

#[tokio::test]
async fn what_is_applied_is_published_before_the_next_entry_and_survives_a_restart() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    let published = store.access();
    for (number, operation) in (1..).zip(operations()) {
        execute(&store, operation).await;
        assert_eq!(published.borrow().revision, number);
        if number == 7 {
            // What went and what came lie in two generations of the memory table.
            store.flush().await.unwrap();
        }
    }
    check(&published.borrow());
    assert!(Arc::ptr_eq(&store.view().unwrap().access(), &published.borrow()));
    store.shutdown();
    drop(store);
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    check(&store.access().borrow());
    execute(&store, put("a", "1")).await;
}

#[tokio::test]
async fn a_snapshot_carries_them_to_another_node() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (source, _watch) = open(from.path(), unhurried()).unwrap();
    for operation in operations() {
        execute(&source, operation).await;
    }
    let file = build_snapshot(&source).await.unwrap();
    let (target, _watch) = open(to.path(), unhurried()).unwrap();
    let published = target.access();
    install_snapshot(&target, file).await.unwrap();
    check(&published.borrow());
    assert_eq!(*published.borrow(), *source.access().borrow());
}
