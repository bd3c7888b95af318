//! Answers in another order than by ascending key.
//!
//! Such an order is known only when every key of the range was seen, so there is no page to cut:
//! the answer is whole or refused. With a limit only the best so far are held, in a heap whose top
//! is the one to give way; that is also how the last keys of a long range are found. Values are
//! read for the pairs that remain, except when they are what is sorted by.
//!
//! Refused (`AnswerTooLarge`) when what must be held at one moment exceeds the budget: while the
//! keys are seen, the best so far with their keys (and their values when sorted by value); at the
//! end, the answer.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::types::{RangeAnswer, RangeRequest, Sort, SortOrder, SortTarget, VersionMeta};

use super::StateView;
use super::budget::{Budget, pair, pair_bytes};
use super::failure::{Failure, Outcome};
use super::range::{passes, visit};

/// Reads a well-formed range in the order of `sort`.
pub(super) fn evaluate<V: StateView>(
    view: &V,
    request: &RangeRequest,
    sort: Sort,
    at: u64,
    budget: &mut Budget<'_>,
) -> Outcome<RangeAnswer, V::Error> {
    let Budget { answer: budget, visits } = budget;
    let mut best = Best::new(sort, request.limit);
    let mut answer = RangeAnswer { revision: view.revision(), ..RangeAnswer::default() };
    let mut failure = None;
    visit(view, &request.range, at, visits, &mut |key, meta| {
        answer.count += u64::from(!request.skip_count);
        if !passes(request, meta) {
            return ControlFlow::Continue(());
        }
        let value = match sort.target {
            SortTarget::Value => view.value(meta.mod_revision),
            _ => Ok(Bytes::new()),
        };
        match value {
            Ok(value) => {
                visits.value(value.len());
                best.offer(key, meta, value);
            }
            Err(error) => {
                failure = Some(Failure::State(error));
                return ControlFlow::Break(());
            }
        }
        if best.held_bytes > budget.left() {
            failure = Some(Failure::Refused(budget.refusal()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if let Some(failure) = failure {
        return Err(failure);
    }

    answer.more = best.left_out;
    answer.kvs.reserve_exact(best.heap.len());
    for Candidate { key, meta, value, .. } in best.heap.into_sorted_vec() {
        let value = match sort.target {
            _ if request.keys_only => Bytes::new(),
            SortTarget::Value => value,
            _ => view.value(meta.mod_revision).map_err(Failure::State)?,
        };
        budget.take(pair_bytes(&key, &value))?;
        answer.kvs.push(pair(key, &meta, value));
    }
    Ok(answer)
}

/// The first pairs of an order among those offered.
struct Best {
    sort: Sort,
    /// Most to hold.
    limit: usize,
    /// The last of the order on top.
    heap: BinaryHeap<Candidate>,
    /// What the heap's keys and values take of a budget.
    held_bytes: usize,
    /// Whether the limit kept a pair out.
    left_out: bool,
}

impl Best {
    fn new(sort: Sort, limit: u64) -> Self {
        let limit = match limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Self { sort, limit, heap: BinaryHeap::new(), held_bytes: 0, left_out: false }
    }

    fn offer(&mut self, key: &[u8], meta: &VersionMeta, value: Bytes) {
        if self.heap.len() >= self.limit {
            self.left_out = true;
            let Some(last) = self.heap.peek() else { return };
            let offered = order(self.sort, (key, meta, &value), last.fields());
            if offered != Ordering::Less {
                return;
            }
            if let Some(gone) = self.heap.pop() {
                self.held_bytes -= pair_bytes(&gone.key, &gone.value);
            }
        }
        self.held_bytes += pair_bytes(key, &value);
        let key = Bytes::copy_from_slice(key);
        self.heap.push(Candidate { sort: self.sort, key, meta: *meta, value });
    }
}

/// A pair that may be part of the answer; greater is later in the order.
struct Candidate {
    sort: Sort,
    key: Bytes,
    meta: VersionMeta,
    /// Empty unless sorted by value.
    value: Bytes,
}

/// What an order looks at: key, version, value.
type Fields<'a> = (&'a [u8], &'a VersionMeta, &'a [u8]);

impl Candidate {
    fn fields(&self) -> Fields<'_> {
        (&self.key, &self.meta, &self.value)
    }
}

/// The order of two pairs. Ties are in ascending key order, whatever the direction, so no two
/// different keys are equal.
fn order(sort: Sort, left: Fields<'_>, right: Fields<'_>) -> Ordering {
    let by_target = match sort.target {
        SortTarget::Key => left.0.cmp(right.0),
        SortTarget::Version => left.1.version.cmp(&right.1.version),
        SortTarget::CreateRevision => left.1.create_revision.cmp(&right.1.create_revision),
        SortTarget::ModRevision => left.1.mod_revision.main.cmp(&right.1.mod_revision.main),
        SortTarget::Value => left.2.cmp(right.2),
    };
    let directed = match sort.order {
        SortOrder::Ascending => by_target,
        SortOrder::Descending => by_target.reverse(),
    };
    directed.then_with(|| left.0.cmp(right.0))
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self.sort, self.fields(), other.fields())
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}
