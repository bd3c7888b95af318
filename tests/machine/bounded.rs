//! What one command may visit, and deletes of more than that.

use chainfire::machine::{ApplyLimits, SessionLimits, SignatureLimits};
use chainfire::types::limits::{DELETE_KEYS_AT_ONCE_MAX, KEYS_VISITED_MAX};
use chainfire::types::{
    Answer, CompareOperator, CompareTarget, KeyRange, KeyValue, Operation, OperationError,
    RangeRequest, TxnOperation, TxnRequest,
};

use crate::support::memory_view::MemoryView;
use crate::support::requests::{
    all_of, command, compact, compare, delete, put, put_request, txn_delete, txn_range,
};

const LIMITS: ApplyLimits = ApplyLimits {
    keys_visited_max: 100,
    delete_keys_at_once_max: 8,
    delete_step_keys: 8,
    deletes_staged_max: 2,
    sessions: SessionLimits::REPLICATED,
    signatures: SignatureLimits::REPLICATED,
};

const REFUSED: Result<Answer, OperationError> =
    Err(OperationError::TooManyKeysVisited { max: LIMITS.keys_visited_max });

/// A store with so many keys `k000`, `k001`...
fn store_of(keys: u32) -> MemoryView {
    let mut store = MemoryView::new();
    for number in 0..keys {
        let request = put_request(format!("k{number:03}"), "v");
        store.execute(Operation::Put(request)).expect("a put");
    }
    store
}

/// Applies an operation of the cluster's own within [`LIMITS`].
fn execute(store: &mut MemoryView, operation: Operation) -> Result<Answer, OperationError> {
    let mut command = command(0, 1, 1, 0, operation);
    command.request_id = None;
    store.apply_within(&command, &LIMITS).response
}

fn pairs_at(store: &MemoryView, revision: u64) -> Vec<KeyValue> {
    let request = RangeRequest { revision, ..RangeRequest::new(KeyRange::all()) };
    crate::read(store, &request).expect("a readable revision").kvs
}

fn holds_for_all() -> chainfire::types::Compare {
    compare(KeyRange::prefix("k"), CompareTarget::Version(1), CompareOperator::Equal)
}

#[test]
fn compares_and_ranges_of_one_command_share_one_budget_however_they_are_nested() {
    let mut store = store_of(60);
    let before = store.clone();
    let comparing = |then| TxnRequest { compares: vec![holds_for_all()], ..all_of(then) };
    let counted =
        |range| TxnOperation::Range(RangeRequest { count_only: true, ..RangeRequest::new(range) });
    for (refused, request) in [
        (false, comparing(vec![])),
        (true, TxnRequest { compares: vec![holds_for_all(); 2], ..all_of(vec![]) }),
        (true, comparing(vec![TxnOperation::Txn(comparing(vec![]))])),
        (true, comparing(vec![counted(KeyRange::prefix("k"))])),
        (false, comparing(vec![counted(KeyRange::between("k000", "k040"))])),
        (true, comparing(vec![txn_range(KeyRange::prefix("k"))])),
        (true, comparing(vec![txn_delete(KeyRange::prefix("k"))])),
    ] {
        let answer = execute(&mut store, Operation::Txn(request.clone()));
        assert_eq!(answer == REFUSED, refused, "{request:?}: {answer:?}");
        assert_eq!(store.history, before.history, "a refusal changes nothing");
    }
}

#[test]
fn a_small_command_over_a_large_store_is_refused_after_bounded_work() {
    let limits = ApplyLimits::default();
    assert_eq!(limits.keys_visited_max, KEYS_VISITED_MAX);
    let mut store = store_of(400);
    let compares = vec![holds_for_all(); 128];
    let nested = TxnOperation::Txn(TxnRequest { compares: compares.clone(), ..all_of(vec![]) });
    let request = TxnRequest { compares, ..all_of(vec![nested]) };
    // 102,400 visits: what 128 compares over 200,000 keys are 25 millions of.
    let command = command(1, 1, 1, 0, Operation::Txn(request));
    let applied = store.apply_within(&command, &limits);
    let max = KEYS_VISITED_MAX;
    assert_eq!(applied.response, Err(OperationError::TooManyKeysVisited { max }));
}

