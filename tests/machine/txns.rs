//! Transactions: compares, branches, what ranges inside see, duplicate keys.

use chainfire::machine::{Change, read_txn};
use chainfire::types::limits::TXN_ANSWER_BYTES_MAX;
use chainfire::types::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange, Operation,
    OperationAnswer, OperationError, PutRequest, RangeAnswer, RangeRequest, TxnAnswer,
    TxnOperation, TxnRequest,
};

use crate::support::memory_view::MemoryView;
use crate::support::requests::{
    all_of, at_revision, compact, compare, put, put_request, txn_delete, txn_put, txn_range,
};
use crate::{keys, read_all, store_of, txn_answer};

use CompareOperator::{Equal, Greater, Less, NotEqual};

fn run(store: &mut MemoryView, request: TxnRequest) -> TxnAnswer {
    txn_answer(store.execute(Operation::Txn(request)))
}

fn holds(store: &MemoryView, compares: Vec<Compare>) -> bool {
    let request = TxnRequest { compares, ..TxnRequest::default() };
    let Ok(answer) = read_txn(store, &request);
    answer.unwrap().succeeded
}

fn range_answer(answer: &OperationAnswer) -> &RangeAnswer {
    match answer {
        OperationAnswer::Range(answer) => answer,
        other => panic!("not the answer to a range: {other:?}"),
    }
}

#[test]
fn every_target_and_operator_compares_the_stored_field_with_the_given_one() {
    // Version 2, created at 2, modified at 3, value "m", no lease.
    let store = store_of(&[("a", "1"), ("a", "m")]);
    let below_equal_above = [
        [CompareTarget::Version(1), CompareTarget::Version(2), CompareTarget::Version(3)],
        [1, 2, 3].map(CompareTarget::CreateRevision),
        [2, 3, 4].map(CompareTarget::ModRevision),
        [-1, 0, 1].map(CompareTarget::Lease),
        ["l", "m", "n"].map(|value| CompareTarget::Value(value.into())),
    ];
    let expected = [
        (Equal, [false, true, false]),
        (NotEqual, [true, false, true]),
        (Less, [false, false, true]),
        (Greater, [true, false, false]),
    ];
    for given in below_equal_above {
        for (operator, outcomes) in expected {
            for (target, outcome) in given.iter().zip(outcomes) {
                let one = compare(KeyRange::single("a"), target.clone(), operator);
                assert_eq!(holds(&store, vec![one]), outcome, "{target:?} {operator:?}");
            }
        }
    }
}

#[test]
fn a_missing_key_compares_as_0_but_its_value_never_compares() {
    let store = MemoryView::new();
    for range in [KeyRange::single("a"), KeyRange::all(), KeyRange::between("b", "a")] {
        for target in [
            CompareTarget::Version(0),
            CompareTarget::CreateRevision(0),
            CompareTarget::ModRevision(0),
            CompareTarget::Lease(0),
        ] {
            assert!(holds(&store, vec![compare(range.clone(), target.clone(), Equal)]));
            assert!(!holds(&store, vec![compare(range.clone(), target, Greater)]));
        }
        for operator in [Equal, NotEqual, Less, Greater] {
            let value = compare(range.clone(), CompareTarget::Value("".into()), operator);
            assert!(!holds(&store, vec![value]), "{operator:?}");
        }
    }
}

#[test]
fn a_range_compare_holds_only_when_it_holds_for_every_key() {
    let store = store_of(&[("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")]);
    let version_1 = |range| compare(range, CompareTarget::Version(1), Equal);
    assert!(holds(&store, vec![version_1(KeyRange::single("a"))]));
    assert!(!holds(&store, vec![version_1(KeyRange::between("a", "c"))]), "b does not");
    assert!(!holds(&store, vec![version_1(KeyRange::all())]), "b, in the middle, does not");
    let exists = compare(KeyRange::all(), CompareTarget::CreateRevision(0), Greater);
    assert!(holds(&store, vec![exists]));
}

#[test]
fn one_compare_that_fails_takes_the_other_branch() {
    let store = store_of(&[("a", "1")]);
    let yes = compare(KeyRange::single("a"), CompareTarget::Version(1), Equal);
    let no = compare(KeyRange::single("a"), CompareTarget::Version(2), Equal);
    assert!(holds(&store, vec![]), "no compare holds");
    assert!(holds(&store, vec![yes.clone(), yes.clone()]));
    assert!(!holds(&store, vec![yes.clone(), no.clone()]));
    assert!(!holds(&store, vec![no, yes]));
}

