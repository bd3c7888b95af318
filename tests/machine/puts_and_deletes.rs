//! Revisions, puts, deletes and the events they make.

use bytes::Bytes;
use chainfire::machine::{Change, events};
use chainfire::types::{
    DeleteRangeRequest, Event, EventKind, KeyRange, KeyValue, Operation, OperationError,
    PutRequest, Revision, VersionMeta,
};

use crate::support::memory_view::MemoryView;
use crate::support::requests::{command, delete, put, put_request};
use crate::{delete_answer, put_answer, read_all, store_of};

#[test]
fn an_empty_store_is_at_revision_1_and_the_first_write_makes_2() {
    let mut store = MemoryView::new();
    assert_eq!(read_all(&store).revision, 1);
    assert_eq!(put_answer(store.execute(put("a", "1"))).revision, 2);
    assert_eq!(read_all(&store).revision, 2);
}

#[test]
fn a_put_of_an_identical_value_makes_a_new_version() {
    let mut store = store_of(&[("a", "1")]);
    assert_eq!(put_answer(store.execute(put("a", "1"))).revision, 3);
    let pair = &read_all(&store).kvs[0];
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (2, 3, 2));
}

#[test]
fn after_a_delete_a_key_starts_anew() {
    let mut store = store_of(&[("a", "1"), ("a", "2")]);
    store.execute(delete(KeyRange::single("a"))).unwrap();
    store.execute(put("a", "3")).unwrap();
    let pair = &read_all(&store).kvs[0];
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (5, 5, 1));
}

#[test]
fn a_delete_that_matches_nothing_makes_no_revision() {
    let mut store = store_of(&[("a", "1")]);
    for range in [KeyRange::single("b"), KeyRange::between("b", "a"), KeyRange::from("b")] {
        let answer = delete_answer(store.execute(delete(range)));
        assert_eq!((answer.revision, answer.deleted), (2, 0));
    }
    assert_eq!(read_all(&store).revision, 2);
}

