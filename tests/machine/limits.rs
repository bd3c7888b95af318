//! What is refused without looking at the state.

use chainfire::machine::{validate, validate_range, validate_txn};
use chainfire::types::limits::{
    KEY_BYTES_MAX, REQUEST_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, TXN_TOTAL_MAX,
};
use chainfire::types::{
    Compare, CompareOperator, CompareTarget, KeyRange, Operation, OperationError, RangeRequest,
    TxnOperation, TxnRequest,
};

use crate::support::memory_view::MemoryView;
use crate::support::requests::{
    all_of, compare, delete, put_request, txn_delete, txn_put, txn_range,
};

fn key_compare(range: KeyRange) -> Compare {
    compare(range, CompareTarget::Version(0), CompareOperator::Equal)
}

/// Every place where a single key can be named.
fn uses_of(key: Vec<u8>) -> Vec<Result<(), OperationError>> {
    let single = || KeyRange::single(key.clone());
    let in_txn = |operation| validate_txn(&all_of(vec![operation]));
    vec![
        validate(&Operation::Put(put_request(key.clone(), ""))),
        validate(&delete(single())),
        validate_range(&RangeRequest::new(single())),
        validate_txn(&TxnRequest { compares: vec![key_compare(single())], ..all_of(vec![]) }),
        in_txn(txn_put(key.clone(), "")),
        in_txn(txn_range(single())),
        in_txn(txn_delete(single())),
        in_txn(TxnOperation::Txn(TxnRequest {
            failure: vec![txn_range(single())],
            ..all_of(vec![])
        })),
    ]
}

#[test]
fn a_key_has_1_to_1024_bytes_wherever_it_is_named() {
    for outcome in uses_of(Vec::new()) {
        assert_eq!(outcome, Err(OperationError::EmptyKey));
    }
    for length in [1, KEY_BYTES_MAX] {
        for outcome in uses_of(vec![b'k'; length]) {
            assert_eq!(outcome, Ok(()), "{length}");
        }
    }
    let (bytes, max) = (KEY_BYTES_MAX as u64 + 1, KEY_BYTES_MAX as u64);
    for outcome in uses_of(vec![b'k'; KEY_BYTES_MAX + 1]) {
        assert_eq!(outcome, Err(OperationError::KeyTooLong { bytes, max }));
    }
}

#[test]
fn a_range_can_be_read_on_after_the_longest_key() {
    let rest = KeyRange::all().after(&[b'k'; KEY_BYTES_MAX]);
    assert_eq!(validate_range(&RangeRequest::new(rest.clone())), Ok(()));
    for range in [rest.after(&rest.key), KeyRange::between("a", vec![b'k'; KEY_BYTES_MAX + 2])] {
        let refused = validate_range(&RangeRequest::new(range));
        assert!(matches!(refused, Err(OperationError::KeyTooLong { .. })), "{refused:?}");
    }
}

#[test]
fn an_empty_key_is_refused_even_when_the_range_has_an_end() {
    let refused = validate_range(&RangeRequest::new(KeyRange::between("", "b")));
    assert_eq!(refused, Err(OperationError::EmptyKey));
}

#[test]
fn each_list_of_a_transaction_has_at_most_128_entries() {
    let fits = TxnRequest {
        compares: vec![key_compare(KeyRange::single("a")); TXN_OPERATIONS_MAX],
        success: vec![txn_range(KeyRange::single("a")); TXN_OPERATIONS_MAX],
        failure: vec![txn_range(KeyRange::single("a")); TXN_OPERATIONS_MAX],
    };
    assert_eq!(validate_txn(&fits), Ok(()));
    let max = TXN_OPERATIONS_MAX as u64;
    let refused = Err(OperationError::TooManyOperations { operations: max + 1, max });
    let mut compares = fits.clone();
    compares.compares.push(key_compare(KeyRange::single("a")));
    let mut success = fits.clone();
    success.success.push(txn_range(KeyRange::single("a")));
    let mut failure = fits;
    failure.failure.push(txn_range(KeyRange::single("a")));
    for request in [compares, success, failure] {
        assert_eq!(validate_txn(&request), refused);
        let nested = all_of(vec![TxnOperation::Txn(request)]);
        assert_eq!(validate_txn(&nested), refused);
    }
}

#[test]
fn nesting_and_the_total_of_a_transaction_are_bounded() {
    let nest = |depth: usize, innermost: TxnRequest| {
        (1..depth).fold(innermost, |inner, _| all_of(vec![TxnOperation::Txn(inner)]))
    };
    assert_eq!(validate_txn(&nest(TXN_DEPTH_MAX, all_of(vec![]))), Ok(()));
    let max = TXN_DEPTH_MAX as u64;
    let too_deep = validate_txn(&nest(TXN_DEPTH_MAX + 1, all_of(vec![])));
    assert_eq!(too_deep, Err(OperationError::NestedTooDeep { max }));

    // Each nested transaction counts for itself and its 128 reads; 12 * 128 is the total.
    let reads = all_of(vec![txn_range(KeyRange::single("a")); TXN_OPERATIONS_MAX]);
    let of_nested = |count| all_of(vec![TxnOperation::Txn(reads.clone()); count]);
    assert_eq!(validate_txn(&of_nested(11)), Ok(()));
    let max = TXN_TOTAL_MAX as u64;
    assert_eq!(
        validate_txn(&of_nested(12)),
        Err(OperationError::TooManyOperations { operations: max + 12, max })
    );
}

#[test]
fn a_request_has_at_most_one_and_a_half_mebibytes() {
    let put = |bytes: usize| put_request("k", vec![b'v'; bytes - 1]);
    let max = REQUEST_BYTES_MAX as u64;
    let refused = Err(OperationError::RequestTooLarge { bytes: max + 1, max });
    assert_eq!(validate(&Operation::Put(put(REQUEST_BYTES_MAX))), Ok(()));
    assert_eq!(validate(&Operation::Put(put(REQUEST_BYTES_MAX + 1))), refused);

    // 4 bytes of range, 2 of a compared key, 100 compared, the rest put by a nested transaction.
    let of_bytes = |bytes: usize| TxnRequest {
        compares: vec![compare(
            KeyRange::single("ck"),
            CompareTarget::Value(vec![0; 100].into()),
            CompareOperator::Equal,
        )],
        success: vec![txn_delete(KeyRange::between("ra", "rb"))],
        failure: vec![TxnOperation::Txn(all_of(vec![TxnOperation::Put(put(bytes - 106))]))],
    };
    assert_eq!(validate_txn(&of_bytes(REQUEST_BYTES_MAX)), Ok(()));
    assert_eq!(validate_txn(&of_bytes(REQUEST_BYTES_MAX + 1)), refused);
}

#[test]
fn what_the_door_refuses_apply_refuses_in_the_same_words() {
    let mut store = MemoryView::new();
    for operation in [
        Operation::Put(put_request("", "")),
        Operation::Put(put_request("k", vec![0; REQUEST_BYTES_MAX])),
        Operation::Txn(all_of(vec![txn_put("a", ""), txn_put("a", "")])),
        Operation::Txn(all_of(vec![txn_range(KeyRange::all()); TXN_OPERATIONS_MAX + 1])),
    ] {
        let refused = validate(&operation).unwrap_err();
        assert_eq!(store.execute(operation), Err(refused));
    }
    assert_eq!(store, MemoryView::new());
}
