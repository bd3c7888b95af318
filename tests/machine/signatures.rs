//! A signed request that stands alone applies once, however often and late it comes.

use chainfire::machine::{ApplyLimits, Change, SignatureLimits};
use chainfire::types::limits::SIGNATURE_GRACE_MS;
use chainfire::types::{
    Answer, Command, DeleteRangeAnswer, KeyRange, Operation, OperationError, Principal, PutRequest,
    SignatureKey, SignedRequest,
};

use crate::read_all;
use crate::support::memory_view::MemoryView;
use crate::support::requests::{delete, put, put_request};

const WINDOW_MS: u64 = 900_000;

/// A request of `user` with a signature of its own.
fn signed(
    user: &str,
    number: u8,
    dated_seconds: u64,
    now_ms: u64,
    operation: Operation,
) -> Command {
    let request = SignedRequest { signature: [number; 32], dated_seconds, window_ms: WINDOW_MS };
    Command {
        request_id: Some(request.into()),
        principal: Principal(user.to_owned()),
        auth_revision: 0,
        leader_time_ms: now_ms,
        operation,
    }
}

fn limits(signatures: usize, per_user: usize, kept_freely: usize) -> ApplyLimits {
    let signatures = SignatureLimits { signatures, per_user, kept_freely };
    ApplyLimits { signatures, ..ApplyLimits::default() }
}

#[test]
fn the_same_request_is_answered_as_it_was_the_first_time() {
    let mut store = MemoryView::new();
    let write = signed("ann", 1, 100, 0, put("a", "1"));
    let first = store.apply(&write).response;
    store.apply(&signed("ann", 2, 100, 0, put("a", "2"))).response.unwrap();
    for _ in 0..2 {
        let again = store.apply(&write);
        assert_eq!(again.response, Ok(Answer::Again(Box::new(first.clone()))));
        assert_eq!(again.changes, []);
    }
    let refused = signed("ann", 3, 100, 0, Operation::Put(put_request("", "")));
    let refusal = store.apply(&refused).response;
    assert_eq!(refusal, Err(OperationError::EmptyKey));
    assert_eq!(store.apply(&refused).response, Ok(Answer::Again(Box::new(refusal))));
    assert_eq!(read_all(&store).kvs[0].value, "2");
}

#[test]
fn one_of_the_same_date_is_another_request() {
    let mut store = MemoryView::new();
    for number in 1..=3 {
        let write = signed("ann", number, 100, 0, put("a", "1"));
        assert!(matches!(store.apply(&write).response, Ok(Answer::Put(_))), "{number}");
    }
}

#[test]
fn what_was_forgotten_raises_the_date_up_to_which_requests_are_refused() {
    let limits = limits(100, 100, 2);
    let mut store = MemoryView::new();
    let write = |number, dated, now_ms| signed("ann", number, dated, now_ms, put("a", "1"));
    let (first, second) = (write(1, 100, 0), write(2, 101, 0));
    store.apply_within(&second, &limits).response.unwrap();
    store.apply_within(&first, &limits).response.unwrap();
    let kept_for = WINDOW_MS + SIGNATURE_GRACE_MS;
    // Not yet, though there are more than are kept freely.
    store.apply_within(&write(3, 200, kept_for), &limits).response.unwrap();
    assert_eq!(store.signatures.len(), 3);
    let applied = store.apply_within(&write(4, 300, kept_for + 1), &limits);
    assert!(applied.changes.contains(&Change::RefuseDated { through_seconds: 101 }));
    let left: Vec<_> = store.signatures.keys().map(|key| key.dated_seconds).collect();
    assert_eq!(left, [200, 300], "the earliest dated first");

    let revision = store.revision;
    for (captured, dated_seconds) in [(first, 100), (second, 101)] {
        let refused = store.apply_within(&captured, &limits).response;
        let expired = OperationError::RequestExpired { dated_seconds, through_seconds: 101 };
        assert_eq!(refused, Err(expired));
    }
    let unsent = store.apply_within(&write(9, 101, kept_for + 1), &limits).response;
    assert!(matches!(unsent, Err(OperationError::RequestExpired { .. })), "it may have been one");
    assert_eq!(store.revision, revision);
    assert!(store.apply_within(&write(9, 102, kept_for + 1), &limits).response.is_ok());
}

