//! Reading: bounds, options, history, and the size of an answer.

use bytes::Bytes;
use chainfire::machine::Change;
use chainfire::types::limits::{ANSWER_BYTES_MAX, PAIR_OVERHEAD_BYTES};
use chainfire::types::{
    KeyRange, Operation, OperationError, RangeAnswer, RangeRequest, Revision, SortOrder,
    SortTarget, VersionMeta,
};

use crate::support::memory_view::MemoryView;
use crate::support::requests::{at_revision, compact, delete, put, put_request, sorted};
use crate::{keys, read, read_all, store_of};

#[test]
fn a_range_reads_one_key_an_interval_a_prefix_or_all_from_a_key_on() {
    let store = store_of(&[("a", ""), ("a/1", ""), ("a/2", ""), ("b", ""), ("c", "")]);
    let cases: [(KeyRange, &[&str]); 8] = [
        (KeyRange::single("a"), &["a"]),
        (KeyRange::single("a/"), &[]),
        (KeyRange::between("a", "b"), &["a", "a/1", "a/2"]),
        (KeyRange::between("b", "a"), &[]),
        (KeyRange::between("b", "b"), &[]),
        (KeyRange::prefix("a/"), &["a/1", "a/2"]),
        (KeyRange::from("a/2"), &["a/2", "b", "c"]),
        (KeyRange::all(), &["a", "a/1", "a/2", "b", "c"]),
    ];
    for (range, expected) in cases {
        let answer = read(&store, &RangeRequest::new(range.clone())).unwrap();
        assert_eq!(keys(&answer), expected, "{range:?}");
        assert_eq!(answer.count, expected.len() as u64, "{range:?}");
        assert!(!answer.more, "{range:?}");
    }
}

#[test]
fn a_limit_cuts_and_says_so_and_count_ignores_it() {
    let store = store_of(&[("a", ""), ("b", ""), ("c", "")]);
    for (limit, expected, more) in
        [(1, &["a"][..], true), (2, &["a", "b"], true), (3, &["a", "b", "c"], false)]
    {
        let request = RangeRequest { limit, ..RangeRequest::new(KeyRange::all()) };
        let answer = read(&store, &request).unwrap();
        assert_eq!((keys(&answer), answer.more, answer.count), (expected.to_vec(), more, 3));
    }
}

#[test]
fn filters_bound_revisions_on_both_sides_and_count_ignores_them() {
    // Created at 2, 3, 4; modified at 5, 3, 4.
    let store = store_of(&[("a", "1"), ("b", "1"), ("c", "1"), ("a", "2")]);
    let all = RangeRequest::new(KeyRange::all());
    let cases: [(RangeRequest, &[&str]); 6] = [
        (RangeRequest { min_mod_revision: 4, ..all.clone() }, &["a", "c"]),
        (RangeRequest { max_mod_revision: 4, ..all.clone() }, &["b", "c"]),
        (RangeRequest { min_create_revision: 3, ..all.clone() }, &["b", "c"]),
        (RangeRequest { max_create_revision: 3, ..all.clone() }, &["a", "b"]),
        (RangeRequest { min_mod_revision: 5, max_create_revision: 2, ..all.clone() }, &["a"]),
        (RangeRequest { min_mod_revision: 6, ..all.clone() }, &[]),
    ];
    for (request, expected) in cases {
        let answer = read(&store, &request).unwrap();
        assert_eq!((keys(&answer), answer.count), (expected.to_vec(), 3), "{request:?}");
    }
    let limited = RangeRequest { min_create_revision: 3, limit: 1, ..all.clone() };
    let answer = read(&store, &limited).unwrap();
    assert_eq!((keys(&answer), answer.more), (vec!["b"], true), "the filter goes first");
    let last = RangeRequest { max_create_revision: 2, limit: 1, ..all };
    assert!(!read(&store, &last).unwrap().more, "what the filter drops is not more");
}

