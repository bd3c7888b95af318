//! Compaction as far as reads see it.

use chainfire::machine::Change;
use chainfire::types::{Answer, CompactAnswer, KeyRange, Operation, OperationError, RangeRequest};

use crate::support::requests::{at_revision, command, compact, delete, put, put_request};
use crate::{put_answer, read, read_all, store_of};

#[test]
fn compaction_makes_no_revision_and_changes_nothing_that_is_current() {
    let mut store = store_of(&[("a", "1"), ("a", "2"), ("b", "1")]);
    let before = read_all(&store);
    assert_eq!(store.execute(compact(4)), Ok(Answer::Compact(CompactAnswer { revision: 4 })));
    assert_eq!(read_all(&store), before);
}

#[test]
fn at_or_below_the_compacted_revision_there_is_nothing_left_to_compact() {
    let mut store = store_of(&[("a", "1"), ("a", "2")]);
    let nothing_yet = store.execute(compact(0));
    assert_eq!(nothing_yet, Err(OperationError::Compacted { requested: 0, compact_revision: 0 }));
    store.execute(compact(2)).unwrap();
    for requested in [1, 2] {
        let refused = store.execute(compact(requested));
        assert_eq!(refused, Err(OperationError::Compacted { requested, compact_revision: 2 }));
    }
}

#[test]
fn the_future_cannot_be_compacted() {
    let mut store = store_of(&[("a", "1")]);
    let refused = store.execute(compact(3));
    assert_eq!(refused, Err(OperationError::FutureRevision { requested: 3, current: 2 }));
    assert_eq!(store.compact_revision, 0);
}

#[test]
fn the_revision_goes_on_when_everything_was_deleted_and_compacted() {
    let mut store = store_of(&[("a", "1")]);
    store.execute(delete(KeyRange::all())).unwrap();
    store.execute(compact(3)).unwrap();
    assert_eq!(read_all(&store).revision, 3);
    assert_eq!(put_answer(store.execute(put("a", "2"))).revision, 4);
    assert_eq!(read_all(&store).kvs[0].version, 1);
}

#[test]
fn a_key_deleted_before_the_compacted_revision_is_gone_at_it() {
    let mut store = store_of(&[("a", "1"), ("b", "1")]);
    store.execute(delete(KeyRange::single("a"))).unwrap();
    store.execute(put("c", "1")).unwrap();
    store.execute(compact(5)).unwrap();
    assert_eq!(read(&store, &at_revision(KeyRange::all(), 5)).unwrap().count, 2);
    assert_eq!(read(&store, &RangeRequest::new(KeyRange::single("a"))).unwrap().count, 0);
}

#[test]
fn a_compaction_is_the_only_change_it_makes() {
    let mut store = store_of(&[("a", "1")]);
    let mut write = command(1, 1, 1, 0, compact(2));
    write.request_id = None;
    assert_eq!(store.apply(&write).changes, [Change::Compact(2)]);
}

#[test]
fn a_put_after_compaction_continues_the_versions_of_its_key() {
    let mut store = store_of(&[("a", "1"), ("a", "2")]);
    store.execute(compact(3)).unwrap();
    store.execute(Operation::Put(put_request("a", "3"))).unwrap();
    let pair = &read_all(&store).kvs[0];
    assert_eq!((pair.create_revision, pair.mod_revision, pair.version), (2, 4, 3));
}