#[test]
fn a_delete_of_many_keys_is_one_revision() {
    let mut store = store_of(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let request = DeleteRangeRequest { range: KeyRange::between("a", "c"), prev_kv: true };
    let answer = delete_answer(store.execute(Operation::DeleteRange(request)));
    assert_eq!((answer.revision, answer.deleted), (5, 2));
    let previous: Vec<_> = answer.prev_kvs.iter().map(|pair| (&pair.key, &pair.value)).collect();
    assert_eq!(
        previous,
        [(&Bytes::from("a"), &Bytes::from("1")), (&Bytes::from("b"), &Bytes::from("2"))]
    );
    assert_eq!(read_all(&store).count, 1);
}

#[test]
fn a_delete_answers_previous_pairs_only_when_asked() {
    let mut store = store_of(&[("a", "1")]);
    let answer = delete_answer(store.execute(delete(KeyRange::all())));
    assert_eq!((answer.deleted, answer.prev_kvs), (1, vec![]));
}

#[test]
fn a_put_answers_the_previous_pair_when_asked() {
    let mut store = MemoryView::new();
    let request = |value| PutRequest { prev_kv: true, ..put_request("a", value) };
    let first = put_answer(store.execute(Operation::Put(request("1"))));
    assert_eq!(first.prev_kv, None);
    let second = put_answer(store.execute(Operation::Put(request("2"))));
    let previous = KeyValue {
        key: "a".into(),
        value: "1".into(),
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        lease: 0,
    };
    assert_eq!(second.prev_kv, Some(previous));
    assert_eq!(put_answer(store.execute(put("a", "3"))).prev_kv, None);
}

#[test]
fn a_put_that_ignores_the_value_keeps_it() {
    let mut store = store_of(&[("a", "kept")]);
    let request = PutRequest { ignore_value: true, ..put_request("a", "") };
    assert_eq!(put_answer(store.execute(Operation::Put(request))).revision, 3);
    let pair = &read_all(&store).kvs[0];
    assert_eq!((&pair.value[..], pair.version), (&b"kept"[..], 2));
}

#[test]
fn what_a_put_ignores_must_exist() {
    let mut store = MemoryView::new();
    let ignoring = [
        PutRequest { ignore_value: true, ..put_request("a", "") },
        PutRequest { ignore_lease: true, ..put_request("a", "1") },
    ];
    for request in ignoring.clone() {
        let refused = store.execute(Operation::Put(request));
        assert_eq!(refused, Err(OperationError::KeyNotFound));
    }
    store.execute(put("a", "1")).unwrap();
    store.execute(delete(KeyRange::single("a"))).unwrap();
    for request in ignoring {
        let refused = store.execute(Operation::Put(request));
        assert_eq!(refused, Err(OperationError::KeyNotFound));
    }
}

#[test]
fn what_a_put_ignores_must_not_be_given() {
    let mut store = store_of(&[("a", "1")]);
    for request in [
        PutRequest { ignore_value: true, ..put_request("a", "2") },
        PutRequest { ignore_lease: true, lease: 7, ..put_request("a", "2") },
    ] {
        let refused = store.execute(Operation::Put(request));
        assert_eq!(refused, Err(OperationError::IgnoredFieldGiven));
    }
    assert_eq!(read_all(&store).revision, 2);
}

#[test]
fn a_put_to_an_unknown_lease_fails() {
    let mut store = MemoryView::new();
    let request = PutRequest { lease: 7, ..put_request("a", "1") };
    let refused = store.execute(Operation::Put(request));
    assert_eq!(refused, Err(OperationError::LeaseNotFound { lease: 7 }));
    assert_eq!(read_all(&store).revision, 1);
}

/// A store whose key `a` has a lease, as it will once there are leases.
fn store_with_lease() -> MemoryView {
    let mut store = MemoryView::new();
    let mod_revision = Revision::new(2, 0);
    let meta = VersionMeta { create_revision: 2, mod_revision, version: 1, lease: 7 };
    store.change_all(&[
        Change::SetRevision(2),
        Change::Put { key: "a".into(), meta, value: "1".into() },
    ]);
    store
}

#[test]
fn a_put_without_a_lease_detaches_the_old_one() {
    let mut store = store_with_lease();
    assert_eq!(read_all(&store).kvs[0].lease, 7);
    store.execute(put("a", "2")).unwrap();
    assert_eq!(read_all(&store).kvs[0].lease, 0);
}

#[test]
fn a_put_that_ignores_the_lease_keeps_it() {
    let mut store = store_with_lease();
    let request = PutRequest { ignore_lease: true, ..put_request("a", "2") };
    store.execute(Operation::Put(request)).unwrap();
    let pair = &read_all(&store).kvs[0];
    assert_eq!((pair.lease, &pair.value[..]), (7, &b"2"[..]));
}

#[test]
fn events_are_the_writes_in_their_order() {
    let mut store = store_of(&[("a", "1"), ("b", "2")]);
    let put = store.apply(&command(1, 1, 1, 0, put("a", "3")));
    let mod_revision = Revision::new(4, 0);
    let meta = VersionMeta { create_revision: 2, mod_revision, version: 2, lease: 0 };
    let written = Event { key: "a".into(), kind: EventKind::Put { meta, value: Bytes::from("3") } };
    assert_eq!(events(&put.changes).collect::<Vec<_>>(), [written]);

    let deleted = store.apply(&command(1, 2, 1, 0, delete(KeyRange::all())));
    let gone = |key: &'static str, sub| Event {
        key: key.into(),
        kind: EventKind::Delete { revision: Revision::new(5, sub) },
    };
    assert_eq!(events(&deleted.changes).collect::<Vec<_>>(), [gone("a", 0), gone("b", 1)]);
}

#[test]
fn a_retry_makes_no_event() {
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 0, put("a", "1"));
    assert_eq!(events(&store.apply(&write).changes).count(), 1);
    assert_eq!(events(&store.apply(&write).changes).count(), 0);
}