#[test]
fn one_that_is_dated_ahead_is_forgotten_after_those_before_it() {
    let limits = limits(100, 100, 0);
    let mut store = MemoryView::new();
    let hour_ahead = signed("ann", 1, 3_700, 0, put("a", "1"));
    store.apply_within(&hour_ahead, &limits).response.unwrap();
    let late = 2 * WINDOW_MS;
    store
        .apply_within(&signed("ann", 2, 1_900, late - 1, put("a", "2")), &limits)
        .response
        .unwrap();
    store.apply_within(&signed("ann", 3, 1_901, late, put("a", "2")), &limits).response.unwrap();
    let of_now =
        store.apply_within(&signed("bob", 4, 1_900, late, put("a", "2")), &limits).response;
    assert!(of_now.is_ok(), "{of_now:?}");
    let again = store.apply_within(&hour_ahead, &limits).response;
    assert!(matches!(again, Ok(Answer::Again(_))), "{again:?}");
}

#[test]
fn a_user_has_a_quota_and_all_together_a_limit() {
    let limits = limits(5, 3, 1);
    let mut store = MemoryView::new();
    let mut write = |user: &str, number| {
        store.apply_within(&signed(user, number, 100, 0, put("a", "1")), &limits).response
    };
    let full = |max| Err(OperationError::TooManySignatures { max, retry_after_ms: 1_000 });
    for number in 1..=3 {
        write("eve", number).unwrap();
    }
    assert_eq!(write("eve", 4), full(3));
    write("ann", 5).unwrap();
    write("bob", 6).unwrap();
    assert_eq!(write("cyd", 7), full(5));
    assert!(matches!(write("ann", 5), Ok(Answer::Again(_))), "a retry has its place");
    assert_eq!(store.signatures.len(), 5);
}

#[test]
fn a_full_table_whose_windows_have_passed_makes_room() {
    let limits = limits(2, 2, 0);
    let mut store = MemoryView::new();
    let late = WINDOW_MS + SIGNATURE_GRACE_MS + 1;
    for (number, now_ms) in [(1, 0), (2, 0), (3, late), (4, late)] {
        let write = signed("ann", number, 100 + u64::from(number), now_ms, put("a", "1"));
        let answer = store.apply_within(&write, &limits).response;
        assert!(answer.is_ok(), "{number}: {answer:?}");
        assert!(store.signatures.len() <= 2);
    }
}

#[test]
fn a_request_that_is_denied_leaves_nothing() {
    let mut store = MemoryView::new();
    let denied = signed("nobody", 1, 100, 0, put("a", "1"));
    let denied = Command { auth_revision: 7, ..denied };
    let refused = store.apply(&denied);
    assert!(matches!(refused.response, Err(OperationError::PermissionDenied { .. })));
    assert_eq!((refused.changes, store.signatures.len()), (vec![], 0));
}

#[test]
fn of_an_answer_that_is_long_the_revision_is_kept() {
    let mut store = MemoryView::new();
    let long = "x".repeat(1_000);
    store.apply(&signed("ann", 1, 100, 0, Operation::Put(put_request("a", long))));
    let read_back = Operation::Put(PutRequest { prev_kv: true, ..put_request("a", "1") });
    let write = signed("ann", 2, 100, 0, read_back);
    assert!(matches!(store.apply(&write).response, Ok(Answer::Put(put)) if put.prev_kv.is_some()));
    let kept = Err(OperationError::AnswerNotKept { revision: 3 });
    assert_eq!(store.apply(&write).response, Ok(Answer::Again(Box::new(kept))));
}

#[test]
fn a_delete_that_was_staged_is_answered_with_its_count_when_it_is_done() {
    let limits =
        ApplyLimits { delete_keys_at_once_max: 1, delete_step_keys: 2, ..ApplyLimits::default() };
    let mut store = MemoryView::new();
    for key in ["a1", "a2", "a3"] {
        store.execute(put(key, "1")).unwrap();
    }
    let request = signed("ann", 1, 100, 0, delete(KeyRange::prefix("a")));
    let staged = store.apply_within(&request, &limits).response;
    let Ok(Answer::DeleteStaged { revision }) = staged else { panic!("{staged:?}") };
    let step = Command {
        request_id: None,
        principal: Principal::cluster(),
        operation: Operation::ContinueDelete { revision, keys: 2 },
        ..request.clone()
    };
    while store.apply_within(&step, &limits).response != Ok(Answer::DeleteContinued { done: true })
    {
    }
    let whole = DeleteRangeAnswer { revision, deleted: 3, prev_kvs: Vec::new() };
    let again = store.apply_within(&request, &limits).response;
    assert_eq!(again, Ok(Answer::Again(Box::new(Ok(Answer::DeleteRange(whole))))));
    let key = SignatureKey { dated_seconds: 100, signature: [1; 32] };
    assert_eq!(store.signatures[&key].owner, Principal("ann".to_owned()));
}