#[test]
fn a_transaction_is_one_revision_with_an_answer_for_each_operation() {
    let mut store = store_of(&[("a", "1")]);
    let operations = vec![
        txn_put("b", "2"),
        txn_delete(KeyRange::single("a")),
        TxnOperation::Txn(all_of(vec![txn_put("c", "3")])),
        txn_range(KeyRange::all()),
    ];
    let answer = run(&mut store, all_of(operations));
    assert_eq!((answer.revision, answer.succeeded), (3, true));
    let [put, deleted, nested, range] = &answer.answers[..] else { panic!("{answer:?}") };
    assert!(matches!(put, OperationAnswer::Put(put) if put.revision == 3));
    assert!(matches!(deleted, OperationAnswer::DeleteRange(deleted) if deleted.deleted == 1));
    assert!(matches!(nested, OperationAnswer::Txn(nested) if nested.revision == 3));
    assert_eq!(range_answer(range).revision, 3);
    assert_eq!(keys(range_answer(range)), ["b", "c"]);
    let now = read_all(&store);
    assert_eq!((now.revision, now.kvs[0].mod_revision, now.kvs[1].mod_revision), (3, 3, 3));
}

#[test]
fn a_range_inside_sees_earlier_writes_and_not_later_ones() {
    let mut store = store_of(&[("a", "1"), ("b", "1"), ("d", "1")]);
    let operations = vec![
        txn_range(KeyRange::all()),
        txn_put("c", "2"),
        txn_range(KeyRange::all()),
        txn_delete(KeyRange::single("b")),
        txn_range(KeyRange::all()),
        txn_put("a", "2"),
        txn_range(KeyRange::single("a")),
    ];
    let answer = run(&mut store, all_of(operations));
    let seen = |index: usize| range_answer(&answer.answers[index]);
    assert_eq!((keys(seen(0)), seen(0).revision), (vec!["a", "b", "d"], 4));
    assert_eq!((keys(seen(2)), seen(2).revision), (vec!["a", "b", "c", "d"], 5));
    assert_eq!((keys(seen(4)), seen(4).count), (vec!["a", "c", "d"], 3));
    let a = &seen(6).kvs[0];
    assert_eq!((&a.value[..], a.version, a.create_revision, a.mod_revision), (&b"2"[..], 2, 2, 5));
}

#[test]
fn a_range_inside_that_names_a_revision_reads_history() {
    let mut store = store_of(&[("a", "1"), ("a", "2")]);
    let read = |revision| TxnOperation::Range(at_revision(KeyRange::all(), revision));
    let answer = run(&mut store, all_of(vec![txn_put("b", "1"), read(2), read(3)]));
    assert_eq!(range_answer(&answer.answers[1]).kvs[0].value, "1");
    assert_eq!(keys(range_answer(&answer.answers[2])), ["a"], "b belongs to the next revision");

    let refused = store.execute(Operation::Txn(all_of(vec![txn_put("c", "1"), read(5)])));
    assert_eq!(refused, Err(OperationError::FutureRevision { requested: 5, current: 4 }));
    store.execute(compact(4)).unwrap();
    let refused = store.execute(Operation::Txn(all_of(vec![txn_put("c", "1"), read(3)])));
    assert_eq!(refused, Err(OperationError::Compacted { requested: 3, compact_revision: 4 }));
    assert_eq!(read_all(&store).count, 2, "a refusal applies nothing");
}

#[test]
fn nested_compares_are_evaluated_before_any_write() {
    let mut store = MemoryView::new();
    let absent = compare(KeyRange::single("a"), CompareTarget::Version(0), Equal);
    let nested = TxnRequest {
        compares: vec![absent.clone()],
        success: vec![txn_put("saw", "nothing")],
        failure: vec![txn_put("saw", "the put before it")],
    };
    let request = TxnRequest {
        compares: vec![absent],
        success: vec![txn_put("a", "1"), TxnOperation::Txn(nested)],
        failure: vec![],
    };
    let answer = run(&mut store, request);
    assert!(matches!(&answer.answers[1], OperationAnswer::Txn(nested) if nested.succeeded));
    assert_eq!(read_all(&store).kvs[1].value, "nothing");
}