#[test]
fn every_sort_target_sorts_both_ways_with_ties_in_key_order() {
    // Versions 2, 1, 1; created 2, 3, 4; modified 5, 3, 4; values z, x, x.
    let store = store_of(&[("a", "y"), ("b", "x"), ("c", "x"), ("a", "z")]);
    let cases = [
        (SortTarget::Key, ["a", "b", "c"], ["c", "b", "a"]),
        (SortTarget::Version, ["b", "c", "a"], ["a", "b", "c"]),
        (SortTarget::CreateRevision, ["a", "b", "c"], ["c", "b", "a"]),
        (SortTarget::ModRevision, ["b", "c", "a"], ["a", "c", "b"]),
        (SortTarget::Value, ["b", "c", "a"], ["a", "b", "c"]),
    ];
    for (target, ascending, descending) in cases {
        for (order, expected) in
            [(SortOrder::Ascending, ascending), (SortOrder::Descending, descending)]
        {
            let whole = sorted(KeyRange::all(), target, order);
            assert_eq!(keys(&read(&store, &whole).unwrap()), expected, "{target:?} {order:?}");
            let first_two = RangeRequest { limit: 2, ..whole };
            let answer = read(&store, &first_two).unwrap();
            assert_eq!(keys(&answer), expected[..2], "{target:?} {order:?}");
            assert_eq!((answer.more, answer.count), (true, 3));
        }
    }
}

#[test]
fn keys_only_leaves_out_the_value_and_nothing_else() {
    let mut store = MemoryView::new();
    let mod_revision = Revision::new(2, 0);
    let meta = VersionMeta { create_revision: 2, mod_revision, version: 1, lease: 9 };
    let written = Change::Put { key: "a".into(), meta, value: "value".into() };
    store.change_all(&[Change::SetRevision(2), written]);
    for sort in [None, sorted(KeyRange::all(), SortTarget::Value, SortOrder::Descending).sort] {
        let whole = RangeRequest { sort, ..RangeRequest::new(KeyRange::all()) };
        let mut expected = read(&store, &whole).unwrap();
        assert_eq!((&expected.kvs[0].value[..], expected.kvs[0].lease), (&b"value"[..], 9));
        expected.kvs[0].value = Bytes::new();
        assert_eq!(read(&store, &RangeRequest { keys_only: true, ..whole }).unwrap(), expected);
    }
}

#[test]
fn count_only_answers_the_count_alone() {
    let store = store_of(&[("a", ""), ("b", ""), ("c", "")]);
    let request = RangeRequest {
        count_only: true,
        limit: 1,
        min_mod_revision: 4,
        ..RangeRequest::new(KeyRange::from("b"))
    };
    let expected = RangeAnswer { revision: 4, kvs: vec![], more: false, count: 2 };
    assert_eq!(read(&store, &request).unwrap(), expected);
}

#[test]
fn a_skipped_count_is_0_and_changes_nothing_else() {
    let store = store_of(&[("a", ""), ("b", ""), ("c", "")]);
    for limit in [0, 2, 3] {
        let counted = RangeRequest { limit, ..RangeRequest::new(KeyRange::all()) };
        let skipped = RangeRequest { skip_count: true, ..counted.clone() };
        let expected = RangeAnswer { count: 0, ..read(&store, &counted).unwrap() };
        assert_eq!(read(&store, &skipped).unwrap(), expected, "{limit}");
    }
}

#[test]
fn history_is_read_as_it_was_with_the_current_revision_in_the_answer() {
    let mut store = store_of(&[("a", "1"), ("b", "1"), ("a", "2")]);
    store.execute(delete(KeyRange::single("b"))).unwrap();
    let expected: [(u64, &[(&str, &str)]); 5] = [
        (1, &[]),
        (2, &[("a", "1")]),
        (3, &[("a", "1"), ("b", "1")]),
        (4, &[("a", "2"), ("b", "1")]),
        (5, &[("a", "2")]),
    ];
    for (revision, pairs) in expected {
        let answer = read(&store, &at_revision(KeyRange::all(), revision)).unwrap();
        let found: Vec<_> =
            answer.kvs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
        assert_eq!(
            found,
            pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Vec<_>>()
        );
        assert_eq!((answer.revision, answer.count), (5, pairs.len() as u64));
    }
    let one = read(&store, &at_revision(KeyRange::single("b"), 4)).unwrap();
    assert_eq!(keys(&one), ["b"], "a single key has a history as well");
}

#[test]
fn a_future_revision_is_refused() {
    let store = store_of(&[("a", "1")]);
    let refused = read(&store, &at_revision(KeyRange::all(), 3));
    assert_eq!(refused, Err(OperationError::FutureRevision { requested: 3, current: 2 }));
}

#[test]
fn below_the_compacted_revision_is_refused_and_the_revision_itself_is_readable() {
    let mut store = store_of(&[("a", "1"), ("a", "2"), ("a", "3")]);
    store.execute(compact(3)).unwrap();
    let refused = read(&store, &at_revision(KeyRange::all(), 2));
    assert_eq!(refused, Err(OperationError::Compacted { requested: 2, compact_revision: 3 }));
    let answer = read(&store, &at_revision(KeyRange::all(), 3)).unwrap();
    assert_eq!(answer.kvs[0].value, "2");
}

