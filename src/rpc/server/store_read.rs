//! Reads of the state, in the right place.
//!
//! A read of one key, or of a few, takes microseconds and is done in the connection's task. One
//! over many keys may take milliseconds and touch pages that are not in memory: it goes to a
//! thread of its own. Of these a node computes [`LONG_READS_MAX`](super::limits::LONG_READS_MAX)
//! at a time and a connection has
//! [`CONNECTION_LONG_READS_MAX`](super::limits::CONNECTION_LONG_READS_MAX), and the largest answer
//! possible is set aside from a budget before one begins: however many ask for the whole store, the
//! memory for their answers is bounded.
//!
//! A read whose caller has gone (its deadline passed, its connection closed) stops within a thousand
//! keys.
//!
//! A view pins pages and memory, so it is made where the read is computed, and gone when it ends:
//! it never lives across an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::admission::Reservation;
use super::limits::{RETRY_AFTER_MS, SHORT_READ_PAIRS_MAX};
use super::store_session::{StoreBackend, StoreSession};
use crate::actors::RaftHandle;
use crate::machine::{self, Visits};
use crate::storage::StorageError;
use crate::types::limits::{ANSWER_BYTES_MAX, TXN_ANSWER_BYTES_MAX};
use crate::types::{RangeAnswer, RangeRequest, RequestError, TxnAnswer, TxnOperation, TxnRequest};

/// What to read.
pub(super) enum Read {
    Range(RangeRequest),
    Txn(TxnRequest),
}

/// What was read, of the kind asked for.
pub(super) enum ReadAnswer {
    Range(RangeAnswer),
    Txn(TxnAnswer),
}

impl ReadAnswer {
    pub(super) fn into_range(self) -> Result<RangeAnswer, RequestError> {
        match self {
            Self::Range(answer) => Ok(answer),
            Self::Txn(_) => unreachable!("a range was asked for"),
        }
    }

    pub(super) fn into_txn(self) -> Result<TxnAnswer, RequestError> {
        match self {
            Self::Txn(answer) => Ok(answer),
            Self::Range(_) => unreachable!("a transaction was asked for"),
        }
    }
}

/// Reads from what this node has applied.
pub(super) async fn run(session: &StoreSession, read: Read) -> Result<ReadAnswer, RequestError> {
    let backend = &session.backend;
    if is_short(&read) {
        return compute(&backend.raft, &read, &|| false);
    }
    let _place = session.long_reads.acquire().await.map_err(|_| unavailable())?;
    // In a task of its own, which ends with this call: a connection that rests because nobody
    // takes its answers must not rest on a thread that others wait for.
    let mut task = JoinSet::new();
    task.spawn(compute_on_a_thread(backend.clone(), read));
    let computed = task.join_next().await.and_then(Result::ok).ok_or_else(unavailable)?;
    // The bytes stay set aside until the answer is in the hands of the connection.
    computed.map(|(answer, _reserved)| answer)
}

async fn compute_on_a_thread(
    backend: Arc<StoreBackend>,
    read: Read,
) -> Result<(ReadAnswer, Reservation), RequestError> {
    let thread = backend.long_reads.clone().acquire_owned().await.map_err(|_| unavailable())?;
    let largest = ANSWER_BYTES_MAX.max(TXN_ANSWER_BYTES_MAX);
    let reserved = backend.long_read_bytes.reserve(largest);
    let reserved = reserved.ok_or(RequestError::Overloaded { retry_after_ms: RETRY_AFTER_MS })?;
    // Set when this task ends: of itself, or because nobody waits for the answer any more.
    let waiting = Waiting::default();
    let abandoned = Arc::clone(&waiting.0);
    let computed = tokio::task::spawn_blocking(move || {
        let answer = compute(&backend.raft, &read, &|| abandoned.load(Ordering::Relaxed))?;
        drop(thread);
        Ok((answer, reserved))
    });
    let computed = computed.await.map_err(|_panic| unavailable());
    drop(waiting);
    computed?
}

/// Tells a read, when it is dropped, that nobody waits for it.
#[derive(Default)]
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads until `is_abandoned`, which is asked before and every thousand keys.
fn compute(
    raft: &RaftHandle,
    read: &Read,
    is_abandoned: &dyn Fn() -> bool,
) -> Result<ReadAnswer, RequestError> {
    if is_abandoned() {
        return Err(RequestError::DeadlinePassed);
    }
    let view = raft.view()?;
    let visits = Visits::until(is_abandoned);
    let answer = match read {
        Read::Range(request) => machine::range_within(&view, request, visits)
            .map(|answer| answer.map(|answer| answer.map(ReadAnswer::Range))),
        Read::Txn(request) => machine::read_txn_within(&view, request, visits)
            .map(|answer| answer.map(|answer| answer.map(ReadAnswer::Txn))),
    };
    settle(raft, answer.map(|answer| answer.ok_or(RequestError::DeadlinePassed)))?
        .map_err(RequestError::from)
}

