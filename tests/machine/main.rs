//! The semantics of the store, a fact a test.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod bounded;
mod broken_state;
mod compaction;
mod limits;
mod members;
mod puts_and_deletes;
mod ranges;
mod roster;
mod sessions;
mod signatures;
#[path = "../support/mod.rs"]
mod support;
mod txns;

use chainfire::machine::{StoredAnswer, range};
use chainfire::types::{
    Answer, DeleteRangeAnswer, KeyRange, OperationError, PutAnswer, RangeAnswer, RangeRequest,
    TxnAnswer,
};

use support::memory_view::MemoryView;

/// A store with these pairs, put in this order from revision 2 on.
fn store_of(pairs: &[(&'static str, &'static str)]) -> MemoryView {
    let mut store = MemoryView::new();
    for (key, value) in pairs {
        store.execute(support::requests::put(key, value)).unwrap();
    }
    store
}

fn read(store: &MemoryView, request: &RangeRequest) -> Result<RangeAnswer, OperationError> {
    let Ok(answer) = range(store, request);
    answer
}

fn read_all(store: &MemoryView) -> RangeAnswer {
    read(store, &RangeRequest::new(KeyRange::all())).unwrap()
}

fn keys(answer: &RangeAnswer) -> Vec<&str> {
    answer.kvs.iter().map(|pair| std::str::from_utf8(&pair.key).unwrap()).collect()
}

fn put_answer(answer: StoredAnswer) -> PutAnswer {
    match answer {
        Ok(Answer::Put(answer)) => answer,
        other => panic!("not the answer to a put: {other:?}"),
    }
}

fn delete_answer(answer: StoredAnswer) -> DeleteRangeAnswer {
    match answer {
        Ok(Answer::DeleteRange(answer)) => answer,
        other => panic!("not the answer to a delete: {other:?}"),
    }
}

fn txn_answer(answer: StoredAnswer) -> TxnAnswer {
    match answer {
        Ok(Answer::Txn(answer)) => answer,
        other => panic!("not the answer to a transaction: {other:?}"),
    }
}