#[test]
fn nested_branches_are_each_decided_by_their_own_compares() {
    let mut store = store_of(&[("a", "1")]);
    let exists =
        |key: &'static str| compare(KeyRange::single(key), CompareTarget::Version(0), Greater);
    let branch = |key: &'static str, then: &'static str, otherwise: &'static str| {
        TxnOperation::Txn(TxnRequest {
            compares: vec![exists(key)],
            success: vec![txn_put(then, "")],
            failure: vec![txn_put(otherwise, "")],
        })
    };
    let operations = vec![branch("a", "1", "2"), branch("b", "3", "4"), branch("a", "5", "6")];
    run(
        &mut store,
        TxnRequest { compares: vec![exists("b")], success: vec![], failure: operations },
    );
    assert_eq!(keys(&read_all(&store)), ["1", "4", "5", "a"]);
}

#[test]
fn a_transaction_without_writes_makes_no_revision() {
    let mut store = store_of(&[("a", "1")]);
    let no = compare(KeyRange::single("a"), CompareTarget::Version(2), Equal);
    for request in [
        TxnRequest::default(),
        all_of(vec![txn_range(KeyRange::all())]),
        all_of(vec![txn_delete(KeyRange::single("b"))]),
        TxnRequest { compares: vec![no], success: vec![txn_put("a", "2")], failure: vec![] },
    ] {
        assert_eq!(run(&mut store, request).revision, 2);
    }
    assert_eq!(read_all(&store).revision, 2);
}

#[test]
fn a_refused_operation_refuses_the_whole_transaction() {
    let mut store = store_of(&[("a", "1")]);
    let before = store.clone();
    for (operation, refusal) in [
        (
            TxnOperation::Put(PutRequest { ignore_value: true, ..put_request("b", "") }),
            OperationError::KeyNotFound,
        ),
        (
            TxnOperation::Put(PutRequest { lease: 7, ..put_request("b", "") }),
            OperationError::LeaseNotFound { lease: 7 },
        ),
    ] {
        let nested = TxnOperation::Txn(all_of(vec![operation]));
        let request = all_of(vec![txn_put("c", "1"), txn_delete(KeyRange::single("a")), nested]);
        assert_eq!(store.execute(Operation::Txn(request)), Err(refusal));
        assert_eq!(store, before);
    }
}