/// The one place where an error of the state becomes one of a request: a refusal is the client's,
/// a state that cannot be read is ours, and a read changes nothing.
fn settle<T>(
    raft: &RaftHandle,
    outcome: Result<Result<T, RequestError>, StorageError>,
) -> Result<T, RequestError> {
    match outcome {
        Ok(answer) => answer,
        Err(error) => Err(raft.unreadable(&error)),
    }
}

fn unavailable() -> RequestError {
    RequestError::Unavailable { reason: "the read failed on this node".to_owned() }
}

/// Whether a read touches a few keys at most.
fn is_short(read: &Read) -> bool {
    match read {
        Read::Range(request) => is_short_range(request),
        Read::Txn(request) => is_short_txn(request, &mut { SHORT_READ_PAIRS_MAX }),
    }
}

fn is_short_range(request: &RangeRequest) -> bool {
    let unfiltered = request.sort.is_none()
        && request.min_mod_revision == 0
        && request.max_mod_revision == 0
        && request.min_create_revision == 0
        && request.max_create_revision == 0;
    let few = (1..=SHORT_READ_PAIRS_MAX).contains(&request.limit);
    // A count goes through the whole range.
    let stops = request.skip_count && !request.count_only;
    request.range.is_single() || (unfiltered && few && stops)
}

/// Whether every compare and range is of one key, and there are no more than `left`.
fn is_short_txn(request: &TxnRequest, left: &mut u64) -> bool {
    let parts = request.compares.len() + request.success.len() + request.failure.len();
    match left.checked_sub(parts as u64) {
        None => return false,
        Some(rest) => *left = rest,
    }
    let mut operations = request.success.iter().chain(&request.failure);
    request.compares.iter().all(|compare| compare.range.is_single())
        && operations.all(|operation| match operation {
            TxnOperation::Range(range) => range.range.is_single(),
            TxnOperation::Txn(nested) => is_short_txn(nested, left),
            TxnOperation::Put(_) | TxnOperation::DeleteRange(_) => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{KeyRange, Sort, SortOrder, SortTarget};

    fn all() -> RangeRequest {
        RangeRequest::new(KeyRange::all())
    }

    #[test]
    fn a_read_of_a_few_keys_is_short_and_one_that_may_touch_many_is_not() {
        let sort = Some(Sort { target: SortTarget::Value, order: SortOrder::Ascending });
        let few = RangeRequest { limit: SHORT_READ_PAIRS_MAX, skip_count: true, ..all() };
        let cases = [
            (RangeRequest::new(KeyRange::single("k")), true),
            (few.clone(), true),
            (all(), false),
            (RangeRequest { skip_count: true, ..all() }, false),
            (RangeRequest { skip_count: false, ..few.clone() }, false),
            (RangeRequest { count_only: true, ..few.clone() }, false),
            (RangeRequest { limit: SHORT_READ_PAIRS_MAX + 1, ..few.clone() }, false),
            (RangeRequest { sort, ..few.clone() }, false),
            (RangeRequest { min_mod_revision: 7, ..few }, false),
        ];
        for (request, short) in cases {
            assert_eq!(is_short(&Read::Range(request.clone())), short, "{request:?}");
        }
    }

    #[test]
    fn a_transaction_is_short_when_everything_in_it_is_and_that_is_little() {
        let of = |operations: Vec<TxnOperation>| TxnRequest {
            success: operations,
            ..TxnRequest::default()
        };
        let single = || TxnOperation::Range(RangeRequest::new(KeyRange::single("k")));
        let most = usize::try_from(SHORT_READ_PAIRS_MAX).expect("small");
        let nested = |count| TxnOperation::Txn(of(vec![single(); count]));
        let cases = [
            (of(vec![single()]), true),
            (of(vec![single(); most]), true),
            (of(vec![single(); most + 1]), false),
            (of(vec![nested(most - 1)]), true),
            (of(vec![nested(most)]), false),
            (of(vec![single(), TxnOperation::Range(all())]), false),
        ];
        for (request, short) in cases {
            assert_eq!(is_short(&Read::Txn(request.clone())), short, "{request:?}");
        }
    }
}