#[test]
fn deleted_keys_count_until_they_are_compacted() {
    let mut store = store_of(60);
    for first in (0..60).step_by(8) {
        let range = KeyRange::between(format!("k{first:03}"), format!("k{:03}", first + 8));
        store.execute(delete(range)).expect("a delete");
    }
    let twice = TxnRequest { compares: vec![exists_none(); 2], ..all_of(vec![]) };
    assert_eq!(execute(&mut store, Operation::Txn(twice.clone())), REFUSED);
    let now = store.revision;
    store.execute(compact(now)).expect("a compaction");
    assert!(execute(&mut store, Operation::Txn(twice)).is_ok());
}

fn exists_none() -> chainfire::types::Compare {
    compare(KeyRange::prefix("k"), CompareTarget::Version(0), CompareOperator::Equal)
}

#[test]
fn a_delete_of_many_keys_is_visible_at_once_and_written_out_in_bounded_steps() {
    let mut store = store_of(20);
    let before = store.revision;
    let staged = execute(&mut store, delete(KeyRange::prefix("k")));
    let revision = before + 1;
    assert_eq!(staged, Ok(Answer::DeleteStaged { revision }));
    assert_eq!(pairs_at(&store, 0), [], "all of it is gone");
    assert_eq!(pairs_at(&store, before).len(), 20, "and is there before");

    let put_back = store.execute(put("k010", "new")).expect("a put");
    assert!(matches!(put_back, Answer::Put(_)));
    let again = pairs_at(&store, 0);
    assert_eq!((again.len(), again[0].version, again[0].create_revision), (1, 1, revision + 1));
    let refused = store.execute(compact(revision));
    assert_eq!(refused, Err(OperationError::DeleteUnderWay { revision }));
    store.execute(compact(before)).expect("below it there is nothing to wait for");

    let mut steps = 0;
    loop {
        steps += 1;
        let step = execute(&mut store, Operation::ContinueDelete { revision, keys: u64::MAX });
        match step.expect("a step is never refused") {
            Answer::DeleteContinued { done: true } => break,
            Answer::DeleteContinued { done: false } => {}
            other => panic!("{other:?}"),
        }
        let staged = &store.deletes[0];
        assert!(staged.deleted <= steps * LIMITS.delete_step_keys, "{staged:?}");
    }
    assert_eq!(steps, 3, "20 keys, 8 at a time");
    assert_eq!(pairs_at(&store, revision), []);
    assert_eq!(pairs_at(&store, 0), again);
    store.execute(compact(store.revision)).expect("nothing is under way any more");
}

#[test]
fn the_client_of_a_staged_delete_finds_its_own_answer_in_the_end() {
    let mut store = store_of(20);
    let asked = command(7, 1, 1, 0, delete(KeyRange::prefix("k")));
    let first = store.apply_within(&asked, &LIMITS).response.expect("a delete");
    let Answer::DeleteStaged { revision } = first else { panic!("{first:?}") };
    assert_eq!(store.apply_within(&asked, &LIMITS).response, Ok(first), "a retry waits too");
    while !store.deletes.is_empty() {
        execute(&mut store, Operation::ContinueDelete { revision, keys: u64::MAX })
            .expect("a step");
    }
    let answer = store.apply_within(&asked, &LIMITS).response.expect("the answer was kept");
    let Answer::DeleteRange(answer) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.revision, answer.deleted), (revision, 20));
    let late = execute(&mut store, Operation::ContinueDelete { revision, keys: u64::MAX });
    assert_eq!(late, Ok(Answer::DeleteContinued { done: true }), "one step too many");
}

#[test]
fn only_so_many_deletes_are_staged_and_few_keys_or_previous_pairs_are_not() {
    assert_eq!(ApplyLimits::default().delete_keys_at_once_max, DELETE_KEYS_AT_ONCE_MAX);
    let mut store = store_of(40);
    let range =
        |first: u32, end: u32| KeyRange::between(format!("k{first:03}"), format!("k{end:03}"));
    let small = execute(&mut store, delete(range(0, 8)));
    assert!(matches!(small, Ok(Answer::DeleteRange(answer)) if answer.deleted == 8));
    for first in [8, 17] {
        let staged = execute(&mut store, delete(range(first, first + 9)));
        assert!(matches!(staged, Ok(Answer::DeleteStaged { .. })), "{staged:?}");
    }
    let more = execute(&mut store, delete(range(26, 40)));
    assert_eq!(more, Err(OperationError::TooManyDeletes { max: 2 }));
    let nothing = execute(&mut store, delete(KeyRange::prefix("z")));
    assert!(matches!(nothing, Ok(Answer::DeleteRange(answer)) if answer.deleted == 0));
}