#[test]
fn a_deleted_key_is_deleted_once() {
    let mut store = store_of(&[("a", "1"), ("b", "1")]);
    let delete = |range| TxnOperation::DeleteRange(DeleteRangeRequest { range, prev_kv: true });
    let request = all_of(vec![delete(KeyRange::single("a")), delete(KeyRange::all())]);
    let answer = run(&mut store, request);
    let deleted: Vec<_> = answer
        .answers
        .iter()
        .map(|answer| match answer {
            OperationAnswer::DeleteRange(answer) => (answer.deleted, answer.prev_kvs.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(deleted, [(1, 1), (1, 1)]);
    assert_eq!((answer.revision, read_all(&store).count), (4, 0));
}

#[test]
fn a_key_changed_twice_in_one_branch_is_refused_and_in_exclusive_branches_it_is_not() {
    let nested =
        |success, failure| TxnOperation::Txn(TxnRequest { compares: vec![], success, failure });
    let put = || txn_put("b", "1");
    let cover = || txn_delete(KeyRange::between("a", "c"));
    let beside = || txn_delete(KeyRange::between("b\0", "c"));
    let refused = [
        vec![put(), put()],
        vec![put(), cover()],
        vec![cover(), put()],
        vec![put(), txn_delete(KeyRange::single("b"))],
        vec![put(), txn_delete(KeyRange::all())],
        vec![put(), nested(vec![put()], vec![])],
        vec![nested(vec![], vec![put()]), put()],
        vec![cover(), nested(vec![], vec![put()])],
        vec![put(), nested(vec![cover()], vec![])],
        vec![nested(vec![put()], vec![]), nested(vec![], vec![put()])],
        vec![nested(vec![put()], vec![]), nested(vec![cover()], vec![])],
        vec![nested(vec![cover()], vec![]), nested(vec![put()], vec![])],
        vec![nested(vec![nested(vec![put()], vec![])], vec![]), put()],
        vec![nested(vec![put(), put()], vec![])],
    ];
    let allowed = [
        vec![put(), beside()],
        vec![put(), txn_delete(KeyRange::between("c", "a"))],
        vec![put(), txn_put("b\0", "1")],
        vec![put(), txn_range(KeyRange::single("b"))],
        vec![cover(), cover()],
        vec![cover(), nested(vec![cover()], vec![cover()])],
        vec![nested(vec![put()], vec![put()])],
        vec![nested(vec![put()], vec![cover()])],
        vec![nested(vec![nested(vec![put()], vec![cover()])], vec![put()])],
    ];
    for operations in refused {
        for request in [
            all_of(operations.clone()),
            TxnRequest { failure: operations.clone(), ..TxnRequest::default() },
        ] {
            let answer = MemoryView::new().execute(Operation::Txn(request));
            assert_eq!(answer, Err(OperationError::DuplicateKey), "{operations:?}");
        }
    }
    for operations in allowed {
        let answer = MemoryView::new().execute(Operation::Txn(all_of(operations.clone())));
        assert!(answer.is_ok(), "{operations:?}: {answer:?}");
    }
    let request = TxnRequest { success: vec![put()], failure: vec![cover()], ..all_of(vec![]) };
    assert!(MemoryView::new().execute(Operation::Txn(request)).is_ok());
}

#[test]
fn writes_of_one_transaction_are_counted_by_sub_revisions() {
    let mut store = store_of(&[("a", "1")]);
    let operations = vec![txn_put("c", ""), txn_delete(KeyRange::single("a")), txn_put("b", "")];
    let request = Operation::Txn(all_of(operations));
    let write = crate::support::requests::command(1, 1, 1, 0, request);
    let changes = store.apply(&write).changes;
    let revisions: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Put { meta, .. } => Some((meta.mod_revision.main, meta.mod_revision.sub)),
            Change::Delete { revision, .. } => Some((revision.main, revision.sub)),
            _ => None,
        })
        .collect();
    assert_eq!(changes[0], Change::SetRevision(3));
    assert_eq!(revisions, [(3, 0), (3, 1), (3, 2)]);
}

#[test]
fn a_read_transaction_reads_and_nothing_else() {
    let store = store_of(&[("a", "1")]);
    let Ok(answer) = read_txn(&store, &all_of(vec![txn_range(KeyRange::all())]));
    assert_eq!(keys(range_answer(&answer.unwrap().answers[0])), ["a"]);
    for operation in [txn_put("a", "2"), txn_delete(KeyRange::single("b"))] {
        let nested = TxnRequest { failure: vec![operation], ..TxnRequest::default() };
        let Ok(answer) = read_txn(&store, &all_of(vec![TxnOperation::Txn(nested)]));
        assert_eq!(answer, Err(OperationError::NotReadOnly));
    }
}

#[test]
fn what_a_transaction_answers_is_bounded_as_a_whole() {
    let mut store = MemoryView::new();
    for key in ["a", "b", "c", "d"] {
        store.execute(Operation::Put(put_request(key, vec![b'v'; 600_000]))).unwrap();
    }
    let too_large = OperationError::AnswerTooLarge { max: TXN_ANSWER_BYTES_MAX as u64 };
    let one = |key| txn_range(KeyRange::single(key));
    let before = store.clone();
    let Ok(fits) = read_txn(&store, &all_of(vec![one("a"), one("b"), one("c")]));
    assert!(fits.is_ok());
    let nested = TxnOperation::Txn(all_of(vec![one("c"), one("d")]));
    let over = all_of(vec![txn_put("e", "1"), one("a"), one("b"), nested]);
    assert_eq!(store.execute(Operation::Txn(over)), Err(too_large.clone()));
    let Ok(whole) = read_txn(&store, &all_of(vec![txn_range(KeyRange::all())]));
    assert_eq!(whole, Err(too_large.clone()), "not cut, as a plain range would be");
    let limited = RangeRequest { limit: 3, ..RangeRequest::new(KeyRange::all()) };
    let Ok(limited) = read_txn(&store, &all_of(vec![TxnOperation::Range(limited)]));
    assert!(range_answer(&limited.unwrap().answers[0]).more);

    let delete = DeleteRangeRequest { range: KeyRange::all(), prev_kv: true };
    assert_eq!(store.execute(Operation::DeleteRange(delete)), Err(too_large));
    assert_eq!(store, before);
    store.execute(put("a", "small")).unwrap();
}