/// A store of `count` keys, each with a value of `value_bytes`.
fn store_of_large(count: usize, value_bytes: usize) -> MemoryView {
    let mut store = MemoryView::new();
    for index in 0..count {
        let request = put_request(format!("key{index:05}"), vec![b'v'; value_bytes]);
        store.execute(Operation::Put(request)).unwrap();
    }
    store
}

#[test]
fn an_answer_ends_where_the_next_pair_would_exceed_its_bytes() {
    let pair_bytes = ANSWER_BYTES_MAX / 4;
    let store = store_of_large(5, pair_bytes - PAIR_OVERHEAD_BYTES - "key00000".len());
    let answer = read_all(&store);
    assert_eq!((answer.kvs.len(), answer.more, answer.count), (4, true, 5), "four fit exactly");

    let store = store_of_large(5, pair_bytes - PAIR_OVERHEAD_BYTES - "key00000".len() + 1);
    let answer = read_all(&store);
    assert_eq!((answer.kvs.len(), answer.more, answer.count), (3, true, 5));
}

#[test]
fn pages_at_one_revision_are_the_whole_range() {
    let mut store = store_of_large(9, 600_000);
    let revision = store.revision;
    let mut found = Vec::new();
    let mut rest = KeyRange::all();
    loop {
        let request = RangeRequest { skip_count: true, ..at_revision(rest.clone(), revision) };
        let page = read(&store, &request).unwrap();
        rest = rest.after(&page.kvs.last().unwrap().key);
        found.extend(page.kvs.into_iter().map(|pair| pair.key));
        if !page.more {
            break;
        }
        store.execute(put("key", "written between pages")).unwrap();
        store.execute(delete(KeyRange::single("key00008"))).unwrap();
    }
    let expected: Vec<_> = (0..9).map(|index| Bytes::from(format!("key{index:05}"))).collect();
    assert_eq!(found, expected);
}

#[test]
fn keys_only_and_count_only_do_not_pay_for_values() {
    let store = store_of_large(9, 600_000);
    let keys_only = RangeRequest { keys_only: true, ..RangeRequest::new(KeyRange::all()) };
    let answer = read(&store, &keys_only).unwrap();
    assert_eq!((answer.kvs.len(), answer.more), (9, false));
    let by_version = sorted(KeyRange::all(), SortTarget::Version, SortOrder::Ascending);
    let answer = read(&store, &RangeRequest { keys_only: true, ..by_version }).unwrap();
    assert_eq!((answer.kvs.len(), answer.more), (9, false));
}

#[test]
fn another_order_is_whole_or_refused() {
    let store = store_of_large(9, 600_000);
    let too_large = Err(OperationError::AnswerTooLarge { max: ANSWER_BYTES_MAX as u64 });
    for (target, order) in [
        (SortTarget::Key, SortOrder::Descending),
        (SortTarget::Version, SortOrder::Ascending),
        (SortTarget::ModRevision, SortOrder::Descending),
        (SortTarget::Value, SortOrder::Ascending),
    ] {
        let whole = sorted(KeyRange::all(), target, order);
        assert_eq!(read(&store, &whole), too_large, "{target:?}");
        let limited = RangeRequest { limit: 3, ..whole.clone() };
        assert_eq!(read(&store, &limited).unwrap().kvs.len(), 3, "{target:?}");
        let one_too_many = RangeRequest { limit: 4, ..whole };
        assert_eq!(read(&store, &one_too_many), too_large, "{target:?}");
    }
}

#[test]
fn the_last_keys_of_a_range_larger_than_an_answer_are_found() {
    const { assert!(3_000 * 1_000 > ANSWER_BYTES_MAX) };
    let mut store = MemoryView::new();
    for index in 0..3_000 {
        let request = put_request(format!("key{index:0997}"), "");
        store.execute(Operation::Put(request)).unwrap();
    }
    let descending = sorted(KeyRange::all(), SortTarget::Key, SortOrder::Descending);
    let answer = read(&store, &RangeRequest { limit: 2, ..descending }).unwrap();
    let last_digits: Vec<_> = keys(&answer).into_iter().map(|key| &key[996..]).collect();
    assert_eq!(last_digits, ["2999", "2998"]);
    assert_eq!((answer.more, answer.count), (true, 3_000));
}
